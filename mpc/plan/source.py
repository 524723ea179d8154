"""Where rows come from: a logical table, or a subquery that every party evaluates over its own rows."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from mpc.plan.ir import Column, Scalar, Type

__all__ = ["GroupedSource", "LocalAggregate", "LocalFunction", "NullGuard", "Rows", "Source", "TableSource"]


class LocalFunction(StrEnum):
    """Aggregates that a party computes by itself, inside a subquery whose groups never span parties."""

    COUNT_ROWS = "count-rows"
    COUNT = "count"
    COUNT_DISTINCT = "count-distinct"
    SUM = "sum"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"


@dataclass(frozen=True, slots=True)
class LocalAggregate:
    """One aggregate of a subquery."""

    function: LocalFunction
    argument: Scalar | None
    condition: Scalar | None
    type: Type


@dataclass(frozen=True, slots=True)
class TableSource:
    """The rows of one logical table that the party holds."""

    table: str


@dataclass(frozen=True, slots=True)
class GroupedSource:
    """A subquery with GROUP BY or DISTINCT; its keys include a column of which no value occurs at two parties."""

    rows: "Rows"
    keys: tuple[Scalar, ...]
    aggregates: tuple[LocalAggregate, ...]
    having: Scalar | None
    """Over `KeyRef` and `AggregateRef`."""

    outputs: tuple[tuple[str, Scalar], ...]
    """Names and expressions over `KeyRef` and `AggregateRef`."""


Source: TypeAlias = TableSource | GroupedSource
"""A two-party join will be a third kind; everything that reads rows dispatches on this type."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Filtered rows of a source."""

    source: Source
    where: Scalar | None


@dataclass(frozen=True, slots=True)
class NullGuard:
    """A condition that the dictionary does not give: rows without any of the local keys lie at one party at most.

    The number of parties that hold such rows is summed with the value round; more than one is an error.
    """

    rows: Rows
    keys: tuple[Column, ...]
