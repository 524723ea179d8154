"""Learning jobs at a party: specs completed from the dictionary, and programs over the party's streamed rows."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError, ProtocolError
from mpc.keys.dictionary import ColumnKind, Dictionary
from mpc.learn import FederatedAverage, Spec, Trainer, complete, evaluate, program, spec_from_mapping, to_mapping
from mpc.learn.data import Rows
from mpc.learn.digest import evaluation_digest, training_digest
from mpc.learn.union import union_program
from mpc.primitives import Program
from mpc.wire.job import JobKind
from mpc.wire.models import pack_model
from servers.party.checkpoints import Checkpoints
from servers.party.models import TrainedModels
from servers.party.session import Note, Task
from servers.party.sources.base import ColumnData, Source
from servers.party.trainers import DeclaredRows, load_trainer

__all__ = ["Learning", "SourceRows", "learning", "training"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """What a learning job asks for."""

    table: str
    spec: Spec
    """Completed from the dictionary."""

    model: str = ""
    """For an evaluation: the digest of the model."""

    @property
    def trainer(self) -> str:
        """Name of the owner's training function that the job runs; empty for all built-in models."""
        return self.spec.trainer if isinstance(self.spec, FederatedAverage) else ""


def learning(kind: JobKind, body: str, dictionary: Dictionary, plan_digest: bytes) -> Learning:
    """The spec of a signed learning request and the table it is about.

    Raises:
        PlanError: The spec is not valid, or names no table of the room.
        ProtocolError: It completes to another plan than the analyst signed.
    """
    try:
        mapping = json.loads(body)
    except (json.JSONDecodeError, RecursionError):
        raise PlanError("", reason="the training spec is not JSON") from None
    model = ""
    if kind is JobKind.EVALUATE:
        if not isinstance(mapping, dict) or set(mapping) != {"model", "spec"} or not isinstance(mapping["model"], str):
            raise PlanError("", reason="an evaluation names a model and a spec")
        model, mapping = mapping["model"], mapping["spec"]
        if not model:
            raise PlanError("", reason="an evaluation names a model and a spec")
    if not isinstance(mapping, dict):
        raise PlanError("", reason="the training spec is not an object")
    spec = spec_from_mapping(mapping)
    table = dictionary.table(str(getattr(spec, "table", "")))
    if table is None:
        raise PlanError("", reason="the training spec names no table of the room")
    completed = complete(spec, table)
    expected = evaluation_digest(model, completed) if model else training_digest(completed)
    if expected != plan_digest:
        raise ProtocolError("", reason="the spec completes to another plan here than the analyst signed")
    return Learning(table=table.name, spec=completed, model=model)


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
    """The table of a learning task, and what makes its program once the table's source is open."""
    asked = learning(task.kind, task.body, task.dictionary, task.plan_digest)

    def make(source: Source, checkpoints: Checkpoints) -> Program[tuple[Note, ...]]:
        rows = SourceRows(source, asked.table)
        if asked.model:
            return _evaluate(task, asked, rows)
        return _train(task, asked.spec, rows, checkpoints)

    return asked.table, make


def _train(task: Task, spec: Spec, source: Rows, checkpoints: Checkpoints) -> Program[tuple[Note, ...]]:
    """Train, evaluate on the declared hold-out, and tell the analyst: the model from one party, its digest from all."""
    state = checkpoints.load(task.resume) if task.resume else None
    rows, trainers = source, {}
    if isinstance(spec, FederatedAverage):
        rows, trainers = DeclaredRows(source, spec.columns), _trainers(task, spec)
    model = yield from program(
        spec,
        rows,
        parties=len(task.participants),
        checkpoint=state,
        discovery=union_program(task.plan_digest),
        trainers=trainers,
    )
    digest = TrainedModels(Path(task.models), task.models_kept).keep(model, spec)
    notes = [Note("model-digest", digest.encode())]
    if getattr(spec, "holdout", None) is not None:
        quality = yield from evaluate(model, spec, rows)
        notes.append(Note("quality", msgspec.json.encode(quality)))
    if task.me == min(task.participants):
        notes.append(Note("model", pack_model(model)))
    return tuple(notes)


def _trainers(task: Task, spec: FederatedAverage) -> dict[str, Trainer]:
    declared = task.trainers.get(spec.trainer)
    return {} if declared is None else {spec.trainer: load_trainer(spec.trainer, declared)}


def _evaluate(task: Task, asked: Learning, rows: SourceRows) -> Program[tuple[Note, ...]]:
    """Measure a model that was trained here on a hold-out; only the hold-out may differ from the spec it came from."""
    model, trained_from = TrainedModels(Path(task.models), task.models_kept).find(asked.model)
    given = json.loads(json.dumps(to_mapping(asked.spec)))
    if {k: v for k, v in given.items() if k != "holdout"} != {k: v for k, v in trained_from.items() if k != "holdout"}:
        raise PlanError("", field="spec", reason="the model was trained from another spec")
    quality = yield from evaluate(model, asked.spec, rows)
    return (Note("quality", msgspec.json.encode(quality)),)
