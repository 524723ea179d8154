"""The set that hides nothing: the plaintext baseline of every measurement."""

from typing import Final

from mpc.params.base import ParameterSet, SchemeId, SetId
from mpc.params.security import SecurityLevel

__all__ = ["CLEAR_SETS"]

CLEAR_SETS: Final = (
    ParameterSet(
        id=SetId("insecure-clear-4096-t62"),
        wire_id=1,
        scheme=SchemeId.CLEAR,
        security=SecurityLevel.NONE,
        slots=4096,
        plain_modulus=1 << 62,
        public_key_bytes=16,
        ciphertext_bytes=16 + 8 * 4096,
        symmetric_ciphertext_bytes=16 + 8 * 4096,
        max_additions=1 << 20,
    ),
)
