"""What a party tells the analyst alone: signed by the party, sealed to the analyst, relayed by the coordinator.

Wire form: msgpack of (signed `SealedNote`, body), HPKE-sealed to the request's sealing key under `note_context`, with
an eight-byte little-endian length in front; several follow one another.
"""

from typing import ClassVar

from mpc.errors import WireError
from mpc.keys.statements import Statement, statement_digest
from mpc.wire.job import JobRequest
from mpc.wire.limits import MAX_SEALED_BYTES

__all__ = ["SealedNote", "note_body_digest", "note_context", "split_notes"]


class SealedNote(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The signed head of a note; `kind` is groups, progress or model."""

    label: ClassVar[str] = "sealroom/v1/note"

    room: str
    job: str
    attempt: int
    party: str
    index: int
    round: int
    kind: str
    body_digest: bytes


def note_body_digest(body: bytes) -> bytes:
    """What a note's signed head says of its body."""
    return statement_digest("sealroom/v1/note-body", body)


def note_context(request: JobRequest, party: str, index: int) -> bytes:
    """The context under which a party's note is sealed: job, attempt, party and position."""
    return statement_digest(
        "sealroom/v1/note-context",
        request.room.encode(),
        request.job.encode(),
        request.attempt.to_bytes(4, "little"),
        party.encode(),
        index.to_bytes(8, "little"),
    )


def split_notes(held: bytearray) -> list[bytes]:
    """Take the complete boxes from the front of a party's sealed bytes; what comes after them stays.

    A box is copied once, when it is complete: bytes may arrive in many small pieces.

    Raises:
        WireError: A length is out of bounds.
    """
    boxes: list[bytes] = []
    position = 0
    while position + 8 <= len(held):
        size = int.from_bytes(held[position : position + 8], "little")
        if not 0 < size <= MAX_SEALED_BYTES:
            raise WireError("a sealed note's length is out of bounds")
        end = position + 8 + size
        if end > len(held):
            break
        with memoryview(held) as view:
            boxes.append(bytes(view[position + 8 : end]))
        position = end
    del held[:position]
    return boxes
