"""What a covered product needs: its noise, the flooding over it, and how many bits of it are sent.

A product is the sum over j of `c_j p_j`, with fresh ciphertexts c_j of a key holder and plaintext polynomials p_j. Its
noise is at most the fresh one (22 in every coefficient) times the sum of all absolute coefficients of the p_j, the
*magnitude*: always, for no probability enters. README.md of `mpc.score`, section 4, derives the rest.
"""

import math
from dataclasses import dataclass
from typing import Final

from mpc.errors import ParameterError
from mpc.params.base import ParameterSet
from mpc.schemes.rlwe.noise import bounds, flooding_width, lattice_of

__all__ = ["MINIMUM_FLOODING_BITS", "NARROWEST_FLOODING", "WIDEST_FLOODING", "ProductPlan", "plan_products"]

MINIMUM_FLOODING_BITS: Final = 40
NARROWEST_FLOODING: Final = 50
WIDEST_FLOODING: Final = 98
"""What the kernel draws: two parts of at most 49 bits, the first of them whole."""

_GUARD_BITS: Final = 3
_MOST_BITS: Final = 44
"""Fractions of q are summed in doubles; a rounding to so many bits is off by 2^-7 units at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPlan:
    """The public numbers of covered products of one magnitude under one parameter set."""

    parameters: ParameterSet
    noise: int
    """Bound on the noise of a product before it is covered."""

    width: int
    """Flooding is uniform in [-2^width, 2^width): the widest that still decrypts."""

    body_bits: int
    """Bits that are sent of a coefficient of c0."""

    mask_bits: int
    """Bits that are sent of a coefficient of c1."""

    reply_noise: int
    """Bound on the noise of what the key holder expands and opens."""

    @property
    def flooding_bits(self) -> float:
        """By how many bits the flooding exceeds the data-dependent noise."""
        return self.width - math.log2(self.noise)

    @property
    def readable_bits(self) -> float:
        """What a key holder who breaks the rules reads of a coefficient at most, under an honest public key."""
        q = math.prod(lattice_of(self.parameters).moduli)
        return math.log2(q) - self.width - 1


def plan_products(
    parameters: ParameterSet, magnitude: int, *, flooding_bits: int = MINIMUM_FLOODING_BITS
) -> ProductPlan:
    """Choose the flooding and the sizes for products of a magnitude.

    The flooding takes what the parameter set leaves: a result is read with the widest noise that still decrypts.

    Args:
        parameters: A set of the rlwe scheme with a power of two as plaintext modulus.
        magnitude: Public bound on the sum of all absolute coefficients that enter one product.
        flooding_bits: The least that will do, 40 or more.

    Raises:
        ParameterError: There is no room for so much flooding, or the set has no power of two.
    """
    lattice, t = lattice_of(parameters), parameters.plain_modulus
    if t & (t - 1) or magnitude < 1 or flooding_bits < MINIMUM_FLOODING_BITS:
        raise ParameterError("a covered product takes a power of two as modulus, a positive bound, and 40 bits or more")
    n, k, q = lattice.degree, len(lattice.moduli), math.prod(lattice.moduli)
    limits, log_t = bounds(parameters), t.bit_length() - 1
    body_bits, mask_bits = log_t + _GUARD_BITS, log_t + n.bit_length() - 1 + _GUARD_BITS
    if mask_bits > _MOST_BITS:
        raise ParameterError(f"{parameters.id} has too large a plaintext modulus for covered products")
    rounding = (q >> (body_bits + 1)) + (n * q >> (mask_bits + 1)) + (n + 1) * (((2 * k + 1) * q >> 53) + 2)
    noise = limits.fresh_symmetric * magnitude
    room = limits.limit - noise - limits.fresh_public - rounding
    width = min(room.bit_length() - 1, WIDEST_FLOODING) if room > 0 else 0
    if width < max(flooding_width(noise, flooding_bits), NARROWEST_FLOODING):
        raise ParameterError(f"{parameters.id} leaves no room for {flooding_bits} bits of flooding", rule="flooding")
    total = noise + limits.fresh_public + rounding + (1 << width)
    return ProductPlan(
        parameters=parameters,
        noise=noise,
        width=width,
        body_bits=body_bits,
        mask_bits=mask_bits,
        reply_noise=total,
    )
