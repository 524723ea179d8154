"""Normal equations of many small least-squares problems at once: users against items, and items against users.

Rows with about as many entries are handled together: their entries are gathered into one padded block (the padding
points at a row of zeros), and one batched product makes all their matrices. No loop runs over users.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpc.learn.interactions import Ratings
from mpc.learn.symmetric import pack_symmetric, solve

__all__ = ["Problem", "Statistics", "item_statistics", "solve_rows"]

Matrix = NDArray[np.float64]

_VALUES_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is minimised.

    With biases (explicit feedback): the sum over ratings of (r - mean - b_u - c_i - p_u.q_i)^2, plus bias_ridge times
    b^2 and c^2, plus ridge n times |p|^2 and |q|^2, with n the entries of the user or item.
    Without (implicit feedback): the sum over positives of (1 - s)^2, plus unobserved times the sum over all pairs of
    s^2, plus ridge (n + unobserved m)^exponent times |p|^2 and |q|^2, with m the size of the other side.

    The second form without the unobserved term, for ratings minus their mean, is that of gradient factorisation.
    """

    biased: bool
    """The first form: coordinate 0 of a vector is its bias."""

    dimension: int
    ridge: float
    mean: float = 0.0
    bias_ridge: float = 0.0
    unobserved: float = 0.0
    exponent: float = 1.0

    @property
    def width(self) -> int:
        """Coordinates of a user or an item."""
        return self.dimension + self.biased

    def penalty(self, counts: NDArray[np.int64], others: int) -> Matrix:
        """Diagonal of the regularisation of rows with so many entries, shape `(rows, width)`."""
        entries = np.maximum(counts, 1).astype(np.float64)
        if not self.biased:
            scale = (counts + self.unobserved * others) ** self.exponent
            return np.repeat(np.maximum(self.ridge * scale, 1e-300)[:, None], self.width, axis=1)
        out = np.repeat((self.ridge * entries)[:, None], self.width, axis=1)
        out[:, 0] = self.bias_ridge
        return out

    def design(self, vectors: Matrix) -> tuple[Matrix, NDArray[np.float64]]:
        """What the other side sees of vectors: rows with a 1 in place of the bias, and the biases; zeros appended."""
        padded = np.vstack([vectors, np.zeros((1, self.width))])
        if not self.biased:
            return padded, np.zeros(len(padded))
        bias = padded[:, 0].copy()
        padded[:-1, 0] = 1.0
        return padded, bias


@dataclass(frozen=True, slots=True)
class _Group:
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    """Shape `(rows, length)`; padding is `width`."""

    entries: NDArray[np.int64]
    present: NDArray[np.bool_]


def _groups(table: Ratings, first: int, last: int, width: int) -> Iterator[_Group]:
    """Rows `first` to `last` that have entries, in groups of similar length."""
    counts = table.counts[first:last]
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    lengths = counts[order]
    start = 0
    while start < len(order):
        shortest = int(lengths[start])
        # Lengths within one eighth (and at least 4) of each other share a block: at most so much of it is padding.
        longest = shortest + max(4, shortest // 8)
        room = max(1, _VALUES_AT_ONCE // (longest * width))
        stop = min(start + room, int(np.searchsorted(lengths, longest, side="right")))
        rows = order[start:stop] + first
        length = int(lengths[stop - 1])
        steps = np.arange(length)
        present = steps[None, :] < table.counts[rows][:, None]
        entries = np.where(present, table.offsets[rows][:, None] + steps[None, :], 0)
        columns = np.where(present, table.columns[entries], table.width)
        yield _Group(rows, columns, entries, present)
        start = stop


def _targets(problem: Problem, table: Ratings, group: _Group, bias: NDArray[np.float64]) -> Matrix:
    if table.values is None:
        return group.present.astype(np.float64)
    return np.where(group.present, table.values[group.entries] - problem.mean - bias[group.columns], 0.0)


def solve_rows(problem: Problem, table: Ratings, vectors: Matrix, *, others: int) -> Matrix:
    """The exact vector of every row (user) given the other side's vectors, shape `(rows, width)`.

    Args:
        problem: What is minimised.
        table: Entries by row.
        vectors: Vectors of the columns.
        others: Size of the other side.
    """
    design, bias = problem.design(vectors)
    shared = problem.unobserved * (vectors.T @ vectors)
    penalty = problem.penalty(table.counts, others)
    out = np.zeros((table.height, problem.width))
    diagonal = np.arange(problem.width)
    for group in _groups(table, 0, table.height, problem.width):
        block = design[group.columns]
        system = np.matmul(block.transpose(0, 2, 1), block)
        system += shared
        system[:, diagonal, diagonal] += penalty[group.rows]
        moment = np.matmul(block.transpose(0, 2, 1), _targets(problem, table, group, bias)[:, :, None])
        out[group.rows] = solve(system, moment)[:, :, 0]
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """One party's item statistics of a stretch of items."""

    hessian: Matrix | None
    """Upper triangles over the block's coordinates, shape `(items, b (b + 1) / 2)`."""

    gradient: Matrix
    """Sum of residual times the block's coordinates, shape `(items, b)`."""

    loss: float
    """Sum of squared residuals over the observed entries."""


def item_statistics(
    problem: Problem,
    by_item: Ratings,
    users: Matrix,
    items: Matrix,
    *,
    stretch: tuple[int, int],
    block: NDArray[np.int64],
    curvature: bool,
) -> Statistics:
    """Sums over this party's users, at the current vectors.

    Args:
        problem: What is minimised.
        by_item: This party's entries by item.
        users: This party's user vectors; they stay here.
        items: Item vectors.
        stretch: First and last item.
        block: Coordinates that are about to be updated.
        curvature: Whether the Hessian is wanted (a gradient solver does without).
    """
    first, last = stretch
    width = len(block)
    design, bias = problem.design(users)
    hessian = np.zeros((last - first, width * (width + 1) // 2)) if curvature else None
    gradient, loss = np.zeros((last - first, width)), 0.0
    whole = width == problem.width
    for group in _groups(by_item, first, last, problem.width):
        rows = design[group.columns]
        residual = _targets(problem, by_item, group, bias) - np.matmul(rows, items[group.rows][:, :, None])[:, :, 0]
        residual[~group.present] = 0.0
        loss += float(np.square(residual).sum())
        part = rows if whole else np.ascontiguousarray(rows[:, :, block])
        gradient[group.rows - first] = np.matmul(part.transpose(0, 2, 1), residual[:, :, None])[:, :, 0]
        if hessian is not None:
            hessian[group.rows - first] = pack_symmetric(np.matmul(part.transpose(0, 2, 1), part))
    return Statistics(hessian, gradient, loss)
