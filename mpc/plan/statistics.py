"""Sufficient statistics: what each party computes per group, and which finisher turns the totals into an aggregate."""

from dataclasses import dataclass, field
from enum import StrEnum

from mpc.errors import PlanError
from mpc.plan.algebra import BOOLEAN, MAX_MAGNITUDE, multiply, tighten
from mpc.plan.ir import Call, Column, Op, Scalar, Type, columns_of

__all__ = ["AggregateSpec", "Buckets", "Finisher", "Measure", "Registry", "Statistic", "both", "present"]


class Measure(StrEnum):
    """Kinds of local statistics."""

    ROWS = "rows"
    COUNT = "count"
    """Rows where the argument is not NULL."""

    DISTINCT = "distinct"
    """Distinct values of a column that no two parties share."""

    SUM = "sum"
    HISTOGRAM = "histogram"
    """Rows per bucket of the argument: a stretch of counts instead of one number."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Equal buckets over a declared range; bucket `i` holds integers `low + i * width` up to the next one's first."""

    low: int
    width: int
    count: int


@dataclass(frozen=True, slots=True)
class Statistic:
    """One integer per group and party (or, for a histogram, one per bucket)."""

    measure: Measure
    argument: Scalar | None
    condition: Scalar | None
    scale: int
    """The total means the integer times `10 ** -scale`."""

    bound: int
    """Every party's value `x` satisfies `|x| <= bound`."""

    buckets: Buckets | None = None

    @property
    def length(self) -> int:
        """Integers per group."""
        return self.buckets.count if self.buckets else 1


class Finisher(StrEnum):
    """How totals become a value."""

    COUNT = "count"
    SUM = "sum"
    AVG = "avg"
    VAR_POP = "var_pop"
    VAR_SAMP = "var_samp"
    STDDEV_POP = "stddev_pop"
    STDDEV_SAMP = "stddev_samp"
    COVAR_POP = "covar_pop"
    COVAR_SAMP = "covar_samp"
    CORR = "corr"
    REGR_SLOPE = "regr_slope"
    REGR_INTERCEPT = "regr_intercept"
    REGR_R2 = "regr_r2"
    REGR_COUNT = "regr_count"
    REGR_AVGX = "regr_avgx"
    REGR_AVGY = "regr_avgy"
    REGR_SXX = "regr_sxx"
    REGR_SYY = "regr_syy"
    REGR_SXY = "regr_sxy"
    QUANTILE = "quantile"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class AggregateSpec:
    """One aggregate of the query, in terms of statistics."""

    finisher: Finisher
    inputs: tuple[tuple[str, int], ...]
    """Role (`n`, `x`, `y`, `xx`, `yy`, `xy`, `h`) and index of the statistic."""

    type: Type
    fraction: tuple[int, int] = (0, 1)
    """For a quantile: which one."""

    text: str = field(default="", metadata={"meaning": False})
    """How EXPLAIN names it."""


def both(*conditions: Scalar | None) -> Scalar | None:
    """The conjunction of the conditions that exist."""
    known = tuple(c for c in conditions if c is not None)
    if len(known) < 2:
        return known[0] if known else None
    flat: list[Scalar] = []
    for condition in known:
        flat += condition.args if isinstance(condition, Call) and condition.op is Op.AND else (condition,)
    return Call(Op.AND, tuple(flat), BOOLEAN)


def present(value: Scalar) -> Scalar | None:
    """The condition that a value is not NULL; None where it never is."""
    if not value.type.nullable:
        return None
    return Call(Op.NOT, (Call(Op.IS_NULL, (value,), BOOLEAN),), BOOLEAN)


class Registry:
    """Collects the statistics of a query; equal ones are shared.

    Args:
        rows_at_most: Most rows at one party.
    """

    def __init__(self, rows_at_most: int) -> None:
        self._rows = rows_at_most
        self._index: dict[Statistic, int] = {}
        self._relied: dict[Column, None] = {}

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """In the order of first use."""
        return tuple(self._index)

    @property
    def relied_on(self) -> tuple[Column, ...]:
        """Columns that are never NULL by the dictionary, where a count was simplified for it."""
        return tuple(self._relied)

    def rely(self, *arguments: Scalar) -> None:
        """Note the columns of arguments whose NULLs need not be counted."""
        self._relied.update({c: None for c in columns_of(*arguments) if c.declared and not c.type.nullable})

    def _add(self, statistic: Statistic) -> int:
        return self._index.setdefault(statistic, len(self._index))

    def rows(self, condition: Scalar | None = None) -> int:
        """COUNT(*)."""
        return self._add(Statistic(Measure.ROWS, None, condition, 0, self._rows))

    def count(self, argument: Scalar, condition: Scalar | None) -> int:
        """COUNT(x); COUNT(*) where x is never NULL."""
        if not argument.type.nullable:
            self.rely(argument)
            return self.rows(condition)
        return self._add(Statistic(Measure.COUNT, argument, condition, 0, self._rows))

    def distinct(self, argument: Scalar, condition: Scalar | None) -> int:
        """COUNT(DISTINCT u)."""
        return self._add(Statistic(Measure.DISTINCT, argument, condition, 0, self._rows))

    def sum(self, argument: Scalar, condition: Scalar | None) -> int:
        """SUM(x).

        Raises:
            PlanError: The total of one party may need more than 126 bits.
        """
        bound = self._rows * argument.type.magnitude
        if isinstance(argument, Column) and argument.mass is not None:
            bound = min(bound, argument.mass)
        if bound > MAX_MAGNITUDE:
            bits = bound.bit_length()
            raise PlanError(
                reason=f"the exact total may need {bits} bits, more than 126",
                instead=tighten(columns_of(argument)),
            )
        return self._add(Statistic(Measure.SUM, argument, condition, argument.type.scale, bound))

    def product(self, x: Scalar, y: Scalar, condition: Scalar | None) -> int:
        """SUM(x * y)."""
        return self.sum(multiply(x, y), condition)

    def histogram(self, argument: Scalar, condition: Scalar | None, buckets: Buckets) -> int:
        """Rows per bucket."""
        return self._add(Statistic(Measure.HISTOGRAM, argument, condition, argument.type.scale, self._rows, buckets))
