"""What a party runs against its own database: generated statements and the columns they return."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from numpy.typing import NDArray

from mpc.errors import ParameterError

__all__ = ["Encoding", "LocalColumns", "LocalQuery", "LocalStatement", "OutputColumn", "RunLocal"]


class Encoding(StrEnum):
    """How a column leaves the database. No column is ever NULL."""

    INT64 = "int64"
    """A BIGINT."""

    TEXT = "text"
    """A VARCHAR that is data."""

    DIGITS = "digits"
    """A VARCHAR that spells an integer too wide for a BIGINT."""


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """One column of a local result."""

    name: str
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class LocalStatement:
    """One generated SELECT.

    Columns: for every group key `k<i>` its raw value (0 or '' where NULL) and `k<i>_null` (0 or 1); then `s<j>` per
    statistic, or `bucket` and `n` for a histogram.
    """

    pieces: tuple[str, ...]
    """The text, cut where the party's relation goes."""

    columns: tuple[OutputColumn, ...]
    statistics: tuple[int, ...]
    """Indexes of the plan's statistics that it computes."""

    guard: str = ""
    """Name of the segment that a statement of a `NullGuard` fills; it returns one row with one 0 or 1."""

    check: bool = False
    """Whether it only stops at values that leave their range; it runs first, and its result says nothing."""

    def text(self, relation: str) -> str:
        """The statement over a relation.

        Args:
            relation: A quoted table name or a table function call; the party's own configuration, never a peer's.
        """
        if not relation:
            raise ParameterError("the party's relation has no name")
        return relation.join(self.pieces)


@dataclass(frozen=True, slots=True)
class LocalQuery:
    """All statements of a plan; they run over one snapshot."""

    dialect: str
    statements: tuple[LocalStatement, ...]


LocalColumns: TypeAlias = Mapping[str, NDArray[Any]]
"""A result by column name: int64 arrays, and object arrays of strings."""

RunLocal: TypeAlias = Callable[[LocalQuery], list[LocalColumns]]
"""Runs the statements over one snapshot and returns their columns, statement by statement.

A database error that begins with `CHECK_FAILED` (see `mpc.plan.dialects`) is turned into `RangeError` by
`mpc.plan.dialects.check_failure`.
"""
