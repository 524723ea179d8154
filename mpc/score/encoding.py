"""Real vectors as integers of a declared norm, and integers as polynomials.

With b dimensions to a ciphertext, dimension `g b + k` of a query is the coefficient of X^k in its polynomial g, and of
item i of a row the coefficient of X^(i b + b - 1 - k) in polynomial g of that row. In the sum over g of the products
the coefficient of X^(i b + b - 1) is the inner product of the query with item i: item i + 1 begins above it, and item
i - 1 reaches X^(i b + b - 2) at most. (Other coefficients hold partial sums; they are covered and never sent.)
"""

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError, RangeError
from mpc.schemes.rlwe.noise import lattice_of
from mpc.score.spec import Measure, ScorePlan

__all__ = [
    "VectorSpec",
    "item_integers",
    "item_polynomials",
    "item_reals",
    "query_integers",
    "query_polynomials",
    "query_reals",
]

Integers = NDArray[np.int64]

_CURES: Final = {
    "zero": "give a vector with a coordinate that is not zero",
    "finite": "give vectors whose coordinates are all numbers",
    "query": "rescale the query (--rescale, or rescale=True), or shorten it",
    "item": "declare a larger item_norm for the catalogue",
}


class VectorSpec(Protocol):
    """What a spec says of vectors."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    @property
    def measure(self) -> Measure:
        """What a score is."""
        ...

    @property
    def query_norm(self) -> float:
        """Largest norm of a query."""
        ...

    @property
    def item_norm(self) -> float:
        """Largest norm of an item."""
        ...


def query_reals(spec: VectorSpec, vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Query vectors `(n, dimensions)`, normalised for cosines.

    Raises:
        RangeError: A vector is not finite, exceeds its norm, or is zero where an angle is asked for.
        ParameterError: The shape is wrong.
    """
    reals = _reals(spec, vectors, "query")
    if spec.measure is Measure.COSINE:
        if not reals.any(axis=1).all():
            raise RangeError("a zero vector has no direction", statistic="query", instead=_CURES["zero"])
        return _directions(reals)
    return _within(reals, spec.query_norm, "query")


def item_reals(spec: VectorSpec, vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Item vectors `(n, dimensions)`, normalised for cosines; a zero item stays zero.

    Raises:
        RangeError: A vector is not finite or exceeds its norm.
        ParameterError: The shape is wrong.
    """
    reals = _reals(spec, vectors, "item")
    return _directions(reals) if spec.measure is Measure.COSINE else _within(reals, spec.item_norm, "item")


def query_integers(plan: ScorePlan, vectors: NDArray[Any]) -> Integers:
    """Query vectors in fixed point; as `query_reals`."""
    return _integers(query_reals(plan.spec, vectors), plan.spec.query_scale_bits, plan.query_bound, "query")


def item_integers(plan: ScorePlan, vectors: NDArray[Any]) -> Integers:
    """Item vectors in fixed point; as `item_reals`."""
    return _integers(item_reals(plan.spec, vectors), plan.spec.item_scale_bits, plan.item_bound, "item")


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


def _reals(spec: VectorSpec, vectors: NDArray[Any], what: str) -> NDArray[np.float64]:
    reals = np.asarray(vectors, dtype=np.float64)
    if reals.ndim != 2 or reals.shape[1] != spec.dimensions:
        raise ParameterError(f"{what} vectors have shape (n, {spec.dimensions})")
    if not np.isfinite(reals).all():
        raise RangeError("not a finite number", statistic=what, instead=_CURES["finite"])
    return reals


def _directions(reals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors of norm 1; scaled to their largest coordinate first, so that no norm overflows or vanishes."""
    largest = np.abs(reals).max(axis=1, keepdims=True)
    scaled = np.divide(reals, largest, out=np.zeros_like(reals), where=largest > 0)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    directions: NDArray[np.float64] = np.divide(scaled, norms, out=scaled, where=norms > 0)
    return directions


def _within(reals: NDArray[np.float64], norm: float, what: str) -> NDArray[np.float64]:
    """Refuse norms beyond the declared one (and what rounding in doubles may add to it)."""
    limit = norm * (1 + 1e-9)
    if reals.size and (float(np.abs(reals).max()) > limit or float(np.linalg.norm(reals, axis=1).max()) > limit):
        raise RangeError("beyond the declared norm", statistic=what, instead=_CURES[what])
    return reals


def _integers(reals: NDArray[np.float64], scale_bits: int, bound: int, what: str) -> Integers:
    """Fixed point, checked in integers: the norm that the noise and the modulus were planned for is never exceeded."""
    integers = np.rint(np.ldexp(reals, scale_bits)).astype(np.int64)
    if bool(((integers * integers).sum(axis=1) > bound * bound).any()):
        raise RangeError("beyond the declared norm", statistic=what, instead=_CURES[what])
    return integers
