"""What a party signs, checks and seals in a job, beyond keys: commitments of its peers, notes to the analyst."""

import msgspec

from mpc.errors import ProtocolError, WireError
from mpc.keys.identity import IdentityKey, verify_signed
from mpc.keys.manifest import Manifest
from mpc.keys.secret import seal
from mpc.keys.statements import Signed
from mpc.parties import PartyId
from mpc.sum.messages import Commitment
from mpc.wire.limits import CHUNK_BYTES
from mpc.wire.notes import SealedNote, note_body_digest, note_context
from servers.party.job import PartyJob
from servers.party.session import Note

__all__ = ["check_commitments", "chunks", "required", "seal_note"]


def required(signed: Signed | None) -> Signed:
    """A signed statement that a message must carry (`WireError` if it does not)."""
    if signed is None:
        raise WireError("a signed statement is missing")
    return signed


def check_commitments(job: PartyJob, manifest: Manifest, commitments: tuple[Signed, ...]) -> dict[PartyId, Commitment]:
    """Everybody's commitment to exactly this job and set, by party.

    Raises:
        ProtocolError: One is missing, is another member's, or is for something else.
        IntegrityError: A signature does not hold.
    """
    found: dict[PartyId, Commitment] = {}
    for signed in commitments:
        member = manifest.member(signed.signer)
        if member is None:
            raise ProtocolError("a stranger's commitment")
        commitment = verify_signed(signed, Commitment, member.public_key)
        own = msgspec.structs.replace(
            job.commitment,
            party=commitment.party,
            mask_key=commitment.mask_key,
            sealing_key=commitment.sealing_key,
            checkpoint=commitment.checkpoint,
        )
        if commitment != own or commitment.party != signed.signer or commitment.party in found:
            raise ProtocolError("a commitment is for something else", party=signed.signer)
        found[PartyId(commitment.party)] = commitment
    if tuple(sorted(found)) != job.request.participants or found[job.me] != job.commitment:
        raise ProtocolError("the commitments are not those of the participants")
    return found


def seal_note(job: PartyJob, identity: IdentityKey, note: Note) -> bytes:
    """Sign a note and seal it to the analyst: the coordinator relays bytes of a known length and nothing else."""
    job.notes += 1
    statement = SealedNote(
        room=job.request.room,
        job=job.request.job,
        attempt=job.request.attempt,
        party=job.me,
        index=job.notes,
        round=job.round,
        kind=note.kind,
        body_digest=note_body_digest(note.body),
    )
    plain = msgspec.msgpack.encode((identity.sign(statement, job.me), note.body))
    box = seal(job.request.sealing_key, plain, context=note_context(job.request, job.me, job.notes))
    return len(box).to_bytes(8, "little") + box


def chunks(ciphertexts: list[bytes]) -> list[tuple[bytes, ...]]:
    """Cut a batch into frames of at most `CHUNK_BYTES` (or one ciphertext)."""
    out: list[tuple[bytes, ...]] = []
    current: list[bytes] = []
    size = 0
    for ciphertext in ciphertexts:
        if current and size + len(ciphertext) > CHUNK_BYTES:
            out.append(tuple(current))
            current, size = [], 0
        current.append(ciphertext)
        size += len(ciphertext)
    if current:
        out.append(tuple(current))
    return out
