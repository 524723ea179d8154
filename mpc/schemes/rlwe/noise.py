"""Bounds on the noise, before anything is computed.

The phase of a ciphertext of m is `c0 + c1 s = (q / t) m + v` modulo q, with v a vector of rationals; decryption is
right while every |v| is below `q / (2 t)` less the error of its own arithmetic. The bounds here are on |v|, in
integers, hold for every message, and depend on no data. README.md, section 3, derives each.
"""

import functools
import math
from dataclasses import dataclass
from typing import Final

from mpc.errors import ParameterError
from mpc.params.base import LatticeParameters, ParameterSet, SchemeId, SetId
from mpc.params.catalogue import parameter_set

__all__ = [
    "FAILURE_BITS",
    "SMALL_T",
    "Bounds",
    "bounds",
    "flooded_noise",
    "flooding_width",
    "lattice_of",
    "product_noise",
]

FAILURE_BITS: Final = 128
"""The public-key bound fails with probability at most 2^-128 per ciphertext, over key and coins."""

SMALL_T: Final = 1 << 32
"""Up to this plaintext modulus decryption rounds in doubles, beyond it in 128-bit fractions."""

_ERROR_BOUND: Final = 21
_ERROR_PROXY: Final = 10.5
_ENCODING: Final = 1


def lattice_of(parameters: ParameterSet) -> LatticeParameters:
    """The lattice parameters of a set of this scheme (`ParameterError` for any other)."""
    if parameters.scheme is not SchemeId.RLWE or parameters.lattice is None:
        raise ParameterError(f"{parameters.id} is not a set of the rlwe scheme")
    return parameters.lattice


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a parameter set's ciphertexts start with and may end with."""

    fresh_public: int
    """Of `e u + e0 + e1 s`, less the fraction that encoding cuts off.

    Given the ternary u and s, each coefficient is a signed sum of at most 2 N + 1 independent centred binomials, hence
    sub-Gaussian with variance proxy 10.5 (2 N + 1).
    """

    fresh_symmetric: int
    """Of the error alone, at most 21 always, less the fraction that encoding cuts off."""

    limit: int
    """The largest that decrypts: `q / (2 t)` less what the arithmetic of decryption may err, and less one."""

    @property
    def max_additions(self) -> int:
        """Fresh public-key ciphertexts that may be added, none of them assumed independent of another."""
        return self.limit // self.fresh_public


def bounds(parameters: ParameterSet) -> Bounds:
    """The bounds of a set (`ParameterError` if it is not one of this scheme)."""
    return _bounds(parameters.id)


@functools.cache
def _bounds(set_id: SetId) -> Bounds:
    parameters = parameter_set(set_id)
    lattice, t = lattice_of(parameters), parameters.plain_modulus
    n, k, q = lattice.degree, len(lattice.moduli), math.prod(lattice.moduli)
    exponent = math.log(2 * n) + FAILURE_BITS * math.log(2)
    public = math.ceil(math.sqrt(2 * _ERROR_PROXY * (2 * n + 1) * exponent)) + _ENCODING
    arithmetic = ((2 * k + 1) * q >> 53) + (q // t >> 20) if t <= SMALL_T else k * q >> 78
    return Bounds(fresh_public=public, fresh_symmetric=_ERROR_BOUND + _ENCODING, limit=q // (2 * t) - arithmetic - 2)


def product_noise(parameters: ParameterSet, noise: int, coefficient_bound: int, terms: int | None = None) -> int:
    """After a product with a polynomial of at most `terms` non-zero coefficients, each at most `coefficient_bound`."""
    degree = lattice_of(parameters).degree
    return noise * max(1, coefficient_bound * (degree if terms is None else min(terms, degree)))


def flooding_width(noise: int, flooding_bits: int) -> int:
    """The width B of flooding noise, uniform in [-2^B, 2^B): 2^B is at least `2^flooding_bits` times `noise`."""
    if not 1 <= flooding_bits <= 126:
        raise ParameterError("flooding takes between 1 and 126 bits")
    width = flooding_bits + (noise - 1).bit_length()
    if width > 126:
        raise ParameterError("flooding noise has at most 126 bits")
    return width


def flooded_noise(parameters: ParameterSet, noise: int, width: int) -> int:
    """After a fresh encryption and flooding noise of a width were added."""
    return noise + bounds(parameters).fresh_public + (1 << width)
