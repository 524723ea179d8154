"""The analyst's signed request: what starts every job."""

from enum import StrEnum
from typing import ClassVar, Final

from mpc.errors import ProtocolError, WireError
from mpc.keys.manifest import Manifest
from mpc.keys.statements import Statement, statement_digest
from mpc.parties import PartyId, Role, roster

__all__ = ["CLOCK_TOLERANCE_S", "JobKind", "JobRequest", "JobState", "request_digest"]

CLOCK_TOLERANCE_S: Final = 300
"""A request from further in the future is refused: somebody's clock is wrong."""


class JobKind(StrEnum):
    """What a job computes."""

    SQL = "sql"
    TRAIN = "train"
    EVALUATE = "evaluate"


class JobState(StrEnum):
    """States of a job at the coordinator; the last two are final."""

    PLANNED = "PLANNED"
    COMMITTED = "COMMITTED"
    COLLECTING = "COLLECTING"
    RELEASED = "RELEASED"
    ABORTED = "ABORTED"

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self in {JobState.RELEASED, JobState.ABORTED}


class JobRequest(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an analyst asks for, signed.

    Every party compiles `body` itself and refuses if its plan's digest differs: the coordinator may be wrong or
    malicious about plans and gets nothing.
    """

    label: ClassVar[str] = "sealroom/v1/job-request"

    room: str
    job: str
    attempt: int
    kind: JobKind
    body: str
    """SQL text, a training spec as canonical JSON, or for an evaluation the JSON of a model's digest and a spec."""

    plan_digest: bytes
    participants: tuple[str, ...]
    parameter_set: str
    """Set of the analyst's key, and of group keys where the program does not name another."""

    recipient_key_digest: bytes
    sealing_key: bytes
    """X25519 key of the analyst for this job, to which parties seal labels, progress and models."""

    issued_at: int
    expires_at: int
    """Seconds since 1970-01-01T00:00Z."""

    options: tuple[tuple[str, str], ...] = ()
    """Named knobs that are part of the meaning, for example the random seed of a training job."""

    def check(self, manifest: Manifest, *, now: float) -> tuple[PartyId, ...]:
        """Refuse a request that the room's rules do not allow, and return its participants.

        Raises:
            WireError: A field is malformed.
            ProtocolError: It is for another room or time, or its participants are not parties of the room.
        """
        if len(self.job) != 32 or set(self.job) - set("0123456789abcdef") or not 1 <= self.attempt <= 1 << 16:
            raise WireError("a job id is 32 lower-case hexadecimal digits and an attempt a small number")
        if len(self.plan_digest) != 32 or len(self.recipient_key_digest) != 32 or len(self.sealing_key) != 32:
            raise WireError("digests and keys have 32 bytes")
        if self.room != manifest.room:
            raise ProtocolError("the request is for another version of the room", reason="the manifest differs")
        if not self.issued_at - CLOCK_TOLERANCE_S <= now < self.expires_at:
            raise ProtocolError("", reason="the request has expired, or a clock is wrong by minutes")
        if self.expires_at - self.issued_at > manifest.floor.job_lifetime_s:
            raise ProtocolError("", reason="the request lives longer than the room allows")
        participants = roster(self.participants)
        if participants != self.participants or set(participants) - set(manifest.parties):
            raise ProtocolError("", reason="the participants are not sorted parties of the room")
        if len(participants) < manifest.floor.minimum_parties:
            raise ProtocolError("", reason="there are fewer participants than the room allows")
        return participants

    def option(self, name: str) -> str | None:
        """A knob's value."""
        return dict(self.options).get(name)


def request_digest(payload: bytes) -> bytes:
    """Digest of a signed request's exact bytes."""
    return statement_digest("sealroom/v1/job-request-digest", payload)


def analyst_of(manifest: Manifest, signer: str) -> bytes:
    """The identity key of an analyst of the room.

    Raises:
        ProtocolError: The signer is not an analyst.
    """
    member = manifest.member(signer)
    if member is None or member.role is not Role.ANALYST:
        raise ProtocolError("", reason="only an analyst of the room signs requests")
    return member.public_key
