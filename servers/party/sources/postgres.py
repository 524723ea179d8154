"""PostgreSQL as a source, through ADBC: generated statements run in the database, in one read-only snapshot.

| PostgreSQL | dictionary | in the relation |
|---|---|---|
| boolean, smallint, integer, bigint | BOOLEAN, SMALLINT, INTEGER, BIGINT | as it is |
| double precision, date | DOUBLE, DATE | as it is |
| real | DOUBLE | cast (exact) |
| numeric(p,s), 0 <= s <= p <= 38 | DECIMAL(p,s) | as it is |
| numeric of any other kind | DOUBLE is nearest; declare what the owner knows | as it is |
| text, varchar, char, name, citext, uuid, json, jsonb, enumerations | VARCHAR | text COLLATE "C": compared by bytes |
| timestamp | TIMESTAMP (counts as UTC) | as it is |
| timestamptz | TIMESTAMP | the instant's UTC reading |
| domains, and domains over them | as what they stand for | |
| bytea, time, interval, arrays, money, ... | none | left out: a statement cannot name it |

`char(n)` loses its padding. `infinity` as a date or time is a `RangeError` where it would be read. Foreign tables and
views over them are read under their own servers' rules, not under this snapshot's.
"""

import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from mpc.errors import (
    ConfigurationError,
    DeadlineExceeded,
    JobCancelled,
    MpcError,
    PlanError,
    RangeError,
    ResourceExhausted,
    SourceError,
)
from mpc.plan import check_failure
from servers.party.sources.arrow import columns_of
from servers.party.sources.base import BATCH_ROWS, Columns, Dialect, Snapshot, SourceColumn
from servers.party.sources.digests import identity_of
from servers.party.sources.postgres_address import connection_fault, connection_url
from servers.party.sources.pushdown import checked_query, with_relations
from servers.party.sources.spec import Limits, SourceSpec, TableSpec, quoted, split_name, text_literal

__all__ = ["PostgresSource"]

_SAME = {
    "boolean": "BOOLEAN",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "double precision": "DOUBLE",
    "date": "DATE",
    "numeric": "DOUBLE",
}
_TEXT = re.compile(r"(text|character varying|character|bpchar|name|citext|uuid|jsonb?)(\(\d+\))?\Z")
_NUMERIC = re.compile(r"numeric\((?P<precision>\d+),(?P<scale>-?\d+)\)\Z")
_TIMESTAMP = re.compile(r"timestamp(\(\d\))? with(?P<zone>out)? time zone\Z")
_BATCH_BYTES = str(4 << 20)

_COLUMNS = """
WITH RECURSIVE found(number, name, id, modifier) AS (
  SELECT a.attnum, a.attname, a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute AS a
  WHERE a.attrelid = pg_catalog.to_regclass({name}) AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT f.number, f.name, t.typbasetype, t.typtypmod
  FROM found AS f JOIN pg_catalog.pg_type AS t ON t.oid = f.id WHERE t.typtype = 'd'
)
SELECT f.name::text AS name, t.typtype::text AS kind,
       CASE WHEN t.typname = 'citext' THEN 'citext' ELSE pg_catalog.format_type(f.id, f.modifier) END AS type
FROM found AS f JOIN pg_catalog.pg_type AS t ON t.oid = f.id
WHERE t.typtype <> 'd' ORDER BY f.number
"""
"""A domain counts as what it stands for, however deep. An extension's type may lie in any schema: by its bare name."""

_IDENTITY = """
SELECT pg_catalog.current_database()::text, pg_catalog.pg_current_snapshot()::text,
       pg_catalog.pg_postmaster_start_time()::text,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()::text ELSE '' END,
       pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'),
       pg_catalog.transaction_timestamp()::text
"""
"""Equal snapshots of one running server show the same rows: only transactions with an id change rows, and each of them
moves the snapshot. On a standby the list of running transactions is not complete, so that the position of the replayed
log counts as well; a restart may truncate unlogged tables, so that its time counts."""


class PostgresSource:
    """A `Source` over tables and views of one PostgreSQL database; see `Source` for its methods.

    One connection, one REPEATABLE READ, READ ONLY transaction from opening to closing. After an error the transaction
    is over, and every later call fails: the job ends, another one takes a new snapshot.

    Args:
        url: An address of libpq.
        spec: Its tables.
        limits: The statement timeout is the server's; memory is the server's own affair.
    """

    def __init__(self, url: str, spec: SourceSpec, limits: Limits) -> None:
        limits.check()
        self._interrupted = threading.Event()
        self._timeout_ms = max(1, int(limits.statement_timeout_s * 1000))
        self._columns: dict[str, tuple[SourceColumn, ...]] = {}
        self._relations: dict[str, str] = {}
        self._connection = _connect(url)
        try:
            for setting in self._settings():
                self._command(setting)
            with self._translated():
                self._connection.commit()
            self._snapshot = identity_of("transaction", {"kind": "postgresql", "tables": spec.tables}, self._identity())
            for table, one in spec.tables.items():
                self._relations[table], self._columns[table] = self._relation(table, one)
        except BaseException:
            self.close()
            raise

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        return Dialect.POSTGRES

    def describe(self) -> Mapping[str, tuple[SourceColumn, ...]]:
        """Columns and types of every table."""
        return self._columns

    def snapshot(self) -> Snapshot:
        """The transaction's snapshot."""
        return self._snapshot

    def run(self, statement: str, *, integers: Collection[str] = ()) -> Columns:
        """Run one generated query inside the database."""
        query = checked_query(statement, self._relations, Dialect.POSTGRES)
        return columns_of(self._fetch(with_relations(query, self._relations)), integers)

    def stream(self, table: str, columns: Sequence[str], *, batch_rows: int = BATCH_ROWS) -> Iterator[Columns]:
        """Read columns in batches, in the table's physical order, which one snapshot keeps."""
        known = {c.name for c in self._columns.get(table, ()) if c.type}
        if unknown := set(columns) - known or not columns or batch_rows < 1:
            raise PlanError(f"{table} has no columns {unknown}")
        query = f"SELECT {', '.join(quoted(c) for c in columns)} FROM {quoted(table)}"  # noqa: S608
        # The reader's pace is the program's, not the database's: the node's own deadline ends what takes too long.
        self._command("SET LOCAL statement_timeout = 0")
        try:
            with self._translated(), self._connection.cursor() as cursor:
                cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": _BATCH_BYTES})
                cursor.execute(with_relations(query, {table: self._relations[table]}))
                for batch in cursor.fetch_record_batch():
                    for start in range(0, batch.num_rows, batch_rows):
                        yield columns_of(batch.slice(start, batch_rows))
        finally:
            with suppress(MpcError):  # after an error the transaction is over anyway, and the error is on its way
                self._command(f"SET LOCAL statement_timeout = {self._timeout_ms}")

    def interrupt(self) -> None:
        """Cancel in the database and refuse later calls."""
        self._interrupted.set()
        with suppress(Exception):  # nothing runs, or the connection is gone: later calls are refused all the same
            self._connection.adbc_cancel()

    def close(self) -> None:
        """End the transaction and the connection."""
        with suppress(Exception):  # a broken connection cannot be closed in an orderly way, and need not be
            self._connection.close()

    def _settings(self) -> tuple[str, ...]:
        return (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            f"SET statement_timeout = {self._timeout_ms}",
            "SET lock_timeout = 10000",
            "SET TimeZone = 'UTC'",
            "SET search_path = ''",
            "SET synchronize_seqscans = off",
            "SET jit = off",
        )

    def _identity(self) -> tuple[Any, ...]:
        row = self._row(_IDENTITY)
        *facts, may_see_control, began = row
        if may_see_control:
            control = self._row(
                "SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()), "
                "(SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())"
            )
            return (*facts, *control)
        return (*facts, began)  # no name for the cluster: no two jobs share a snapshot

    def _relation(self, table: str, spec: TableSpec) -> tuple[str, tuple[SourceColumn, ...]]:
        parts = split_name(spec.origin or table)
        origin = quoted(*(parts if len(parts) > 1 else ("public", *parts)))
        found = self._fetch(_COLUMNS.format(name=text_literal(origin))).to_pylist()
        if not found:
            raise ConfigurationError(f"table {table}: the database has no {origin}, or the role may not see it")
        physical = {row["name"]: (row["type"], row["kind"]) for row in found}
        names = dict(spec.columns) if spec.columns else {name: name for name in physical}
        if missing := sorted(set(names.values()) - set(physical)):
            raise ConfigurationError(f"table {table}: {origin} has no columns {missing}")
        columns = tuple(
            SourceColumn(name=logical, physical=physical[n][0], type=_dictionary_type(*physical[n]))
            for logical, n in names.items()
        )
        usable = [c for c in columns if c.type]
        if not usable:
            raise ConfigurationError(f"table {table}: no column has a type that a dictionary can declare")
        read = ", ".join(f"{_read(quoted(names[c.name]), c)} AS {quoted(c.name)}" for c in usable)
        restricted = f" WHERE ({spec.where})" if spec.where else ""
        return f"SELECT {read} FROM {origin}{restricted}", columns  # noqa: S608

    def _command(self, text: str) -> None:
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(text)

    def _fetch(self, query: str) -> Any:
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetch_arrow_table()

    def _row(self, query: str) -> tuple[Any, ...]:
        return tuple(self._fetch(query).to_pylist()[0].values())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the driver's errors into ours, whose texts never hold data."""
        import adbc_driver_manager

        if self._interrupted.is_set():
            raise JobCancelled("the source was interrupted")
        try:
            yield
        except (adbc_driver_manager.Error, OSError, MemoryError) as error:
            raise self._translation(error) from None

    def _translation(self, error: Exception) -> MpcError:
        state = getattr(error, "sqlstate", None) or ""
        detail = f"PostgreSQL answered {state or type(error).__name__}"
        if self._interrupted.is_set():
            return JobCancelled(detail)
        if state == "57014":
            return DeadlineExceeded(detail)
        if state == "42501":
            return SourceError(detail, reason="the database role may not read it")
        found = check_failure(str(error))  # names of columns alone; what else the message says stays here
        columns = {c.name for table in self._columns.values() for c in table}
        if found is not None and all(n.strip() in columns for n in str(found.fields["column"]).split(",")):
            return found
        if isinstance(error, MemoryError) or state.startswith(("53", "54")):
            return ResourceExhausted(detail)
        leaf = {"22": RangeError, "42": PlanError}.get(state[:2], SourceError)
        return leaf(detail)


def _connect(url: str) -> Any:
    try:
        import adbc_driver_manager
        import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigurationError(
            "a PostgreSQL source needs the extra `postgres`: pip install 'sealroom[postgres]'"
        ) from None
    address = connection_url(url)
    try:
        return adbc_driver_postgresql.dbapi.connect(address)
    except adbc_driver_manager.Error as error:
        raise connection_fault(str(error)) from None


def _dictionary_type(physical: str, kind: str) -> str | None:
    """The dictionary's type for PostgreSQL's spelling of one; `kind` is pg_type.typtype."""
    if physical in _SAME:
        return _SAME[physical]
    if physical == "real":
        return "DOUBLE"
    if kind == "e" or _TEXT.match(physical):
        return "VARCHAR"
    if _TIMESTAMP.match(physical):
        return "TIMESTAMP"
    if match := _NUMERIC.match(physical):
        precision, scale = int(match["precision"]), int(match["scale"])
        return f"DECIMAL({precision},{scale})" if 0 <= scale <= precision <= 38 else "DOUBLE"
    return None


def _read(column: str, about: SourceColumn) -> str:
    if about.type == "VARCHAR":
        return f'({column}::pg_catalog.text COLLATE pg_catalog."C")'
    if about.physical == "real":
        return f"{column}::pg_catalog.float8"
    if (match := _TIMESTAMP.match(about.physical)) and not match["zone"]:
        return f"({column} AT TIME ZONE 'UTC')"
    return column
