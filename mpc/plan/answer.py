"""The analyst's side: from opened totals to the rows of the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mpc.errors import IntegrityError, PlanError
from mpc.plan.evaluate import GroupValues, evaluate, sort_key
from mpc.plan.finishers import finish_aggregate, nearest
from mpc.plan.ir import AggregateRef, KeyRef, Kind, Scalar, Type, walk
from mpc.plan.keys import KeyTuple, shown
from mpc.plan.query import Output, QueryPlan
from mpc.plan.statistics import Finisher
from mpc.primitives import IntegerArray

__all__ = ["ResultColumn", "ResultTable", "finish_query"]


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column of an answer."""

    name: str
    type: str
    """BIGINT, HUGEINT, DECIMAL(38,s), DOUBLE, VARCHAR, BOOLEAN, DATE, TIMESTAMP or MAP."""

    bucket_width: float | None = None
    """For a quantile: the answer is within this of the exact one."""


@dataclass(frozen=True, slots=True)
class ResultTable:
    """An answer: columns, and rows of Python values in order."""

    columns: tuple[ResultColumn, ...]
    rows: tuple[tuple[Any, ...], ...]

    def dictionaries(self) -> list[dict[str, Any]]:
        """The rows as dictionaries by column name."""
        names = [c.name for c in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


def finish_query(
    plan: QueryPlan, totals: Mapping[str, IntegerArray], group_keys: Sequence[bytes] | None = None
) -> ResultTable:
    """Turn opened totals into the answer: aggregates, HAVING, ORDER BY, LIMIT.

    Args:
        plan: The plan.
        totals: Opened integers by segment `s<i>`, group by group (a histogram: buckets within a group).
        group_keys: The encoded keys that discovery found, in the order of the totals (`QueryResult.group_keys`); the
            caller has compared `group_context` with the header of the round. Not read where the plan enumerates its
            groups.

    Raises:
        PlanError: Rows without a local key turned out to lie at several parties.
        IntegrityError: The totals do not have the plan's shape, or keys are missing.
        WireError: A key is not in canonical form.
    """
    _check_guards(plan, totals)
    groups = _groups(plan, group_keys)
    ones, many = _totals_of(plan, totals, len(groups))
    kept: Sequence[int] = range(len(groups))
    if plan.grouped and plan.presence is not None:
        here = ones[plan.presence]
        kept = [p for p in kept if here[p]]
    ones = {i: [values[p] for p in kept] for i, values in ones.items()}
    many = {i: [values[p] for p in kept] for i, values in many.items()}
    columns = [finish_aggregate(a, plan.statistics, ones, many, len(kept)) for a in plan.aggregates]
    raw = [[groups[p][i] for p in kept] for i in range(len(plan.keys))]
    known = _Groups([[shown(v, k.type) for v in column] for column, k in zip(raw, plan.keys, strict=True)], columns)
    places: Sequence[int] = range(len(kept))
    if plan.having is not None:
        places = [p for p, holds in zip(places, known.values(plan.having, places), strict=True) if holds is True]
    # Ties of ORDER BY are broken by the group key, so that equal totals give equal answers.
    for column in reversed(raw):
        places = _ordered(places, [column[p] for p in places])
    for item in reversed(plan.order):
        wanted = known.values(item.value, places)
        places = _ordered(places, wanted, descending=item.descending, nulls_first=item.nulls_first)
    outputs = list(zip(*(_shown(known.values(o.value, places), o.type) for o in plan.outputs), strict=True))
    if plan.distinct:
        outputs = list(dict.fromkeys(outputs))
    stop = None if plan.limit is None else plan.offset + plan.limit
    described = zip(plan.column_names(), plan.outputs, strict=True)
    return ResultTable(tuple(_column(plan, n, o) for n, o in described), tuple(outputs[plan.offset : stop]))


@dataclass(frozen=True, slots=True)
class _Groups:
    """What is known of all groups, column by column: answers may have tens of thousands of rows."""

    keys: Sequence[Sequence[Any]]
    aggregates: Sequence[Sequence[Any]]

    def values(self, node: Scalar, places: Sequence[int]) -> list[Any]:
        """An expression's values in some groups."""
        if isinstance(node, (AggregateRef, KeyRef)):
            column = (self.keys if isinstance(node, KeyRef) else self.aggregates)[node.index]
            return [column[p] for p in places]
        return [evaluate(node, GroupValues([k[p] for k in self.keys], [a[p] for a in self.aggregates])) for p in places]


def _ordered(
    places: Sequence[int], values: Sequence[Any], *, descending: bool = False, nulls_first: bool = False
) -> list[int]:
    """Places in the order of their values; equal ones stay as they are."""
    keys: Sequence[Any]
    if all(type(v) is int for v in values):  # the order of their sort keys, at a tenth of the cost
        keys = [-v for v in values] if descending else values
    else:
        keys = [sort_key(v, descending=descending, nulls_first=nulls_first) for v in values]
    return [places[i] for i in sorted(range(len(places)), key=keys.__getitem__)]


def _check_guards(plan: QueryPlan, totals: Mapping[str, IntegerArray]) -> None:
    """Refuse an answer whose subquery groups of NULL spanned parties."""
    for number, guard in enumerate(plan.guards):
        holders = totals.get(f"g{number}")
        if holders is None or len(holders) != 1:
            raise IntegrityError("the totals do not have the plan's shape")
        if int(holders[0]) > 1:
            names = ", ".join(k.name for k in guard.keys)
            raise PlanError(
                reason=f"rows without {names} lie at several parties, so a group of the subquery spans them",
                instead=f"WHERE {guard.keys[0].name} IS NOT NULL inside the subquery",
            )


def _groups(plan: QueryPlan, group_keys: Sequence[bytes] | None) -> Sequence[KeyTuple]:
    if plan.groups is not None:
        return plan.groups
    if group_keys is None:
        raise IntegrityError("the discovered group keys are missing")
    if list(group_keys) != sorted(set(group_keys)):
        raise IntegrityError("the discovered group keys are not in order")
    return [plan.codec.decode(key) for key in group_keys]


def _totals_of(
    plan: QueryPlan, totals: Mapping[str, IntegerArray], groups: int
) -> tuple[dict[int, list[int]], dict[int, list[list[int]]]]:
    """Totals by statistic and group, and histograms by statistic, group and bucket, as Python integers."""
    ones: dict[int, list[int]] = {}
    many: dict[int, list[list[int]]] = {}
    for index, statistic in enumerate(plan.statistics):
        values, each = totals.get(f"s{index}"), statistic.length
        if values is None or len(values) != max(groups, 1) * each:
            raise IntegrityError("the totals do not have the plan's shape")
        flat = [int(v) for v in values.tolist()]
        if statistic.buckets is None:
            ones[index] = flat
        else:
            many[index] = [flat[g * each : (g + 1) * each] for g in range(groups)]
    return ones, many


def _shown(values: list[Any], kind: Type) -> list[Any]:
    """Values in their column's type: a DOUBLE is a float even where it is whole."""
    if kind.kind is not Kind.DOUBLE:
        return values
    return [v if v is None or isinstance(v, float) else nearest(Fraction(v)) for v in values]


def _column(plan: QueryPlan, name: str, output: Output) -> ResultColumn:
    kind = output.type
    text = {
        Kind.INTEGER: "HUGEINT" if _is_sum(plan, output) else "BIGINT",
        Kind.DECIMAL: f"DECIMAL(38,{kind.scale})",
        Kind.HISTOGRAM: "MAP(DOUBLE, BIGINT)",
        Kind.NULL: "INTEGER",
    }.get(kind.kind, str(kind.kind))
    widths = []
    for node in walk(output.value):
        if isinstance(node, AggregateRef):
            spec = plan.aggregates[node.index]
            if spec.finisher in {Finisher.QUANTILE, Finisher.HISTOGRAM}:
                statistic = plan.statistics[dict(spec.inputs)["h"]]
                if statistic.buckets is not None:
                    widths.append(nearest(Fraction(statistic.buckets.width, 10**statistic.scale)))
    return ResultColumn(name, text, max(widths, default=None))


def _is_sum(plan: QueryPlan, output: Output) -> bool:
    refs = [n for n in walk(output.value) if isinstance(n, AggregateRef)]
    return any(plan.aggregates[r.index].finisher is Finisher.SUM for r in refs)
