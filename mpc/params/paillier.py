"""Parameter sets of the `paillier` scheme.

One plaintext carries 47 slots of 64 bits: slot j begins at bit 64 j, so 3008 bits of a modulus of exactly 3072 (NIST SP
800-57 part 1 revision 5, table 2: 128 bits). Slots are integers, not residues: nothing wraps within a slot, a sum that
reaches 2^64 carries into the next one. Whoever adds k ciphertexts keeps every addend below 2^64 / k.
"""

from typing import Final

from mpc.params.base import ParameterSet, SchemeId, SetId
from mpc.params.security import FACTORING_MODULUS_BITS_128, SecurityLevel

__all__ = ["PAILLIER_SETS"]

_HEADER_BYTES: Final = 8
_MODULUS_BYTES: Final = FACTORING_MODULUS_BITS_128 // 8

PAILLIER_SETS: Final[tuple[ParameterSet, ...]] = (
    ParameterSet(
        id=SetId("paillier-3072-s64"),
        wire_id=20,
        scheme=SchemeId.PAILLIER,
        security=SecurityLevel.CLASSICAL_128,
        slots=47,
        plain_modulus=1 << 64,
        public_key_bytes=_HEADER_BYTES + _MODULUS_BYTES,
        ciphertext_bytes=_HEADER_BYTES + 2 * _MODULUS_BYTES,
        symmetric_ciphertext_bytes=_HEADER_BYTES + 2 * _MODULUS_BYTES,
        max_additions=1 << 20,
    ),
)
