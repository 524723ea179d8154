"""The dictionary: the logical tables of a room, as every member signed them.

Plans compile from {SQL, dictionary, parameter tables} and nothing else, so every owner obtains the same digest.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from mpc.errors import ConfigurationError

__all__ = ["Column", "ColumnKind", "ColumnType", "Dictionary", "Table", "parse_column_type"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
_TYPE = re.compile(r"(?P<name>[A-Z]+)(?:\((?P<precision>[0-9]{1,2}),\s*(?P<scale>[0-9]{1,2})\))?\Z")

INTEGER_BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}


class ColumnKind(StrEnum):
    """Families of column types."""

    BOOLEAN = "BOOLEAN"
    INTEGER = "INTEGER"
    DECIMAL = "DECIMAL"
    DOUBLE = "DOUBLE"
    VARCHAR = "VARCHAR"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"


_DOMAINS: Final[Mapping[ColumnKind, type]] = {
    ColumnKind.BOOLEAN: bool,
    ColumnKind.INTEGER: int,
    ColumnKind.DECIMAL: int,
    ColumnKind.VARCHAR: str,
    ColumnKind.DATE: str,
}
"""What the values of a domain are."""


class ColumnType(msgspec.Struct, frozen=True):
    """A parsed type: its family and, for DECIMAL, precision and scale."""

    kind: ColumnKind
    name: str
    precision: int = 0
    scale: int = 0


def parse_column_type(text: str) -> ColumnType:
    """Read a type's name.

    Raises:
        ConfigurationError: The type is not one a dictionary may declare.

    >>> parse_column_type("DECIMAL(18,3)").scale
    3
    """
    match = _TYPE.match(text.strip().upper())
    name = match["name"] if match else ""
    if match and name == "DECIMAL" and match["precision"]:
        precision, scale = int(match["precision"]), int(match["scale"])
        if 1 <= precision <= 38 and 0 <= scale <= precision:
            return ColumnType(ColumnKind.DECIMAL, f"DECIMAL({precision},{scale})", precision, scale)
    elif match and not match["precision"]:
        if name in INTEGER_BITS:
            return ColumnType(ColumnKind.INTEGER, name)
        if name in {"BOOLEAN", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP"}:
            return ColumnType(ColumnKind(name), name)
    raise ConfigurationError(
        f"{text[:40]!r} is not a column type: BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT, DECIMAL(p,s), DOUBLE, "
        "VARCHAR, DATE or TIMESTAMP"
    )


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One logical column."""

    name: str
    type: str
    """BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT, DECIMAL(p,s), DOUBLE, VARCHAR, DATE or TIMESTAMP (no zone: UTC)."""

    nullable: bool = True
    scale: int = 0
    """Decimal digits after the point to which a DOUBLE is quantised on read; for DECIMAL the type's own."""

    minimum: int | None = None
    """Least value, in the column's own unit (integers, DECIMAL, DOUBLE; inclusive)."""

    maximum: int | None = None
    """Largest value, in the column's own unit (inclusive)."""

    earliest: str | None = None
    """First day of a DATE or TIMESTAMP, ISO 8601."""

    latest: str | None = None
    """Last day of a DATE or TIMESTAMP, ISO 8601."""

    domain: tuple[str | int | bool, ...] | None = None
    """Every value that may occur, when that is public; a value outside is an error."""

    discoverable: bool = False
    """Whether group keys may be found by a discovery round, which shows their union to all parties."""

    capacity: int = 4096
    """Most distinct values over all parties that a discovery round must carry."""

    max_bytes: int = 64
    """Longest UTF-8 text of a discoverable VARCHAR."""

    @property
    def parsed(self) -> ColumnType:
        """The parsed type."""
        return parse_column_type(self.type)

    def check(self, where: str) -> None:
        """Refuse contradictions.

        Raises:
            ConfigurationError: Names the table and the column.
        """
        kind = self.parsed.kind
        problem = ""
        if not _NAME.match(self.name):
            problem = "its name is not an identifier"
        elif not 0 <= self.scale <= 18:
            problem = "its scale is not between 0 and 18"
        elif kind is ColumnKind.DECIMAL and self.scale != self.parsed.scale:
            problem = "its scale differs from its type"
        elif (self.minimum is None) != (self.maximum is None):
            problem = "minimum and maximum are given together"
        elif self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            problem = "its minimum exceeds its maximum"
        elif (self.earliest is None) != (self.latest is None) or not self._days_in_order():
            problem = "earliest and latest are given together: days like 2026-01-31, in order"
        elif self.domain is not None and len(set(self.domain)) != len(self.domain):
            problem = "its domain repeats a value"
        elif self.domain is not None and any(type(v) is not _DOMAINS.get(kind, type(v)) for v in self.domain):
            problem = "its domain has values of another type"
        elif not 1 <= self.capacity <= 1 << 24 or not 1 <= self.max_bytes <= 1024:
            problem = "its capacity or max_bytes is out of bounds"
        if problem:
            raise ConfigurationError(f"{where}.{self.name}: {problem}")

    def _days_in_order(self) -> bool:
        try:
            days = [dt.date.fromisoformat(day) for day in (self.earliest, self.latest) if day is not None]
        except ValueError:
            return False
        return days == sorted(days)


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One logical table: the union of the rows that its parties hold."""

    name: str
    columns: tuple[Column, ...]
    parties: tuple[str, ...]
    """The parties that hold rows of it."""

    rows_at_most: int = 1 << 32
    """Most rows at one party: with the columns' ranges it bounds every sum."""

    privacy_unit: str | None = None
    """The column that identifies whom thresholds and budgets protect; none means the row."""

    local_keys: tuple[str, ...] = ()
    """Columns of which no value occurs at two parties."""

    def column(self, name: str) -> Column | None:
        """Find a column, ignoring case as SQL does."""
        folded = name.lower()
        return next((c for c in self.columns if c.name.lower() == folded), None)

    def check(self) -> None:
        """Refuse contradictions.

        Raises:
            ConfigurationError: Names what is wrong.
        """
        if not _NAME.match(self.name):
            raise ConfigurationError(f"table {self.name[:60]!r}: its name is not an identifier")
        names = [c.name.lower() for c in self.columns]
        if not names or len(set(names)) != len(names):
            raise ConfigurationError(f"table {self.name}: column names are unique and not none")
        if not self.parties or len(set(self.parties)) != len(self.parties):
            raise ConfigurationError(f"table {self.name}: it names every party that holds rows once")
        if not 1 <= self.rows_at_most <= 1 << 40:
            raise ConfigurationError(f"table {self.name}: rows_at_most lies between 1 and 2^40")
        for key in (*self.local_keys, *((self.privacy_unit,) if self.privacy_unit else ())):
            if self.column(key) is None:
                raise ConfigurationError(f"table {self.name}: {key} is not a column")
        for column in self.columns:
            column.check(self.name)


class Dictionary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every logical table of a room."""

    tables: tuple[Table, ...] = ()

    def table(self, name: str) -> Table | None:
        """Find a table, ignoring case as SQL does."""
        folded = name.lower()
        return next((t for t in self.tables if t.name.lower() == folded), None)

    def check(self) -> None:
        """Refuse contradictions (`ConfigurationError`)."""
        names = [t.name.lower() for t in self.tables]
        if len(set(names)) != len(names):
            raise ConfigurationError("the dictionary names a table twice")
        for table in self.tables:
            table.check()

    def names(self) -> Iterable[str]:
        """Names of the tables."""
        return (t.name for t in self.tables)
