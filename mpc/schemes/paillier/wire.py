"""Wire format of `paillier`: header, then one number in little-endian bytes of fixed length.

A public key is its modulus n (384 bytes), a ciphertext a number modulo n^2 (768 bytes). Nothing else is accepted from
a peer: no base, no exponent, no encoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from mpc.errors import WireError
from mpc.params.base import ParameterSet
from mpc.params.security import FACTORING_MODULUS_BITS_128
from mpc.schemes.base import Slots
from mpc.schemes.header import HEADER_BYTES, Kind, check_header, header

__all__ = [
    "MODULUS_BITS",
    "Modulus",
    "pack_ciphertext",
    "pack_key",
    "pack_slots",
    "unpack_ciphertexts",
    "unpack_key",
    "unpack_slots",
]

MODULUS_BITS: Final = FACTORING_MODULUS_BITS_128
_MODULUS_BYTES: Final = MODULUS_BITS // 8
_SLOT_BYTES: Final = 8
_SMALLEST_FACTOR: Final = 1 << 20
_PRIMALITY_ROUNDS: Final = 40


@dataclass(frozen=True, slots=True)
class Modulus:
    """A public modulus that passed `unpack_key`, or our own."""

    n: mpz
    squared: mpz

    @classmethod
    def of(cls, n: mpz) -> "Modulus":
        """With its square."""
        return cls(n, n * n)


@cache
def _small_primes() -> mpz:
    return gmpy2.primorial(_SMALLEST_FACTOR)


def pack_key(n: mpz, parameters: ParameterSet) -> bytes:
    """Wire bytes of a public key."""
    return header(parameters, Kind.PUBLIC_KEY) + int(n).to_bytes(_MODULUS_BYTES, "little")


def unpack_key(data: bytes, parameters: ParameterSet) -> Modulus:
    """A peer's modulus, after every check that its bytes allow.

    That n has exactly two prime factors of the promised shape cannot be seen from n; see `validate_public_key`.

    Raises:
        WireError: n has not exactly 3072 bits, is not 1 modulo 4 (two primes that are 3 modulo 4), has a factor below
            2^20, is a perfect power, or is prime (then everybody could decrypt).
    """
    check_header(data, parameters, Kind.PUBLIC_KEY, size=HEADER_BYTES + _MODULUS_BYTES)
    n = mpz(int.from_bytes(data[HEADER_BYTES:], "little"))
    if n.bit_length() != MODULUS_BITS or n % 4 != 1:
        raise WireError(f"a modulus has exactly {MODULUS_BITS} bits and is 1 modulo 4")
    if gmpy2.gcd(_small_primes() % n, n) != 1:
        raise WireError("a modulus has no factor below 2^20")
    if gmpy2.is_power(n) or gmpy2.is_prime(n, _PRIMALITY_ROUNDS):
        raise WireError("a modulus is neither a perfect power nor prime")
    return Modulus.of(n)


def pack_ciphertext(value: mpz, parameters: ParameterSet) -> bytes:
    """Wire bytes of a ciphertext."""
    return header(parameters, Kind.CIPHERTEXT) + int(value).to_bytes(2 * _MODULUS_BYTES, "little")


def unpack_ciphertexts(batch: Sequence[bytes], parameters: ParameterSet, modulus: Modulus) -> list[mpz]:
    """Ciphertexts of a batch: every c with 0 < c < n^2 and gcd(c, n) = 1, one gcd for the whole batch.

    Raises:
        WireError: Bytes break the format, or a number is out of range or not invertible.
    """
    values: list[mpz] = []
    product = mpz(1)
    for data in batch:
        check_header(data, parameters, Kind.CIPHERTEXT, size=HEADER_BYTES + 2 * _MODULUS_BYTES)
        value = mpz(int.from_bytes(data[HEADER_BYTES:], "little"))
        if not 0 < value < modulus.squared:
            raise WireError("a ciphertext is not between 0 and n^2")
        product = product * (value % modulus.n) % modulus.n
        values.append(value)
    if gmpy2.gcd(product, modulus.n) != 1:
        raise WireError("a ciphertext shares a factor with n")
    return values


def pack_slots(row: NDArray[np.uint64]) -> mpz:
    """One integer that holds a row of slots, slot j at bit 64 j."""
    return mpz(int.from_bytes(row.astype("<u8", copy=False).tobytes(), "little"))


def unpack_slots(plaintext: mpz, slots: int) -> Slots | None:
    """The slots of an integer, shape `(slots,)`, or None if it does not fit into them."""
    if plaintext.bit_length() > 64 * slots:
        return None
    row: Slots = np.frombuffer(int(plaintext).to_bytes(_SLOT_BYTES * slots, "little"), dtype="<u8")
    return row
