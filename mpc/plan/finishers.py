"""From opened totals to the value of an aggregate, exactly: integers and rationals, rounded once at the end."""

from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from fractions import Fraction
from math import isqrt, nan
from types import MappingProxyType
from typing import Final, TypeAlias

from mpc.errors import InternalError
from mpc.plan.ir import Kind, Type
from mpc.plan.statistics import AggregateSpec, Buckets, Finisher, Statistic

__all__ = ["Value", "finish_aggregate", "nearest", "square_root", "typed_number"]

Value: TypeAlias = object
_WIDE: Final = Context(prec=80)


def nearest(value: Fraction) -> float:
    """The nearest float to a rational (correctly rounded: CPython divides integers so)."""
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def square_root(value: Fraction) -> float:
    """The nearest float to the square root of a rational.

    >>> square_root(Fraction(1, 4)), square_root(Fraction(2))
    (0.5, 1.4142135623730951)
    """
    if value <= 0:
        return 0.0
    shift = max(0, 140 - value.numerator.bit_length() + value.denominator.bit_length())
    shift += shift % 2
    scaled, rest = divmod(value.numerator << shift, value.denominator)
    root = isqrt(scaled)
    # One sticky bit below 64 exact ones decides ties the way the infinite expansion would.
    sticky = int(rest != 0 or root * root != scaled)
    return nearest(Fraction((root << 1) | sticky, 1 << (shift // 2 + 1)))


def typed_number(value: int, kind: Type) -> Value:
    """An integer at a scale as DuckDB would return it."""
    if kind.kind is Kind.DECIMAL:
        return Decimal(value).scaleb(-kind.scale, context=_WIDE)
    if kind.kind is Kind.DOUBLE:
        return value / 10**kind.scale
    return value


class _Moments:
    """Sums of one group as exact rationals: `n`, and central second moments times n."""

    def __init__(self, spec: AggregateSpec, statistics: tuple[Statistic, ...], totals: Mapping[int, int]) -> None:
        self._values: dict[str, Fraction] = {}
        for role, index in spec.inputs:
            self._values[role] = Fraction(totals[index], 10 ** statistics[index].scale)
        self.n = int(self._values["n"])

    def mean(self, role: str) -> Fraction:
        return self._values[role] / self.n

    def spread(self, a: str, b: str) -> Fraction:
        """Sum of products of deviations from the means."""
        product = self._values["".join(sorted((a, b)))]
        return product - self._values[a] * self._values[b] / self.n


def _variance(sample: bool) -> Callable[[_Moments], Value]:  # noqa: FBT001 - a table entry
    def finish(m: _Moments) -> Value:
        if m.n < 1 + sample:
            return None
        return nearest(m.spread("x", "x") / (m.n - sample))

    return finish


def _deviation(sample: bool) -> Callable[[_Moments], Value]:  # noqa: FBT001 - a table entry
    def finish(m: _Moments) -> Value:
        if m.n < 1 + sample:
            return None
        return square_root(m.spread("x", "x") / (m.n - sample))

    return finish


def _covariance(sample: bool) -> Callable[[_Moments], Value]:  # noqa: FBT001 - a table entry
    def finish(m: _Moments) -> Value:
        return None if m.n < 1 + sample else nearest(m.spread("x", "y") / (m.n - sample))

    return finish


def _correlation(m: _Moments) -> Value:
    if m.n < 1:
        return None
    xx, yy, xy = m.spread("x", "x"), m.spread("y", "y"), m.spread("x", "y")
    if xx == 0 or yy == 0:
        return nan
    root = square_root(xy * xy / (xx * yy))
    return -root if xy < 0 else root


def _slope(m: _Moments) -> Value:
    if m.n < 1:
        return None
    xx = m.spread("x", "x")
    return nan if xx == 0 else nearest(m.spread("x", "y") / xx)


def _intercept(m: _Moments) -> Value:
    if m.n < 1 or (xx := m.spread("x", "x")) == 0:
        return None
    return nearest(m.mean("y") - m.mean("x") * m.spread("x", "y") / xx)


def _r2(m: _Moments) -> Value:
    if m.n < 1 or (xx := m.spread("x", "x")) == 0:
        return None
    yy, xy = m.spread("y", "y"), m.spread("x", "y")
    return 1.0 if yy == 0 else nearest(xy * xy / (xx * yy))


def _some(value: Callable[[_Moments], Fraction]) -> Callable[[_Moments], Value]:
    return lambda m: None if m.n < 1 else nearest(value(m))


_FINISH: Final[Mapping[Finisher, Callable[[_Moments], Value]]] = MappingProxyType(
    {
        Finisher.REGR_COUNT: lambda m: m.n,
        Finisher.VAR_POP: _variance(sample=False),
        Finisher.VAR_SAMP: _variance(sample=True),
        Finisher.STDDEV_POP: _deviation(sample=False),
        Finisher.STDDEV_SAMP: _deviation(sample=True),
        Finisher.COVAR_POP: _covariance(sample=False),
        Finisher.COVAR_SAMP: _covariance(sample=True),
        Finisher.CORR: _correlation,
        Finisher.REGR_SLOPE: _slope,
        Finisher.REGR_INTERCEPT: _intercept,
        Finisher.REGR_R2: _r2,
        Finisher.REGR_AVGX: _some(lambda m: m.mean("x")),
        Finisher.REGR_AVGY: _some(lambda m: m.mean("y")),
        Finisher.REGR_SXX: _some(lambda m: m.spread("x", "x")),
        Finisher.REGR_SYY: _some(lambda m: m.spread("y", "y")),
        Finisher.REGR_SXY: _some(lambda m: m.spread("x", "y")),
    }
)


def finish_aggregate(
    spec: AggregateSpec,
    statistics: tuple[Statistic, ...],
    totals: Mapping[int, list[int]],
    histograms: Mapping[int, list[list[int]]],
    groups: int,
) -> list[Value]:
    """The values of one aggregate, group by group.

    Args:
        spec: The aggregate.
        statistics: The plan's statistics.
        totals: Opened integers by statistic and group.
        histograms: Opened counts by histogram statistic and group.
        groups: Number of groups.

    Returns:
        int, Decimal, float, a dict of bucket to count, or None for NULL.
    """
    roles = dict(spec.inputs)
    if spec.finisher is Finisher.COUNT:
        return list(totals[roles["n"]])
    if spec.finisher is Finisher.SUM:
        pairs = zip(totals[roles["x"]], totals[roles["n"]], strict=True)
        return [typed_number(x, spec.type) if n else None for x, n in pairs]
    if spec.finisher is Finisher.AVG:
        unit = 10 ** statistics[roles["x"]].scale
        pairs = zip(totals[roles["x"]], totals[roles["n"]], strict=True)
        return [x / (n * unit) if n else None for x, n in pairs]
    if spec.finisher in {Finisher.QUANTILE, Finisher.HISTOGRAM}:
        statistic = statistics[roles["h"]]
        if statistic.buckets is None:
            raise InternalError("a histogram has buckets")
        buckets, counts, share = statistic.buckets, histograms[roles["h"]], Fraction(*spec.fraction)
        if spec.finisher is Finisher.HISTOGRAM:
            return [_histogram(c, buckets, statistic.scale) for c in counts]
        return [_quantile(c, buckets, statistic.scale, share) for c in counts]
    finish, used = _FINISH[spec.finisher], set(roles.values())
    return [finish(_Moments(spec, statistics, {i: totals[i][g] for i in used})) for g in range(groups)]


def _histogram(counts: list[int], buckets: Buckets, scale: int) -> Value:
    """Counts by the least value of each bucket that is not empty; NULL where there is no value."""
    found = {
        float(Fraction(buckets.low + i * buckets.width, 10**scale)): count for i, count in enumerate(counts) if count
    }
    return found or None


def _quantile(counts: list[int], buckets: Buckets, scale: int, share: Fraction) -> Value:
    """QUANTILE_CONT within one bucket of the exact answer.

    Both order statistics around the position are placed inside their own bucket and interpolated, so the error of the
    result is at most that of one of them: less than a bucket.
    """
    total = sum(counts)
    if total == 0:
        return None
    position = share * (total - 1)
    below = position.__floor__()
    low = _order_statistic(counts, buckets, below)
    high = low if position == below else _order_statistic(counts, buckets, below + 1)
    return nearest((low + (high - low) * (position - below)) / 10**scale)


def _order_statistic(counts: list[int], buckets: Buckets, rank: int) -> Fraction:
    before = 0
    for index, count in enumerate(counts):
        if rank < before + count:
            first = buckets.low + index * buckets.width
            if buckets.width == 1:
                return Fraction(first)
            return first + Fraction((2 * (rank - before) + 1) * buckets.width, 2 * count)
        before += count
    return Fraction(buckets.low)
