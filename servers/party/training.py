"""Training jobs at a party: the spec completed from the dictionary, and the program over the party's streamed rows."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError, ProtocolError
from mpc.keys.dictionary import ColumnKind, Dictionary
from mpc.learn import Spec, complete, evaluate, program, spec_from_mapping
from mpc.learn.digest import training_digest
from mpc.learn.union import union_program
from mpc.primitives import Program
from mpc.wire.models import pack_model
from servers.party.checkpoints import Checkpoints
from servers.party.session import Note, Task
from servers.party.sources.base import ColumnData, Source

__all__ = ["SourceRows", "completed_spec", "training"]


def completed_spec(body: str, dictionary: Dictionary, plan_digest: bytes) -> tuple[str, Spec]:
    """The spec of a signed training request and the table it trains on.

    Raises:
        PlanError: The spec is not valid, or names no table of the room.
        ProtocolError: It completes to another plan than the analyst signed.
    """
    try:
        mapping = json.loads(body)
    except json.JSONDecodeError:
        raise PlanError("", reason="the training spec is not JSON") from None
    if not isinstance(mapping, dict):
        raise PlanError("", reason="the training spec is not an object")
    spec = spec_from_mapping(mapping)
    table = dictionary.table(str(getattr(spec, "table", "")))
    if table is None:
        raise PlanError("", reason="the training spec names no table of the room")
    completed = complete(spec, table)
    if training_digest(completed) != plan_digest:
        raise ProtocolError("", reason="the spec completes to another plan here than the analyst signed")
    return table.name, completed


class SourceRows:
    """The rows of a table as `mpc.learn.data.Rows`: streamed batch by batch from the party's source."""

    def __init__(self, source: Source, table: str) -> None:
        self._source = source
        self._table = next(t for t in source.describe() if t.lower() == table.lower())

    def read(self, columns: Sequence[str]) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Columns in batches; NULL is NaN in floating columns and None in object ones."""
        for batch in self._source.stream(self._table, columns):
            yield {name: plain(batch[name]) for name in columns}


def plain(data: ColumnData) -> NDArray[Any]:
    """A column as one array, with its NULLs in it."""
    if not bool(np.any(data.nulls)):
        return data.values
    if data.kind is ColumnKind.DOUBLE:
        return np.where(data.nulls, np.nan, data.values)
    out: NDArray[Any] = data.values.astype(object)
    out[data.nulls] = None
    return out


def training(task: Task) -> tuple[str, Callable[[Source, Checkpoints], Program[tuple[Note, ...]]]]:
    """The table of a training task, and what makes its program once the table's source is open."""
    table, spec = completed_spec(task.body, task.dictionary, task.plan_digest)

    def make(source: Source, checkpoints: Checkpoints) -> Program[tuple[Note, ...]]:
        return _train(task, spec, SourceRows(source, table), checkpoints)

    return table, make


def _train(task: Task, spec: Spec, rows: SourceRows, checkpoints: Checkpoints) -> Program[tuple[Note, ...]]:
    """Train, evaluate on the declared hold-out, and tell the analyst: the model from one party, its digest from all."""
    state = checkpoints.load(task.resume) if task.resume else None
    discovery = union_program(task.plan_digest)
    model = yield from program(spec, rows, parties=len(task.participants), checkpoint=state, discovery=discovery)
    notes = [Note("model-digest", model.digest().encode())]
    if getattr(spec, "holdout", None) is not None:
        quality = yield from evaluate(model, spec, rows)
        notes.append(Note("quality", msgspec.json.encode(quality)))
    if task.me == min(task.participants):
        notes.append(Note("model", pack_model(model)))
    return tuple(notes)
