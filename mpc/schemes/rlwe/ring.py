"""The constants of a parameter set: twiddles, scaling factors and modulus blocks, for one arithmetic.

Everything here is public and computed with Python integers once per set and arithmetic.
"""

import functools
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError
from mpc.params.base import ParameterSet, SchemeId, SetId
from mpc.params.catalogue import parameter_set

__all__ = ["COEFFICIENT_BITS", "LANES", "Arithmetic", "Ring", "error_words", "least_root", "multipliers", "ring"]

Words = NDArray[np.uint64]

COEFFICIENT_BITS: Final = 50
"""Every prime lies in (2^49, 2^50)."""

LANES: Final = 8
"""Polynomials that are transformed together."""


class Arithmetic(StrEnum):
    """How residues are multiplied; results are equal bit for bit."""

    IFMA = "ifma"
    PORTABLE = "portable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """R_q = Z_q[X]/(X^N + 1) with q a product of primes, as the kernels take it; k primes."""

    parameters: ParameterSet
    arithmetic: Arithmetic
    degree: int
    moduli: tuple[int, ...]
    forward: Words
    """Powers of the root in bit-reversed order, as multipliers, `(k, N, 2)`."""

    inverse: Words
    """Their inverses, `(k, N, 2)`."""

    modulus: Words
    """Modulus blocks `(k, 7)`: q; q and 1/q as doubles; -1/q modulo 2^52; 2^52 as a multiplier; floor(2^113/q)."""

    unscale: Words
    """The multiplier `1 / N` modulo each prime, `(k, 2)`."""

    open_factor: Words
    """The multiplier `(1 / N) (q / q_i)^-1` modulo each prime, `(k, 2)`."""

    scale: Words
    """For encoding, `(k, 6)`: q_i; -1/t mod q_i and its 64-bit quotient; floor(2^64/q_i); 2^64 mod q_i and its."""

    plain: Words
    """For encoding, `(4,)`: t, q modulo t and its 64-bit quotient, 1 if q is 1 modulo t."""

    fraction: Words
    """For decoding, `(k, 2)`: floor(2^128 / q_i), low word first."""

    @property
    def portable(self) -> Literal[True] | None:
        """The flag that kernels take: None leaves the code of the portable arithmetic out."""
        return None if self.arithmetic is Arithmetic.IFMA else True

    @property
    def wide(self) -> Literal[True] | None:
        """The flag of decryption: None leaves out what only plaintext moduli above 2^32 need."""
        return None if self.parameters.plain_modulus <= 1 << 32 else True

    @property
    def primes(self) -> int:
        """Number of primes."""
        return len(self.moduli)

    @property
    def q(self) -> int:
        """The ciphertext modulus."""
        return int(np.prod([int(p) for p in self.moduli], dtype=object))


def least_root(degree: int, prime: int) -> int:
    """The least primitive 2N-th root of unity modulo a prime (SEAL's choice, so that evaluations agree).

    >>> least_root(4, 17)
    2
    """
    if prime % (2 * degree) != 1:
        raise ParameterError("a prime of the ring is 1 modulo 2N")
    root = next(
        r for g in range(2, prime) if pow(r := pow(g, (prime - 1) // (2 * degree), prime), degree, prime) == prime - 1
    )
    least, square = root, root * root % prime
    for _ in range(degree):
        root = root * square % prime
        least = min(least, root)
    return least


def multipliers(values: list[int], prime: int, arithmetic: Arithmetic) -> Words:
    """Public constants as the kernels multiply by them, `(len(values), 2)`.

    IFMA: `(w, floor(2^52 w / q))`. Portable: the doubles `(w, w / q)` with w centred.
    """
    if arithmetic is Arithmetic.IFMA:
        return np.array([(w, (w << 52) // prime) for w in values], dtype=np.uint64)
    centred = [w - prime if w > prime // 2 else w for w in values]
    return np.array([(float(w), w / prime) for w in centred], dtype=np.float64).view(np.uint64)


def error_words(count: int) -> int:
    """Words that the kernels turn into `count` errors, rounded up to whole blocks of the keystream."""
    return 2 * ((count + 2) // 3)


def _bit_reversed(values: list[int]) -> list[int]:
    bits = len(values).bit_length() - 1
    return [values[int(f"{i:0{bits}b}"[::-1], 2)] for i in range(len(values))]


def _powers(root: int, degree: int, prime: int) -> list[int]:
    powers = [1]
    for _ in range(degree - 1):
        powers.append(powers[-1] * root % prime)
    return powers


def _modulus_block(prime: int, arithmetic: Arithmetic) -> list[int]:
    real = np.array([float(prime), 1.0 / prime]).view(np.uint64)
    restore = multipliers([(1 << 52) % prime], prime, arithmetic)[0]
    negative_inverse = -pow(prime, -1, 1 << 52) % (1 << 52)
    return [prime, int(real[0]), int(real[1]), negative_inverse, int(restore[0]), int(restore[1]), (1 << 113) // prime]


@functools.cache
def ring(set_id: SetId, arithmetic: Arithmetic) -> Ring:
    """The constants of a named set.

    Raises:
        ParameterError: The set is not one of this scheme, or breaks what the kernels assume.
    """
    parameters = parameter_set(set_id)
    lattice = parameters.lattice
    if parameters.scheme is not SchemeId.RLWE or lattice is None:
        raise ParameterError(f"{set_id} is not a set of the rlwe scheme")
    n, t, moduli = lattice.degree, parameters.plain_modulus, lattice.moduli
    fits = all(1 << 49 < p < 1 << 50 and p % (2 * n) == 1 for p in moduli)
    if not fits or len(set(moduli)) != len(moduli) or n < 1024 or n & (n - 1) or not 2 <= t < 1 << 62:
        raise ParameterError(f"{set_id} breaks what the kernels assume")
    q = 1
    for prime in moduli:
        q *= prime
    forward, inverse, scale, opening = [], [], [], []
    for prime in moduli:
        powers = _powers(least_root(n, prime), n, prime)
        forward.append(multipliers(_bit_reversed(powers), prime, arithmetic))
        backward = [1] + [prime - w for w in reversed(powers[1:])]
        inverse.append(multipliers(_bit_reversed(backward), prime, arithmetic))
        by_t = -pow(t, -1, prime) % prime
        wrap = (1 << 64) % prime
        scale.append((prime, by_t, (by_t << 64) // prime, (1 << 64) // prime, wrap, (wrap << 64) // prime))
        opening.append(multipliers([pow(n * (q // prime), -1, prime)], prime, arithmetic)[0])
    return Ring(
        parameters=parameters,
        arithmetic=arithmetic,
        degree=n,
        moduli=moduli,
        forward=np.array(forward),
        inverse=np.array(inverse),
        modulus=np.array([_modulus_block(p, arithmetic) for p in moduli], dtype=np.uint64),
        unscale=np.array([multipliers([pow(n, -1, p)], p, arithmetic)[0] for p in moduli]),
        open_factor=np.array(opening),
        scale=np.array(scale, dtype=np.uint64),
        plain=np.array([t, q % t, ((q % t) << 64) // t, q % t == 1], dtype=np.uint64),
        fraction=np.array([((1 << 128) // p & (1 << 64) - 1, (1 << 128) // p >> 64) for p in moduli], dtype=np.uint64),
    )
