"""Evaluation of recommenders by sums: each party on its own held-out rows, only totals are opened."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError
from mpc.fixedpoint import Encoding
from mpc.learn.data import Rows
from mpc.learn.enough import enough
from mpc.learn.factor_model import FactorModel
from mpc.learn.interactions import Ratings, load
from mpc.learn.recommender_specs import Als, Ease, GradientFactorization, ImplicitAls, Recommender
from mpc.learn.recommending import RecommenderModel, top
from mpc.primitives import Program, Sum

__all__ = ["RankingQuality", "RatingQuality", "evaluate_ranking", "evaluate_ratings", "ranking_sums"]

_SCALE_BITS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingQuality:
    """Means over all parties' users with at least one held-out item."""

    users: int
    recall: dict[int, float]
    """By cutoff: hits / min(cutoff, held-out items)."""

    ndcg: dict[int, float]
    """By cutoff: binary gains, ideal truncated at the cutoff."""


def evaluate_ranking(
    model: RecommenderModel,
    spec: Ease | ImplicitAls,
    data: Rows,
    *,
    recall_at: tuple[int, ...] = (20, 50),
    ndcg_at: tuple[int, ...] = (100,),
) -> Program[RankingQuality]:
    """Recall and NDCG on the declared hold-out (Liang et al., WWW 2018, section 4.2, over each user's own rows).

    All admitted items but those of the user's training rows are ranked; a held-out item that was not admitted is a
    miss.

    Reveals: to all parties, the number of evaluated users and the sum of each measure.
    """
    if spec.holdout is None:
        raise PlanError("", field="holdout", reason="an evaluation needs a declared hold-out")
    sums, users = ranking_sums(model, spec, data, recall_at, ndcg_at)
    context = model.vocabulary.digest()
    yield from enough(
        "evaluate/ranking", users, minimum=spec.minimum_users, most=spec.users_at_most, noun="users", context=context
    )
    encoding = Encoding(scale_bits=_SCALE_BITS, range=float(spec.users_at_most))
    arrays = {"users": np.array([users]), "sums": encoding.encode(sums, statistic="ranking measures")}
    bounds = {"users": spec.users_at_most, "sums": encoding.bound}
    totals = yield Sum.of("evaluate/ranking", arrays, bounds, context=context)
    assert totals is not None
    count = int(totals["users"][0])
    means = encoding.decode(totals["sums"]) / max(1, count)
    split = len(recall_at)
    return RankingQuality(
        users=count,
        recall=dict(zip(recall_at, means[:split].tolist(), strict=True)),
        ndcg=dict(zip(ndcg_at, means[split:].tolist(), strict=True)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingQuality:
    """Errors of predicted ratings over all parties' held-out rows."""

    ratings: int
    rmse: float
    mae: float


def evaluate_ratings(model: FactorModel, spec: Als | GradientFactorization, data: Rows) -> Program[RatingQuality]:
    """Errors on the declared hold-out; each user's vector is solved from the user's training rows.

    A held-out rating of an item that was not admitted is predicted by the mean (and the user's bias).

    Reveals: to all parties, the number of held-out ratings and the sums of absolute and of squared errors.
    """
    if spec.holdout is None or model.rating_range is None:
        raise PlanError("", field="holdout", reason="an evaluation of ratings needs a declared hold-out and range")
    local = load(spec, data, implicit=False)
    context = model.vocabulary.digest()
    yield from enough(
        "evaluate/ratings",
        int((local.test.counts > 0).sum()),
        minimum=spec.minimum_users,
        most=spec.users_at_most,
        noun="users",
        context=context,
    )
    numbers = local.numbered(model.vocabulary)
    people = model.fold_in(local.train.renumbered(numbers, len(model.vocabulary)))
    assert local.test.values is not None
    error = model.predict(people, local.test.rows(), numbers[local.test.columns]) - local.test.values
    span = model.rating_range[1] - model.rating_range[0]
    rows = spec.users_at_most * 1024
    encoding = Encoding(scale_bits=_SCALE_BITS, range=float(rows) * max(1.0, span) ** 2)
    sums = np.array([np.square(error).sum(), np.abs(error).sum()])
    arrays = {"ratings": np.array([len(error)]), "errors": encoding.encode(sums, statistic="prediction errors")}
    bounds = {"ratings": rows, "errors": encoding.bound}
    totals = yield Sum.of("evaluate/ratings", arrays, bounds, context=context)
    assert totals is not None
    count = int(totals["ratings"][0])
    squared, absolute = (encoding.decode(totals["errors"]) / max(1, count)).tolist()
    return RatingQuality(ratings=count, rmse=float(np.sqrt(squared)), mae=absolute)


def ranking_sums(
    model: RecommenderModel, spec: Recommender, data: Rows, recall_at: tuple[int, ...], ndcg_at: tuple[int, ...]
) -> tuple[NDArray[np.float64], int]:
    """This party's sums of the measures and its number of evaluated users."""
    local = load(spec, data, implicit=True)
    width = len(model.vocabulary)
    numbers = local.numbered(model.vocabulary)
    train, test = local.train.renumbered(numbers, width), local.test.renumbered(numbers, width)
    held = local.test.counts
    sums = np.zeros(len(recall_at) + len(ndcg_at))
    deepest = min(width, max((*recall_at, *ndcg_at)))
    for start, scores in model.chunks(train):
        stop = start + len(scores)
        some = np.flatnonzero(held[start:stop] > 0)
        scores[_entries(train, start, len(scores))] = -np.inf
        ranked = top(scores[some], deepest)
        relevant = np.zeros(scores.shape, dtype=bool)
        relevant[_entries(test, start, len(scores))] = True
        hits = np.take_along_axis(relevant[some], ranked, axis=1)
        sums += _measures(hits, held[start:stop][some], recall_at, ndcg_at)
    return sums, int((held > 0).sum())


def _entries(rows: Ratings, start: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Positions of the entries of `count` rows from `start`, for indexing a dense stretch."""
    stop = start + count
    first, last = rows.offsets[start], rows.offsets[stop]
    return np.repeat(np.arange(count), rows.counts[start:stop]), rows.columns[first:last]


def _measures(
    hits: NDArray[np.bool_], held: NDArray[np.int64], recall_at: tuple[int, ...], ndcg_at: tuple[int, ...]
) -> NDArray[np.float64]:
    discounts = 1.0 / np.log2(np.arange(2, max((*recall_at, *ndcg_at)) + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])
    recall = [(hits[:, :k].sum(axis=1) / np.minimum(k, held)).sum() for k in recall_at]
    gains = hits * discounts[: hits.shape[1]]
    ndcg = [(gains[:, :k].sum(axis=1) / ideal[np.minimum(k, held)]).sum() for k in ndcg_at]
    return np.array([*recall, *ndcg])
