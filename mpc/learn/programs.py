"""From a spec to one party's program, and from a saved folder to a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from mpc.errors import PlanError, SourceError
from mpc.learn.archive import FittedModel, read_folder
from mpc.learn.data import Rows
from mpc.learn.ease import EaseModel, fit_ease
from mpc.learn.evaluating import ClassifierQuality, RegressionQuality, evaluate_regression
from mpc.learn.linear import fit_linear
from mpc.learn.newton import fit_newton
from mpc.learn.ranking import RankingQuality, evaluate_ranking
from mpc.learn.recommender_specs import Ease
from mpc.learn.recommending import RecommenderModel
from mpc.learn.regression import RegressionModel
from mpc.learn.regression_specs import LinearRegression, LogisticRegression, PoissonRegression
from mpc.learn.specs import Spec, kind_of
from mpc.learn.vocabulary import Discovery
from mpc.primitives import Program

__all__ = ["MODELS", "Quality", "evaluate", "load_model", "program"]

Quality: TypeAlias = RankingQuality | ClassifierQuality | RegressionQuality

MODELS: Final[Mapping[str, type[FittedModel]]] = {m.kind: m for m in (EaseModel, RegressionModel)}
"""Fitted models by the kind in their file."""


def program(
    spec: Spec,
    data: Rows,
    *,
    parties: int,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
    discovery: Discovery | None = None,
) -> Program[FittedModel]:
    """One party's side of a training.

    Every party runs it with the same spec over its own rows, and obtains the same model. What belongs to one user or
    one row stays local.

    Args:
        spec: What to train; completed from the dictionary (`mpc.learn.specs.complete`).
        data: This party's rows of the spec's table.
        parties: How many parties take part.
        checkpoint: The state of an earlier `Checkpoint` of the same spec and data: the program goes on from there and
            ends with the same bits.
        discovery: Opens unions of identifiers; needed when the spec declares no catalogue or levels.
    """
    if parties < 1:
        raise PlanError("", reason="a training has parties")
    match spec:
        case Ease():
            return fit_ease(spec, data, parties=parties, checkpoint=checkpoint, discovery=discovery)
        case LogisticRegression() | PoissonRegression():
            return fit_newton(spec, data, parties=parties, checkpoint=checkpoint, discovery=discovery)
        case LinearRegression():
            return fit_linear(spec, data, parties=parties, checkpoint=checkpoint, discovery=discovery)
    raise PlanError("", reason=f"no training program for {kind_of(spec)}")


def evaluate(model: FittedModel, spec: Spec, data: Rows) -> Program[Quality]:
    """One party's side of an evaluation on the spec's hold-out.

    Raises:
        PlanError: The spec declares no hold-out, or the model has no evaluation.
    """
    if isinstance(model, RecommenderModel) and isinstance(spec, Ease):
        return evaluate_ranking(model, spec, data)
    if isinstance(model, RegressionModel) and isinstance(
        spec, LinearRegression | LogisticRegression | PoissonRegression
    ):
        return evaluate_regression(model, spec, data)
    raise PlanError("", reason=f"no evaluation of {model.kind} for {kind_of(spec)}")


def load_model(folder: str | Path) -> FittedModel:
    """Read a model that `save` wrote.

    Raises:
        SourceError: The folder does not hold a known model.
    """
    kind, arrays, description = read_folder(folder)
    if kind not in MODELS:
        raise SourceError("", reason="the folder holds a model of an unknown kind")
    try:
        return MODELS[kind].restore(arrays, description)
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(repr(error), reason="the folder holds no complete model") from None
