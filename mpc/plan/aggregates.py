"""The allow-list of aggregates: from a call in the SELECT list to statistics and a finisher."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from sqlglot import exp

from mpc.errors import PlanError
from mpc.plan.algebra import numeric_cast
from mpc.plan.ir import AggregateRef, Call, Column, Kind, Literal, Op, Scalar, Type
from mpc.plan.scalars import Binder, refusal_of
from mpc.plan.statistics import AggregateSpec, Buckets, Finisher, Registry, both, present

__all__ = ["AggregateBinder", "contains_aggregate", "is_aggregate"]

_DOUBLE: Final = Type(kind=Kind.DOUBLE)
_COUNT: Final = Type(kind=Kind.INTEGER, nullable=False)

_MOMENTS: Final[Mapping[type[exp.Expr], Finisher]] = MappingProxyType(
    {
        exp.Avg: Finisher.AVG,
        exp.VariancePop: Finisher.VAR_POP,
        exp.Variance: Finisher.VAR_SAMP,
        exp.StddevPop: Finisher.STDDEV_POP,
        exp.Stddev: Finisher.STDDEV_SAMP,
        exp.StddevSamp: Finisher.STDDEV_SAMP,
    }
)
_PAIRS: Final[Mapping[type[exp.Expr], tuple[Finisher, str]]] = MappingProxyType(
    {
        exp.CovarPop: (Finisher.COVAR_POP, "n x y xy"),
        exp.CovarSamp: (Finisher.COVAR_SAMP, "n x y xy"),
        exp.Corr: (Finisher.CORR, "n x y xx yy xy"),
        exp.RegrSlope: (Finisher.REGR_SLOPE, "n x y xx xy"),
        exp.RegrIntercept: (Finisher.REGR_INTERCEPT, "n x y xx xy"),
        exp.RegrR2: (Finisher.REGR_R2, "n x y xx yy xy"),
        exp.RegrCount: (Finisher.REGR_COUNT, "n"),
        exp.RegrAvgx: (Finisher.REGR_AVGX, "n x"),
        exp.RegrAvgy: (Finisher.REGR_AVGY, "n y"),
        exp.RegrSxx: (Finisher.REGR_SXX, "n x xx"),
        exp.RegrSyy: (Finisher.REGR_SYY, "n y yy"),
        exp.RegrSxy: (Finisher.REGR_SXY, "n x y xy"),
    }
)
_QUANTILES = (exp.Median, exp.Quantile, exp.PercentileCont, exp.ApproxQuantile)
_LISTED: Final[tuple[type[exp.Expr], ...]] = (exp.Count, exp.CountIf, exp.Sum, *_MOMENTS, *_PAIRS, *_QUANTILES)
_NAMED: Final = {"std": exp.Stddev, "mean": exp.Avg, "var": exp.Variance}
"""Functions that the parser leaves without a class."""


def is_aggregate(node: exp.Expr) -> bool:
    """Whether a node is an aggregate call, listed or not."""
    if isinstance(node, exp.Anonymous):
        return str(node.this).lower() in {*_NAMED, "histogram", "quantile_disc", "fsum", "kahan_sum"}
    return isinstance(node, (exp.AggFunc, exp.Filter, exp.WithinGroup, exp.IgnoreNulls))


def contains_aggregate(node: exp.Expr) -> bool:
    """Whether an aggregate call stands anywhere in the node, windows and subqueries aside."""
    stop = (exp.Window, exp.Subquery, exp.Select)
    if isinstance(node, stop):
        return False
    return is_aggregate(node) or any(contains_aggregate(c) for c in node.iter_expressions())


class AggregateBinder:
    """Binds aggregate calls over one relation.

    Args:
        rows: Binds the arguments, at row level.
        registry: Collects the statistics.
        buckets: Buckets of a quantile or histogram.
    """

    def __init__(self, rows: Binder, registry: Registry, *, buckets: int) -> None:
        self._rows = rows
        self._registry = registry
        self._buckets = buckets
        self._specs: dict[AggregateSpec, int] = {}

    @property
    def specs(self) -> tuple[AggregateSpec, ...]:
        """In the order of first use."""
        return tuple(self._specs)

    def special(self, node: exp.Expr) -> Scalar | None:
        """Bind a node that is an aggregate; None for any other.

        Raises:
            PlanError: An aggregate that is not on the list.
        """
        if not is_aggregate(node):
            return None
        spec = replace(self._bind(node, None), text=node.sql(dialect="duckdb", comments=False))
        known = next((i for i, s in enumerate(self._specs) if replace(s, text=spec.text) == spec), None)
        index = self._specs.setdefault(spec, len(self._specs)) if known is None else known
        return AggregateRef(index, spec.type)

    def _bind(self, node: exp.Expr, condition: Scalar | None) -> AggregateSpec:
        if isinstance(node, exp.Filter):
            where = node.expression.this
            if contains_aggregate(where):
                raise PlanError(reason="an aggregate inside FILTER", instead="a condition on columns")
            bound = self._rows.bind(where)
            if bound.type.kind is not Kind.BOOLEAN:
                raise self._rows.text.refuse(where, "FILTER needs a condition", "a comparison")
            return self._bind(node.this, bound)
        if isinstance(node, exp.Anonymous):
            return self._anonymous(node, condition)
        if isinstance(node, exp.WithinGroup):
            return self._within_group(node, condition)
        if not isinstance(node, _LISTED):
            raise refusal_of(node)
        unread = {k for k, v in node.args.items() if v} - {"this", "expression", "expressions", "quantile", "big_int"}
        if unread:
            raise PlanError(reason=f"this form of {node.key.upper()} is not supported", instead="its plain form")
        for part in (node.this, node.args.get("expression")):
            if isinstance(part, exp.Distinct) and not isinstance(node, exp.Count):
                raise PlanError(
                    reason="a value may occur at several parties, and distinct values do not add up",
                    instead="the aggregate over a subquery with GROUP BY a local key",
                )
            if isinstance(part, exp.Expr):
                self._check_argument(part)
        if isinstance(node, exp.Count):
            return self._count(node, condition)
        if isinstance(node, exp.CountIf):
            return _spec(
                Finisher.COUNT, {"n": self._registry.rows(both(condition, self._rows.bind(node.this)))}, _COUNT
            )
        if isinstance(node, exp.Sum):
            return self._sum(self._rows.bind(node.this), condition)
        if (finisher := _MOMENTS.get(type(node))) is not None:
            return self._moments(finisher, self._rows.bind(node.this), condition)
        if (pair := _PAIRS.get(type(node))) is not None:
            return self._pair(*pair, node, condition)
        if isinstance(node, _QUANTILES):
            fraction = node.args.get("expression") or node.args.get("quantile")
            return self._quantile(node.this, fraction, condition)
        raise refusal_of(node)

    def _check_argument(self, node: exp.Expr) -> None:
        if isinstance(node, exp.Order):
            raise self._rows.text.refuse(node, "ORDER BY inside an aggregate", "the aggregate without it")
        if contains_aggregate(node):
            raise self._rows.text.refuse(node, "an aggregate inside an aggregate", "a subquery with GROUP BY")

    def _number(self, value: Scalar) -> Scalar:
        if value.type.kind is Kind.BOOLEAN:
            return numeric_cast(value, Kind.INTEGER, 0, 0, 1)
        if value.type.kind is Kind.NULL:
            return Call(Op.CAST, (value,), Type(kind=Kind.INTEGER, low=0, high=0))
        if not value.type.kind.numeric:
            raise PlanError(reason=f"a number is needed, not {value.type.kind}", instead="a numeric column")
        return value

    def _count(self, node: exp.Count, condition: Scalar | None) -> AggregateSpec:
        if node.expressions:
            raise PlanError(reason="COUNT of several columns", instead="COUNT(*) FILTER (WHERE ... IS NOT NULL)")
        if isinstance(node.this, exp.Star) or node.this is None:
            return _spec(Finisher.COUNT, {"n": self._registry.rows(condition)}, _COUNT)
        if isinstance(node.this, exp.Distinct):
            return self._count_distinct(node.this, condition)
        return _spec(Finisher.COUNT, {"n": self._registry.count(self._rows.bind(node.this), condition)}, _COUNT)

    def _count_distinct(self, node: exp.Distinct, condition: Scalar | None) -> AggregateSpec:
        values = [self._rows.bind(e) for e in node.expressions]
        if len(values) != 1 or not isinstance(values[0], Column) or not values[0].local:
            raise PlanError(
                reason="a value may occur at several parties, and distinct counts do not add up",
                instead="COUNT(DISTINCT u) of a column in local_keys, or a HISTOGRAM",
            )
        return _spec(Finisher.COUNT, {"n": self._registry.distinct(values[0], condition)}, _COUNT)

    def _sum(self, value: Scalar, condition: Scalar | None) -> AggregateSpec:
        value = self._number(value)
        kind = Type(kind=value.type.kind, scale=value.type.scale)
        inputs = {"x": self._registry.sum(value, condition), "n": self._registry.count(value, condition)}
        return _spec(Finisher.SUM, inputs, kind)

    def _moments(self, finisher: Finisher, value: Scalar, condition: Scalar | None) -> AggregateSpec:
        value = self._number(value)
        inputs = {"n": self._registry.count(value, condition), "x": self._registry.sum(value, condition)}
        if finisher is not Finisher.AVG:
            inputs["xx"] = self._registry.product(value, value, condition)
        return _spec(finisher, inputs, _DOUBLE)

    def _pair(self, finisher: Finisher, roles: str, node: Any, condition: Scalar | None) -> AggregateSpec:
        # SQL writes the dependent variable first: REGR_SLOPE(y, x).
        y, x = self._number(self._rows.bind(node.this)), self._number(self._rows.bind(node.expression))
        both_known = both(condition, present(x), present(y))
        registry = self._registry
        registry.rely(x, y)
        make: dict[str, Callable[[], int]] = {
            "n": lambda: registry.rows(both_known),
            "x": lambda: registry.sum(x, both_known),
            "y": lambda: registry.sum(y, both_known),
            "xx": lambda: registry.product(x, x, both_known),
            "yy": lambda: registry.product(y, y, both_known),
            "xy": lambda: registry.product(x, y, both_known),
        }
        kind = _COUNT if finisher is Finisher.REGR_COUNT else _DOUBLE
        return _spec(finisher, {role: make[role]() for role in roles.split()}, kind)

    def _within_group(self, node: exp.WithinGroup, condition: Scalar | None) -> AggregateSpec:
        order = node.expression.expressions
        if not isinstance(node.this, exp.PercentileCont) or len(order) != 1 or order[0].args.get("desc"):
            raise PlanError(reason="this ordered aggregate", instead="PERCENTILE_CONT(q) WITHIN GROUP (ORDER BY x)")
        return self._quantile(order[0].this, node.this.this, condition)

    def _anonymous(self, node: exp.Anonymous, condition: Scalar | None) -> AggregateSpec:
        name, arguments = str(node.this).lower(), node.expressions
        if name in _NAMED and len(arguments) == 1:
            self._check_argument(arguments[0])
            return self._moments(_MOMENTS[_NAMED[name]], self._rows.bind(arguments[0]), condition)
        if name == "histogram" and 1 <= len(arguments) <= 2:
            count = self._rows.integer_literal(arguments[1] if len(arguments) == 2 else None, default=20)
            value = self._ranged(arguments[0])
            buckets = self._bucketing(value, count)
            index = self._registry.histogram(value, condition, buckets)
            return _spec(Finisher.HISTOGRAM, {"h": index}, Type(kind=Kind.HISTOGRAM))
        raise PlanError(
            reason=f"the aggregate {name[:30]} is not on the list", instead="MEDIAN, QUANTILE_CONT, HISTOGRAM"
        )

    def _quantile(self, argument: exp.Expr, fraction: exp.Expr | None, condition: Scalar | None) -> AggregateSpec:
        share = Fraction(1, 2)
        if fraction is not None:
            literal = self._rows.bind(fraction)
            if not isinstance(literal, Literal) or not isinstance(literal.value, int):
                raise PlanError(reason="the quantile must be one literal", instead="QUANTILE_CONT(x, 0.9)")
            share = Fraction(literal.value, 10**literal.type.scale)
        if not 0 <= share <= 1:
            raise PlanError(reason="a quantile lies between 0 and 1", instead="QUANTILE_CONT(x, 0.9)")
        value = self._ranged(argument)
        index = self._registry.histogram(value, condition, self._bucketing(value, self._buckets))
        spec = _spec(Finisher.QUANTILE, {"h": index}, _DOUBLE)
        return replace(spec, fraction=(share.numerator, share.denominator))

    def _ranged(self, argument: exp.Expr) -> Scalar:
        self._check_argument(argument)
        return self._number(self._rows.bind(argument))

    @staticmethod
    def _bucketing(value: Scalar, count: int) -> Buckets:
        if not 1 <= count <= 1 << 16:
            raise PlanError(reason="a histogram has 1 to 65,536 buckets", instead="HISTOGRAM(x, 20)")
        low, high = value.type.low, value.type.high
        if low is None or high is None:
            raise PlanError(reason="a quantile needs a declared range", instead="declare minimum and maximum")
        width = max(1, -(-(high - low + 1) // count))
        return Buckets(low, width, max(1, -(-(high - low + 1) // width)))


def _spec(finisher: Finisher, inputs: Mapping[str, int], kind: Type) -> AggregateSpec:
    return AggregateSpec(finisher, tuple(inputs.items()), kind)
