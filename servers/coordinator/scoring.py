"""The coordinator's part in scorings: ask who offers what, and pass messages on, stretch by stretch, unread.

It checks signatures, roles, times and lengths, and records each scoring as a job. It keeps no message: one stretch is
in memory for each direction.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mpc.errors import (
    AuthorizationError,
    DeadlineExceeded,
    InternalError,
    JobCancelled,
    MpcError,
    PartyLost,
    PartyUnavailable,
    ProtocolError,
    ResourceExhausted,
    TransportError,
    WireError,
)
from mpc.keys.identity import verify_signed
from mpc.keys.manifest import Manifest
from mpc.keys.statements import Signed
from mpc.parties import PartyId
from mpc.runtime.clock import Clock
from mpc.runtime.metrics import Metrics
from mpc.runtime.peers import PartyPeer
from mpc.sum.transcript import WIRE_VERSION
from mpc.wire import messages as m
from mpc.wire.errors import to_notice
from mpc.wire.job import JobState, analyst_of
from mpc.wire.scoring import SCORE_KIND, CatalogueQuestion, ScoreRequest
from servers.coordinator.store import JobStore

__all__ = ["Scorings"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Running:
    """A scoring on its way."""

    analyst: str
    task: "asyncio.Task[Any] | None"
    cancelled: bool = False
    sent: int = 0
    recording: "asyncio.Task[None] | None" = None
    """The last transition that is on its way to the record."""


class Scorings:
    """The scorings of one room.

    Args:
        manifest: The verified manifest.
        peers: A peer for every party.
        store: The durable record of jobs.
        clock: Time.
        at_once: Scorings that may run together.
        metrics: Counters.
    """

    def __init__(
        self,
        *,
        manifest: Manifest,
        peers: Mapping[PartyId, PartyPeer],
        store: JobStore,
        clock: Clock,
        at_once: int = 32,
        metrics: Metrics | None = None,
    ) -> None:
        self._manifest = manifest
        self._peers = peers
        self._store = store
        self._clock = clock
        self._at_once = at_once
        self._metrics = metrics or Metrics()
        self._running: dict[str, _Running] = {}
        self._places = 0
        self._draining = False

    def _question(self, analyst: str, signed: Signed | None) -> CatalogueQuestion:
        question = verify_signed(self._own(analyst, signed), CatalogueQuestion, analyst_of(self._manifest, analyst))
        question.check(self._manifest, now=self._clock.now())
        return question

    @staticmethod
    def _own(analyst: str, signed: Signed | None) -> Signed:
        """A statement that the caller itself signed."""
        if signed is None:
            raise WireError("a signed statement is missing")
        if signed.signer != analyst:
            raise AuthorizationError("", member=analyst, reason="the request is signed by another member")
        return signed

    def _peer(self, party: str) -> PartyPeer:
        found = self._peers.get(PartyId(party))
        if found is None:
            raise PartyUnavailable("", party=party[:64], reason="it is not a party of the room")
        return found

    @staticmethod
    async def _must_answer(peer: PartyPeer) -> None:
        """Find out at once whether a party is there, on a connection that may be of before its restart."""
        await peer.describe(m.DescribeRequest(wire_version=WIRE_VERSION))

    async def catalogues(self, analyst: str, message: m.CataloguesRequest) -> m.CatalogueList:
        """Every party's offers to this analyst."""
        question = self._question(analyst, message.question)

        async def ask(party: PartyId, peer: PartyPeer) -> m.CatalogueEntry:
            try:
                await self._must_answer(peer)
                return m.CatalogueEntry(party=party, offers=(await peer.catalogues(message)).offers)
            except MpcError as error:
                return m.CatalogueEntry(party=party, error=to_notice(error))

        asked = [(p, q) for p, q in sorted(self._peers.items()) if question.holder in {"", p}]
        return m.CatalogueList(entries=tuple(await asyncio.gather(*(ask(p, q) for p, q in asked))))

    async def labels(self, analyst: str, message: m.LabelsRequest) -> AsyncIterator[m.LabelsFrame]:
        """Sealed labels, passed on."""
        peer = self._peer(self._question(analyst, message.question).holder)
        await self._must_answer(peer)
        async for frame in peer.labels(message):
            yield frame

    async def score(self, analyst: str, frames: AsyncIterator[m.ScoreFrame]) -> AsyncIterator[m.ScoreReplyFrame]:
        """One scoring, from the signed request to the receipt.

        Raises:
            ReplayError: The job has run.
            PartyUnavailable: The holder is away.
            PartyLost: It left in the middle.
        """
        first = await anext(aiter(frames), None)
        if first is None or first.data:
            raise WireError("the first frame carries the signed request alone")
        signed = self._own(analyst, first.request)
        request = verify_signed(signed, ScoreRequest, analyst_of(self._manifest, analyst))
        holder = request.check(self._manifest, now=self._clock.now())
        if self._draining:
            coordinator = self._manifest.coordinator.name
            raise TransportError("", member=coordinator, reason="it is stopping, and takes no new jobs")
        with self._place():
            await asyncio.to_thread(self._store.plan, request.job, 1, analyst, SCORE_KIND, float(request.expires_at))
            async with contextlib.aclosing(self._run(analyst, request, holder, first, frames)) as replies:
                async for reply in replies:
                    yield reply

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places, from before the job is in the record."""
        if self._places >= self._at_once:
            raise ResourceExhausted("", limit="jobs at work")
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    async def _run(
        self,
        analyst: str,
        request: ScoreRequest,
        holder: PartyId,
        first: m.ScoreFrame,
        frames: AsyncIterator[m.ScoreFrame],
    ) -> AsyncGenerator[m.ScoreReplyFrame, None]:
        running = self._running[request.job] = _Running(analyst, asyncio.current_task())
        try:
            async with contextlib.aclosing(self._recorded(running, request, holder, first, frames)) as replies:
                async for reply in replies:
                    yield reply
        finally:
            del self._running[request.job]
            if running.recording is not None:
                await asyncio.gather(running.recording, return_exceptions=True)

    async def _recorded(
        self,
        running: _Running,
        request: ScoreRequest,
        holder: PartyId,
        first: m.ScoreFrame,
        frames: AsyncIterator[m.ScoreFrame],
    ) -> AsyncGenerator[m.ScoreReplyFrame, None]:
        """The relay, with the end of the job in the record whatever happens."""
        error: MpcError | None = JobCancelled("", job=request.job)
        try:
            async with asyncio.timeout(max(0.0, request.expires_at - self._clock.now())):
                async with contextlib.aclosing(self._relay(running, request, holder, first, frames)) as replies:
                    async for reply in replies:
                        if reply.receipt is not None:  # the record first: who holds the receipt finds the job released
                            if running.recording is not None:
                                await running.recording
                            await asyncio.to_thread(self._store.move, request.job, 1, JobState.RELEASED)
                            error = None
                        yield reply
        except MpcError as found:
            error = found
            raise
        except TimeoutError:
            error = DeadlineExceeded("", job=request.job)
            raise error from None
        except asyncio.CancelledError:
            if running.cancelled and running.task is not None:
                running.task.uncancel()
                raise JobCancelled("", job=request.job) from None
            raise
        except Exception as found:
            error = InternalError(str(found))
            raise
        finally:
            self._end(request, error)

    def _record(self, running: _Running, job: str, state: JobState) -> None:
        """Write a transition behind the last one, while messages go on; a job that ended meanwhile stays ended."""
        before = running.recording

        async def move() -> None:
            if before is not None:
                await before
            with contextlib.suppress(ProtocolError):
                await asyncio.to_thread(self._store.move, job, 1, state)

        running.recording = asyncio.create_task(move())

    def _end(self, request: ScoreRequest, error: MpcError | None) -> None:
        """Record an end that is not a release; without waiting, since the call may have been cancelled."""
        if error is not None:
            log.info("job %s aborted: %s", request.job[:8], error)
            row = self._store.find(request.job)
            if row is not None and not row.state.final:
                self._store.move(request.job, 1, JobState.ABORTED, error)
        self._metrics.job_ended(SCORE_KIND, "released" if error is None else error.code)

    async def _relay(
        self,
        running: _Running,
        request: ScoreRequest,
        holder: PartyId,
        first: m.ScoreFrame,
        frames: AsyncIterator[m.ScoreFrame],
    ) -> AsyncGenerator[m.ScoreReplyFrame, None]:
        peer = self._peer(holder)
        await self._must_answer(peer)
        left, taken, started = request.reply_bytes, False, False
        upload = self._upload(running, request, first, frames)
        try:
            async with contextlib.aclosing(peer.score(upload)) as replies:  # type: ignore[type-var]
                async for reply in replies:
                    if not taken:
                        if reply != m.ScoreReplyFrame():
                            raise WireError("a reply begins before its request is taken", party=holder)
                        taken = True
                        self._record(running, request.job, JobState.COMMITTED)
                        yield reply
                        continue
                    left -= len(reply.data)
                    if left < 0 or (reply.receipt is not None) != (not reply.data) or (reply.receipt and left):
                        raise WireError("a reply has another length than its request says", party=holder)
                    if not started:
                        started = True
                        self._record(running, request.job, JobState.COLLECTING)
                    self._metrics.moved("sent", 0, len(reply.data))
                    yield reply
                    if reply.receipt is not None:
                        return
            raise WireError("a reply ends without a receipt", party=holder)
        except TransportError as error:
            if running.sent and type(error) in {TransportError, PartyUnavailable}:
                raise PartyLost(error.detail, party=holder, step="score") from None
            error.fields.setdefault("party", holder)
            raise

    async def _upload(
        self, running: _Running, request: ScoreRequest, first: m.ScoreFrame, frames: AsyncIterator[m.ScoreFrame]
    ) -> AsyncIterator[m.ScoreFrame]:
        """The request, then exactly as many bytes as it says."""
        yield first
        left = request.query_bytes
        async for frame in frames:
            left -= len(frame.data)
            if frame.request is not None or not frame.data or left < 0:
                raise WireError("a query message is longer than its request says, or a stretch of it is empty")
            running.sent += 1
            self._metrics.moved("received", 0, len(frame.data))
            yield frame
        if left:
            raise WireError("a query message is shorter than its request says")

    def cancel(self, analyst: str, job: str) -> bool:
        """Cancel a running scoring of this analyst; whether there was one."""
        running = self._running.get(job)
        if running is None:
            return False
        if running.analyst != analyst:
            raise AuthorizationError("", member=analyst, job=job)
        running.cancelled = True
        if running.task is not None:
            running.task.cancel()
        return True

    async def drain(self) -> None:
        """Refuse new scorings from now on, and wait until the running ones have ended."""
        self._draining = True
        while self._places:
            await self._clock.sleep(0.05)
