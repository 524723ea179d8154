"""What a data source is: the small seam between a party's databases and its programs.

A source holds one or more logical tables of one party. Statements name those tables, and nothing else, by their quoted
logical names; the source makes the names mean its *relations*: the physical columns under their logical names, brought
to the types of `types.py`, restricted to the rows that the owner allows.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.keys.dictionary import ColumnKind

__all__ = ["BATCH_ROWS", "ColumnData", "Columns", "Dialect", "FileDigest", "Snapshot", "Source", "SourceColumn"]

BATCH_ROWS = 1 << 16
"""Rows of a streamed batch unless asked otherwise: a few megabytes of memory per ten columns."""


class Dialect(StrEnum):
    """The SQL in which a source expects its statements; the values are sqlglot's names."""

    DUCKDB = "duckdb"
    POSTGRES = "postgres"


class SourceColumn(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a relation."""

    name: str
    """Logical name."""

    physical: str
    """The type as the database spells it."""

    type: str | None
    """The dictionary's type that holds every value, or None where there is none: statements cannot name the column."""


class FileDigest(msgspec.Struct, frozen=True, kw_only=True):
    """One pinned file."""

    name: str
    """Its path relative to the table's folder, with forward slashes; the file's own name for a single file."""

    size: int
    sha256: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of the data that a job reads, the same in all its rounds.

    Two snapshots with one identity show the same rows. The reverse does not hold: a database may give the same rows
    under another identity, which costs budget and never correctness.
    """

    identity: str
    """SHA-256 over the relations (names, columns, row filters) and the data's own identity; 64 hexadecimal digits."""

    kind: str
    """`files` or `transaction`."""

    files: tuple[FileDigest, ...] = ()
    """The pinned files, ordered by table and name; empty for a transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnData:
    """Values of one column, as `arrow.py` documents them for each physical type."""

    kind: ColumnKind
    """What `values` holds: BOOLEAN bool; INTEGER int64, or Python integers in an object array where the physical type
    is wider than 64 bits; DOUBLE float64; VARCHAR str in an object array; DATE int64 days since 1970-01-01;
    TIMESTAMP int64 microseconds since 1970-01-01T00:00:00 UTC."""

    values: NDArray[Any] = field(repr=False)
    """Shape `(rows,)`. Where the value is NULL it is False, 0, NaN or the empty string and means nothing."""

    nulls: NDArray[np.bool_] = field(repr=False)
    """Shape `(rows,)`, true where the value is NULL. NaN is a value, not NULL."""

    def __len__(self) -> int:
        return int(self.values.shape[0])


Columns: TypeAlias = Mapping[str, ColumnData]
"""Columns of equal length by name, in the statement's order."""


class Source(Protocol):
    """One party's database or files, opened for one job.

    Everything but `interrupt` is called by one thread. Errors are `SourceError` (unreadable, or changed in the middle
    of the job), `RangeError` (a value that a cast or a declared type cannot hold), `ResourceExhausted`,
    `DeadlineExceeded`, `JobCancelled` and `PlanError` (a statement that is not a query over the relations); none
    carries data.
    """

    @property
    def dialect(self) -> Dialect:
        """The SQL in which `run` expects its statements."""
        ...

    def describe(self) -> Mapping[str, tuple[SourceColumn, ...]]:
        """Columns and types of every table, in their own order."""
        ...

    def snapshot(self) -> Snapshot:
        """Pin the data, once; every later call returns the same snapshot."""
        ...

    def run(self, statement: str, *, integers: Collection[str] = ()) -> Columns:
        """Run one generated query and return its whole, small result.

        Args:
            statement: Exactly one SELECT over quoted logical table names. Names of result columns are unique.
            integers: Result columns of a text or numeric type that hold decimal integers of any size; they are
                returned as Python integers. (HUGEINT and DECIMAL(p,0) of the embedded engine need no mention.)
        """
        ...

    def stream(self, table: str, columns: Sequence[str], *, batch_rows: int = BATCH_ROWS) -> Iterator[Columns]:
        """Read a relation's columns in batches of at most `batch_rows`, always in the same order for one snapshot.

        Only a few batches exist at a time. One stream is read at once; it ends before the next call.
        """
        ...

    def interrupt(self) -> None:
        """End the job's use of the source, from any thread: what runs and every later call ends with `JobCancelled`."""
        ...

    def close(self) -> None:
        """Release files, connections and temporary data; a second call does nothing."""
        ...
