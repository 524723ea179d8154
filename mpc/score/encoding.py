"""Real vectors as integers of a declared norm, and integers as polynomials.

With b dimensions to a ciphertext, dimension `g b + k` of a query is the coefficient of X^k in its polynomial g, and of
item i of a row the coefficient of X^(i b + b - 1 - k) in polynomial g of that row. In the sum over g of the products
the coefficient of X^(i b + b - 1) is the inner product of the query with item i: item i + 1 begins above it, and item
i - 1 reaches X^(i b + b - 2) at most. (Other coefficients hold partial sums; they are covered and never sent.)
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError, RangeError
from mpc.schemes.rlwe.noise import lattice_of
from mpc.score.spec import Measure, ScorePlan

__all__ = ["item_integers", "item_polynomials", "query_integers", "query_polynomials"]

Integers = NDArray[np.int64]


def query_integers(plan: ScorePlan, vectors: NDArray[Any]) -> Integers:
    """Query vectors `(n, dimensions)` in fixed point, normalised for cosines.

    Raises:
        RangeError: A vector is not finite, exceeds its norm, or is zero where an angle is asked for.
        ParameterError: The shape is wrong.
    """
    reals = _reals(plan, vectors, "query")
    if plan.spec.measure is Measure.COSINE:
        norms = np.linalg.norm(reals, axis=1, keepdims=True)
        if not bool((norms > 0).all()):
            raise RangeError("a zero vector has no direction", statistic="query")
        reals = _directions(reals, norms)
    return _integers(reals, plan.spec.query_norm, plan.spec.query_scale_bits, plan.query_bound, "query")


def item_integers(plan: ScorePlan, vectors: NDArray[Any]) -> Integers:
    """Item vectors `(n, dimensions)` in fixed point, normalised for cosines; a zero item scores 0.

    Raises:
        RangeError: A vector is not finite or exceeds its norm.
        ParameterError: The shape is wrong.
    """
    reals = _reals(plan, vectors, "item")
    if plan.spec.measure is Measure.COSINE:
        reals = _directions(reals, np.linalg.norm(reals, axis=1, keepdims=True))
    return _integers(reals, plan.spec.item_norm, plan.spec.item_scale_bits, plan.item_bound, "item")


def query_polynomials(plan: ScorePlan, integers: Integers) -> NDArray[np.uint64]:
    """One query `(dimensions,)` as residues, `(terms, N)`."""
    width = plan.spec.dimensions_per_ciphertext
    padded = np.zeros(plan.terms * width, dtype=np.int64)
    padded[: integers.size] = integers
    out = np.zeros((plan.terms, lattice_of(plan.parameters).degree), dtype=np.uint64)
    out[:, :width] = (padded % plan.parameters.plain_modulus).astype(np.uint64).reshape(plan.terms, width)
    return out


def item_polynomials(plan: ScorePlan, integers: Integers) -> Integers:
    """The items of one row, `(n, dimensions)` with n at most `items_per_row`, as polynomials `(terms, N)`."""
    width = plan.spec.dimensions_per_ciphertext
    padded = np.zeros((plan.items_per_row, plan.terms * width), dtype=np.int64)
    padded[: integers.shape[0], : integers.shape[1]] = integers
    blocks = padded.reshape(plan.items_per_row, plan.terms, width)[:, :, ::-1]
    return np.ascontiguousarray(blocks.transpose(1, 0, 2)).reshape(plan.terms, plan.items_per_row * width)


def _reals(plan: ScorePlan, vectors: NDArray[Any], what: str) -> NDArray[np.float64]:
    reals = np.asarray(vectors, dtype=np.float64)
    if reals.ndim != 2 or reals.shape[1] != plan.spec.dimensions:
        raise ParameterError(f"{what} vectors have shape (n, {plan.spec.dimensions})")
    if not np.isfinite(reals).all():
        raise RangeError("not a finite number", statistic=what)
    return reals


def _directions(reals: NDArray[np.float64], norms: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(reals, norms, out=np.zeros_like(reals), where=norms > 0)


def _integers(reals: NDArray[np.float64], norm: float, scale_bits: int, bound: int, what: str) -> Integers:
    """Fixed point, checked in integers: the norm that the noise and the modulus were planned for is never exceeded."""
    if reals.size and float(np.abs(reals).max()) > norm * (1 + 1e-9):
        raise RangeError("beyond the declared norm", statistic=what)
    integers = np.rint(np.ldexp(reals, scale_bits)).astype(np.int64)
    if bool(((integers * integers).sum(axis=1) > bound * bound).any()):
        raise RangeError("beyond the declared norm", statistic=what)
    return integers
