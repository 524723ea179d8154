"""The embedded engine: DuckDB, locked down, and its errors without their texts."""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

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
from servers.party.sources.spec import Limits, quoted, text_literal
from servers.party.sources.statement import check_select

__all__ = ["Engine"]

_ATTACHED = "source"

_ERRORS: tuple[tuple[type[Exception], type[MpcError]], ...] = (
    (duckdb.OutOfMemoryException, ResourceExhausted),
    (duckdb.ConversionException, RangeError),
    (duckdb.OutOfRangeException, RangeError),
    (duckdb.ParserException, PlanError),
    (duckdb.BinderException, PlanError),
    (duckdb.CatalogException, PlanError),
    (duckdb.PermissionException, PlanError),
    (duckdb.Error, SourceError),
    (pa.ArrowException, SourceError),
    (MemoryError, ResourceExhausted),
    (OSError, SourceError),
)
"""First match counts. DuckDB's sentences quote values of the data, so that only the class's name is kept."""


class Engine:
    """One in-memory DuckDB that reads the given files and nothing else.

    Order (each step closes a door that a later one would need): connect without extensions, replacements or
    secrets -> attach database files read-only -> name the readable files -> switch external access off -> create the
    relations -> lock the configuration. What remains possible is closed by `statement.check_select`, and for the whole
    process by `servers.party.sandbox`.
    """

    def __init__(self, limits: Limits) -> None:
        limits.check()
        self._timeout_s = limits.statement_timeout_s
        self._interrupted = threading.Event()
        self._late = threading.Event()
        self._locked = False
        self._relations: dict[str, tuple[str, ...]] = {}
        self._kept: list[Any] = []
        with self._translated():
            self._connection: Any = duckdb.connect(":memory:", config=_configuration(limits))
            self._connection.execute("SET TimeZone = 'UTC'")
            self._connection.execute("SET enable_progress_bar = false")  # it would print on long statements

    def attach(self, path: Path) -> str:
        """Attach a DuckDB file read-only and return the quoted name of its catalog."""
        with self._translated():
            self._connection.execute(f"ATTACH {text_literal(str(path))} AS {quoted(_ATTACHED)} (READ_ONLY)")
        return quoted(_ATTACHED)

    def register(self, name: str, dataset: Any) -> str:
        """Make an Arrow dataset or table readable under a private name; returns the quoted name."""
        with self._translated():
            self._connection.register(name, dataset)
        self._kept.append(dataset)
        return quoted(name)

    def load(self, name: str, reader: Any) -> str:
        """Copy the batches of a `pyarrow.RecordBatchReader` into a table of the engine; returns its quoted name."""
        with self._translated():
            self._connection.register("incoming", reader)
            self._connection.execute(f"CREATE TABLE {quoted(name)} AS SELECT * FROM incoming")  # noqa: S608
            self._connection.unregister("incoming")
        return quoted(name)

    def confine(self, readable: Sequence[Path]) -> None:
        """From here on no file opens except those named, and no network at all."""
        paths = ", ".join(text_literal(str(path)) for path in readable)
        with self._translated():
            self._connection.execute(f"SET allowed_paths = [{paths}]")
            self._connection.execute("SET enable_external_access = false")

    def describe(self, query: str) -> list[tuple[str, str]]:
        """Name and type of a trusted query's columns."""
        with self._translated():
            return [(row[0], row[1]) for row in self._connection.execute(f"DESCRIBE {query}").fetchall()]

    def values(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a small trusted query."""
        with self._translated():
            return list(self._connection.execute(query).fetchall())

    def define(self, name: str, query: str, columns: Sequence[str]) -> None:
        """Expose a trusted query as the relation `name`."""
        with self._translated():
            try:
                self._connection.execute(f"CREATE VIEW {quoted(name)} AS {query}")
            except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
                sentence = f"table {name}: the owner's condition on its rows is not valid ({type(error).__name__})"
                raise ConfigurationError(sentence) from None
        self._relations[name] = tuple(columns)

    def lock(self) -> None:
        """Freeze every setting."""
        with self._translated():
            self._connection.execute("SET lock_configuration = true")
        self._locked = True

    @property
    def relations(self) -> Mapping[str, tuple[str, ...]]:
        """Columns of each relation."""
        return self._relations

    def table(self, statement: str) -> Any:
        """Run a gated statement and return its whole result as a `pyarrow.Table`."""
        with self._translated(), self._deadline():
            check_select(self._connection, statement, self._relations)
            return self._connection.sql(statement).to_arrow_table()

    def batches(self, name: str, columns: Sequence[str], batch_rows: int) -> Iterator[Any]:
        """Read columns of a relation as record batches, in the relation's order, a few batches at a time."""
        unknown = set(columns) - set(self._relations.get(name, ()))
        if unknown or not columns or batch_rows < 1:
            raise PlanError(f"{name} has no columns {sorted(unknown)}")
        statement = f"SELECT {', '.join(quoted(c) for c in columns)} FROM {quoted(name)}"  # noqa: S608
        with self._translated():
            reader = self._connection.sql(statement).to_arrow_reader(batch_rows)
        with reader:
            while True:
                with self._translated(), self._deadline():
                    try:
                        batch = reader.read_next_batch()
                    except StopIteration:
                        return
                yield from _split(batch, batch_rows)

    def interrupt(self) -> None:
        """Stop the running statement and refuse later ones; callable from any thread."""
        self._interrupted.set()
        self._connection.interrupt()

    def close(self) -> None:
        """Close the connection and let go of registered data."""
        self._connection.close()
        self._kept.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Interrupt the statement at its timeout."""

        def late() -> None:
            self._late.set()
            self._connection.interrupt()

        if self._interrupted.is_set():  # also where it came between two statements
            raise JobCancelled("the source was interrupted")
        self._late.clear()
        timer = threading.Timer(self._timeout_s, late)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the engine's errors into ours, whose texts never hold data."""
        try:
            yield
        except MpcError:
            raise
        except (duckdb.Error, pa.ArrowException, MemoryError, OSError, RuntimeError) as error:
            raise self._translation(error) from None

    def _translation(self, error: Exception) -> MpcError:
        if self._late.is_set():
            return DeadlineExceeded("a statement ran into its timeout")
        if self._interrupted.is_set():
            return JobCancelled("the source was interrupted")
        name = type(error).__name__
        if "Out of Memory" in str(error)[:200]:
            return ResourceExhausted(f"{name}: the worker's memory limit")
        if columns := self._refused_columns(str(error)):
            return RangeError(column=columns)
        ours = next((ours for theirs, ours in _ERRORS if isinstance(error, theirs)), SourceError)
        if not self._locked and ours is not ResourceExhausted:  # no statement yet: the data itself cannot be read
            ours = SourceError
        return ours(f"the embedded engine raised {name}")

    def _refused_columns(self, message: str) -> str:
        """Columns whose check in a generated statement stopped it; only names that the relations have come through."""
        from mpc.plan.dialects import CHECK_FAILED

        _, found, names = message.partition(CHECK_FAILED)
        known = {column for columns in self._relations.values() for column in columns}
        return ", ".join(n for n in re.split(r"[,\s]+", names[:4096]) if n in known) if found else ""


def _configuration(limits: Limits) -> dict[str, str]:
    """Settings that must hold from the first moment."""
    temporary = bool(limits.temp_directory)
    return {
        "threads": str(limits.threads),
        "memory_limit": f"{limits.memory_bytes}B",
        "temp_directory": limits.temp_directory,
        "max_temp_directory_size": f"{limits.temp_bytes}B" if temporary else "0B",
        "allow_community_extensions": "false",
        "allow_unsigned_extensions": "false",
        "allow_extension_repositories": "forbidden",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",
        "python_scan_all_frames": "false",
    }


def _split(batch: Any, rows: int) -> Iterator[Any]:
    """Slices of at most `rows` rows; the engine's own batches come close to what was asked, not always below."""
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
