"""What a training will cost and open, from the spec alone: the material of EXPLAIN and of an owner's approval."""

import math
from dataclasses import dataclass

from mpc.errors import PlanError
from mpc.learn.design import typed
from mpc.learn.ease import privacy_of
from mpc.learn.evaluating import SCORE_BINS
from mpc.learn.recommender_specs import Als, Ease, GradientFactorization, ImplicitAls, Recommender
from mpc.learn.regression_specs import (
    Category,
    FederatedAverage,
    KMeans,
    LinearRegression,
    LogisticRegression,
    Pca,
    PoissonRegression,
    Tabular,
)
from mpc.learn.solver_choice import choose
from mpc.learn.specs import Spec
from mpc.learn.symmetric import triangle_length

__all__ = ["SumForecast", "disclosures", "evaluation_forecast", "forecast", "gram_sensitivity"]


@dataclass(frozen=True, slots=True)
class SumForecast:
    """Sums of one kind."""

    statistic: str
    rounds: int
    """At most; an iteration may end earlier."""

    values: int
    """Values of one round, at most."""

    bits: int
    """Bits of the largest value of a party, from the declared numbers of users or rows; usually fewer are used."""


def forecast(spec: Spec, *, items: int | None = None, entries: int = 1 << 20) -> tuple[SumForecast, ...]:
    """The sums of a training, at most (discoveries apart).

    Args:
        spec: A completed spec.
        items: Admitted items, where they are known; else the catalogue or the capacity.
        entries: Ratings over all parties, for the choice of a solver.

    >>> forecast(Ease("ratings", "user", "item", items=("a", "b", "c"), minimum_parties=1))[1].values
    6
    """
    match spec:
        case Ease() | Als() | ImplicitAls() | GradientFactorization():
            universe = len(spec.items) if spec.items is not None else spec.capacity
            count = universe if items is None else items
            length = universe * (1 + (spec.minimum_parties > 1)) + 2
            support = SumForecast("support", 1, length, _support_bits(spec, universe))
            return (support, _item_sums(spec, count, entries))
        case FederatedAverage():
            size = sum(math.prod(a.shape) for a in spec.arrays)
            largest = max(a.magnitude for a in spec.arrays) * spec.weight_at_most
            return (SumForecast("weighted arrays", spec.rounds, size + 1, spec.scale_bits + _bits(largest)),)
        case _:
            width = _width(spec)
            moments = SumForecast("counts and moments", 2, 2 * width + 4, 120)
            return (moments, *_row_sums(spec, width))


def _support_bits(spec: Ease | Als | ImplicitAls | GradientFactorization, items: int) -> int:
    if isinstance(spec, Als | GradientFactorization):
        largest = max(abs(v) for v in spec.rating_range or (0.0, 1.0))
        return 20 + _bits(float(spec.users_at_most * items) * largest)
    return _bits(spec.users_at_most)


def evaluation_forecast(spec: Spec) -> SumForecast:
    """The two sums of an evaluation on the spec's hold-out, at most: how many are held out, then the measures.

    Raises:
        PlanError: The spec has no hold-out, or its model no measures.
    """
    if getattr(spec, "holdout", None) is None:
        raise PlanError("", field="holdout", reason="an evaluation needs a declared hold-out")
    match spec:
        case Recommender():
            return SumForecast("summed measures", 2, 4, 30 + _bits(spec.users_at_most))
        case LogisticRegression():
            return SumForecast("score histograms and losses", 2, 2 * SCORE_BINS + 32, 35 + _bits(spec.rows_at_most))
        case LinearRegression() | PoissonRegression():
            return SumForecast("summed errors", 2, 8, 120)
        case _:
            raise PlanError("", reason="an evaluation measures recommenders and regressions")


def _item_sums(spec: Ease | Als | ImplicitAls | GradientFactorization, items: int, entries: int) -> SumForecast:
    if isinstance(spec, Ease):
        return SumForecast("co-occurrences", 1, triangle_length(items), _bits(spec.users_at_most))
    # Supports are totals over parties, of which one party's users are the declared part; two bits are for the others.
    bits = spec.scale_bits + _bits(4.0 * spec.magnitude * spec.users_at_most)
    if isinstance(spec, GradientFactorization):
        return SumForecast("item gradients", spec.iterations, items * spec.dimension + 1, bits)
    width = spec.dimension + isinstance(spec, Als)
    schedule = choose(spec, width, items=items, entries=entries)
    block = len(schedule.blocks[0])
    each = block + (triangle_length(block) if schedule.solver != "gradient" else 0)
    shared = triangle_length(width) if isinstance(spec, ImplicitAls) else 0
    return SumForecast(f"item statistics ({schedule.solver})", schedule.rounds, items * each + shared + 1, bits)


def _width(spec: Tabular) -> int:
    """Columns of the design, at most."""
    assert isinstance(spec, LinearRegression | LogisticRegression | PoissonRegression | KMeans | Pca)
    width = 1
    for feature in typed(spec.features):
        if isinstance(feature, Category):
            width += len(feature.levels) if feature.levels is not None else feature.capacity
        else:
            width += 1
    return width


def _row_sums(spec: Tabular, width: int) -> tuple[SumForecast, ...]:
    bits = spec.scale_bits + _bits(4.0 * spec.rows_at_most)
    match spec:
        case LogisticRegression() | PoissonRegression():
            main = SumForecast("Hessian, gradient, loss", spec.rounds, triangle_length(width) + width + 1, bits)
            if isinstance(spec, LogisticRegression) and spec.bias_reduction:
                return (main, SumForecast("gradient of the penalty", spec.rounds, width, bits))
            return (main,)
        case KMeans():
            sizes = SumForecast("cluster sizes", spec.iterations, spec.clusters + 1, bits)
            return (sizes, SumForecast("cluster sums", spec.iterations, spec.clusters * (width - 1), bits))
        case _:
            values = triangle_length(width + isinstance(spec, LinearRegression))
            return (SumForecast("cross products", 1, values, bits),)


def _bits(largest: float) -> int:
    return math.ceil(math.log2(largest + 1.0))


def disclosures(spec: Spec, parties: int) -> tuple[str, ...]:
    """Who learns what: sentences for the owner who is asked to approve. All of it goes to every party.

    The analyst receives the model, which is computed from these totals.
    """
    out: list[str] = []
    privacy = privacy_of(spec, parties) if isinstance(spec, Ease) else None
    noisy = "" if privacy is None else f", each with noise of deviation {privacy.deviation:g} or more"
    if isinstance(spec, Recommender):
        if spec.items is None:
            out.append("the union of the parties' items, and how many parties have each")
        out.append(f"the number of users of every item of the catalogue, the rare ones included{noisy}")
        if spec.minimum_parties > 1:
            out.append("how many parties have each item")
    elif isinstance(spec, Tabular):
        out.extend(_tabular(spec))
    match spec:
        case Ease():
            out.append(f"the number of users of every pair of admitted items, pairs with a single user included{noisy}")
            if privacy is not None:
                out.append(f"of the users: {privacy.text()}; of the companies the noise hides nothing")
        case Als() | ImplicitAls():
            solver = "" if spec.solver == "gradient" else " and the summed products of user coordinates"
            out.append(f"in every round, for every admitted item, the summed residual gradient{solver}")
        case GradientFactorization():
            out.append("in every round, the summed gradient of every admitted item")
        case LogisticRegression() | PoissonRegression():
            out.append(
                "in every round, the weighted cross products of all columns (pairs of levels with a single row "
                "included), the gradient and the loss"
            )
        case LinearRegression() | Pca():
            out.append("the cross products of all columns and the target (pairs of levels with a single row included)")
        case KMeans():
            out.append("in every iteration, the size of every cluster and the column sums of the large ones")
        case FederatedAverage():
            out.append("in every round, the sum of the weights and the weighted sum of the arrays")
    if getattr(spec, "holdout", None) is not None:
        exact = ", without noise" if privacy is not None else ""
        out.append(f"the summed quality measures on the held-out rows{exact}")
    if parties == 2:
        whose = "the other party's statistics" if privacy is None else "the other party's statistics with its noise"
        out.append(f"with two parties, each can subtract its own part: it learns {whose} exactly")
    return tuple(out)


def _tabular(spec: Tabular) -> list[str]:
    assert isinstance(spec, LinearRegression | LogisticRegression | PoissonRegression | KMeans | Pca)
    out = ["the number of complete and of incomplete rows"]
    kinds = typed(spec.features)
    open_levels = [f.column for f in kinds if isinstance(f, Category) and f.levels is None]
    if open_levels:
        out.append(f"the union of the levels of {', '.join(open_levels)}, and how many parties have each")
    if any(isinstance(f, Category) for f in kinds):
        out.append("the number of rows of every level, the rare ones included")
    if any(not isinstance(f, Category) for f in kinds):
        out.append("the mean and the variance of every numeric column")
    return out


def gram_sensitivity(spec: Ease) -> float | None:
    """How far one user can move the opened co-occurrences in Euclidean norm; None without a cap on items per user.

    A user with m items adds 1 to m (m + 1) / 2 cells of the upper triangle.

    >>> round(gram_sensitivity(Ease("r", "u", "i", items_per_user=50)) or 0.0, 1)
    35.7
    """
    if spec.items_per_user is None:
        return None
    return math.sqrt(triangle_length(spec.items_per_user))
