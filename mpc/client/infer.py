"""A dictionary from local data: for LocalRoom, and as a first draft for owners who write one.

In a real room the members agree on the dictionary and sign it. Here one process sees the data of all parties, so that
types, ranges and local keys can be read off it. Everything found is a fact about this data and public in this room.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import msgspec
import pyarrow as pa

from mpc.errors import ConfigurationError
from mpc.keys.dictionary import INTEGER_BITS, Column, ColumnKind, Dictionary, Table, parse_column_type

__all__ = ["LocalTable", "infer_dictionary", "logical_names", "physical_names", "widest_type"]

LocalTable: TypeAlias = str | Path | pa.Table
"""A Parquet, CSV, Arrow or DuckDB file (of DuckDB: the table of the same name), a folder of Parquet, or a table."""

DOUBLE_SCALE = 6
DOUBLE_BITS = 40
BIGINT_BITS = 47
LEAST_ROWS = 1 << 10
MOST_CAPACITY = 1 << 24
MOST_BYTES = 1024
EXACT_DISTINCT = 1 << 20
"""Columns with more distinct values (by estimate) are neither counted exactly nor tested for being local."""

_TYPES = {
    "UTINYINT": "SMALLINT",
    "USMALLINT": "INTEGER",
    "UINTEGER": "BIGINT",
    "UBIGINT": "BIGINT",
    "HUGEINT": "BIGINT",
    "UHUGEINT": "BIGINT",
    "FLOAT": "DOUBLE",
    "UUID": "VARCHAR",
    "JSON": "VARCHAR",
    "TIMESTAMP_S": "TIMESTAMP",
    "TIMESTAMP_MS": "TIMESTAMP",
    "TIMESTAMP_NS": "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "TIMESTAMPTZ_NS": "TIMESTAMP",
}
_ZONED = frozenset({"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"})
_UNTYPED = '"NULL"'
_INTEGER_DIGITS = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19}
_DISCOVERABLE = frozenset({ColumnKind.BOOLEAN, ColumnKind.DATE, ColumnKind.INTEGER, ColumnKind.VARCHAR})
_LOCAL = frozenset({ColumnKind.DATE, ColumnKind.INTEGER, ColumnKind.VARCHAR})
_RANGED = frozenset({ColumnKind.DECIMAL, ColumnKind.DOUBLE, ColumnKind.INTEGER})
_DATED = frozenset({ColumnKind.DATE, ColumnKind.TIMESTAMP})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """One party's part of a table."""

    party: str
    scan: str
    columns: Mapping[str, str]
    """Quoted physical name by logical name."""

    types: Mapping[str, str | None]
    """Dictionary type by logical name; None for a column without typed values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What one party's rows say about one column."""

    rows: int
    values: int
    distinct: int = 0
    least: Any = None
    most: Any = None
    longest: int = 0


def infer_dictionary(parties: Mapping[str, Mapping[str, LocalTable]]) -> Dictionary:
    """The dictionary of a room whose parties hold these tables.

    A table's columns are those that every holder has (under logical names, ignoring case) with types that have a place
    in a dictionary; others stay with their owner. Types are widened over the parties: integers to the widest, integers
    and DECIMAL to a DECIMAL that holds both, either with DOUBLE to DOUBLE, DATE and TIMESTAMP to TIMESTAMP. 64-bit
    unsigned and 128-bit integers count as BIGINT. A party whose column holds only NULL has no say in its type.

    Ranges are powers of two around the data (0 on the side where there is none), at most 2^40 for DOUBLE, which is
    quantised at 10^-6, and 2^47 for integers: data beyond that is a `RangeError` when a query reads it. The narrower
    the ranges, the more second moments fit into 126 bits.

    `local_keys` are the integer, text and date columns of which no value occurs at two parties. NULL does not count as
    a value: where such a column is also nullable, rows without the key may exist at several parties, and a plan that
    relies on the key must treat the group of NULL as not local.

    Args:
        parties: Party -> table -> file, folder or Arrow table.

    Raises:
        ConfigurationError: Something cannot be read, has no usable column, or has types that no type holds.
    """
    holders: dict[str, dict[str, LocalTable]] = {}
    for party in sorted(parties):
        for table, where in parties[party].items():
            holders.setdefault(table, {})[party] = where
    with duckdb.connect(":memory:", config=_CONFIGURATION) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        # It would print on long statements. A notebook without widgets has none, and refuses the setting.
        if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() != [(False,)]:
            connection.execute("SET enable_progress_bar = false")
        tables = tuple(_infer_table(connection, name, holders[name]) for name in sorted(holders))
    dictionary = Dictionary(tables=tables)
    dictionary.check()
    return dictionary


_CONFIGURATION = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
}


def logical_names(physical: Iterable[str]) -> dict[str, str]:
    """Physical column by logical name: what is not a letter, digit or underscore becomes an underscore.

    Raises:
        ConfigurationError: Two columns would share a name.

    >>> logical_names(["Customer ID", "2nd"])
    {'Customer_ID': 'Customer ID', '_2nd': '2nd'}
    """
    names: dict[str, str] = {}
    folded: dict[str, str] = {}
    for column in physical:
        name = re.sub(r"[^A-Za-z0-9_]", "_", column)
        name = (f"_{name}" if not name or name[0].isdigit() else name)[:63]
        if other := folded.get(name.lower()):
            raise ConfigurationError(f"columns {other!r} and {column!r} would share the name {name}: rename one")
        folded[name.lower()] = column
        names[name] = column
    return names


def physical_names(where: LocalTable, table: str = "") -> dict[str, str]:
    """Physical column by logical name of a local table (`ConfigurationError` if it cannot be read)."""
    with duckdb.connect(":memory:", config=_CONFIGURATION) as connection:
        try:
            scan = _scan(connection, "it", table, where)
            described = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()  # noqa: S608
        except (duckdb.Error, OSError, ValueError) as error:
            raise ConfigurationError(f"a table cannot be read: {error}") from error
    return logical_names(row[0] for row in described)


def _infer_table(connection: Any, name: str, holders: Mapping[str, LocalTable]) -> Table:
    held = [_open(connection, name, party, where) for party, where in holders.items()]
    shared = _shared_columns(held)
    if not shared:
        raise ConfigurationError(f"table {name}: no column that a dictionary can declare is at every party")
    facts = [_measure(connection, part, shared) for part in held]
    columns, local = [], []
    for column in shared:
        facts_here = [f[column] for f in facts]
        type_ = widest_type(
            name, column, [part.types[column] for part, f in zip(held, facts_here, strict=True) if f.values]
        )
        kind = parse_column_type(type_).kind
        estimate = sum(f.distinct for f in facts_here)
        exact = None
        if kind in _DISCOVERABLE and estimate <= EXACT_DISTINCT:
            exact = _count_distinct(connection, held, column, type_)
        distinct, shared_values = exact or (2 * estimate, 1)
        if kind in _LOCAL and not shared_values:
            local.append(column)
        columns.append(_column(column, type_, facts_here, distinct))
    most_rows = max(f[shared[0]].rows for f in facts)
    return Table(
        name=name,
        columns=tuple(columns),
        parties=tuple(part.party for part in held),
        rows_at_most=max(LEAST_ROWS, 1 << most_rows.bit_length()),
        local_keys=tuple(local),
    )


def _open(connection: Any, table: str, party: str, where: LocalTable) -> _Held:
    """Make a party's table readable and look at its columns."""
    try:
        scan = _scan(connection, f"{party} {table}", table, where)
        described = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()  # noqa: S608
    except (duckdb.Error, OSError, ValueError) as error:
        raise ConfigurationError(f"{party}.{table} cannot be read: {error}") from error
    physical = {row[0]: row[1] for row in described}
    names = logical_names(physical)
    types = {logical: _dictionary_type(physical[column]) for logical, column in names.items()}
    columns = {logical: _read(column, physical[column]) for logical, column in names.items()}
    usable = [n for n in names if types[n] is not None or physical[names[n]] == _UNTYPED]
    return _Held(party=party, scan=scan, columns={n: columns[n] for n in usable}, types={n: types[n] for n in usable})


def _scan(connection: Any, handle: str, table: str, where: LocalTable) -> str:
    """FROM-clause text for a local table. The kinds of files are those of a party's sources."""
    if isinstance(where, pa.Table):
        connection.register(handle, where)
        return _quoted(handle)
    path = Path(where)
    ending = path.suffix.lower()
    if path.is_dir():
        return f"read_parquet({_text(f'{path}/**/*.parquet')}, union_by_name = true)"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if ending in {".parquet", ".pq"}:
        return f"read_parquet({_text(str(path))})"
    if ending in {".csv", ".tsv"}:
        return f"read_csv({_text(str(path))}, header = true, sample_size = -1)"
    if ending in {".arrow", ".feather", ".ipc"}:
        import pyarrow.dataset

        connection.register(handle, pyarrow.dataset.dataset(str(path), format="ipc"))
        return _quoted(handle)
    if ending in {".duckdb", ".ddb"}:
        connection.execute(f"ATTACH {_text(str(path.resolve()))} AS {_quoted(handle)} (READ_ONLY)")
        return f"{_quoted(handle)}.{_quoted(table)}"
    raise ValueError(f"{path.name} is not a Parquet, CSV, Arrow or DuckDB file")


def _dictionary_type(physical: str) -> str | None:
    if physical.startswith("ENUM("):
        return "VARCHAR"
    try:
        return parse_column_type(_TYPES.get(physical, physical)).name
    except ConfigurationError:
        return None


def _read(column: str, physical: str) -> str:
    """The expression under which a column is read."""
    if physical in _ZONED:
        return f"({_quoted(column)} AT TIME ZONE 'UTC')"
    return _quoted(column)


def _shared_columns(held: Sequence[_Held]) -> list[str]:
    """Columns that every holder has, in the first holder's order and spelling."""
    first = held[0].columns
    folded = {name.lower(): name for name in first}
    for part in held[1:]:
        theirs = {name.lower(): name for name in part.columns}
        if clashing := [n for n, own in folded.items() if n in theirs and theirs[n] != own]:
            raise ConfigurationError(f"columns {clashing} are spelt differently at {held[0].party} and {part.party}")
        folded = {n: own for n, own in folded.items() if n in theirs}
    return list(folded.values())


def _measure(connection: Any, part: _Held, columns: Sequence[str]) -> dict[str, _Facts]:
    """All facts of one party's table, in one scan."""
    asked: list[str] = ["count(*)"]
    plan: list[tuple[str, tuple[str, ...]]] = []
    for column in columns:
        wanted = _statistics(part.columns[column], part.types[column])
        plan.append((column, tuple(wanted)))
        asked.extend(wanted.values())
    try:
        row = list(connection.execute(f"SELECT {', '.join(asked)} FROM {part.scan}").fetchall()[0])  # noqa: S608
    except duckdb.Error as error:
        raise ConfigurationError(f"{part.party}: a table cannot be read: {error}") from error
    facts, at = {}, 1
    for column, wanted_names in plan:
        found = dict(zip(wanted_names, row[at : at + len(wanted_names)], strict=True))
        at += len(wanted_names)
        facts[column] = _Facts(rows=row[0], **{k: v for k, v in found.items() if v is not None})
    return facts


def _statistics(column: str, type_: str | None) -> dict[str, str]:
    """Aggregates over one column, by the fact that they give."""
    wanted = {"values": f"count({column})"}
    if type_ is None:
        return wanted
    kind = parse_column_type(type_).kind
    if kind in _DISCOVERABLE:
        wanted["distinct"] = f"approx_count_distinct({column})"
    if kind is ColumnKind.VARCHAR:
        wanted["longest"] = f"max(strlen(CAST({column} AS VARCHAR)))"
    if kind in _DATED:
        day = f"CAST({column} AS DATE)"
        sane = f"FILTER (WHERE {day} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31')"  # neither infinite nor BC
        wanted["least"], wanted["most"] = f"min({day}) {sane}", f"max({day}) {sane}"
    elif kind in _RANGED:
        finite = f" FILTER (WHERE isfinite({column}))" if kind is ColumnKind.DOUBLE else ""
        wanted["least"], wanted["most"] = f"min({column}){finite}", f"max({column}){finite}"
    return wanted


def _count_distinct(connection: Any, held: Sequence[_Held], column: str, type_: str) -> tuple[int, int] | None:
    """Exact numbers of values over all parties and of values at two or more; None if the type cannot hold a value."""
    read = f"CAST({{}} AS {type_}) AS value"
    parts = " UNION ALL ".join(f"SELECT DISTINCT {read.format(p.columns[column])} FROM {p.scan}" for p in held)  # noqa: S608
    counted = f"SELECT value, count(*) AS holders FROM ({parts}) WHERE value IS NOT NULL GROUP BY value"  # noqa: S608
    asked = f"SELECT count(*), count(*) FILTER (WHERE holders > 1) FROM ({counted})"  # noqa: S608
    try:
        distinct, shared = connection.execute(asked).fetchall()[0]
    except duckdb.ConversionException:  # a 128-bit or unsigned value: a query that reads it gets a `RangeError`
        return None
    return distinct, shared


def widest_type(table: str, column: str, types: Iterable[str | None]) -> str:
    """The least type that holds every party's values; INTEGER where there are none."""
    known = [t for t in types if t is not None]
    widest = known[0] if known else "INTEGER"
    for type_ in known[1:]:
        both = _wider(widest, type_)
        if both is None:
            raise ConfigurationError(f"table {table}: {column} is {widest} at one party and {type_} at another")
        widest = both
    return widest


def _wider(one: str, other: str) -> str | None:
    if one == other:
        return one
    a, b = parse_column_type(one), parse_column_type(other)
    kinds = {a.kind, b.kind}
    if kinds == {ColumnKind.INTEGER}:
        return max(one, other, key=INTEGER_BITS.__getitem__)
    if kinds == _DATED:
        return "TIMESTAMP"
    if ColumnKind.DOUBLE in kinds and kinds <= _RANGED:
        return "DOUBLE"
    if kinds <= {ColumnKind.DECIMAL, ColumnKind.INTEGER}:
        whole = max(_INTEGER_DIGITS.get(t.name, t.precision - t.scale) for t in (a, b))
        scale = max(a.scale, b.scale)
        return f"DECIMAL({min(38, whole + scale)},{scale})"
    return None


def _column(name: str, type_: str, facts: Sequence[_Facts], distinct: int) -> Column:
    """One column's entry."""
    parsed = parse_column_type(type_)
    known = [f for f in facts if f.least is not None]
    minimum = maximum = earliest = latest = None
    if parsed.kind in _RANGED:
        minimum, maximum = _range(parsed.kind, [f.least for f in known], [f.most for f in known])
    elif parsed.kind in _DATED and known:
        earliest, latest = _iso(min(f.least for f in known)), _iso(max(f.most for f in known))
    column = Column(
        name=name,
        type=type_,
        nullable=any(f.values < f.rows for f in facts),
        scale=DOUBLE_SCALE if parsed.kind is ColumnKind.DOUBLE else parsed.scale,
        minimum=minimum,
        maximum=maximum,
        earliest=earliest,
        latest=latest,
    )
    capacity = _capacity(distinct)
    max_bytes = max(8, *(-(-f.longest // 8) * 8 for f in facts))
    discoverable = parsed.kind in _DISCOVERABLE and capacity <= MOST_CAPACITY and max_bytes <= MOST_BYTES
    declared = {"capacity": capacity} if discoverable else {}
    if discoverable and parsed.kind is ColumnKind.VARCHAR:
        declared["max_bytes"] = max_bytes
    return msgspec.structs.replace(column, discoverable=discoverable, **declared)


def _range(kind: ColumnKind, least: Sequence[Any], most: Sequence[Any]) -> tuple[int, int]:
    """Powers of two around the data, zero on a side without values."""
    bits = {ColumnKind.DOUBLE: DOUBLE_BITS, ColumnKind.INTEGER: BIGINT_BITS}.get(kind, 126)
    low, high = min(least, default=0), max(most, default=0)
    minimum = -(1 << min(bits, _power(-low))) if low < 0 else 0
    maximum = 1 << min(bits, _power(high)) if high > 0 or not minimum else 0
    return minimum, maximum


def _power(magnitude: Any) -> int:
    """The least k with magnitude <= 2^k, for a magnitude of any numeric type."""
    whole = int(magnitude)
    return (whole if whole < magnitude else max(0, whole - 1)).bit_length()


def _capacity(distinct: int) -> int:
    """A power of two with a quarter of headroom; one more for NULL."""
    return 1 << max(4, (distinct + 1 + distinct // 4).bit_length())


def _iso(day: date) -> str:
    return day.isoformat()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
