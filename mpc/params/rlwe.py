"""Parameter sets of the `rlwe` scheme.

Every prime lies in `(2^49, 2^50)` and is 1 modulo 2N, so that one kernel with 52-bit products and one wire width of 50
bits serve all of them. Where the plaintext modulus t is a power of two, the primes are chosen such that their product q
is 1 modulo t: then `q = t Delta + 1` exactly and encoding needs no second multiplication. Primes are as close below
2^50 as that allows, because uniform residues are drawn by rejection from 50 bits.

`max_additions` is `floor((q / (2 t) - decoding error) / fresh public noise)`, or 2^20 where that is more. The bound on
fresh noise (`mpc.schemes.rlwe.noise`) fails with probability at most 2^-128 over key and coins, and no independence is
assumed between the ciphertexts that are added: the same one may be added that often.
"""

from typing import Final

from mpc.params.base import LatticeParameters, ParameterSet, SchemeId, SetId
from mpc.params.security import SecurityLevel

__all__ = ["RLWE_SETS"]

ERROR_DEVIATION: Final = 3.24
"""Centred binomial with 2 x 21 bits: variance 10.5."""

HEADER_BYTES: Final = 16
SEED_BYTES: Final = 32
COEFFICIENT_BITS: Final = 50

_ONE_30: Final = (1125845146009601,)  # 1 modulo 2^30
_TWO_30: Final = (1125845146009601, 1125844072267777)  # both 1 modulo 2^30
_TWO_60: Final = (1125613843333121, 1105800176517121)  # product 1 modulo 2^60
_THREE_60: Final = (1125899520851969, 1125899285020673, 1120023520346113)  # product 1 modulo 2^60
_ENOUGH: Final = 1 << 20
_PRIME_60: Final = 1152921504606830593  # the largest prime below 2^60 that is 1 modulo 2^14


def _set(
    wire_id: int, name: str, *, degree: int, moduli: tuple[int, ...], plain_modulus: int, max_additions: int
) -> ParameterSet:
    polynomial = len(moduli) * degree * COEFFICIENT_BITS // 8
    return ParameterSet(
        id=SetId(name),
        wire_id=wire_id,
        scheme=SchemeId.RLWE,
        security=SecurityLevel.CLASSICAL_128,
        slots=degree,
        plain_modulus=plain_modulus,
        public_key_bytes=HEADER_BYTES + SEED_BYTES + polynomial,
        ciphertext_bytes=HEADER_BYTES + 2 * polynomial,
        symmetric_ciphertext_bytes=HEADER_BYTES + SEED_BYTES + polynomial,
        max_additions=max_additions,
        lattice=LatticeParameters(degree=degree, moduli=moduli, special_modulus=None, error_deviation=ERROR_DEVIATION),
    )


RLWE_SETS: Final[tuple[ParameterSet, ...]] = (
    # Sums of values split in limbs: the cheapest ring; 24-bit limbs for 64 parties, 27-bit limbs for 8.
    _set(30, "rlwe-2048-t30", degree=2048, moduli=_ONE_30, plain_modulus=1 << 30, max_additions=181),
    # The same at twice the degree: far above 128 bits, for sums whose confidentiality must outlive the table.
    _set(31, "rlwe-4096-t30", degree=4096, moduli=_ONE_30, plain_modulus=1 << 30, max_additions=127),
    # Sums of values of up to 54 bits in one slot for 64 parties.
    _set(32, "rlwe-4096-t60", degree=4096, moduli=_TWO_60, plain_modulus=1 << 60, max_additions=_ENOUGH),
    # Scoring: products with small plaintexts and 40 bits of flooding.
    _set(33, "rlwe-4096-t22", degree=4096, moduli=_TWO_30, plain_modulus=1 << 22, max_additions=_ENOUGH),
    _set(34, "rlwe-4096-t26", degree=4096, moduli=_TWO_30, plain_modulus=1 << 26, max_additions=_ENOUGH),
    # Payloads of a match: inner products with a 0/1 polynomial of 8192 terms and 40 bits of flooding.
    _set(35, "rlwe-8192-t60", degree=8192, moduli=_THREE_60, plain_modulus=1 << 60, max_additions=_ENOUGH),
    # A plaintext field: linear checks over the slots hold except with probability 2^-59.
    _set(36, "rlwe-4096-p60", degree=4096, moduli=_TWO_60, plain_modulus=_PRIME_60, max_additions=_ENOUGH),
)
