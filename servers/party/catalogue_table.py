"""Item vectors out of a table. It runs in a confined worker: the owner's engine and files, nothing of a peer.

Source columns of list type have no place in a dictionary, so a list of numbers is read by a statement of its own; the
relation's other rules (the owner's condition on the rows, files below the source's folder) hold here as they do there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import ConfigurationError, SourceError
from mpc.keys.dictionary import ColumnKind
from servers.party.sources.engine import Engine
from servers.party.sources.opening import open_source
from servers.party.sources.spec import Limits, SourceSpec, TableSpec, quoted, split_name, split_url, text_literal

__all__ = ["CatalogueBatch", "CatalogueTask", "find_table", "read_table"]

_BATCH_ROWS: Final = 1 << 14
_FILES: Final = {"parquet": (".parquet", ".pq"), "arrow": (".arrow", ".feather", ".ipc")}


class CatalogueTask(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker needs to know."""

    source: SourceSpec
    table: str
    vectors: str
    columns: tuple[str, ...]
    labels: str
    where: str
    """The policy's condition on the items, beside the source's own."""

    limits: Limits


class CatalogueBatch(msgspec.Struct, frozen=True, array_like=True):
    """Some items on their way to the node."""

    dtype: str
    dimensions: int
    vectors: bytes
    labels: list[str | int] | None


def find_table(sources: dict[str, SourceSpec], table: str, name: str) -> tuple[SourceSpec, str]:
    """The source that holds a table, and the table's name there (`ConfigurationError` if none does)."""
    folded = table.lower()
    for source in sources.values():
        found = next((t for t in source.tables if t.lower() == folded), None)
        if found is not None:
            return source, found
    raise ConfigurationError(f"catalogue {name}: no source holds the table {table}")


def read_table(task: CatalogueTask) -> Iterator[CatalogueBatch]:
    """The items, in batches.

    Raises:
        SourceError: The data cannot be read, or is no catalogue.
        ConfigurationError: A column does not exist.
    """
    spec = task.source.tables[task.table]
    if task.where:
        joined = f"({spec.where}) AND ({task.where})" if spec.where else task.where
        spec = msgspec.structs.replace(spec, where=joined)
    scheme, rest = split_url(task.source.url)
    if task.vectors:
        yield from _lists(task, spec, scheme, Path(rest))
    else:
        source = msgspec.structs.replace(task.source, tables={task.table: spec})
        yield from _coordinates(task, source)


def _coordinates(task: CatalogueTask, spec: SourceSpec) -> Iterator[CatalogueBatch]:
    """Coordinates in columns of their own, through any kind of source."""
    source = open_source(spec, task.limits)
    try:
        wanted = [*task.columns, *((task.labels,) if task.labels else ())]
        present = {c.name for c in source.describe()[task.table] if c.type}
        if missing := sorted(set(wanted) - present):
            raise ConfigurationError(f"table {task.table}: no columns {missing} of a type that can be used")
        for batch in source.stream(task.table, wanted, batch_rows=_BATCH_ROWS):
            for name in wanted:
                if batch[name].nulls.any():
                    raise SourceError("", reason="a NULL in a catalogue", column=name)
                if name in task.columns and batch[name].kind not in {ColumnKind.DOUBLE, ColumnKind.INTEGER}:
                    raise SourceError("", reason="coordinates are numbers", column=name)
            vectors = np.stack([batch[c].values.astype(np.float64) for c in task.columns], axis=1)
            yield _batch(vectors, batch[task.labels].values.tolist() if task.labels else None)
    finally:
        source.close()


def _lists(task: CatalogueTask, spec: TableSpec, scheme: str, root: Path) -> Iterator[CatalogueBatch]:
    """A column of lists, out of files."""
    if scheme not in {"parquet", "arrow", "duckdb"}:
        raise ConfigurationError("a column of vectors is read from parquet, arrow and duckdb; elsewhere name `columns`")
    physical = [spec.columns.get(c, c) for c in (task.vectors, *((task.labels,) if task.labels else ()))]
    with Engine(task.limits) as engine:
        scan = _scan(engine, scheme, root, spec, task.table)
        present = dict(engine.describe(f"SELECT * FROM {scan}"))  # noqa: S608 - the configuration's own names, quoted
        if missing := sorted(set(physical) - set(present)):
            raise ConfigurationError(f"table {task.table}: the source has no columns {missing}")
        where = f" WHERE {spec.where}" if spec.where else ""
        named = ", ".join(f"{quoted(c)} AS {quoted(f'c{i}')}" for i, c in enumerate(physical))
        names = [f"c{i}" for i in range(len(physical))]
        engine.define("items", f"SELECT {named} FROM {scan}{where}", names)  # noqa: S608
        engine.lock()
        for batch in engine.batches("items", names, _BATCH_ROWS):
            if any(column.null_count for column in batch.columns):
                raise SourceError("", reason="a NULL in a catalogue", column=task.vectors)
            yield _batch(_matrix(batch.column(0), task.vectors), batch.column(1).to_pylist() if task.labels else None)


def _scan(engine: Engine, scheme: str, root: Path, spec: TableSpec, table: str) -> str:
    """What the engine reads, with every other file closed to it."""
    if scheme == "duckdb":
        catalog = engine.attach(root)
        engine.confine([root])
        return f"{catalog}.{quoted(*split_name(spec.origin or table))}"
    base = root.resolve(strict=True)
    where = (base / spec.origin).resolve(strict=True) if spec.origin else base
    files = [where] if where.is_file() else sorted(f for f in where.rglob("*") if f.name.endswith(_FILES[scheme]))
    if not files or not all(f.resolve().is_relative_to(base) for f in files):
        raise SourceError("", reason="the source's folder holds no file of the table", table=table)
    if scheme == "arrow":
        import pyarrow.dataset

        found = engine.register("arrow items", pyarrow.dataset.dataset([str(f) for f in files], format="ipc"))
        engine.confine([])
        return found
    engine.confine(files)
    return f"read_parquet([{', '.join(text_literal(str(f)) for f in files)}])"


def _matrix(column: Any, name: str) -> NDArray[Any]:
    """A batch's lists as a matrix."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise SourceError("", reason="item vectors are lists of numbers", column=name)
    lengths, values = pc.list_value_length(column), pc.list_flatten(column)
    if pc.min(lengths).as_py() != pc.max(lengths).as_py() or not len(values) or values.null_count:
        raise SourceError("", reason="item vectors have one length and no NULL", column=name)
    flat: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)


def _batch(vectors: NDArray[Any], labels: list[Any] | None) -> CatalogueBatch:
    if labels is not None and not all(type(one) is type(labels[0]) and isinstance(one, str | int) for one in labels):
        raise SourceError("", reason="labels are all texts or all integers")
    exact = np.ascontiguousarray(vectors, dtype=vectors.dtype if vectors.dtype.kind == "f" else np.float64)
    return CatalogueBatch(exact.dtype.str, int(exact.shape[1]), exact.tobytes(), labels)
