"""The signed messages of a sum."""

from typing import ClassVar

from blake3 import blake3

from mpc.entropy import expand
from mpc.keys.statements import Statement, statement_digest

__all__ = [
    "Commitment",
    "KeyOffer",
    "Receipt",
    "ciphertext_digest",
    "ciphertext_list_digest",
    "derived_key_digest",
    "group_key_info",
    "seed_commitment",
]


class Commitment(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A party's word that it takes part in a job with exactly this set, before anybody sends data.

    Reveals: to all participants, the party's one-time public keys and that it agreed.
    """

    label: ClassVar[str] = "sealroom/v1/commitment"

    room: str
    job: str
    attempt: int
    party: str
    request_digest: bytes
    participants: tuple[str, ...]
    mask_key: bytes
    sealing_key: bytes
    checkpoint: int = 0
    """Number of the last training checkpoint that the party holds of this job; 0 for none."""


class KeyOffer(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group key, its secret sealed to each member: of one round, or a seed for all rounds from this one on.

    With a scheme whose keys derive from seeds, the boxes hold a 32-byte seed and `seed_commitment` binds it; each
    round's key is derived from it. Otherwise they hold one round's secret key, and `public_key_digest` binds its public
    half.

    Reveals: to the members, the group's secret key; to the coordinator, sizes.
    """

    label: ClassVar[str] = "sealroom/v1/key-offer"

    room: str
    job: str
    attempt: int
    round: int
    maker: str
    parameter_set: str
    public_key_digest: bytes = b""
    seed_commitment: bytes = b""
    boxes: tuple[tuple[str, bytes], ...]


class Receipt(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A party's signature over the ordered list of the ciphertexts it sent in a round."""

    label: ClassVar[str] = "sealroom/v1/receipt"

    room: str
    job: str
    attempt: int
    round: int
    party: str
    request_digest: bytes
    ciphertexts: int
    list_digest: bytes


def ciphertext_digest(ciphertext: bytes) -> bytes:
    """BLAKE3 of a ciphertext: both ends hash everything that travels, and SHA-256 took longer than adding."""
    return blake3(ciphertext).digest()


def ciphertext_list_digest(digests: list[bytes]) -> bytes:
    """One digest of an ordered list of ciphertext digests (BLAKE3 each)."""
    return statement_digest("sealroom/v1/ciphertext-list", *digests)


def seed_commitment(seed: bytes) -> bytes:
    """What a key offer says of a sealed seed: 32 bytes that bind it and, the seed being uniform, tell nothing of it."""
    return expand(seed, b"sealroom/v1/group-seed-commitment")


def group_key_info(room: str, job: str, attempt: int, round_number: int) -> bytes:
    """The label under which a round's group key is derived from the job's seed."""
    numbers = attempt.to_bytes(8, "little"), round_number.to_bytes(8, "little")
    return statement_digest("sealroom/v1/group-key-info", room.encode(), job.encode(), *numbers)


def derived_key_digest(parameter_set: str, commitment: bytes, info: bytes) -> bytes:
    """The recipient key's digest in the transcript of a round whose group key is derived."""
    return statement_digest("sealroom/v1/derived-group-key", parameter_set.encode(), commitment, info)
