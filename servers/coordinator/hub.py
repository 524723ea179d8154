"""The coordinator without its transport: takes jobs, runs them, lets their analysts watch and fetch."""

import asyncio
import contextlib
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mpc.errors import (
    AuthorizationError,
    DeadlineExceeded,
    IntegrityError,
    InternalError,
    JobCancelled,
    MpcError,
    ProtocolError,
    ResourceExhausted,
    TransportError,
    WireError,
)
from mpc.keys.identity import verify_signed
from mpc.keys.manifest import Manifest
from mpc.keys.public import public_key_digest
from mpc.parties import PartyId
from mpc.runtime import traces
from mpc.runtime.clock import Clock
from mpc.runtime.metrics import Metrics
from mpc.runtime.peers import PartyPeer
from mpc.runtime.storage import disk_full
from mpc.wire import messages as m
from mpc.wire.errors import to_notice
from mpc.wire.job import JobRequest, JobState, analyst_of
from mpc.wire.limits import CHUNK_BYTES
from servers.coordinator.engine import JobRun
from servers.coordinator.spool import JobSpool
from servers.coordinator.store import JobStore
from servers.coordinator.turns import Turns

__all__ = ["Hub"]

log = logging.getLogger(__name__)

_KEEP_RESULT_S = 900.0
_FETCH_S = 5.0


@dataclass(slots=True)
class _Live:
    """A job of this process's lifetime."""

    run: JobRun
    events: list[m.JobEvent] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    state: JobState = JobState.PLANNED
    error: BaseException | None = None
    started: float = 0.0
    fetched: bool = False
    wake: set[asyncio.Event] = field(default_factory=set)

    @property
    def over(self) -> bool:
        """Whether nobody waits for anything of it any more."""
        return self.fetched or (self.state.final and self.state is not JobState.RELEASED)


class Hub:
    """The coordinator of one room.

    Args:
        manifest: The verified manifest.
        peers: A peer for every party of the room.
        store: The durable record.
        spool: Folder for sums and sealed bytes.
        clock: Time.
        jobs_at_once: Jobs that may work together; a party may work on fewer.
        jobs_waiting: Jobs that may wait for their turn.
        metrics: Counters.
    """

    def __init__(
        self,
        *,
        manifest: Manifest,
        peers: Mapping[PartyId, PartyPeer],
        store: JobStore,
        spool: Path,
        clock: Clock,
        jobs_at_once: int = 8,
        jobs_waiting: int = 64,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._metrics.watch("sealroom_jobs_open", "Jobs that are open now.", self._count_jobs, label="state")
        self._draining = False
        self._manifest = manifest
        self._peers = peers
        self._store = store
        self._spool = spool
        self._clock = clock
        self._jobs_at_most = jobs_at_once + jobs_waiting
        self._planning = 0
        self._turns = Turns(jobs_at_once)
        self._live: dict[str, _Live] = {}
        self._janitors: set[asyncio.Task[None]] = set()
        self._cut_off: list[str] = []

    def recover(self) -> int:
        """After a start: abort what a crash cut off, and clear the spool. Returns how many jobs were aborted."""
        cut_off = self._store.unfinished()
        for row in cut_off:
            error = ProtocolError("", job=row.job, reason="the coordinator was restarted during the job")
            self._store.move(row.job, row.attempt, JobState.ABORTED, error)
        shutil.rmtree(self._spool, ignore_errors=True)
        self._spool.mkdir(parents=True, mode=0o700)
        self._cut_off = [row.job for row in cut_off]
        return len(cut_off)

    async def release_parties(self) -> None:
        """Tell every party to forget the jobs that a crash cut off; one that does not answer forgets by itself."""

        async def cancel(peer: PartyPeer, job: str) -> None:
            with contextlib.suppress(MpcError):
                await peer.cancel(m.JobReference(job=job))

        await asyncio.gather(*(cancel(peer, job) for peer in self._peers.values() for job in self._cut_off))
        self._cut_off = []

    async def submit(self, analyst: str, message: m.SubmitRequest) -> m.Acknowledgement:
        """Take a job from an analyst and start it."""
        if self._draining:
            coordinator = self._manifest.coordinator.name
            raise TransportError("", member=coordinator, reason="it is stopping, and takes no new jobs")
        signed = message.request
        if signed is None:
            raise WireError("a signed request is missing")
        if signed.signer != analyst:
            raise AuthorizationError("", member=analyst, reason="the request is signed by another member")
        request = verify_signed(signed, JobRequest, analyst_of(self._manifest, analyst))
        participants = request.check(self._manifest, now=self._clock.now())
        if public_key_digest(request.parameter_set, message.recipient_key) != request.recipient_key_digest:
            raise IntegrityError("the recipient's key is not the one the analyst signed")
        if self._planning + sum(not live.state.final for live in self._live.values()) >= self._jobs_at_most:
            raise ResourceExhausted("", limit="jobs that wait")
        self._planning += 1  # counted before the first wait, so that jobs at once cannot overshoot
        try:
            await asyncio.to_thread(
                self._store.plan, request.job, request.attempt, analyst, request.kind.value, float(request.expires_at)
            )
        finally:
            self._planning -= 1
        earlier = self._live.pop(request.job, None)
        if earlier is not None:
            earlier.run.spool.remove()
        self._start(signed, request, participants, message.recipient_key)
        return m.Acknowledgement(job=request.job)

    def _start(self, signed: object, request: JobRequest, participants: tuple[PartyId, ...], key: bytes) -> None:
        async def move(state: JobState) -> None:
            await asyncio.to_thread(self._store.move, request.job, request.attempt, state)
            live.state = state
            self._announce(live, step="state")

        def announce(**fields: object) -> None:
            self._announce(live, **fields)

        run = JobRun(
            manifest=self._manifest,
            signed=signed,  # type: ignore[arg-type]  # narrowed by the caller
            request=request,
            recipient_key=key,
            peers={p: self._peers[p] for p in participants},
            spool=JobSpool(self._spool / f"{request.job}-{request.attempt}"),
            announce=announce,
            move=move,
            learn=self._turns.learn,
            clock=self._clock,
        )
        live = _Live(run=run, started=self._clock.monotonic())
        self._live[request.job] = live
        live.task = asyncio.create_task(self._drive(live))

    async def _drive(self, live: _Live) -> None:
        request = live.run.request
        try:
            with traces.span("coordinate", job=request.job[:8], kind=request.kind.value):
                async with (
                    asyncio.timeout(max(0.0, request.expires_at - self._clock.now())),
                    self._turns.taken(live.run.peers, lambda: self._announce(live, step="queued")),
                ):
                    await live.run.run()
            await self._end(live, JobState.RELEASED, None)
        except MpcError as error:
            await self._end(live, JobState.ABORTED, error)
        except TimeoutError:
            await self._end(live, JobState.ABORTED, DeadlineExceeded("", job=request.job))
        except asyncio.CancelledError:
            await self._end(live, JobState.ABORTED, JobCancelled("", job=request.job))
        except Exception as error:
            if (full := disk_full(error, member=self._manifest.coordinator.name)) is None:
                log.exception("job %s failed unexpectedly", request.job[:8])
            await self._end(live, JobState.ABORTED, full or InternalError(str(error)))

    async def _end(self, live: _Live, state: JobState, error: MpcError | None) -> None:
        request = live.run.request
        if error is not None:
            log.info("job %s aborted: %s", request.job[:8], error)
            live.run.spool.remove()
        try:
            await asyncio.to_thread(self._store.move, request.job, request.attempt, state, error)
        except (sqlite3.Error, OSError) as failure:
            # The analyst must hear of the end all the same. A record that stays behind is aborted at the next start.
            log.exception("job %s could not be recorded as %s", request.job[:8], state.value)
            if state is JobState.RELEASED:
                full = disk_full(failure, member=self._manifest.coordinator.name)
                state, error = JobState.ABORTED, full or InternalError(str(failure))
                live.run.spool.remove()
        live.state, live.error = state, error
        self._announce(live, step="state")
        self._measure(live)
        janitor = asyncio.create_task(self._expire(request.job, live))
        self._janitors.add(janitor)
        janitor.add_done_callback(self._janitors.discard)

    def _measure(self, live: _Live) -> None:
        """Add a job that ended to the counters."""
        error, progress = live.error, live.run.progress
        outcome = "released" if error is None else error.code if isinstance(error, MpcError) else InternalError.code
        self._metrics.job_ended(live.run.request.kind.value, outcome)
        self._metrics.rounds_done(progress.rounds)
        for phase, seconds in progress.phases.items():
            self._metrics.phase(phase, seconds)
        for counts in progress.traffic.values():
            for direction in ("received", "sent"):
                self._metrics.moved(
                    direction, counts.get(f"ciphertexts_{direction}", 0), counts.get(f"bytes_{direction}", 0)
                )

    def _count_jobs(self) -> dict[str, float]:
        states = [live.state.value.lower() for live in self._live.values() if not live.state.final]
        return {s: float(states.count(s)) for s in ("planned", "committed", "collecting")}

    async def _expire(self, job: str, live: _Live) -> None:
        await self._clock.sleep(_KEEP_RESULT_S)
        live.run.spool.remove()
        if self._live.get(job) is live:
            del self._live[job]

    def _announce(self, live: _Live, **fields: object) -> None:
        notice = to_notice(live.error) if live.error is not None else None
        event = m.JobEvent(
            job=live.run.request.job,
            sequence=len(live.events) + 1,
            state=live.state.value,
            error=notice,
            seconds=self._clock.monotonic() - live.started,
            **fields,  # type: ignore[arg-type]  # the engine announces fields of JobEvent only
        )
        live.events.append(event)
        for event_flag in live.wake:
            event_flag.set()

    def _owned(self, analyst: str, job: str) -> _Live | None:
        live = self._live.get(job)
        if live is not None and live.run.signed.signer != analyst:
            raise AuthorizationError("", member=analyst, job=job)
        return live

    async def watch(self, analyst: str, message: m.WatchRequest) -> AsyncIterator[m.JobEvent]:
        """Events of a job after a sequence number, until it ends."""
        live = self._owned(analyst, message.job)
        if live is None:
            yield self._recorded(analyst, message.job)
            return
        position = message.after
        flag = asyncio.Event()
        live.wake.add(flag)
        try:
            while True:
                flag.clear()
                for event in live.events[position:]:
                    position = event.sequence
                    yield event
                    if JobState(event.state).final:
                        return
                await flag.wait()
        finally:
            live.wake.discard(flag)

    def _recorded(self, analyst: str, job: str) -> m.JobEvent:
        """The last word on a job that this process did not run."""
        row = self._store.find(job)
        if row is None or row.analyst != analyst:
            raise ProtocolError("", job=job[:32], reason="no such job")
        return m.JobEvent(job=job, sequence=1, state=row.state.value, step="state", error=row.error)

    async def fetch(self, analyst: str, message: m.JobReference) -> AsyncIterator[m.ResultFrame]:
        """The result of a released job."""
        live = self._owned(analyst, message.job)
        if live is None or live.state is not JobState.RELEASED:
            raise ProtocolError("", job=message.job[:32], reason="the job has no result here")
        run = live.run
        run.progress.traffic.setdefault(analyst, {})
        yield m.ResultFrame(commitments=tuple(run.commitments), receipts=tuple(run.receipts))
        for party, data in run.spool.sealed_frames(CHUNK_BYTES):
            run.progress.count(analyst, "sent", 0, len(data))
            yield m.ResultFrame(party=party, sealed=data)
        for number, file in sorted(run.spool.rounds.items()):
            for ciphertexts in file.frames(CHUNK_BYTES):
                run.progress.count(analyst, "sent", len(ciphertexts), sum(map(len, ciphertexts)))
                yield m.ResultFrame(round=number, ciphertexts=ciphertexts)
        traffic = tuple(m.Traffic(member=member, **counts) for member, counts in run.progress.traffic.items())
        phases = tuple(m.Phase(name=name, seconds=seconds) for name, seconds in run.progress.phases.items())
        yield m.ResultFrame(traffic=traffic, phases=phases)
        live.fetched = True

    async def cancel(self, analyst: str, message: m.JobReference) -> m.Acknowledgement:
        """Cancel a running job of this analyst."""
        live = self._owned(analyst, message.job)
        if live is not None and live.task is not None and not live.state.final:
            live.task.cancel()
        return m.Acknowledgement(job=message.job)

    async def list(self, analyst: str, message: m.ListRequest) -> m.JobList:
        """This analyst's jobs, newest first."""
        rows = await asyncio.to_thread(self._store.latest, analyst, min(max(message.most, 1), 1000))
        return m.JobList(
            jobs=tuple(
                m.JobSummary(
                    job=r.job,
                    analyst=r.analyst,
                    kind=r.kind,
                    state=r.state.value,
                    submitted_at=r.submitted_at,
                    error_code=r.error.code if r.error else "",
                )
                for r in rows
            )
        )

    async def survey(self, message: m.DescribeRequest, *, only: str | None = None) -> m.SurveyReply:
        """Ask every party, or one alone, whether it answers."""

        async def ask(party: PartyId, peer: PartyPeer) -> m.SurveyEntry:
            try:
                return m.SurveyEntry(party=party, description=await peer.describe(message))
            except MpcError as error:
                return m.SurveyEntry(party=party, error=to_notice(error))

        asked = sorted((p, q) for p, q in self._peers.items() if only in (None, p))
        return m.SurveyReply(entries=tuple(await asyncio.gather(*(ask(p, q) for p, q in asked))))

    async def drain(self) -> None:
        """Refuse new jobs from now on, and wait until the running ones have ended and their results were fetched.

        A result that nobody fetches is waited for a few seconds: an analyst that watches fetches at once.
        """
        self._draining = True
        idle_since = self._clock.monotonic()
        while (waiting := [live for live in self._live.values() if not live.over]) or self._planning:
            if self._planning or any(not live.state.final for live in waiting):
                idle_since = self._clock.monotonic()
            if self._clock.monotonic() - idle_since > _FETCH_S:
                return
            await self._clock.sleep(0.05)

    async def close(self) -> None:
        """Cancel what runs and close the record."""
        for live in self._live.values():
            if live.task is not None and not live.state.final:
                live.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await live.task
        for janitor in list(self._janitors):
            janitor.cancel()
        self._store.close()
