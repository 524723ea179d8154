"""SQLite through ADBC: the proof that a source is one file.

What any database without a dialect of the planner's can do: its rows are read once, through Arrow, into the embedded
engine, and everything else (the gate, the types, the answers to the last digit) is the engine's.

SQLite's columns have no types, only their declarations: INT... is BIGINT; CHAR, CLOB and TEXT are VARCHAR; REAL, FLOA
and DOUB are DOUBLE; BOOL, DATE, DATETIME, TIMESTAMP and DECIMAL(p,s) are what they say (dates as ISO 8601 text);
`TableSpec.types` goes before the declaration; a column with neither is left out.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from mpc.errors import ConfigurationError, MpcError, SourceError
from mpc.keys.dictionary import ColumnKind, parse_column_type
from servers.party.sources.arrow import columns_of
from servers.party.sources.base import BATCH_ROWS, Columns, Dialect, Snapshot, SourceColumn
from servers.party.sources.digests import DigestCache, PinnedFiles, identity_of
from servers.party.sources.engine import Engine
from servers.party.sources.files import relation_query
from servers.party.sources.spec import Limits, SourceSpec, TableSpec, quoted

__all__ = ["SqliteSource"]

_STORAGE = {
    ColumnKind.BOOLEAN: ("INTEGER", "0"),
    ColumnKind.INTEGER: ("INTEGER", "0"),
    ColumnKind.DOUBLE: ("REAL", "0.0"),
}
"""Storage class and a value of it; every other kind is read as text."""

_DECIMAL = re.compile(r"(DECIMAL|NUMERIC)\((\d+),\s*(\d+)\)\Z")


class SqliteSource:
    """A `Source` over a SQLite file; see `Source` for its methods.

    Args:
        path: The database.
        spec: Its tables.
        limits: The copied rows count against the engine's memory.
        cache: Digests known from earlier jobs.
    """

    def __init__(self, path: Path, spec: SourceSpec, limits: Limits, cache: DigestCache) -> None:
        self._columns: dict[str, tuple[SourceColumn, ...]] = {}
        self._engine = Engine(limits)
        try:
            log = path.with_name(f"{path.name}-wal")
            files = [("database", path), *([("log", log)] if log.exists() else [])]
            pinned, digests = PinnedFiles.pin(files, cache)
            self._snapshot = identity_of("files", {"kind": "sqlite", "tables": spec.tables}, "", digests)
            with closing(_connect(path)) as connection:
                scans = {table: self._load(connection, table, one) for table, one in spec.tables.items()}
            pinned.verify()  # everything was read between two looks at the file
            self._engine.confine(())
            for table, one in spec.tables.items():
                physical = self._engine.describe(f"SELECT * FROM {scans[table]}")  # noqa: S608
                allowed = TableSpec(columns=one.columns)  # the owner's condition was SQLite's to apply
                query, self._columns[table] = relation_query(table, allowed, scans[table], physical)
                self._engine.define(table, query, [c.name for c in self._columns[table] if c.type])
            self._engine.lock()
        except BaseException:
            self._engine.close()
            raise

    @property
    def dialect(self) -> Dialect:
        """The embedded engine's."""
        return Dialect.DUCKDB

    def describe(self) -> Mapping[str, tuple[SourceColumn, ...]]:
        """Columns and types of every table."""
        return self._columns

    def snapshot(self) -> Snapshot:
        """The file as it was when its rows were read."""
        return self._snapshot

    def run(self, statement: str, *, integers: Collection[str] = ()) -> Columns:
        """Run one generated query over the rows read."""
        return columns_of(self._engine.table(statement), integers)

    def stream(self, table: str, columns: Sequence[str], *, batch_rows: int = BATCH_ROWS) -> Iterator[Columns]:
        """Read columns in batches."""
        return (columns_of(batch) for batch in self._engine.batches(table, columns, batch_rows))

    def interrupt(self) -> None:
        """End the job's use of the source."""
        self._engine.interrupt()

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def _load(self, connection: Any, table: str, spec: TableSpec) -> str:
        """Copy a table's declared columns into the engine; returns the text that reads it with its types."""
        origin = quoted(spec.origin or table)
        types = _declared(_fetch(connection, f"PRAGMA table_info({origin})").to_pylist(), spec)
        if not types:
            raise ConfigurationError(f"table {table}: the database has no {origin} with typed columns")
        read, first = [], []
        for column, type_ in types.items():
            storage, value = _STORAGE.get(parse_column_type(type_).kind, ("TEXT", "''"))
            read.append(f"CAST({quoted(column)} AS {storage}) AS {quoted(column)}")
            first.append(f"{value} AS {quoted(column)}")
        restricted = f" WHERE ({spec.where})" if spec.where else ""
        # The driver takes each column's type from the first rows, which may all be NULL: one typed row goes before.
        query = f"SELECT {', '.join(first)} UNION ALL SELECT {', '.join(read)} FROM {origin}{restricted}"  # noqa: S608
        with _translated(), connection.cursor() as cursor:
            cursor.execute(query)
            reader = cursor.fetch_record_batch()
            loaded = self._engine.load(f"rows of {table}", _without_first(reader))
        typed = ", ".join(f"CAST({quoted(c)} AS {t}) AS {quoted(c)}" for c, t in types.items())
        return f"(SELECT {typed} FROM {loaded})"  # noqa: S608


def _connect(path: Path) -> Any:
    try:
        import adbc_driver_sqlite.dbapi
    except ImportError:
        raise ConfigurationError("a SQLite source needs the extra `sqlite`: pip install 'sealroom[sqlite]'") from None
    with _translated():
        connection = adbc_driver_sqlite.dbapi.connect(f"file:{quote(str(path.resolve()))}?mode=ro")
    _fetch(connection, "PRAGMA query_only = on")
    return connection


def _fetch(connection: Any, query: str) -> Any:
    with _translated(), connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetch_arrow_table()


def _without_first(reader: Any) -> Any:
    def batches() -> Iterator[Any]:
        skip = 1
        for batch in reader:
            yield batch.slice(skip)
            skip = 0

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _declared(columns: Sequence[Mapping[str, Any]], spec: TableSpec) -> dict[str, str]:
    """The dictionary type of each physical column, from the owner's word or from its declaration."""
    stated = {spec.columns.get(logical, logical): type_ for logical, type_ in spec.types.items()}
    types = {c["name"]: stated.get(c["name"]) or _type_of(str(c["type"] or "")) for c in columns}
    return {name: parse_column_type(type_).name for name, type_ in types.items() if type_}


def _type_of(declaration: str) -> str | None:
    """The rules of sqlite.org/datatype3.html section 3.1, with the declarations that mean more put first."""
    text = declaration.upper()
    if match := _DECIMAL.match(text):
        return f"DECIMAL({match[2]},{match[3]})"
    if "BOOL" in text:
        return "BOOLEAN"
    if "DATETIME" in text or "TIMESTAMP" in text:
        return "TIMESTAMP"
    if text == "DATE":
        return "DATE"
    if "INT" in text:
        return "BIGINT"
    if any(part in text for part in ("CHAR", "CLOB", "TEXT")):
        return "VARCHAR"
    return "DOUBLE" if any(part in text for part in ("REAL", "FLOA", "DOUB")) else None


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's errors into ours, whose texts never hold data."""
    import adbc_driver_manager

    try:
        yield
    except MpcError:
        raise
    except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
        raise SourceError(f"SQLite: {type(error).__name__}") from None
