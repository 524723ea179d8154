"""The signed messages of a sum."""

from typing import ClassVar

from mpc.keys.statements import Statement, statement_digest

__all__ = ["Commitment", "KeyOffer", "Receipt", "ciphertext_list_digest"]


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
    """A group key for one round: the public key's digest, and the secret sealed to each member.

    Reveals: to the members, the group's secret key; to the coordinator, sizes.
    """

    label: ClassVar[str] = "sealroom/v1/key-offer"

    room: str
    job: str
    attempt: int
    round: int
    maker: str
    parameter_set: str
    public_key_digest: bytes
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


def ciphertext_list_digest(digests: list[bytes]) -> bytes:
    """One digest of an ordered list of ciphertext digests (SHA-256 each)."""
    return statement_digest("sealroom/v1/ciphertext-list", *digests)
