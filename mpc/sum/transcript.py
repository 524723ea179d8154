"""The transcript T of one round: everything on which all parties must agree, hashed.

T salts the derivation of every pairwise mask. Two parties that see a different key, set, plan, length or context derive
unrelated masks, and the sum is noise: equivocation by the coordinator never gives data. T stays local: it covers the
context (a digest of group keys), which the coordinator must not be able to guess at.
"""

from collections.abc import Mapping

import msgspec

from mpc.errors import ParameterError
from mpc.keys.statements import canonical_digest, statement_digest
from mpc.packing.layout import VectorLayout
from mpc.parties import PartyId
from mpc.sum.spec import SumHeader

__all__ = ["WIRE_VERSION", "RoundContext", "transcript"]

WIRE_VERSION = 1


class RoundContext(msgspec.Struct, frozen=True, kw_only=True):
    """Which sum this is: the job, the attempt, the round, and what the analyst signed."""

    room: str
    job: str
    attempt: int
    round: int
    request_digest: bytes
    """Digest of the analyst's signed request: plan, participants, expiry and recipient are all in it."""


def transcript(
    context: RoundContext,
    *,
    header: SumHeader,
    layout: VectorLayout,
    mask_keys: Mapping[PartyId, bytes],
    recipient_key_digest: bytes,
) -> bytes:
    """T, 32 bytes: SHA-256 over length-prefixed parts (injective).

    Args:
        context: The round.
        header: The sum's segments, recipient and context digest.
        layout: The layout; its parameter set, number of participants and limb width are bound.
        mask_keys: X25519 public key of every participant.
        recipient_key_digest: Digest of the encryption key.

    Raises:
        ParameterError: The key set does not fit the layout.
    """
    if len(mask_keys) != layout.participants:
        raise ParameterError("every participant has one mask key")
    keys = [(party, mask_keys[party]) for party in sorted(mask_keys)]
    return statement_digest(
        "sealroom/v1/sum-transcript",
        WIRE_VERSION.to_bytes(4, "little"),
        canonical_digest("context", context),
        canonical_digest("header", header),
        canonical_digest("mask-keys", keys),
        recipient_key_digest,
        layout.parameters.digest(),
        canonical_digest("layout", [layout.participants, layout.width_bits, layout.payload_slots, layout.ciphertexts]),
    )
