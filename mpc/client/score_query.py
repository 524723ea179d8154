"""What an analyst scores with, checked before a query of the budget is spent on it."""

import operator
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.client.score_plan import OfferedCatalogue
from mpc.errors import ParameterError, RangeError
from mpc.score.spec import Measure

__all__ = ["best_of", "query_vectors", "rescaled"]

_LARGEST_FACTOR: Final = 2.0**512
"""Scores and errors that are brought back by it stay normal doubles."""

_FINITE: Final = "give a vector of finite numbers, one of them not zero"


def query_vectors(query: ArrayLike) -> NDArray[np.float64]:
    """A vector or a batch of them as given, `(dimensions,)` or `(queries, dimensions)`.

    Raises:
        ParameterError: It is neither, or not of real numbers.
    """
    try:
        found = np.asarray(query)
    except ValueError:
        raise ParameterError("a query is a vector, or a batch of vectors of one length") from None
    if found.dtype.kind not in "biuf" or found.ndim not in {1, 2} or not found.size:
        raise ParameterError("a query is a vector of real numbers, or a batch of such vectors")
    return found.astype(np.float64)


def best_of(k: int | None, rows: int) -> int:
    """How many of the best items are wanted: all of them for None, and where there are not more than k.

    Raises:
        ParameterError: k is not a whole number of at least 1.
    """
    if k is None:
        return rows
    try:
        wanted = operator.index(k)
    except TypeError:
        wanted = 0
    if wanted < 1:
        raise ParameterError("the best k items, k a whole number of at least 1")
    return min(wanted, rows)


def rescaled(
    found: OfferedCatalogue, vectors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Queries brought to the declared norm, and the factors that bring their scores back.

    Raises:
        RangeError: A query is not finite, or has no length.
    """
    if found.offer.specs[0].measure is Measure.COSINE:
        return vectors, None
    largest = np.abs(vectors).max(axis=1)
    if not (np.isfinite(largest) & (largest > 0)).all():
        raise RangeError("a query of no or of infinite length", statistic="query", instead=_FINITE)
    units = vectors / largest[:, None]  # so that no norm overflows or vanishes
    norms = np.linalg.norm(units, axis=1)
    factors = largest / found.query_norm * norms
    if not ((factors > 1 / _LARGEST_FACTOR) & (factors < _LARGEST_FACTOR)).all():
        raise RangeError("a query too long or too short to be rescaled", statistic="query", instead=_FINITE)
    return units * (found.query_norm / norms)[:, None], factors
