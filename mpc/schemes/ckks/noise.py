"""Bounds on what a covered CKKS inner product errs, before anything is computed.

A query is d ciphertexts of constants `2^s x_j`, an item block d integer polynomials P_j near `2^p` times its slots. The
phase of the inner product is `sum_j (2^s x_j + e_j) P_j` with |e_j| <= 21.5: the error 21 of SEAL's centred binomial
and 1/2 for rounding. What depends on the items and not on their scores is `sum_j e_j P_j`; README.md derives its bound,
and that of what flooding of width B does to a slot, `2^B sqrt(N ln(2^129 N / 2) / 3)` except with probability 2^-128.
"""

import math
from dataclasses import dataclass
from typing import Final

from mpc.errors import ParameterError
from mpc.params.ckks import CkksParameters

__all__ = ["GRID_MARGIN_BITS", "MINIMUM_FLOODING_BITS", "ChainPlan", "plan_chain"]

MINIMUM_FLOODING_BITS: Final = 40
GRID_MARGIN_BITS: Final = 6
"""Released values lie on a grid at least 64 times coarser than the largest error."""

_FAILURE_BITS: Final = 128
_ERROR: Final = 21.5
_DOUBLES_BITS: Final = 40
"""SEAL's transforms between slots and coefficients, in doubles: far better than 2^-40 of the largest slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPlan:
    """The public numbers of covered inner products."""

    parameters: CkksParameters
    width: int
    """Flooding is uniform in [-2^width, 2^width)."""

    flooding_bits: float
    """By how many bits the flooding exceeds the noise that depends on the items."""

    error: float
    """Largest error of an opened slot, in units of scores."""

    finest_grid_bits: int
    """Released values are multiples of 2^-grid_bits, with at most so many bits."""


def plan_chain(
    parameters: CkksParameters,
    *,
    terms: int,
    query_scale_bits: int,
    item_scale_bits: int,
    query_norm: float,
    item_norm: float,
    flooding_bits: int = MINIMUM_FLOODING_BITS,
) -> ChainPlan:
    """Flooding and precision of inner products of `terms` terms.

    Args:
        parameters: The chain.
        terms: Dimensions d.
        query_scale_bits: s.
        item_scale_bits: p.
        query_norm: Bound on the Euclidean norm of a query.
        item_norm: Bound on the Euclidean norm of an item (of each slot's vector).
        flooding_bits: The least that will do, 40 or more.

    Raises:
        ParameterError: The scores with their flooding exceed the modulus, or the flooding does not stay below the
            scale: what would be left of a score is less than eight bits.
    """
    if not MINIMUM_FLOODING_BITS <= flooding_bits < parameters.q.bit_length() or terms < 1:
        raise ParameterError(f"flooding takes {MINIMUM_FLOODING_BITS} bits or more, and fewer than the modulus")
    n, largest = parameters.lattice.degree, query_norm * item_norm
    items = math.sqrt(n * terms) * math.ldexp(item_norm, item_scale_bits) + terms * (n / 2 + 1)
    noise = _ERROR * items
    width = flooding_bits + math.ceil(math.log2(noise))
    fresh = 21 * (2 * n + 1) / (parameters.lattice.special_modulus or 1) + n + 2
    scale_bits = query_scale_bits + item_scale_bits
    if math.ldexp(largest, scale_bits) + 2.0**width + noise + fresh >= parameters.q / 4:
        raise ParameterError(f"{parameters.id} is too short for scores of this scale with flooding", rule="modulus")
    tail = math.log(2) * (_FAILURE_BITS + 1) + math.log(n / 2)
    slot = 2.0**width * math.sqrt(n * tail / 3) + n * (noise + fresh)
    rounding = math.sqrt(terms) * query_norm * math.ldexp(n / 2 + 1, -item_scale_bits)
    error = math.ldexp(slot, -scale_bits) + rounding + math.ldexp(largest, -_DOUBLES_BITS)
    grid_bits = -math.ceil(math.log2(error)) - GRID_MARGIN_BITS
    if math.ldexp(largest, grid_bits) < 1 << 8:
        raise ParameterError(
            f"{parameters.id} at a scale of {scale_bits} bits has no room for {flooding_bits} bits of flooding",
            rule="flooding",
        )
    return ChainPlan(
        parameters=parameters,
        width=width,
        flooding_bits=width - math.log2(noise),
        error=error,
        finest_grid_bits=grid_bits,
    )
