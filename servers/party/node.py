"""The party's part in jobs: judge, commit, derive, and let a worker do the rest.

Every message from the coordinator is checked here against the analyst's signature, the room's manifest and the owner's
policy. Identity and mask keys stay in this process; a worker gets one round's derived keys at a time.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from mpc.errors import (
    IntegrityError,
    JobCancelled,
    MpcError,
    PartyLost,
    PartyUnavailable,
    ProtocolError,
    ResourceExhausted,
    WireError,
)
from mpc.keys.identity import IdentityKey, verify_signed
from mpc.keys.manifest import Manifest
from mpc.keys.public import public_key_digest
from mpc.keys.secret import MaskKey, SealingKey
from mpc.parties import PartyId
from mpc.policy import Policy
from mpc.primitives import Recipient, SumHeader
from mpc.runtime import traces
from mpc.runtime.clock import Clock
from mpc.runtime.metrics import Metrics
from mpc.sum.messages import Commitment
from mpc.wire import messages as m
from mpc.wire.job import JobRequest, analyst_of, request_digest
from mpc.wire.limits import CHUNK_BYTES
from servers.party import group_keys
from servers.party.checkpoints import Checkpoints
from servers.party.config import PartyConfig
from servers.party.frames import Operation
from servers.party.job import PartyJob
from servers.party.judgement import judge_request
from servers.party.pool import Worker, WorkerPool
from servers.party.session import Asked, RoundKeys, Task
from servers.party.statements import check_commitments, chunks, required, seal_note
from servers.party.store import PartyStore

__all__ = ["PartyNode"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_IDLE_S: Final = 60.0
"""A job of which nothing is asked for this long is forgotten: between steps a coordinator is never silent so long."""


class PartyNode:
    """One data owner's node, without its transport.

    Args:
        config: The node's configuration.
        manifest: The verified manifest of the room.
        policy: The owner's policy.
        identity: The signing key.
        store: The durable record.
        pool: Workers.
        state: Folder for checkpoints.
        clock: Time.
        metrics: Counters.
    """

    def __init__(
        self,
        *,
        config: PartyConfig,
        manifest: Manifest,
        policy: Policy,
        identity: IdentityKey,
        store: PartyStore,
        pool: WorkerPool,
        state: Path,
        clock: Clock,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = PartyId(config.name)
        self._metrics = metrics or Metrics()
        self._metrics.watch("sealroom_jobs_open", "Jobs that are open now.", self._count_jobs, label="state")
        self._draining = False
        self._config = config
        self._manifest = manifest
        self._policy = policy
        self._identity = identity
        self._store = store
        self._pool = pool
        self._state = state
        self._clock = clock
        self._jobs: dict[str, PartyJob] = {}

    # ---- commit ----------------------------------------------------------------------------------------------

    async def commit(self, message: m.CommitRequest) -> m.CommitReply:
        """Judge an analyst's request and promise to take part in exactly its set.

        Reveals: to the coordinator, one-time public keys, that the policy agreed, and how many jobs work here at once.
        """
        if self._draining:
            raise PartyUnavailable("", party=self.name, reason="it is stopping, and takes no new jobs")
        signed = required(message.request)
        request = verify_signed(signed, JobRequest, analyst_of(self._manifest, signed.signer))
        participants = request.check(self._manifest, now=self._clock.now())
        if self.name not in participants:
            raise ProtocolError("", reason="this party is not among the participants")
        if public_key_digest(request.parameter_set, message.recipient_key) != request.recipient_key_digest:
            raise IntegrityError("the recipient's key is not the one the analyst signed")
        if len(self._jobs) >= 4 * self._config.jobs_at_once:
            raise ResourceExhausted("", limit="jobs committed to")
        judged = (self._policy, self._manifest, request, signed.signer, self.name)
        await asyncio.to_thread(judge_request, *judged, trainers=frozenset(self._config.trainers))
        digest = request_digest(signed.payload)
        await asyncio.to_thread(self._store.commit, request.job, request.attempt, digest)
        await self._drop(request.job)
        job = self._new_job(request, digest, message.recipient_key)
        self._jobs[request.job] = job
        job.expiry = asyncio.create_task(self._expire(request.job, float(request.expires_at)))
        signed = self._identity.sign(job.commitment, self.name)
        return m.CommitReply(commitment=signed, jobs_at_once=self._config.jobs_at_once)

    def _new_job(self, request: JobRequest, digest: bytes, recipient_key: bytes) -> PartyJob:
        mask_key, sealing_key = MaskKey(), SealingKey()
        checkpoint = Checkpoints(self._folder(request.job)).latest() if request.attempt > 1 else 0
        commitment = Commitment(
            room=request.room,
            job=request.job,
            attempt=request.attempt,
            party=self.name,
            request_digest=digest,
            participants=request.participants,
            mask_key=mask_key.public,
            sealing_key=sealing_key.public,
            checkpoint=checkpoint,
        )
        return PartyJob(
            me=self.name,
            request=request,
            digest=digest,
            recipient_key=recipient_key,
            commitment=commitment,
            mask_key=mask_key,
            sealing_key=sealing_key,
            touched=self._clock.now(),
        )

    def _folder(self, job: str) -> Path:
        return self._state / "checkpoints" / job

    async def _expire(self, job: str, expires_at: float) -> None:
        """Forget a job at its expiry, or when nothing was asked of it for a while: its coordinator is gone."""
        while True:
            found = self._jobs.get(job)
            if found is None:
                return
            now = self._clock.now()
            if found.lock.locked():
                found.touched = now
            idle = now - found.touched
            if now >= expires_at or idle >= _IDLE_S:
                log.info("job %s %s", job[:8], "expired" if now >= expires_at else "was abandoned")
                await self._drop(job, cancel_expiry=False)
                return
            await self._clock.sleep(min(expires_at - now, _IDLE_S - idle))

    # ---- rounds ----------------------------------------------------------------------------------------------

    async def begin(self, message: m.BeginRequest) -> m.RoundOffer:
        """Check everybody's commitment and run to the first sum.

        Reveals: to the coordinator, the number of ciphertexts of the first round.
        """
        job = self._job(message.job)
        async with job.lock:
            if job.peers:
                raise ProtocolError("", reason="the job has begun")
            job.peers = check_commitments(job, self._manifest, message.commitments)
            resume = min(c.checkpoint for c in job.peers.values())
            job.worker = worker = await self._pool.acquire()
            try:
                self._require_open(job)
                await self._ask(worker, Operation.OPEN, self._task(job, resume), type(None))
                return self._offer(job, await self._ask(worker, Operation.ADVANCE, None, Asked))
            except BaseException:
                await self._release(job, clean=False)
                await self._drop(message.job)
                raise

    def _require_open(self, job: PartyJob) -> None:
        """Refuse to go on with a job that was cancelled while it waited for a worker (`JobCancelled`)."""
        if self._jobs.get(job.request.job) is not job:
            raise JobCancelled("", job=job.request.job)

    def _task(self, job: PartyJob, resume: int) -> Task:
        request = job.request
        return Task(
            job=request.job,
            kind=request.kind,
            body=request.body,
            plan_digest=request.plan_digest,
            me=self.name,
            participants=request.participants,
            parameter_set=request.parameter_set,
            options=request.options,
            dictionary=self._manifest.dictionary,
            sources=self._config.sources,
            limits=self._config.limits,
            checkpoints=str(self._folder(request.job)),
            models=str(self._state / "models"),
            models_kept=self._config.models_kept,
            trainers=self._config.trainers,
            resume=resume,
        )

    def _offer(self, job: PartyJob, asked: Asked) -> m.RoundOffer:
        job.round += 1
        job.asked = asked
        if not job.derives_keys:
            job.group_secret = b""
        job.sealed = [seal_note(job, self._identity, note) for note in asked.notes]
        sealed_bytes = sum(len(box) for box in job.sealed)
        header = asked.header
        if asked.finished or header is None:
            return m.RoundOffer(job=job.request.job, round=job.round, finished=True, sealed_bytes=sealed_bytes)
        layout = job.layout(header)
        return m.RoundOffer(
            job=job.request.job,
            round=job.round,
            recipient=header.recipient.value,
            parameter_set=asked.parameter_set,
            ciphertexts=layout.ciphertexts,
            symmetric=header.recipient is Recipient.GROUP and job.derives_keys,
            sealed_bytes=sealed_bytes,
        )

    async def collect(self, message: m.CollectRequest) -> AsyncIterator[m.SealedFrame]:
        """Send what was sealed to the analyst at the present round."""
        job = self._job(message.job)
        if message.round != job.round:
            raise ProtocolError("", reason="another round is open", round=job.round)
        data = b"".join(job.sealed)
        for start in range(0, len(data), CHUNK_BYTES):
            yield m.SealedFrame(party=self.name, data=data[start : start + CHUNK_BYTES])

    async def offer_key(self, message: m.OfferKeyRequest) -> m.OfferKeyReply:
        """Make the group key of a round and seal it to every member; only the lowest party does.

        Reveals: to the members, the group's secret key; to the coordinator, the public key.
        """
        job = self._job(message.job)
        async with job.lock:
            header = job.header(message.round, Recipient.GROUP)
            if self.name != min(job.request.participants) or job.group_secret or job.worker is None:
                raise ProtocolError("", reason="this party makes no key now", round=job.round)
            if job.derives_keys:
                public, material = b"", group_keys.new_seed(job)
            else:
                public, material = await self._ask(job.worker, Operation.GROUP_KEY, None, tuple[bytes, bytes])
            offer = group_keys.make_offer(job, header, self._identity, public, material)
            return m.OfferKeyReply(offer=offer, public_key=public)

    async def contribute(self, message: m.ContributeRequest) -> AsyncIterator[m.ContributionFrame]:
        """Send this party's ciphertexts of a round, once, and its receipt.

        Reveals: to the coordinator, ciphertexts whose number and size follow from the round's header.
        """
        job = self._job(message.job)
        async with job.lock:
            header = job.header(message.round)
            public, secret, info = job.recipient_key, b"", b""
            if header.recipient is Recipient.GROUP:
                offer = required(message.offer)
                digest = group_keys.take_offer(job, header, self._manifest, offer, message.public_key)
                public, secret, info = message.public_key, job.group_secret, group_keys.round_info(job)
            else:
                digest = public_key_digest(job.request.parameter_set, public)
            bound = job.transcript(header, digest)
            keys = RoundKeys(
                transcript=bound,
                pair_keys=job.pair_keys(bound),
                public_key=public,
                group_secret=secret,
                group_info=info,
            )
            await asyncio.to_thread(self._store.use_mask, job.request.job, job.request.attempt, job.round)
            async for frame in self._encrypted(job, header, keys):
                yield frame

    async def _encrypted(self, job: PartyJob, header: SumHeader, keys: RoundKeys) -> AsyncIterator[m.ContributionFrame]:
        if job.worker is None:
            raise PartyLost("", party=self.name)
        started = self._clock.monotonic()
        async with contextlib.aclosing(job.worker.stream(Operation.CONTRIBUTE, keys)) as parts:
            async for last, raw in parts:
                if not last:
                    for chunk in chunks(msgspec.msgpack.decode(raw, type=list[bytes])):
                        self._metrics.moved("sent", len(chunk), sum(map(len, chunk)))
                        yield m.ContributionFrame(ciphertexts=chunk)
                    continue
                self._metrics.phase(Operation.CONTRIBUTE.value, self._clock.monotonic() - started)
                self._metrics.rounds_done()
                receipt = job.receipt(header, msgspec.msgpack.decode(raw, type=bytes))
                yield m.ContributionFrame(receipt=self._identity.sign(receipt, self.name))

    async def deliver(self, frames: AsyncIterator[m.DeliverFrame]) -> m.RoundOffer:
        """Take a round's sum (nothing, if it was the analyst's) and run to the next sum.

        Reveals: to the coordinator, the number of ciphertexts of the next round.
        """
        first = await anext(aiter(frames), None)
        if first is None or first.ciphertexts:
            raise WireError("the first frame names job and round")
        job = self._job(first.job)
        async with job.lock:
            header = job.header(first.round)
            worker = job.worker
            if worker is None:
                raise PartyLost("", party=self.name)
            try:
                async for frame in frames:
                    if header.recipient is not Recipient.GROUP or frame.job or frame.round:
                        raise ProtocolError("", reason="ciphertexts that nobody here opens", round=job.round)
                    self._metrics.moved("received", len(frame.ciphertexts), sum(map(len, frame.ciphertexts)))
                    await self._ask(worker, Operation.TAKE, list(frame.ciphertexts), type(None))
                offer = self._offer(job, await self._ask(worker, Operation.COMPLETE, None, Asked))
            except MpcError:
                await self._drop(first.job)
                raise
        if offer.finished:
            await self._release(job, clean=True)
        return offer

    async def _ask(self, worker: Worker, operation: Operation, payload: Any, kind: type[T]) -> T:
        """One request to a worker, timed and traced."""
        with self._metrics.timed(operation.value), traces.span(f"worker {operation.value}", operation=operation.value):
            return await worker.request(operation, payload, kind)

    # ---- ends ------------------------------------------------------------------------------------------------

    async def cancel(self, message: m.JobReference) -> m.Acknowledgement:
        """Forget a job and kill its worker."""
        await self._drop(message.job)
        return m.Acknowledgement(job=message.job)

    def _job(self, job: str) -> PartyJob:
        found = self._jobs.get(job)
        if found is None:
            raise ProtocolError("", reason="no such job is open at this party")
        found.touched = self._clock.now()
        return found

    async def _release(self, job: PartyJob, *, clean: bool) -> None:
        worker, job.worker = job.worker, None
        if worker is None:
            return
        if clean:
            try:
                await self._ask(worker, Operation.CLOSE, None, type(None))
            except MpcError:
                clean = False
        await self._pool.release(worker, clean=clean)

    async def _drop(self, job: str, *, cancel_expiry: bool = True) -> None:
        found = self._jobs.pop(job, None)
        if found is None:
            return
        if found.expiry is not None and cancel_expiry:
            found.expiry.cancel()
        found.group_secret = b""
        finished = found.asked is not None and found.asked.finished
        self._metrics.job_ended(found.request.kind.value, "released" if finished else "aborted")
        await self._release(found, clean=False)

    async def drain(self) -> None:
        """Refuse new jobs from now on, and wait until the open ones have ended."""
        self._draining = True
        while self._jobs:
            await self._clock.sleep(0.05)

    def _count_jobs(self) -> dict[str, float]:
        working = sum(1 for job in self._jobs.values() if job.worker is not None)
        return {"working": float(working), "committed": float(len(self._jobs) - working)}

    async def close(self) -> None:
        """End every job and every worker."""
        for job in list(self._jobs):
            await self._drop(job)
        await self._pool.close()
        self._store.close()

    @property
    def open_jobs(self) -> Mapping[str, int]:
        """Jobs with a worker, and their round."""
        return {job: state.round for job, state in self._jobs.items() if state.worker is not None}
