"""EASE: one encrypted item Gram matrix, the closed form at each party.

Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019 (arXiv 1905.03375), equation 8: with the binary
user-item matrix X, G = X'X + lambda I and P = G^-1, the weights are B = -P / diag(P) off the diagonal and 0 on it.

G is a sum over users, and users are at one party each, so the parties' Gram matrices add up to the pooled one, exactly.
Only its upper triangle is summed. Small cells are never set to zero: the matrix would stop being positive definite.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError
from mpc.fixedpoint import range_for
from mpc.learn.admission import Admission, admit
from mpc.learn.data import Rows
from mpc.learn.interactions import Ratings, load
from mpc.learn.noise import NoiseMaker, PrivacyLoss, Release, privacy_loss, share_variance
from mpc.learn.recommender_specs import Ease
from mpc.learn.recommending import RecommenderModel
from mpc.learn.symmetric import inverse, triangle_length
from mpc.learn.vocabulary import Discovery, Vocabulary
from mpc.primitives import Checkpoint, Program, Progress, Sum

__all__ = ["EaseModel", "fit_ease", "gram_block", "privacy_of"]

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
    privacy: PrivacyLoss | None = None
    """What the statistics tell of one user, if noise was added to them."""

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
        """The regularisation, and the privacy loss where there was noise."""
        told: dict[str, Any] = {"regularization": self.regularization}
        return told if self.privacy is None else told | {"privacy": asdict(self.privacy)}

    @classmethod
    def rebuild(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Build the model back."""
        told = description.get("privacy")
        privacy = None if told is None else PrivacyLoss(**told)
        items = Vocabulary(arrays["items"])
        return cls(items, arrays["weights"], arrays["users"], description["regularization"], privacy)

    def explain(self) -> str:
        """What the model is."""
        noise = "" if self.privacy is None else f" With noise: {self.privacy.text()}."
        return (
            f"EASE over {len(self.vocabulary)} items (regularisation {self.regularization:g}): a linear item-to-item "
            "model in closed form from one summed co-occurrence matrix. A score is the sum of the weights of the "
            f"items in the history. Items entered with {int(self.users.min())} to {int(self.users.max())} users.{noise}"
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
    (cells of 1 included); with `noise`, all of these with noise, and nothing else.
    """
    local = load(spec, data, implicit=True)
    noise, seed = None, {}
    if spec.noise is not None:
        if spec.items is None:
            raise PlanError("", field="items", reason="noise needs a public catalogue: a discovery opens it exactly")
        # Before the first sum: whoever resumes adds the same noise to the same numbers.
        secret = NoiseMaker.new_seed() if checkpoint is None else checkpoint["noise"].tobytes()
        noise, seed = (
            NoiseMaker(secret, share_variance(spec.noise, parties)),
            {"noise": np.frombuffer(secret, np.uint8)},
        )
        if checkpoint is None:
            yield Checkpoint(seed)
    if checkpoint is None or "items" not in checkpoint:
        admission = yield from admit(
            spec,
            local,
            label="ease",
            minimum_users=spec.minimum_users,
            parties=parties,
            discovery=discovery,
            noise=noise,
        )
        gram = np.zeros(0, dtype=np.int64)
    else:
        admission = Admission.resume(checkpoint)
        gram = checkpoint["gram"].astype(np.int64)
    width = len(admission.items)
    train = local.train.renumbered(local.numbered(admission.items), width)
    blocks = item_blocks(width, spec.block_values)
    bound = _cell_bound(admission, noise, parties)
    done = 0
    for number, (first, last) in enumerate(blocks):
        length = sum(width - i for i in range(first, last))
        done += length
        if done <= len(gram):
            continue
        cells = {"gram": gram_block(train, first, last)}
        if noise is not None:
            cells = noise.add(f"ease/gram/{number}", cells)
        totals = yield Sum.of(f"ease/gram/{number}", cells, bound, context=admission.context())
        assert totals is not None
        gram = np.concatenate([gram, totals["gram"].astype(np.int64)])
        yield Checkpoint({**admission.save(), **seed, "gram": narrow(gram)})
        yield Progress(number + 1, len(blocks), {"items": float(width), "cells": float(len(gram))})
    return closed_form(admission.items, gram, spec.regularization, privacy_of(spec, parties))


def _cell_bound(admission: Admission, noise: NoiseMaker | None, parties: int) -> int:
    """What no party's cell exceeds, from opened numbers alone.

    A pair has at most as many users as either item, so the largest opened support bounds every cell. Headers are seen
    by the coordinator: it learns the power of two above.
    """
    largest = float(admission.users.max())
    if noise is not None:
        # The support was opened with the noise of all parties, and a cell carries that of one.
        largest += (math.sqrt(parties) + 1.0) * noise.reach()
    return int(range_for(largest))


def privacy_of(spec: Ease, parties: int) -> PrivacyLoss | None:
    """What the opened statistics tell of one user; None without noise.

    A user with m items changes m of the items' counts and the number of users by 1 each, and m (m + 1) / 2 cells of the
    triangle by 1 each.
    """
    if spec.noise is None or spec.items_per_user is None:
        return None
    most, items = spec.items_per_user, len(spec.items or ())
    support = Release(statistic="support", squared_sensitivity=most + 1, values=items + 1)
    cells = Release(
        statistic="co-occurrences", squared_sensitivity=triangle_length(most), values=triangle_length(items)
    )
    return privacy_loss(spec.noise, (support, cells), parties)


def narrow(counts: NDArray[np.int64]) -> NDArray[Any]:
    """Counts in 32 bits where they fit: a checkpoint holds many."""
    return counts.astype(np.int32) if counts.size and int(counts.max()) < 1 << 31 else counts


def closed_form(
    items: Vocabulary, gram: NDArray[np.int64], regularization: float, privacy: PrivacyLoss | None = None
) -> EaseModel:
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
    return EaseModel(items, weights, users, regularization, privacy)
