"""A job at one party: the program, its data source, and this party's three parts in every sum.

A session is synchronous and holds the data; it lives in a worker process that can be killed. It never sees identity or
mask keys: the node gives it, per round, the transcript, one derived key per pair, and the recipient's public key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mpc.entropy import SystemEntropy
from mpc.errors import InternalError, ParameterError, ProtocolError
from mpc.keys.dictionary import Dictionary
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.packing.layout import VectorLayout
from mpc.packing.segments import IntegerArray
from mpc.params import parameter_set
from mpc.parties import PartyId
from mpc.primitives import Checkpoint, Program, Progress, Recipient, Sum, SumHeader
from mpc.schemes import public as public_schemes
from mpc.schemes import secret as secret_schemes
from mpc.schemes.base import Ability
from mpc.sum.contributor import Contributor
from mpc.sum.masks import PairwiseMasks
from mpc.sum.opener import Opener
from mpc.wire.job import JobKind
from servers.party.checkpoints import Checkpoints
from servers.party.sources.spec import Limits, SourceSpec
from servers.party.trainers import TrainerSpec

__all__ = ["Asked", "Note", "RoundKeys", "Session", "Task"]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a session needs to know of a job."""

    job: str
    kind: JobKind
    body: str
    plan_digest: bytes
    me: str
    participants: tuple[str, ...]
    parameter_set: str
    options: tuple[tuple[str, str], ...]
    dictionary: Dictionary
    sources: dict[str, SourceSpec]
    limits: Limits
    checkpoints: str
    """Folder for this job's checkpoints."""

    models: str
    """Folder of the models that were trained here."""

    models_kept: int = 20
    trainers: dict[str, TrainerSpec] = {}
    """The owner's training functions."""

    resume: int = 0
    """Checkpoint to start from; 0 starts afresh."""


class Note(msgspec.Struct, frozen=True, array_like=True):
    """Something for the analyst alone; the node signs and seals it."""

    kind: str
    body: bytes


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Where the program stands: at its next sum, or at its end."""

    finished: bool
    header_json: bytes = b""
    """The header of the sum, empty at the end. JSON, because a bound may exceed 64 bits."""

    parameter_set: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def header(self) -> SumHeader | None:
        """The header of the sum, if there is one."""
        return msgspec.json.decode(self.header_json, type=SumHeader) if self.header_json else None


class RoundKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What the node derived for one round. Never logged, never sent on."""

    transcript: bytes
    pair_keys: dict[str, bytes]
    public_key: bytes
    """The recipient's key; empty where the group's key is derived."""

    group_secret: bytes = b""
    """The group's secret key material, or with `group_info` the seed from which the round's key is derived."""

    group_info: bytes = b""
    """Label of the round, for derived keys; empty otherwise."""

    def __repr__(self) -> str:
        return "RoundKeys(<secret>)"


@dataclass(slots=True)
class Session:
    """One party's side of a job."""

    task: Task
    program: Program[tuple[Note, ...]] = field(repr=False)
    source: Any = field(repr=False)
    checkpoints: Checkpoints = field(repr=False)
    _asked: Sum | None = field(default=None, init=False, repr=False)
    _totals: dict[str, IntegerArray] | None = field(default=None, init=False, repr=False)
    _opener: Opener | None = field(default=None, init=False, repr=False)
    _finished: bool = field(default=False, init=False)

    @classmethod
    def open(cls, task: Task, *, confined: bool = True) -> "Session":
        """Compile the job's text again, refuse another plan than the analyst signed, and pin the data.

        Raises:
            ProtocolError: The plan's digest differs.
        """
        from servers.party.programs import build

        checkpoints = Checkpoints(Path(task.checkpoints))
        source, program = build(task, checkpoints, confined=confined)
        return cls(task=task, program=program, source=source, checkpoints=checkpoints)

    def advance(self) -> Asked:
        """Run local steps up to the next sum."""
        if self._finished:
            raise ProtocolError("the program has ended")
        notes: list[Note] = []
        reply, self._totals = self._totals, None
        while True:
            try:
                item = self.program.send(reply) if reply is not None else next(self.program)
            except StopIteration as stop:
                self._finished, self._asked = True, None
                self.checkpoints.clear()
                return Asked(finished=True, notes=(*notes, *stop.value))
            reply = None
            match item:
                case Progress():
                    body = {"step": item.step, "of": item.of, "metrics": dict(item.metrics)}
                    notes.append(Note("progress", msgspec.json.encode(body)))
                case Checkpoint():
                    self.checkpoints.save(item.state)
                case Sum():
                    self._asked = item
                    return Asked(
                        finished=False,
                        header_json=msgspec.json.encode(item.header),
                        parameter_set=self.task.parameter_set,
                        notes=tuple(notes),
                    )
                case _:
                    raise InternalError(f"a program yielded a {type(item).__name__}")

    def layout(self) -> VectorLayout:
        """The layout of the sum that the program waits for."""
        if self._asked is None:
            raise ProtocolError("the program waits for no sum")
        return VectorLayout.compile(
            self._asked.header.segments, parameter_set(self.task.parameter_set), len(self.task.participants)
        )

    def make_group_key(self) -> tuple[bytes, bytes]:
        """A fresh group key: the public key's bytes and the secret material, which the node seals to the members."""
        public, secret = secret_schemes.generate(self.layout().parameters, SystemEntropy())
        return public.data, secret.material()

    def contribute(self, keys: RoundKeys) -> Iterator[list[bytes] | bytes]:
        """Yield the ciphertexts batch by batch, and last the digest of their ordered list."""
        asked, layout = self._asked, self.layout()
        if asked is None:
            raise ProtocolError("the program waits for no sum")
        me = PartyId(self.task.me)
        if set(keys.pair_keys) | {me} != set(self.task.participants):
            raise ParameterError("there is one pair key for every peer")
        contributor = Contributor(
            layout=layout,
            values=asked.values,
            masks=PairwiseMasks.derive(
                me,
                {PartyId(p): k for p, k in keys.pair_keys.items()},
                stream=public_schemes.keystream(layout.parameters),
            ),
            encryptor=self._encryptor(layout, keys),
            transcript=keys.transcript,
            first=me == min(self.task.participants),
        )
        yield from contributor.batches()
        yield contributor.list_digest()
        if asked.header.recipient is Recipient.GROUP:
            self._opener = Opener(layout, secret_schemes.decryptor(self._group_key(layout, keys)), keys.transcript)

    def _group_key(self, layout: VectorLayout, keys: RoundKeys) -> SecretKey:
        if keys.group_info:
            return secret_schemes.derive(layout.parameters, keys.group_secret, keys.group_info)[1]
        return SecretKey(layout.parameters.id, keys.group_secret)

    def _encryptor(self, layout: VectorLayout, keys: RoundKeys) -> Any:
        """Members of a group encrypt with its secret key where that halves the upload (seeded ciphertexts)."""
        parameters = layout.parameters
        if keys.group_secret and Ability.SEEDS in public_schemes.abilities(parameters.scheme):
            return secret_schemes.symmetric_encryptor(self._group_key(layout, keys))
        key: PublicKey = public_schemes.validate_public_key(parameters, keys.public_key)
        return public_schemes.encryptor(key)

    def take(self, ciphertexts: Sequence[bytes]) -> None:
        """Open the next summed ciphertexts of a group round."""
        if self._opener is None:
            raise ProtocolError("no group sum is awaited")
        self._opener.take(ciphertexts)

    def complete(self) -> Asked:
        """End the round, with its totals if they were the group's, and run on."""
        asked = self._asked
        if asked is None:
            raise ProtocolError("no round is open")
        if asked.header.recipient is Recipient.GROUP:
            if self._opener is None:
                raise ProtocolError("no group sum is awaited")
            self._totals, self._opener = self._opener.totals(), None
        self._asked = None
        return self.advance()

    def close(self) -> None:
        """Release the data source."""
        self.program.close()
        self.source.close()
