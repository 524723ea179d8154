"""gRPC channels built from the method table, with errors told in the project's own terms."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast

import grpc
import grpc.aio
import msgspec

from mpc.errors import (
    DeadlineExceeded,
    InternalError,
    JobCancelled,
    MpcError,
    PartyUnavailable,
    ResourceExhausted,
    TransportError,
    WireError,
)
from mpc.keys.identity import TlsMaterial
from mpc.keys.manifest import Member
from mpc.parties import Role
from mpc.runtime import traces
from mpc.runtime.peers import STATUS_LOST
from mpc.runtime.server import ERROR_METADATA, VERSION_METADATA
from mpc.runtime.tls import CONNECTION_WORKS, channel_credentials, diagnose
from mpc.sum.transcript import WIRE_VERSION
from mpc.wire import messages as m
from mpc.wire.codec import decode, encode
from mpc.wire.errors import from_notice
from mpc.wire.limits import MAX_REQUEST_BYTES, METADATA_BYTES
from mpc.wire.methods import COORDINATOR_METHODS, PARTY_METHODS, Method

__all__ = ["GrpcCoordinatorPeer", "GrpcPartyPeer", "Material"]

Material: TypeAlias = TlsMaterial | Callable[[], TlsMaterial]
"""A leaf, or what gives the current one at every call (`mpc.runtime.tls.CurrentLeaf`)."""

M = TypeVar("M", bound=m.Message)

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.keepalive_time_ms", 15_000),  # a peer that a cut cable took away is noticed within these two together
    ("grpc.keepalive_timeout_ms", 8_000),
    ("grpc.http2.ping_timeout_ms", 8_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),  # a container that comes back has another address
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
)

_STARTING: Final = frozenset({"Describe", "Commit", "Submit", "List", "Survey", "Catalogues"})
"""Methods that begin something: a second try after a broken connection is at worst refused as a replay."""

_RECONNECT_S: Final = 5.0


_RETIRED_S: Final = 3600.0
"""A channel with an earlier certificate ends when its last call does, or after this long."""


class _Peer:
    """A channel to one member; a renewed certificate opens a new one, and calls on the old one run to their end."""

    def __init__(self, service: str, methods: Mapping[str, Method], member: Member, material: Material) -> None:
        self.member = member
        self._service = service
        self._methods = methods
        self._current = material if callable(material) else lambda: material
        self._material = self._current()
        self._channel = self._open()
        self._retired: set[asyncio.Task[None]] = set()

    def _open(self) -> Any:
        return grpc.aio.secure_channel(
            self.member.endpoint, channel_credentials(self.member, self._material), options=_OPTIONS
        )

    def _live(self) -> Any:
        """The channel, with the current certificate."""
        material = self._current()
        if material.certificate != self._material.certificate:
            self._material = material
            self._replace()
        return self._channel

    def _replace(self) -> Any:
        """Open a new channel; calls on the old one run to their end."""
        old, self._channel = self._channel, self._open()
        retired = asyncio.ensure_future(old.close(_RETIRED_S))
        self._retired.add(retired)
        retired.add_done_callback(self._retired.discard)
        return self._channel

    async def close(self) -> None:
        """Close the channel."""
        for retired in list(self._retired):
            retired.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        await self._channel.close()

    @staticmethod
    def _metadata() -> tuple[tuple[str, str], ...]:
        return ((VERSION_METADATA, str(WIRE_VERSION)), *traces.outgoing())

    def _path(self, method: Method) -> str:
        return f"/{self._service}/{method.name}"

    async def _unary(self, name: str, request: m.Message, reply: type[M], *, timeout_s: float | None = None) -> M:
        method = self._methods[name]
        call = self._live().unary_unary(self._path(method))
        limit = timeout_s or method.deadline_s
        try:
            data = await call(encode(request), timeout=limit, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            failure = await self._translate(error)
            if name not in _STARTING or failure.fields.get("reason") != CONNECTION_WORKS:
                raise failure from None
            data = await self._again(self._path(method), request, min(limit, _RECONNECT_S))
        return _decode(data, method, reply)

    async def _again(self, path: str, request: m.Message, timeout_s: float) -> bytes:
        """Try once more where the peer came back and the channel has not noticed yet.

        On a new channel: after a name did not resolve for long, the old one asks for it again only every two minutes.
        """
        call = self._replace().unary_unary(path)
        try:
            data: bytes = await call(encode(request), timeout=timeout_s, wait_for_ready=True, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            raise await self._translate(error) from None
        return data

    async def _stream(self, name: str, request: m.Message, reply: type[M]) -> AsyncIterator[M]:
        method = self._methods[name]
        call = self._live().unary_stream(self._path(method))(
            encode(request), timeout=method.deadline_s, metadata=self._metadata()
        )
        try:
            async for data in call:
                yield _decode(data, method, reply)
        except grpc.aio.AioRpcError as error:
            raise await self._translate(error) from None
        finally:
            call.cancel()

    async def _upload(self, name: str, requests: AsyncIterator[m.Message], reply: type[M]) -> M:
        method = self._methods[name]

        async def raw() -> AsyncIterator[bytes]:
            async for request in requests:
                yield encode(request)

        try:
            data = await self._live().stream_unary(self._path(method))(
                raw(), timeout=method.deadline_s, metadata=self._metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise await self._translate(error) from None
        return _decode(data, method, reply)

    async def _exchange(self, name: str, requests: AsyncIterator[m.Message], reply: type[M]) -> AsyncIterator[M]:
        method = self._methods[name]
        failure: list[BaseException] = []

        async def raw() -> AsyncIterator[bytes]:
            try:
                async for request in requests:
                    yield encode(request)
            except Exception as error:
                failure.append(error)  # gRPC would tell of a cancelled call alone
                raise

        call = self._live().stream_stream(self._path(method))(
            raw(), timeout=method.deadline_s, metadata=self._metadata()
        )
        try:
            async for data in call:
                yield _decode(data, method, reply)
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            if failure:
                raise failure[0] from None
            if isinstance(error, asyncio.CancelledError):
                raise
            raise await self._translate(error) from None
        finally:
            call.cancel()

    async def _translate(self, error: grpc.aio.AioRpcError) -> MpcError:
        """The error a peer told of, or what its silence means."""
        extra = {"party": self.member.name} if self.member.role is Role.PARTY else {}
        for key, value in error.trailing_metadata() or ():
            if key == ERROR_METADATA:
                try:
                    notice = msgspec.msgpack.decode(cast("bytes", value), type=m.ErrorNotice)
                except (msgspec.DecodeError, msgspec.ValidationError):
                    return WireError("a peer's error notice cannot be read")
                found = from_notice(notice, **extra)
                if isinstance(found, ResourceExhausted) and not {"member", "party"} & found.fields.keys():
                    found.fields["member"] = self.member.name  # whose limit it is
                return found
        code = error.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded("", member=self.member.name)
        if code is grpc.StatusCode.CANCELLED:
            return JobCancelled("", member=self.member.name)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return ResourceExhausted("", member=self.member.name)
        if code is grpc.StatusCode.INTERNAL and "execute_batch" in (error.debug_error_string() or ""):
            # A send that lost the race against the end of its call; gRPC then forgets the status that the peer gave.
            return TransportError("", member=self.member.name, reason=STATUS_LOST, **extra)
        if code is not grpc.StatusCode.UNAVAILABLE:
            return InternalError(f"gRPC status {code.name}", member=self.member.name)
        found = await diagnose(self.member, self._material)
        if type(found) is TransportError and self.member.role is Role.PARTY:
            return PartyUnavailable(found.detail, **{**found.fields, **extra})
        return found


def _decode(data: bytes, method: Method, reply: type[M]) -> M:
    if len(data) > method.reply_limit_bytes:
        raise WireError("a reply exceeds its method's limit", method=method.name)
    return decode(data, reply)


class GrpcPartyPeer(_Peer):
    """A party over gRPC; see `mpc.runtime.peers.PartyPeer`."""

    def __init__(self, member: Member, material: Material) -> None:
        super().__init__("mpc.wire.v1.Party", PARTY_METHODS, member, material)

    async def describe(self, request: m.DescribeRequest) -> m.Description:
        """What it is."""
        return await self._unary("Describe", request, m.Description, timeout_s=5.0)

    async def commit(self, request: m.CommitRequest) -> m.CommitReply:
        """Its promise to take part."""
        return await self._unary("Commit", request, m.CommitReply)

    async def begin(self, request: m.BeginRequest) -> m.RoundOffer:
        """Its first round."""
        return await self._unary("Begin", request, m.RoundOffer)

    async def offer_key(self, request: m.OfferKeyRequest) -> m.OfferKeyReply:
        """A group key."""
        return await self._unary("OfferKey", request, m.OfferKeyReply)

    def contribute(self, request: m.ContributeRequest) -> AsyncIterator[m.ContributionFrame]:
        """Its ciphertexts."""
        return self._stream("Contribute", request, m.ContributionFrame)

    async def deliver(self, frames: AsyncIterator[m.DeliverFrame]) -> m.RoundOffer:
        """Give it a round's sum, and get its next round."""
        return await self._upload("Deliver", frames, m.RoundOffer)

    def collect(self, request: m.CollectRequest) -> AsyncIterator[m.SealedFrame]:
        """What it sealed to the analyst."""
        return self._stream("Collect", request, m.SealedFrame)

    async def cancel(self, request: m.JobReference) -> m.Acknowledgement:
        """End a job."""
        return await self._unary("Cancel", request, m.Acknowledgement, timeout_s=3.0)

    async def catalogues(self, request: m.CataloguesRequest) -> m.CatalogueOffers:
        """What it offers to be scored."""
        return await self._unary("Catalogues", request, m.CatalogueOffers)

    def labels(self, request: m.LabelsRequest) -> AsyncIterator[m.LabelsFrame]:
        """Sealed labels of a catalogue's items."""
        return self._stream("Labels", request, m.LabelsFrame)

    def score(self, frames: AsyncIterator[m.ScoreFrame]) -> AsyncIterator[m.ScoreReplyFrame]:
        """Give it encrypted queries, and get its reply."""
        return self._exchange("Score", frames, m.ScoreReplyFrame)


class GrpcCoordinatorPeer(_Peer):
    """The coordinator over gRPC; see `mpc.runtime.peers.CoordinatorPeer`."""

    def __init__(self, member: Member, material: Material) -> None:
        super().__init__("mpc.wire.v1.Coordinator", COORDINATOR_METHODS, member, material)

    async def describe(self, request: m.DescribeRequest) -> m.Description:
        """What it is."""
        return await self._unary("Describe", request, m.Description, timeout_s=5.0)

    async def submit(self, request: m.SubmitRequest) -> m.Acknowledgement:
        """Start a job."""
        return await self._unary("Submit", request, m.Acknowledgement)

    def watch(self, request: m.WatchRequest) -> AsyncIterator[m.JobEvent]:
        """Events of a job."""
        return self._stream("Watch", request, m.JobEvent)

    def fetch(self, request: m.JobReference) -> AsyncIterator[m.ResultFrame]:
        """The result of a job."""
        return self._stream("Fetch", request, m.ResultFrame)

    async def cancel(self, request: m.JobReference) -> m.Acknowledgement:
        """End a job."""
        return await self._unary("Cancel", request, m.Acknowledgement, timeout_s=5.0)

    async def list(self, request: m.ListRequest) -> m.JobList:
        """The caller's jobs."""
        return await self._unary("List", request, m.JobList)

    async def survey(self, request: m.DescribeRequest) -> m.SurveyReply:
        """Ask every party whether it answers."""
        return await self._unary("Survey", request, m.SurveyReply)

    async def catalogues(self, request: m.CataloguesRequest) -> m.CatalogueList:
        """What every party offers to be scored."""
        return await self._unary("Catalogues", request, m.CatalogueList)

    def labels(self, request: m.LabelsRequest) -> AsyncIterator[m.LabelsFrame]:
        """Sealed labels of a catalogue's items."""
        return self._stream("Labels", request, m.LabelsFrame)

    def score(self, frames: AsyncIterator[m.ScoreFrame]) -> AsyncIterator[m.ScoreReplyFrame]:
        """Have encrypted queries answered by their holder."""
        return self._exchange("Score", frames, m.ScoreReplyFrame)


async def close_all(peers: list[_Peer]) -> None:
    """Close channels together."""
    await asyncio.gather(*(p.close() for p in peers), return_exceptions=True)
