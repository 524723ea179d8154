"""A training job as the analyst holds it: live progress, the model, its quality, cancel and resume."""

import json
import math
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mpc.client.answer import Report
from mpc.client.jobs import Note, latest
from mpc.errors import IntegrityError, JobCancelled, ProtocolError
from mpc.learn import FittedModel, Spec, chosen_set, evaluation_forecast, forecast
from mpc.plan.constants import calibrated_model
from mpc.wire.models import unpack_model

__all__ = ["Measured", "Step", "Trained", "TrainingRun", "evaluation_set", "measured", "trained", "training_set"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How far a training is: the step, of how many, and the metrics that the program opened."""

    step: int
    of: int
    metrics: Mapping[str, float] = {}
    seconds: float = 0.0
    sent_bytes: int = 0
    """Ciphertexts that each party has sent so far, by what the coordinator says it added."""

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the steps so far; None before the first ended."""
        return self.seconds / self.step * (self.of - self.step) if self.step else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training gives."""

    model: FittedModel = field(repr=False)
    quality: Mapping[str, Any] | None
    """Metrics on the declared hold-out, if there is one."""

    report: Report = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an evaluation gives."""

    quality: Mapping[str, Any]
    report: Report = field(repr=False)


def training_set(completed: Spec, parties: int, scheme: str | None) -> str:
    """The parameter set of a training: the planner's choice for its longest sum."""
    return chosen_set(forecast(completed), parties, scheme, calibrated_model()).id


def evaluation_set(completed: Spec, parties: int, scheme: str | None) -> str:
    """The parameter set of an evaluation."""
    return chosen_set((evaluation_forecast(completed),), parties, scheme, calibrated_model()).id


def measured(notes: list[Note], participants: tuple[str, ...], report: Report) -> Measured:
    """The quality that every party obtained.

    Raises:
        IntegrityError: A party obtained another one.
        ProtocolError: A party's did not come.
    """
    told = {n.party: json.loads(n.body) for n in notes if n.kind == "quality"}
    if set(told) != set(participants):
        raise ProtocolError("", reason="a party told no quality")
    for party in participants[1:]:
        if not _close(told[party], told[participants[0]]):
            raise IntegrityError("a party obtained another quality", party=party)
    return Measured(quality=told[participants[0]], report=report)


def _close(one: Any, other: Any) -> bool:
    """Equal, but for the last digits of floating-point numbers: processors may differ there."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    return bool(one == other)


def trained(notes: list[Note], participants: tuple[str, ...], report: Report) -> Trained:
    """The model that the lowest party sealed, after comparing with what every party says it obtained.

    Raises:
        IntegrityError: A party obtained another model.
        ProtocolError: The model did not come.
    """
    body = latest(notes, "model")
    if body is None:
        raise ProtocolError("", reason="the model did not come with the result")
    model = unpack_model(body)
    digest = model.digest()
    digests = {n.party: n.body.decode("ascii", "replace") for n in notes if n.kind == "model-digest"}
    for party in participants:
        if digests.get(party) != digest:
            raise IntegrityError("a party obtained another model", party=party)
    quality = latest(notes, "quality")
    return Trained(model=model, quality=None if quality is None else json.loads(quality), report=report)


class TrainingRun:
    """A running training. `model` waits for the end.

    Args:
        job: The job's id; `Client.train(spec, resume=job)` goes on from its last checkpoint.
        future: The result to come; cancelling it cancels the job everywhere.
    """

    def __init__(self, job: str, future: "Future[Trained]") -> None:
        self.job = job
        self.steps: list[Step] = []
        self._future = future

    def wait(self, timeout_s: float | None = None) -> Trained:
        """Wait for the end and return what came of it; raises what ended the job."""
        try:
            return self._future.result(timeout_s)
        except CancelledError:
            raise JobCancelled("", job=self.job) from None
        except KeyboardInterrupt:
            self.cancel()
            raise

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self._future.done()

    @property
    def model(self) -> FittedModel:
        """The trained model."""
        return self.wait().model

    @property
    def quality(self) -> Mapping[str, Any] | None:
        """Metrics on the declared hold-out."""
        return self.wait().quality

    @property
    def report(self) -> Report:
        """What it cost, and who learned what."""
        return self.wait().report

    def cancel(self) -> None:
        """End the job at every party. Checkpoints stay, so that it can be resumed."""
        self._future.cancel()

    def _repr_html_(self) -> str:
        """Progress, metrics, and at the end quality and cost, for notebooks."""
        from mpc.client.notebook import run_html

        return run_html(self)
