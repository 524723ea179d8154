"""Bounds on the noise, before anything is computed.

The phase of a ciphertext of m is `c0 + c1 s = (q / t) m + v` modulo q, with v a vector of rationals; decryption is right
while every |v| is below `q / (2 t)` less the error of its own arithmetic. The bounds here are on |v|, in integers,
hold for every message, and depend on no data. README.md, section 3, derives each.
"""

import functools
import math
from typing import Final

from mpc.errors import ParameterError
from mpc.params.base import LatticeParameters, ParameterSet, SchemeId

__all__ = [
    "FAILURE_BITS",
    "flooded_noise",
    "flooding_width",
    "fresh_public_noise",
    "fresh_symmetric_noise",
    "max_additions",
    "noise_limit",
    "product_noise",
]

FAILURE_BITS: Final = 128
"""The public-key bound fails with probability at most 2^-128 per ciphertext, over key and coins."""

_ERROR_BOUND: Final = 21
_ERROR_PROXY: Final = 10.5
_ENCODING: Final = 1


def _lattice(parameters: ParameterSet) -> LatticeParameters:
    if parameters.scheme is not SchemeId.RLWE or parameters.lattice is None:
        raise ParameterError(f"{parameters.id} is not a set of the rlwe scheme")
    return parameters.lattice


@functools.cache
def fresh_public_noise(parameters: ParameterSet) -> int:
    """`e u + e0 + e1 s`, less the fraction that encoding cuts off.

    Given the ternary u and s, each coefficient is a signed sum of at most 2 N + 1 independent centred binomials, hence
    sub-Gaussian with variance proxy 10.5 (2 N + 1).
    """
    n = _lattice(parameters).degree
    exponent = math.log(2 * n) + FAILURE_BITS * math.log(2)
    return math.ceil(math.sqrt(2 * _ERROR_PROXY * (2 * n + 1) * exponent)) + _ENCODING


def fresh_symmetric_noise(parameters: ParameterSet) -> int:
    """The error alone, at most 21 always, less the fraction that encoding cuts off."""
    _lattice(parameters)
    return _ERROR_BOUND + _ENCODING


@functools.cache
def noise_limit(parameters: ParameterSet) -> int:
    """The largest noise that decrypts: `q / (2 t)` less the error k 2^-78 q of the 128-bit fractions, and less one."""
    lattice = _lattice(parameters)
    q = math.prod(lattice.moduli)
    return q // (2 * parameters.plain_modulus) - (len(lattice.moduli) * q >> 78) - 2


def max_additions(parameters: ParameterSet) -> int:
    """Fresh public-key ciphertexts that may be added, none of them assumed independent of another."""
    return noise_limit(parameters) // fresh_public_noise(parameters)


def product_noise(parameters: ParameterSet, noise: int, coefficient_bound: int, terms: int | None = None) -> int:
    """After a product with a polynomial of at most `terms` non-zero coefficients, each at most `coefficient_bound`."""
    return noise * max(1, coefficient_bound * min(terms or _lattice(parameters).degree, _lattice(parameters).degree))


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
    return noise + fresh_public_noise(parameters) + (1 << width)
