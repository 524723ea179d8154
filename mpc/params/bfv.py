"""Parameter sets of the `bfv` scheme.

Both sets serve addition alone, so their modulus is as short as exactness allows. The plaintext modulus exceeds the
first ciphertext prime: a chain without the last prime would not be valid, hence SEAL keeps both primes for data and
uses none for key switching. The plaintext moduli are primes with t = 1 mod 2N, so that the same plaintext space could
also be read as N slots; the product uses coefficients, whose sums are the same and which need no transform.

Noise (Fan, Vercauteren, "Somewhat practical fully homomorphic encryption", eprint 2012/144, section 4): a fresh
public-key ciphertext decrypts to round(q m / t) + v with v = e1 + e2 s - e u, where e, e1, e2 are centred binomial
(SEAL's default: 42 coins, deviation sqrt(10.5), never beyond 21) and s, u are ternary. So |v| <= 21 (2 N + 1) always,
plus 1/2 for the rounding, and k ciphertexts decrypt exactly while k times that is below q / (2 t). `_additions` keeps
one further bit for the approximate base conversion of SEAL's decryption (Bajard, Eynard, Hasan, Zucca, eprint
2016/510). No probability enters: it is the worst case.
"""

import math
from typing import Final

from mpc.params.base import LatticeParameters, ParameterSet, SchemeId, SetId
from mpc.params.security import SecurityLevel

__all__ = ["BFV_SETS"]

_HEADER_BYTES: Final = 8
_LARGEST_ERROR: Final = 21
_ERROR_DEVIATION: Final = math.sqrt(10.5)


def _additions(degree: int, moduli: tuple[int, ...], plain_modulus: int) -> int:
    noise = 2 * _LARGEST_ERROR * (2 * degree + 1) + 1
    return math.prod(moduli) // (2 * plain_modulus * noise)


def _set(name: str, *, wire_id: int, degree: int, moduli: tuple[int, ...], plain_modulus: int) -> ParameterSet:
    residues = sum(-(-prime.bit_length() // 8) for prime in moduli)
    size = _HEADER_BYTES + 2 * degree * residues
    return ParameterSet(
        id=SetId(name),
        wire_id=wire_id,
        scheme=SchemeId.BFV,
        security=SecurityLevel.CLASSICAL_128,
        slots=degree,
        plain_modulus=plain_modulus,
        public_key_bytes=size,
        ciphertext_bytes=size,
        symmetric_ciphertext_bytes=size,
        max_additions=_additions(degree, moduli, plain_modulus),
        lattice=LatticeParameters(degree=degree, moduli=moduli, special_modulus=None, error_deviation=_ERROR_DEVIATION),
    )


BFV_SETS: Final[tuple[ParameterSet, ...]] = (
    # t: the least prime above 2^40 that is 1 mod 2N. Residues fill 2 + 7 whole bytes.
    _set(
        "bfv-4096-t40",
        wire_id=10,
        degree=4096,
        moduli=(40961, 72057594037641217),
        plain_modulus=1099511799809,
    ),
    # t: the largest prime below 2^60 that is 1 mod 2N. Residues fill 6 + 6 whole bytes.
    _set(
        "bfv-8192-t60",
        wire_id=11,
        degree=8192,
        moduli=(281474976546817, 281474976317441),
        plain_modulus=1152921504606830593,
    ),
)
