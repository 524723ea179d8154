"""EASE: one encrypted item Gram matrix, the closed form at each party.

Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019 (arXiv 1905.03375), equation 8: with the binary
user-item matrix X, G = X'X + lambda I and P = G^-1, the weights are B = -P / diag(P) off the diagonal and 0 on it.

G is a sum over users, and users are at one party each, so the parties' Gram matrices add up to the pooled one, exactly.
Only its upper triangle is summed. Small cells are never set to zero: the matrix would stop being positive definite.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mpc.fixedpoint import range_for
from mpc.learn.admission import Admission, admit
from mpc.learn.data import Rows
from mpc.learn.interactions import Ratings, load
from mpc.learn.recommender_specs import Ease
from mpc.learn.recommending import RecommenderModel
from mpc.learn.symmetric import inverse
from mpc.learn.vocabulary import Discovery, Vocabulary
from mpc.primitives import Checkpoint, Program, Progress, Sum

__all__ = ["EaseModel", "fit_ease", "gram_block"]

_PAIRS_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class EaseModel(RecommenderModel):
    """A trained EASE model."""

    kind: ClassVar[str] = "ease"

    vocabulary: Vocabulary
    weights: NDArray[np.float64]
    """`weights[i, j]`: how much having item i speaks for item j, shape `(items, items)`, zero diagonal."""

    users: NDArray[np.int64]
    """Users of each item over all parties: the diagonal of the Gram matrix."""

    regularization: float

    def score(self, histories: Ratings) -> NDArray[np.float64]:
        """Sum of the weights of each history's items, shape `(histories, items)`."""
        out = np.zeros((histories.height, len(self.vocabulary)))
        for row in range(histories.height):
            columns = histories.columns[histories.offsets[row] : histories.offsets[row + 1]]
            np.sum(self.weights[columns], axis=0, out=out[row])
        return out

    def numbers(self) -> dict[str, NDArray[Any]]:
        """Items, weights and item support."""
        return {"items": self.items, "weights": self.weights, "users": self.users}

    def description(self) -> dict[str, Any]:
        """The regularisation."""
        return {"regularization": self.regularization}

    @classmethod
    def rebuild(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Build the model back."""
        return cls(Vocabulary(arrays["items"]), arrays["weights"], arrays["users"], description["regularization"])

    def explain(self) -> str:
        """What the model is."""
        return (
            f"EASE over {len(self.vocabulary)} items (regularisation {self.regularization:g}): a linear item-to-item "
            "model in closed form from one summed co-occurrence matrix. A score is the sum of the weights of the "
            f"items in the history. Items entered with {int(self.users.min())} to {int(self.users.max())} users."
        )


def gram_block(train: Ratings, first: int, last: int) -> NDArray[np.int64]:
    """Rows `first` to `last` of the upper triangle (diagonal included) of X'X, row after row.

    Shape `(sum of (width - i) for i in [first, last),)`.
    """
    width = train.width
    lengths = width - np.arange(first, last)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    out = np.zeros(int(starts[-1]), dtype=np.int64)
    ends = np.repeat(train.offsets[1:], train.counts)
    entries = np.flatnonzero((train.columns >= first) & (train.columns < last))
    for part in _portions(entries, ends):
        counts = ends[part] - part
        left = np.repeat(train.columns[part].astype(np.int64), counts)
        shift = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
        right = train.columns[np.repeat(part, counts) + shift]
        np.add.at(out, starts[left - first] + (right - left), 1)
    return out


def _portions(entries: NDArray[np.int64], ends: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut entries so that each portion makes a bounded number of pairs."""
    if not len(entries):
        return
    pairs = np.cumsum(ends[entries] - entries)
    cuts = np.searchsorted(pairs, np.arange(_PAIRS_AT_ONCE, int(pairs[-1]) + _PAIRS_AT_ONCE, _PAIRS_AT_ONCE))
    begin = 0
    for cut in np.unique(np.append(cuts + 1, len(entries))):
        yield entries[begin : int(cut)]
        begin = int(cut)


def item_blocks(width: int, block_values: int) -> list[tuple[int, int]]:
    """Cut the rows of a triangle into blocks of at most `block_values` values (at least one row each)."""
    blocks, begin, held = [], 0, 0
    for row in range(width):
        if held and held + width - row > block_values:
            blocks.append((begin, row))
            begin, held = row, 0
        held += width - row
    blocks.append((begin, width))
    return blocks


def fit_ease(
    spec: Ease,
    data: Rows,
    *,
    parties: int,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
    discovery: Discovery | None = None,
) -> Program[EaseModel]:
    """Train EASE.

    Reveals: to all parties, what `admit` reveals, and the number of users of every pair of admitted items
    (cells of 1 included).
    """
    local = load(spec, data, implicit=True)
    if checkpoint is None:
        admission = yield from admit(
            spec, local, label="ease", minimum_users=spec.minimum_users, parties=parties, discovery=discovery
        )
        gram = np.zeros(0, dtype=np.int64)
    else:
        admission = Admission.resume(checkpoint)
        gram = checkpoint["gram"].astype(np.int64)
    width = len(admission.items)
    train = local.train.renumbered(local.numbered(admission.items), width)
    blocks = item_blocks(width, spec.block_values)
    # A pair has at most as many users as either item, so the largest opened support bounds every cell. Headers are seen
    # by the coordinator: it learns the power of two above.
    bound = int(range_for(float(admission.users.max())))
    done = 0
    for number, (first, last) in enumerate(blocks):
        length = sum(width - i for i in range(first, last))
        done += length
        if done <= len(gram):
            continue
        cells = gram_block(train, first, last)
        totals = yield Sum.of(f"ease/gram/{number}", {"gram": cells}, bound, context=admission.context())
        assert totals is not None
        gram = np.concatenate([gram, totals["gram"].astype(np.int64)])
        yield Checkpoint({**admission.save(), "gram": narrow(gram)})
        yield Progress(number + 1, len(blocks), {"items": float(width), "cells": float(len(gram))})
    return closed_form(admission.items, gram, spec.regularization)


def narrow(counts: NDArray[np.int64]) -> NDArray[Any]:
    """Counts in 32 bits where they fit: a checkpoint holds many."""
    return counts.astype(np.int32) if counts.size and int(counts.max()) < 1 << 31 else counts


def closed_form(items: Vocabulary, gram: NDArray[np.int64], regularization: float) -> EaseModel:
    """The weights of a summed Gram matrix given as its upper triangle."""
    width = len(items)
    dense = np.zeros((width, width))
    start = 0
    for row in range(width):
        cells = gram[start : start + width - row]
        dense[row, row:] = cells
        dense[row:, row] = cells
        start += width - row
    users = dense.diagonal().astype(np.int64)
    dense[np.diag_indices(width)] += regularization
    solution = inverse(dense)
    weights = solution / -solution.diagonal()
    weights[np.diag_indices(width)] = 0.0
    return EaseModel(items, weights, users, regularization)
