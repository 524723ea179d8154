"""One job from the analyst's side: sign, submit, watch, fetch, verify, open."""

import asyncio
import contextlib
import functools
import math
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from mpc.entropy import SystemEntropy
from mpc.errors import InternalError, JobCancelled, MpcError, ParameterError, ProtocolError, WireError
from mpc.keys.identity import IdentityKey, verify_signed
from mpc.keys.manifest import Manifest
from mpc.keys.public import PublicKey
from mpc.keys.secret import SealingKey, SecretKey
from mpc.keys.statements import Signed
from mpc.packing.layout import VectorLayout
from mpc.packing.segments import IntegerArray
from mpc.params import SchemeId, parameter_set
from mpc.parties import PartyId
from mpc.primitives import SumHeader
from mpc.runtime import traces
from mpc.runtime.clock import Clock
from mpc.runtime.peers import CoordinatorPeer
from mpc.runtime.warming import warm_kernels
from mpc.schemes import secret as secret_schemes
from mpc.sum.messages import Commitment, Receipt
from mpc.sum.opener import Opener
from mpc.sum.transcript import RoundContext, transcript
from mpc.wire import messages as m
from mpc.wire.errors import from_notice
from mpc.wire.job import JobKind, JobRequest, JobState, request_digest
from mpc.wire.limits import MAX_SEALED_BYTES
from mpc.wire.notes import SealedNote, note_body_digest, note_context, split_notes

__all__ = ["KeyPool", "Note", "NoteReader", "Outcome", "PreparedJob", "Watcher", "latest", "lifetime", "warm_analyst"]

Watcher = Callable[[m.JobEvent], None]

_GRACE_S: Final = 5.0
"""How long after a job's expiry the coordinator may still take to say so."""

_LAST_WORD_S: Final = 5.0
"""How long the coordinator may take to hear that a job is given up; it forgets the job at its expiry anyway."""


def lifetime(timeout_s: float, most: int) -> int:
    """A job's lifetime in whole seconds, as long as the room allows.

    Raises:
        ParameterError: It is not a positive number of seconds.
    """
    if not (math.isfinite(timeout_s) and timeout_s > 0):
        raise ParameterError("a job's lifetime is a positive number of seconds")
    return min(max(1, int(timeout_s)), most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a party told the analyst alone."""

    party: str
    round: int
    kind: str
    body: bytes = field(repr=False)


class KeyPool:
    """Single-use key pairs; the next one is made ahead while the present job runs."""

    def __init__(self) -> None:
        self._ahead: dict[str, asyncio.Task[tuple[PublicKey, SecretKey]]] = {}

    def _make(self, name: str) -> "asyncio.Task[tuple[PublicKey, SecretKey]]":
        return asyncio.create_task(asyncio.to_thread(_fresh_pair, name))

    async def take(self, name: str) -> tuple[PublicKey, SecretKey]:
        """A fresh pair of a set."""
        ahead = self._ahead.pop(name) if name in self._ahead else self._make(name)
        return await ahead

    def prepare(self, name: str) -> None:
        """Begin the next pair in the background."""
        if name not in self._ahead:
            self._ahead[name] = self._make(name)

    def close(self) -> None:
        """Forget pairs made ahead."""
        for task in self._ahead.values():
            task.cancel()
        self._ahead.clear()


@functools.cache
def warm_analyst(name: str) -> None:
    """Make the kernels of a set's keys, once; those that open totals follow in the background, while parties work.

    Where a node beside us compiles them just now, its outcome is waited for.
    """
    if parameter_set(name).scheme is SchemeId.RLWE:
        from mpc.schemes.rlwe.secret import KEYS, OPENING

        warm_kernels([name], KEYS)
        threading.Thread(target=warm_kernels, args=([name], OPENING), daemon=True).start()


def _fresh_pair(name: str) -> tuple[PublicKey, SecretKey]:
    warm_analyst(name)
    return secret_schemes.generate(parameter_set(name), SystemEntropy())


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came back, verified."""

    request: JobRequest
    totals: dict[int, dict[str, IntegerArray]] = field(default_factory=dict, repr=False)
    """Opened totals by round."""

    notes: list[Note] = field(default_factory=list, repr=False)
    ciphertexts: int = 0
    bytes_received: int = 0
    traffic: dict[str, dict[str, int]] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)


HeaderOf = Callable[[int, Sequence[Note]], SumHeader]
"""The header of an analyst's round, from its number and the notes received: the program the analyst recompiled."""


@dataclass(slots=True, kw_only=True)
class PreparedJob:
    """A signed job with its one-time keys.

    Reveals: to the coordinator and the parties, the request; nothing that opens anything leaves.
    """

    manifest: Manifest
    name: str
    request: JobRequest
    signed: Signed
    public: PublicKey
    secret: SecretKey = field(repr=False)
    sealing: SealingKey = field(repr=False)
    clock: Clock = field(repr=False)

    @classmethod
    def sign(
        cls,
        *,
        manifest: Manifest,
        name: str,
        identity: IdentityKey,
        clock: Clock,
        keys: tuple[PublicKey, SecretKey],
        kind: JobKind,
        body: str,
        plan_digest: bytes,
        participants: Sequence[str],
        timeout_s: float,
        options: tuple[tuple[str, str], ...] = (),
        job: str = "",
        attempt: int = 1,
    ) -> "PreparedJob":
        """Sign a request under fresh keys.

        Raises:
            ParameterError: The timeout is not a positive number of seconds.
        """
        lifetime_s = lifetime(timeout_s, manifest.floor.job_lifetime_s)
        sealing = SealingKey()
        public, secret = keys
        now = int(clock.now())
        request = JobRequest(
            room=manifest.room,
            job=job or secrets.token_hex(16),
            attempt=attempt,
            kind=kind,
            body=body,
            plan_digest=plan_digest,
            participants=tuple(sorted(participants)),
            parameter_set=public.parameter_set,
            recipient_key_digest=public.digest,
            sealing_key=sealing.public,
            issued_at=now,
            expires_at=now + lifetime_s,
            options=options,
        )
        return cls(
            manifest=manifest,
            name=name,
            request=request,
            signed=identity.sign(request, name),
            public=public,
            secret=secret,
            sealing=sealing,
            clock=clock,
        )

    async def run(self, peer: CoordinatorPeer, header_of: HeaderOf, watcher: Watcher | None = None) -> Outcome:
        """Submit, wait, fetch, verify and open; the keys are destroyed whatever happens.

        Raises:
            MpcError: Whatever ended the job.
        """
        reference = m.JobReference(job=self.request.job)
        try:
            started = self.clock.monotonic()
            with traces.span("job", job=self.request.job[:8], kind=self.request.kind.value):
                try:
                    await peer.submit(m.SubmitRequest(request=self.signed, recipient_key=self.public.data))
                    await self._wait(peer, watcher)
                except asyncio.CancelledError:
                    # Whoever gives up hears of just that, though the coordinator may be the reason.
                    with contextlib.suppress(MpcError, TimeoutError):
                        await asyncio.wait_for(peer.cancel(reference), _LAST_WORD_S)
                    raise
                waited = self.clock.monotonic()
                outcome = await self._fetch(peer, header_of)
            outcome.phases["wait"] = waited - started
            outcome.phases["fetch and open"] = self.clock.monotonic() - waited
            return outcome
        finally:
            self.secret.destroy()

    async def _wait(self, peer: CoordinatorPeer, watcher: Watcher | None) -> None:
        async with aclosing(peer.watch(m.WatchRequest(job=self.request.job))) as events:  # type: ignore[type-var]
            async for event in events:
                if watcher is not None:
                    watcher(event)
                if event.state == JobState.ABORTED:
                    raise from_notice(event.error) if event.error else JobCancelled("", job=self.request.job)
                if event.state == JobState.RELEASED:
                    return
        raise ProtocolError("", reason="the coordinator stopped telling of the job", job=self.request.job)

    async def _fetch(self, peer: CoordinatorPeer, header_of: HeaderOf) -> Outcome:
        outcome = Outcome(request=self.request)
        collector = _Collector(self, header_of, outcome)
        async with aclosing(peer.fetch(m.JobReference(job=self.request.job))) as frames:  # type: ignore[type-var]
            async for frame in frames:
                await collector.take(frame)
        await collector.finish()
        return outcome


class NoteReader:
    """Opens what parties sealed to the analyst, as it comes."""

    def __init__(self, job: PreparedJob) -> None:
        self._job = job
        self._held: dict[str, bytearray] = {}
        self._count: dict[str, int] = {}

    def feed(self, party: str, data: bytes) -> list[Note]:
        """Take the next bytes of a party and return the notes that are complete.

        Raises:
            WireError: The bytes break the format.
            IntegrityError: A note was not sealed by this party to this job.
        """
        held = self._held.setdefault(party, bytearray())
        held += data
        notes = []
        for box in split_notes(held):
            self._count[party] = self._count.get(party, 0) + 1
            notes.append(self._open(party, self._count[party], box))
        return notes

    def _open(self, party: str, index: int, box: bytes) -> Note:
        request, member = self._job.request, self._job.manifest.member(party)
        if member is None or party not in request.participants:
            raise ProtocolError("sealed bytes of a stranger")
        plain = self._job.sealing.unseal(box, context=note_context(request, party, index))
        try:
            signed, body = msgspec.msgpack.decode(plain, type=tuple[Signed, bytes])
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise WireError("a sealed note is malformed", party=party) from None
        head = verify_signed(signed, SealedNote, member.public_key)
        facts = (head.job, head.attempt, head.party, head.index, head.body_digest)
        if facts != (request.job, request.attempt, party, index, note_body_digest(body)):
            raise ProtocolError("a sealed note is for something else", party=party)
        return Note(party=party, round=head.round, kind=head.kind, body=body)


class _Collector:
    """Takes the frames of a result in order: statements, sealed bytes, ciphertexts round by round, counters."""

    def __init__(self, job: PreparedJob, header_of: HeaderOf, outcome: Outcome) -> None:
        self._job = job
        self._header_of = header_of
        self._outcome = outcome
        self._mask_keys: dict[PartyId, bytes] = {}
        self._receipts: dict[tuple[int, str], Receipt] = {}
        self._sealed: dict[str, list[bytes]] = {}
        self._round = 0
        self._opener: Opener | None = None

    async def take(self, frame: m.ResultFrame) -> None:
        """The next frame."""
        if frame.commitments:
            self._take_statements(frame)
        elif frame.sealed:
            self._take_sealed(frame)
        elif frame.ciphertexts:
            await self._take_ciphertexts(frame)
        else:
            fields = ("ciphertexts_received", "bytes_received", "ciphertexts_sent", "bytes_sent")
            self._outcome.traffic = {t.member: {f: getattr(t, f) for f in fields} for t in frame.traffic}
            self._outcome.phases.update({p.name: p.seconds for p in frame.phases})

    def _key_of(self, party: str) -> bytes:
        member = self._job.manifest.member(party)
        if member is None or party not in self._job.request.participants:
            raise ProtocolError("a statement of a stranger")
        return member.public_key

    def _take_statements(self, frame: m.ResultFrame) -> None:
        request, digest = self._job.request, request_digest(self._job.signed.payload)
        for signed in frame.commitments:
            commitment = verify_signed(signed, Commitment, self._key_of(signed.signer))
            facts = (commitment.job, commitment.attempt, commitment.request_digest, commitment.participants)
            if (
                facts != (request.job, request.attempt, digest, request.participants)
                or commitment.party in self._mask_keys
            ):
                raise ProtocolError("a commitment is for something else", party=signed.signer)
            self._mask_keys[PartyId(commitment.party)] = commitment.mask_key
        if tuple(sorted(self._mask_keys)) != request.participants:
            raise ProtocolError("the commitments are not those of the participants")
        for signed in frame.receipts:
            receipt = verify_signed(signed, Receipt, self._key_of(signed.signer))
            if (receipt.job, receipt.attempt, receipt.request_digest) != (request.job, request.attempt, digest):
                raise ProtocolError("a receipt is for something else", party=signed.signer)
            self._receipts[receipt.round, receipt.party] = receipt

    def _take_sealed(self, frame: m.ResultFrame) -> None:
        if frame.party not in self._job.request.participants:
            raise ProtocolError("sealed bytes of a stranger")
        parts = self._sealed.setdefault(frame.party, [])
        parts.append(frame.sealed)
        self._outcome.bytes_received += len(frame.sealed)
        if sum(map(len, parts)) > MAX_SEALED_BYTES:
            raise WireError("a party sealed too much")

    def _open_notes(self) -> None:
        for party, parts in self._sealed.items():
            self._outcome.notes.extend(NoteReader(self._job).feed(party, b"".join(parts)))
        self._sealed = {}

    async def _take_ciphertexts(self, frame: m.ResultFrame) -> None:
        if frame.round != self._round:
            await self._end_round()
            self._open_notes()
            self._round = frame.round
            self._opener = self._start(frame.round)
        if self._opener is None:
            raise InternalError("no round is open")
        self._outcome.ciphertexts += len(frame.ciphertexts)
        self._outcome.bytes_received += sum(map(len, frame.ciphertexts))
        await asyncio.to_thread(self._opener.take, frame.ciphertexts)

    def _start(self, number: int) -> Opener:
        request = self._job.request
        header = self._header_of(number, self._outcome.notes)
        layout = VectorLayout.compile(header.segments, parameter_set(request.parameter_set), len(request.participants))
        for party in request.participants:
            receipt = self._receipts.get((number, party))
            if receipt is None or receipt.ciphertexts != layout.ciphertexts:
                raise ProtocolError("a receipt is missing", party=party, round=number)
        context = RoundContext(
            room=request.room,
            job=request.job,
            attempt=request.attempt,
            round=number,
            request_digest=request_digest(self._job.signed.payload),
        )
        bound = transcript(
            context,
            header=header,
            layout=layout,
            mask_keys=self._mask_keys,
            recipient_key_digest=self._job.public.digest,
        )
        return Opener(layout, secret_schemes.decryptor(self._job.secret), bound)

    async def _end_round(self) -> None:
        if self._opener is not None:
            self._outcome.totals[self._round] = await asyncio.to_thread(self._opener.totals)
            self._opener = None

    async def finish(self) -> None:
        """The last round's totals, and notes if there was no round."""
        await self._end_round()
        self._open_notes()


def latest(notes: Sequence[Note], kind: str) -> Any:
    """The body of the last note of a kind, or None."""
    return next((note.body for note in reversed(notes) if note.kind == kind), None)
