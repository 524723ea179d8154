"""The plan of a query: everything that fixes its meaning, and its digest."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from mpc.plan.ir import Column, Scalar, Type, canonical_bytes
from mpc.plan.keys import GroupKey, GroupKeyCodec, KeyTuple, enumerated
from mpc.plan.source import NullGuard, Rows
from mpc.plan.statistics import AggregateSpec, Statistic

__all__ = ["DiscoverySpec", "OrderKey", "Output", "PlanOptions", "QueryPlan"]

_LABEL = b"sealroom/v1/query-plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Choices of the analyst that change meaning; signed with the SQL."""

    buckets: int = 1024
    """Buckets of a quantile: the answer lies within one of them."""

    discovery_capacity: int | None = None
    """Most distinct group keys over all parties; None takes the columns' declared capacities."""


@dataclass(frozen=True, slots=True)
class Output:
    """One column of the result."""

    name: str
    value: Scalar

    @property
    def type(self) -> Type:
        """The column's type."""
        return self.value.type


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One expression of ORDER BY."""

    value: Scalar
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class DiscoverySpec:
    """The round that finds the group keys."""

    capacity: int
    key_bytes: int


@dataclass(frozen=True, kw_only=True)
class QueryPlan:
    """A compiled query. Made by `compile_query` alone; equal digests mean equal meaning."""

    sql: str = field(metadata={"meaning": False})
    """The text it was compiled from, with the clock folded."""

    table: str
    local_keys: tuple[str, ...]
    parties: tuple[str, ...] = field(metadata={"meaning": False})
    """The parties that hold rows, by the dictionary."""

    rows_at_most: int
    rows: Rows
    relied_on: tuple[Column, ...]
    """Columns that the dictionary calls not nullable and the plan takes at its word; each party checks its own."""

    guards: tuple[NullGuard, ...]
    keys: tuple[GroupKey, ...]
    statistics: tuple[Statistic, ...]
    aggregates: tuple[AggregateSpec, ...]
    presence: int | None
    """The statistic that counts a group's rows, where groups are enumerated: a group without rows does not appear."""

    discovery: DiscoverySpec | None
    outputs: tuple[Output, ...]
    having: Scalar | None
    order: tuple[OrderKey, ...]
    limit: int | None
    offset: int
    distinct: bool
    options: PlanOptions

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over the canonical bytes of everything that fixes meaning."""
        return hashlib.sha256(_LABEL + canonical_bytes(self)).digest()

    @property
    def grouped(self) -> bool:
        """Whether there is a GROUP BY; without one the result has exactly one row before HAVING."""
        return bool(self.keys)

    @cached_property
    def codec(self) -> GroupKeyCodec:
        """The canonical bytes of this plan's group keys."""
        return GroupKeyCodec(self.keys)

    @cached_property
    def groups(self) -> tuple[KeyTuple, ...] | None:
        """All group keys where they are enumerated (one empty tuple without GROUP BY); None where discovered."""
        if self.discovery is not None:
            return None
        return tuple(enumerated(self.keys) or ())

    @cached_property
    def hidden_statistics(self) -> tuple[int, ...]:
        """Statistics that the analyst opens although the query does not ask for them by name."""
        asked = {i for a in self.aggregates for role, i in a.inputs if _named(a, role)}
        return tuple(i for i in range(len(self.statistics)) if i not in asked)

    def column_names(self) -> tuple[str, ...]:
        """The result's column names, made unique as DuckDB's clients do."""
        seen: dict[str, int] = {}
        names = []
        for output in self.outputs:
            count = seen.get(output.name, 0)
            seen[output.name] = count + 1
            names.append(f"{output.name}_{count}" if count else output.name)
        return tuple(names)

    def __hash__(self) -> int:
        return hash(self.digest)


def _named(spec: AggregateSpec, role: str) -> bool:
    direct = {"count": {"n"}, "sum": {"x"}, "regr_count": {"n"}, "quantile": {"h"}, "histogram": {"h"}}
    return role in direct.get(spec.finisher, set())
