"""One job from commitment to release: the coordinator's driver of parties and of the adding role."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from mpc.errors import IntegrityError, MpcError, PartyLost, PartyUnavailable, ProtocolError, TransportError, WireError
from mpc.keys.identity import verify_signed
from mpc.keys.manifest import Manifest
from mpc.keys.public import public_key_digest
from mpc.keys.statements import Signed
from mpc.params import parameter_set
from mpc.parties import PartyId
from mpc.runtime.clock import Clock
from mpc.runtime.peers import PartyPeer
from mpc.schemes import public as public_schemes
from mpc.schemes.base import Adder
from mpc.sum.aggregator import Aggregator
from mpc.sum.contributor import batch_ciphertexts
from mpc.sum.messages import Commitment, KeyOffer, Receipt
from mpc.wire import messages as m
from mpc.wire.job import JobRequest, JobState, request_digest
from mpc.wire.limits import CHUNK_BYTES, MAX_CIPHERTEXTS, MAX_SEALED_BYTES
from servers.coordinator.spool import CiphertextFile, JobSpool

__all__ = ["JobRun", "Progress"]

T = TypeVar("T")

_MAX_ROUNDS: Final = 100_000
_FIRST_NOTICE_S: Final = 1.0
_LAST_NOTICE_S: Final = 15.0
"""Watchers hear who is awaited after the first of these, then ever less often, down to once in the second."""


@dataclass(slots=True)
class Progress:
    """Counters of a job, for its events and its report."""

    traffic: dict[str, dict[str, int]] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    rounds: int = 0

    def count(self, member: str, direction: str, ciphertexts: int, size: int) -> None:
        """Add to a member's counters; direction is `received` or `sent`."""
        counters = self.traffic.setdefault(member, {})
        for name, amount in ((f"ciphertexts_{direction}", ciphertexts), (f"bytes_{direction}", size)):
            counters[name] = counters.get(name, 0) + amount

    def spend(self, phase: str, seconds: float) -> None:
        """Add to a phase's seconds."""
        self.phases[phase] = self.phases.get(phase, 0.0) + seconds


Announce = Callable[..., None]
Move = Callable[[JobState], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class JobRun:
    """Drives one attempt of a job.

    Args:
        manifest: The verified manifest.
        signed: The analyst's request, verified by the caller.
        request: The same, decoded.
        recipient_key: The analyst's public key.
        peers: The participants.
        spool: Where sums and sealed bytes go.
        announce: Called with every step, for watchers.
        move: Records a transition durably.
        learn: Called with how many jobs a party works on at once.
        clock: Time.
    """

    manifest: Manifest
    signed: Signed
    request: JobRequest
    recipient_key: bytes
    peers: Mapping[PartyId, PartyPeer]
    spool: JobSpool
    announce: Announce
    move: Move
    learn: Callable[[PartyId, int], None]
    clock: Clock
    progress: Progress = field(default_factory=Progress)
    commitments: list[Signed] = field(default_factory=list)
    receipts: list[Signed] = field(default_factory=list)
    group_offer: m.OfferKeyReply | None = None

    async def run(self) -> None:
        """Run to release, or raise what went wrong; parties forget the job either way."""
        try:
            await self._commit()
            offers = await self._timed("local", self._each(self._begin, "compute"))
            await self.move(JobState.COLLECTING)
            while True:
                offer = self._agreed(offers)
                await self._collect(offers)
                if offer.finished:
                    break
                offers = await self._round(offer)
        finally:
            await self._forget()

    async def _timed(self, phase: str, work: Awaitable[T]) -> T:
        started = self.clock.monotonic()
        try:
            return await work
        finally:
            self.progress.spend(phase, self.clock.monotonic() - started)

    async def _each(self, step: Callable[[PartyId, PartyPeer], Awaitable[T]], name: str) -> dict[PartyId, T]:
        """Run a step at every party together; the first failure ends all, and says which party."""

        async def one(party: PartyId) -> T:
            try:
                return await step(party, self.peers[party])
            except TransportError as error:
                if self.commitments and type(error) in {TransportError, PartyUnavailable}:
                    raise PartyLost(error.detail, party=party, step=name) from None
                error.fields.setdefault("party", party)
                raise
            except MpcError as error:
                error.fields.setdefault("party", party)
                raise

        tasks = {party: asyncio.ensure_future(one(party)) for party in sorted(self.peers)}
        try:
            await self._gather(tasks)
        except BaseException:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            raise
        return {party: task.result() for party, task in tasks.items()}

    async def _gather(self, tasks: Mapping[PartyId, asyncio.Future[T]]) -> None:
        """Wait for all, raise the first failure, and say who is awaited whenever that takes long."""
        patience = _FIRST_NOTICE_S
        while True:
            done, pending = await asyncio.wait(tasks.values(), timeout=patience, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks.values():
                if task in done:
                    task.result()
            if not pending:
                return
            for party, task in tasks.items():
                if task in pending:
                    self.announce(step="awaiting", party=party)
            patience = min(2 * patience, _LAST_NOTICE_S)

    # ---- commit ----------------------------------------------------------------------------------------------

    async def _commit(self) -> None:
        self.announce(step="commit")
        message = m.CommitRequest(request=self.signed, recipient_key=self.recipient_key)

        async def commit(party: PartyId, peer: PartyPeer) -> Signed:
            reply = await peer.commit(message)
            if reply.commitment is None:
                raise WireError("a commitment is missing")
            self._check_commitment(party, reply.commitment)
            self.learn(party, max(1, reply.jobs_at_once))
            return reply.commitment

        found = await self._timed("commit", self._each(commit, "commit"))
        self.commitments = [found[p] for p in sorted(found)]
        await self.move(JobState.COMMITTED)

    def _key_of(self, party: PartyId) -> bytes:
        member = self.manifest.member(party)
        if member is None:
            raise ProtocolError("", party=party, reason="not a member of the room")
        return member.public_key

    def _check_commitment(self, party: PartyId, signed: Signed) -> None:
        commitment = verify_signed(signed, Commitment, self._key_of(party))
        if (
            commitment.party != party
            or commitment.job != self.request.job
            or commitment.attempt != self.request.attempt
            or commitment.request_digest != request_digest(self.signed.payload)
            or commitment.participants != self.request.participants
        ):
            raise ProtocolError("a commitment is for something else", party=party)

    async def _begin(self, party: PartyId, peer: PartyPeer) -> m.RoundOffer:
        self.announce(step="compute", party=party)
        return await peer.begin(m.BeginRequest(job=self.request.job, commitments=tuple(self.commitments)))

    # ---- rounds ----------------------------------------------------------------------------------------------

    def _agreed(self, offers: Mapping[PartyId, m.RoundOffer]) -> m.RoundOffer:
        """The round that every party offers alike (`ProtocolError` otherwise)."""
        heads = {
            (o.job, o.round, o.finished, o.recipient, o.parameter_set, o.ciphertexts, o.symmetric)
            for o in offers.values()
        }
        offer = next(iter(offers.values()))
        if len(heads) != 1 or offer.job != self.request.job:
            raise ProtocolError("", reason="the parties' next steps differ", round=offer.round)
        if not offer.finished and not 1 <= offer.ciphertexts <= MAX_CIPHERTEXTS:
            raise WireError("a round has between one and the largest number of ciphertexts")
        if offer.round > _MAX_ROUNDS or any(o.sealed_bytes > MAX_SEALED_BYTES for o in offers.values()):
            raise WireError("a party's offer breaks its limits")
        return offer

    async def _collect(self, offers: Mapping[PartyId, m.RoundOffer]) -> None:
        async def collect(party: PartyId, peer: PartyPeer) -> None:
            offer = offers[party]
            if not offer.sealed_bytes:
                return
            got = 0
            stream = peer.collect(m.CollectRequest(job=self.request.job, round=offer.round))
            async for frame in stream:
                got += len(frame.data)
                if frame.party != party or got > offer.sealed_bytes:
                    raise WireError("sealed bytes exceed what was offered", party=party)
                await asyncio.to_thread(self.spool.add_sealed, party, frame.data)
                self.progress.count(party, "received", 0, len(frame.data))
                self.announce(step="sealed", round=offer.round, party=party, sealed=frame.data)
            if got != offer.sealed_bytes:
                raise WireError("sealed bytes are missing", party=party)

        await self._each(collect, "collect")

    async def _round(self, offer: m.RoundOffer) -> dict[PartyId, m.RoundOffer]:
        key = await self._group_key(offer) if offer.recipient == "group" else m.OfferKeyReply()
        aggregator = Aggregator(
            adder=await self._adder(offer, key.public_key or self.recipient_key),
            participants=tuple(sorted(self.peers)),
            ciphertexts=offer.ciphertexts,
        )
        sums = self.spool.open_round(offer.round)
        ask = m.ContributeRequest(job=self.request.job, round=offer.round, offer=key.offer, public_key=key.public_key)
        await self._timed("add", self._add(offer, ask, aggregator, sums))
        sums.seal()
        self.progress.rounds += 1
        try:
            return await self._timed("local", self._each(self._deliverer(offer, sums), "deliver"))
        finally:
            if offer.recipient == "group":
                self.spool.drop_round(offer.round)

    async def _adder(self, offer: m.RoundOffer, public_key: bytes) -> Adder:
        """Addition under the round's key. A derived group key is known to its members alone, and adding needs none."""
        parameters = parameter_set(offer.parameter_set)
        if offer.symmetric:
            return public_schemes.adder(parameters)
        key = await asyncio.to_thread(public_schemes.validate_public_key, parameters, public_key)
        return public_schemes.adder(parameters, key)

    async def _group_key(self, offer: m.RoundOffer) -> m.OfferKeyReply:
        """The round's key offer; one whose keys derive from a seed serves all later rounds of the job."""
        if self.group_offer is not None:
            return self.group_offer
        maker = min(self.peers)
        self.announce(step="group key", round=offer.round, party=maker)
        reply = await self.peers[maker].offer_key(m.OfferKeyRequest(job=self.request.job, round=offer.round))
        if reply.offer is None:
            raise WireError("a key offer is missing", party=maker)
        statement = verify_signed(reply.offer, KeyOffer, self._key_of(maker))
        if offer.symmetric:
            self.group_offer = reply
        elif public_key_digest(statement.parameter_set, reply.public_key) != statement.public_key_digest:
            raise IntegrityError("the group's public key is not the one its maker signed", party=maker)
        return reply

    async def _add(
        self, offer: m.RoundOffer, ask: m.ContributeRequest, aggregator: Aggregator, sums: CiphertextFile
    ) -> None:
        """Add all contributions in step, one batch of every party at a time."""
        streams = {party: Batches(peer.contribute(ask)) for party, peer in self.peers.items()}
        async with contextlib.AsyncExitStack() as stack:
            for stream in streams.values():
                stack.push_async_callback(stream.close)
            total, most = 0, batch_ciphertexts(parameter_set(offer.parameter_set))
            for start in range(0, offer.ciphertexts, most):
                size = min(most, offer.ciphertexts - start)

                async def take(party: PartyId, _peer: PartyPeer, size: int = size) -> list[bytes]:
                    return await streams[party].take(size)

                batch = await self._each(take, "contribute")
                for party, ciphertexts in batch.items():
                    self.progress.count(party, "received", len(ciphertexts), sum(map(len, ciphertexts)))
                added = await asyncio.to_thread(aggregator.add, batch)
                await asyncio.to_thread(sums.append, added)
                total += size
                self.announce(
                    step="add", round=offer.round, ciphertexts_done=total, ciphertexts_total=offer.ciphertexts
                )

            async def end(party: PartyId, _peer: PartyPeer) -> Signed:
                return await streams[party].receipt()

            signed = await self._each(end, "receipt")
        receipts = {p: verify_signed(s, Receipt, self._key_of(p)) for p, s in signed.items()}
        for party, receipt in receipts.items():
            if (receipt.party, receipt.job, receipt.round) != (party, self.request.job, offer.round):
                raise IntegrityError("a receipt is for something else", party=party)
        aggregator.check(receipts)
        if offer.recipient != "group":
            self.receipts += [signed[p] for p in sorted(signed)]

    def _deliverer(
        self, offer: m.RoundOffer, sums: CiphertextFile
    ) -> Callable[[PartyId, PartyPeer], Awaitable[m.RoundOffer]]:
        async def deliver(party: PartyId, peer: PartyPeer) -> m.RoundOffer:
            async def frames() -> AsyncIterator[m.DeliverFrame]:
                yield m.DeliverFrame(job=self.request.job, round=offer.round)
                if offer.recipient == "group":
                    for ciphertexts in sums.frames(CHUNK_BYTES):
                        self.progress.count(party, "sent", len(ciphertexts), sum(map(len, ciphertexts)))
                        yield m.DeliverFrame(ciphertexts=ciphertexts)

            return await peer.deliver(frames())

        return deliver

    async def _forget(self) -> None:
        """Tell every party that the job is over; one that does not answer forgets at the request's expiry."""
        reference = m.JobReference(job=self.request.job)

        async def cancel(peer: PartyPeer) -> None:
            with contextlib.suppress(MpcError):
                await peer.cancel(reference)

        await asyncio.gather(*(cancel(p) for p in self.peers.values()), return_exceptions=True)


class Batches:
    """A party's stream of frames as batches of a wanted size, then a receipt."""

    def __init__(self, stream: AsyncIterator[m.ContributionFrame]) -> None:
        self._stream: Any = stream
        self._held: list[bytes] = []
        self._receipt: Signed | None = None

    async def take(self, size: int) -> list[bytes]:
        """The next `size` ciphertexts (`WireError` if the stream ends or strays)."""
        while len(self._held) < size:
            frame = await anext(self._stream, None)
            if frame is None or frame.receipt is not None or not frame.ciphertexts:
                raise WireError("a contribution ends early")
            self._held.extend(frame.ciphertexts)
        out, self._held = self._held[:size], self._held[size:]
        return out

    async def receipt(self) -> Signed:
        """The receipt that ends the stream (`WireError` if something else comes)."""
        frame = await anext(self._stream, None)
        if self._held or frame is None or frame.receipt is None or frame.ciphertexts:
            raise WireError("a contribution does not end with its receipt")
        receipt: Signed = frame.receipt
        if await anext(self._stream, None) is not None:
            raise WireError("a contribution goes on after its receipt")
        return receipt

    async def close(self) -> None:
        """End the stream."""
        with contextlib.suppress(Exception):
            await self._stream.aclose()
