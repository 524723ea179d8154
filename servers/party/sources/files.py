"""Files as a source: Parquet, CSV and Arrow files or folders, and DuckDB databases, all read by the embedded engine."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from mpc.errors import ConfigurationError, SourceError
from servers.party.sources.arrow import columns_of
from servers.party.sources.base import BATCH_ROWS, Columns, Dialect, Snapshot, SourceColumn
from servers.party.sources.digests import DigestCache, PinnedFiles, identity_of
from servers.party.sources.engine import Engine
from servers.party.sources.physical_types import dictionary_type, read_expression
from servers.party.sources.spec import Limits, SourceSpec, TableSpec, quoted, split_name, text_literal

__all__ = ["FileSource", "relation_query"]

_ENDINGS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".tsv", ".csv.gz"),
    "arrow": (".arrow", ".feather", ".ipc"),
}
_MOST_FILES = 100_000

NamedFile: TypeAlias = tuple[str, Path]
"""A file's name in the snapshot and its path."""


class FileSource:
    """A `Source` over files; see `Source` for its methods.

    Args:
        scheme: `parquet`, `csv`, `arrow` or `duckdb`.
        path: A file or, for the first three, a folder that is read with everything below it. Folders named
            `column=value` become columns (hive partitions) of Parquet and CSV.
        spec: Its tables.
        limits: What the engine may use.
        cache: Digests known from earlier jobs.
    """

    def __init__(self, scheme: str, path: Path, spec: SourceSpec, limits: Limits, cache: DigestCache) -> None:
        self._spec = spec
        self._columns: dict[str, tuple[SourceColumn, ...]] = {}
        self._engine = Engine(limits)
        try:
            root = _resolved(path)
            database = scheme == "duckdb"
            named = (
                _database_files(root)
                if database
                else {t: _table_files(scheme, root, spec.tables[t], t) for t in sorted(spec.tables)}
            )
            files = [
                (f"{table}/{name}" if table else name, file) for table, some in named.items() for name, file in some
            ]
            self._pinned, digests = PinnedFiles.pin(files, cache)
            self._snapshot = identity_of("files", {"kind": scheme, "tables": spec.tables}, "", digests)
            self._open(scheme, root, named)
        except BaseException:
            self._engine.close()
            raise

    @property
    def dialect(self) -> Dialect:
        """DuckDB's."""
        return Dialect.DUCKDB

    def describe(self) -> Mapping[str, tuple[SourceColumn, ...]]:
        """Columns and types of every table."""
        return self._columns

    def snapshot(self) -> Snapshot:
        """The files as they were when the source was opened."""
        return self._snapshot

    def run(self, statement: str, *, integers: Collection[str] = ()) -> Columns:
        """Run one generated query; the files are the pinned ones before and after it, or it counts for nothing."""
        self._pinned.verify()
        result = columns_of(self._engine.table(statement), integers)
        self._pinned.verify()
        return result

    def stream(self, table: str, columns: Sequence[str], *, batch_rows: int = BATCH_ROWS) -> Iterator[Columns]:
        """Read columns in batches; a change of the files ends the stream with an error at the latest at its end."""
        self._pinned.verify()
        for batch in self._engine.batches(table, columns, batch_rows):
            yield columns_of(batch)
        self._pinned.verify()

    def interrupt(self) -> None:
        """End the job's use of the source."""
        self._engine.interrupt()

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def _open(self, scheme: str, root: Path, named: Mapping[str, Sequence[NamedFile]]) -> None:
        """Build the relations in the engine's order: attach and register, confine, define, lock."""
        scans: dict[str, str] = {}
        if scheme == "duckdb":
            catalog = self._engine.attach(root)
            scans = {t: f"{catalog}.{_qualified(s.origin or t)}" for t, s in self._spec.tables.items()}
            readable = [file for some in named.values() for _, file in some]
        elif scheme == "arrow":
            for number, (table, files) in enumerate(named.items()):
                scans[table] = self._engine.register(f"arrow {number}", _arrow_dataset([f for _, f in files]))
            readable = []
        else:
            readable = [file for some in named.values() for _, file in some]
        self._engine.confine(readable)
        for table, spec in self._spec.tables.items():
            if scheme == "parquet":
                scans[table] = _parquet_scan(named[table])
            elif scheme == "csv":
                scans[table] = _csv_scan(self._engine, named[table], spec)
            physical = self._engine.describe(f"SELECT * FROM {scans[table]}")  # noqa: S608
            query, columns = relation_query(table, spec, scans[table], physical)
            self._columns[table] = columns
            self._engine.define(table, query, [c.name for c in columns if c.type])
        self._engine.lock()


def relation_query(
    table: str, spec: TableSpec, scan: str, physical: Sequence[tuple[str, str]]
) -> tuple[str, tuple[SourceColumn, ...]]:
    """The query behind a relation: columns under their logical names and types, rows that the owner allows.

    Raises:
        ConfigurationError: A named column does not exist, or no column can be used.
    """
    types = dict(physical)
    names = dict(spec.columns) if spec.columns else {name: name for name in types}
    if missing := sorted(set(names.values()) - set(types)):
        raise ConfigurationError(f"table {table}: the source has no columns {missing}")
    columns = tuple(
        SourceColumn(name=logical, physical=types[name], type=dictionary_type(types[name]))
        for logical, name in names.items()
    )
    usable = [c for c in columns if c.type]
    if not usable:
        raise ConfigurationError(f"table {table}: no column has a type that a dictionary can declare")
    selected = ", ".join(f"{read_expression(quoted(names[c.name]), c.physical)} AS {quoted(c.name)}" for c in usable)
    restricted = f" WHERE ({spec.where})" if spec.where else ""
    return f"SELECT {selected} FROM {scan}{restricted}", columns  # noqa: S608


def _resolved(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except OSError as error:
        raise SourceError(f"{path}: {type(error).__name__}", reason="a file cannot be read") from None


def _database_files(root: Path) -> dict[str, list[NamedFile]]:
    """A DuckDB database and the log that a crashed writer may have left beside it."""
    log = root.with_name(f"{root.name}.wal")
    return {"": [("database", root), *([("log", log)] if log.exists() else [])]}


def _table_files(scheme: str, root: Path, spec: TableSpec, table: str) -> list[NamedFile]:
    """The ordered files of one table; none of them lies outside the source's folder, through links or otherwise."""
    where = _resolved(root / spec.origin) if spec.origin else root
    if not where.is_relative_to(root):
        raise ConfigurationError(f"table {table}: its origin leaves the source's folder")
    if where.is_file():
        return [(where.name, where)]
    found = sorted(
        (file.relative_to(where).as_posix(), file)
        for file in where.rglob("*")
        if file.name.lower().endswith(_ENDINGS[scheme]) and not _is_hidden(file.relative_to(where)) and file.is_file()
    )
    if not found or len(found) > _MOST_FILES:
        raise ConfigurationError(f"table {table}: its folder holds no {scheme} file, or more than {_MOST_FILES}")
    if any(not _resolved(file).is_relative_to(root) for _, file in found):
        raise ConfigurationError(f"table {table}: a link leaves the source's folder")
    if any("=" in name for name, _ in found) and "=" in where.as_posix():
        raise ConfigurationError(f"table {table}: the folder above its partitions holds '=' in its own path")
    return found


def _is_hidden(relative: Path) -> bool:
    """Spark and others leave `_temporary`, `.crc` and the like in their folders."""
    return any(part.startswith((".", "_")) for part in relative.parts)


def _list(files: Sequence[NamedFile]) -> str:
    return "[" + ", ".join(text_literal(str(file)) for _, file in files) + "]"


def _is_partitioned(files: Sequence[NamedFile]) -> bool:
    return any("=" in part for name, _ in files for part in PurePosixPath(name).parts[:-1])


def _parquet_scan(files: Sequence[NamedFile]) -> str:
    hive = str(_is_partitioned(files)).lower()
    return f"read_parquet({_list(files)}, hive_partitioning = {hive}, union_by_name = {str(len(files) > 1).lower()})"


def _csv_scan(engine: Engine, files: Sequence[NamedFile], spec: TableSpec) -> str:
    """Read with every type stated: declared ones first, the others from a look at the whole file.

    A type that a later row contradicts would otherwise depend on how many rows the guess had seen.
    """
    options = f"hive_partitioning = {str(_is_partitioned(files)).lower()}, union_by_name = true, header = true"
    declared = {spec.columns.get(logical, logical): type_ for logical, type_ in spec.types.items()}
    guess = engine.describe(f"SELECT * FROM read_csv({_list(files)}, {options}, all_varchar = true)")  # noqa: S608
    present = {name for name, _ in guess}
    known = {name: type_ for name, type_ in declared.items() if name in present}
    if len(known) < len(present):
        stated = f", types = {_types(known)}" if known else ""
        guess = engine.describe(f"SELECT * FROM read_csv({_list(files)}, {options}, sample_size = -1{stated})")  # noqa: S608
        known = dict(guess) | known
    return f"read_csv({_list(files)}, {options}, types = {_types(known)})"


def _types(types: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{text_literal(name)}: {text_literal(type_)}" for name, type_ in types.items()) + "}"


def _qualified(origin: str) -> str:
    """Quote a possibly schema-qualified name whose parts may be quoted already."""
    return quoted(*split_name(origin))


def _arrow_dataset(files: Sequence[Path]) -> object:
    """Arrow IPC files, read by batches (a memory map would count its whole size against the address space)."""
    import pyarrow.dataset

    try:
        return pyarrow.dataset.dataset([str(f) for f in files], format="ipc")
    except (OSError, ValueError) as error:
        raise SourceError(f"{type(error).__name__}", reason="a file is not in Arrow's IPC file format") from None
