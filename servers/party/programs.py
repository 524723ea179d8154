"""From a task to a program over an open source."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import InternalError, ProtocolError, SourceError
from mpc.keys.dictionary import Dictionary
from mpc.plan import Encoding, LocalQuery, LocalStatement, QueryPlan, QueryResult, compile_query, query_program
from mpc.plan.local import LocalColumns
from mpc.primitives import Checkpoint, Program, Progress, Sum, Totals
from mpc.runtime.warming import kernel_cache
from mpc.wire.job import JobKind
from servers.party.checkpoints import Checkpoints
from servers.party.sandbox import confine
from servers.party.session import Note, Task
from servers.party.sources.base import Source
from servers.party.sources.digests import DigestCache
from servers.party.sources.opening import needs_network, open_source, readable_paths
from servers.party.sources.spec import SourceSpec, quoted

__all__ = ["build", "preload", "typed_source"]

_DIGESTS = DigestCache()
"""File digests that this worker has computed; a repeated query does not hash again."""


def preload() -> None:
    """Load the parser and the engine's bindings before the first job."""
    import pyarrow as pa
    import sqlglot

    sqlglot.parse_one("SELECT 1")
    pa.array([1])


def build(task: Task, checkpoints: Checkpoints, *, confined: bool) -> tuple[Source, Program[tuple[Note, ...]]]:
    """Open the source of the task's table, pin its data, and make the program.

    Args:
        task: The job.
        checkpoints: Where a training keeps its states.
        confined: Whether this process gives up everything that its configuration does not declare; always, except in
            simulations that hold several parties in one process.

    Raises:
        SourceError: No source holds the table, or it cannot be read.
        ProtocolError: The text compiles to another plan than the analyst signed.
    """
    if task.kind is JobKind.SQL:
        plan = compile_query(task.body, task.dictionary)
        if plan.digest != task.plan_digest:
            raise ProtocolError("", reason="the text compiles to another plan here than the analyst signed")
        source = _open(task, plan.table, confined=confined)
        return source, _query(task, plan, source)
    from servers.party.training import training

    table, make = training(task)
    source = _open(task, table, confined=confined)
    return source, make(source, checkpoints)


def _open(task: Task, table: str, *, confined: bool) -> Source:
    folded = table.lower()
    found = next((s for s in task.sources.values() if any(t.lower() == folded for t in s.tables)), None)
    if found is None:
        raise SourceError("no source holds it", table=table)
    if confined:
        temporary = [Path(task.limits.temp_directory)] if task.limits.temp_directory else []
        code = [Path(trainer.path) for trainer in task.trainers.values() if trainer.path]
        _confine(task.sources, [Path(task.checkpoints).parent, Path(task.models), *temporary], code)
    source = open_source(typed_source(found, task.dictionary), task.limits, cache=_DIGESTS)
    source.snapshot()
    return source


def _confine(sources: Mapping[str, SourceSpec], writable: list[Path], code: list[Path]) -> None:
    """Close the file system and the network to everything that the configuration does not declare."""
    readable = [*code, *(path for spec in sources.values() for path in readable_paths(spec))]
    cache = kernel_cache()
    writable = [*writable, *([cache] if cache is not None else [])]
    for folder in writable:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    confine(readable=readable, writable=writable, network=any(needs_network(s) for s in sources.values()))


def typed_source(spec: SourceSpec, dictionary: Dictionary) -> SourceSpec:
    """The specification with the dictionary's types, for sources whose columns have none of their own."""
    tables = {}
    for name, table in spec.tables.items():
        declared = dictionary.table(name)
        types = dict(table.types)
        if declared is not None:
            types = {c.name: c.type for c in declared.columns} | types
        tables[name] = msgspec.structs.replace(table, types=types)
    return msgspec.structs.replace(spec, tables=tables)


def _query(task: Task, plan: QueryPlan, source: Source) -> Program[tuple[Note, ...]]:
    def run_local(query: LocalQuery) -> list[LocalColumns]:
        name = next(t for t in source.describe() if t.lower() == plan.table.lower())
        return [_run(source, statement, quoted(name)) for statement in query.statements]

    return _with_notes(task, query_program(plan, run_local, dialect=source.dialect.value))


def _run(source: Source, statement: LocalStatement, relation: str) -> LocalColumns:
    digits = [c.name for c in statement.columns if c.encoding is Encoding.DIGITS]
    found = source.run(statement.text(relation), integers=digits)
    out: dict[str, NDArray[Any]] = {}
    for column in statement.columns:
        data = found[column.name]
        if bool(np.any(data.nulls)):
            raise InternalError(f"a generated statement returned NULL in {column.name}")
        out[column.name] = data.values
    return out


def _with_notes(
    task: Task, program: Program[QueryResult]
) -> Generator[Sum | Progress | Checkpoint, Totals | None, tuple[Note, ...]]:
    """Run a query's program; the lowest party tells the analyst the discovered group keys, before the value round."""
    result = yield from program
    if not result.group_keys or task.me != min(task.participants):
        return ()
    return (Note("groups", msgspec.msgpack.encode(result.group_keys)),)
