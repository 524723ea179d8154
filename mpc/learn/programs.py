"""From a spec to one party's program, and from a saved folder to a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from mpc.errors import PlanError, SourceError
from mpc.learn.archive import FittedModel, read_folder
from mpc.learn.averaging import AveragedModel, Trainer, fit_average
from mpc.learn.clusters import ClusterModel, fit_clusters
from mpc.learn.components import PcaModel, fit_pca
from mpc.learn.data import Rows
from mpc.learn.ease import EaseModel, fit_ease
from mpc.learn.evaluating import ClassifierQuality, RegressionQuality, evaluate_regression
from mpc.learn.factor_model import FactorModel
from mpc.learn.factor_rounds import fit_factors
from mpc.learn.gradient import fit_gradient
from mpc.learn.linear import fit_linear
from mpc.learn.newton import fit_newton
from mpc.learn.ranking import RankingQuality, RatingQuality, evaluate_ranking, evaluate_ratings
from mpc.learn.recommender_specs import Als, Ease, GradientFactorization, ImplicitAls
from mpc.learn.recommending import RecommenderModel
from mpc.learn.regression import RegressionModel
from mpc.learn.regression_specs import (
    FederatedAverage,
    KMeans,
    LinearRegression,
    LogisticRegression,
    Pca,
    PoissonRegression,
)
from mpc.learn.specs import Spec, kind_of
from mpc.learn.vocabulary import Discovery
from mpc.learn.witness import witnessed
from mpc.primitives import Program

__all__ = ["MODELS", "Quality", "evaluate", "load_model", "program"]

Quality: TypeAlias = RankingQuality | RatingQuality | ClassifierQuality | RegressionQuality

MODELS: Final[Mapping[str, type[FittedModel]]] = {
    m.kind: m for m in (AveragedModel, ClusterModel, EaseModel, FactorModel, PcaModel, RegressionModel)
}
"""Fitted models by the kind in their file."""


def program(
    spec: Spec,
    data: Rows,
    *,
    parties: int,
    checkpoint: Mapping[str, NDArray[Any]] | None = None,
    discovery: Discovery | None = None,
    trainers: Mapping[str, Trainer] | None = None,
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
        trainers: The training functions that this party offers, by name (`FederatedAverage`).
    """
    if parties < 1:
        raise PlanError("", reason="a training has parties")
    return witnessed(_program(spec, data, parties, checkpoint, discovery, trainers), checkpoint)


def _program(
    spec: Spec,
    data: Rows,
    parties: int,
    checkpoint: Mapping[str, NDArray[Any]] | None,
    discovery: Discovery | None,
    trainers: Mapping[str, Trainer] | None,
) -> Program[Any]:
    match spec:
        case Ease():
            return fit_ease(spec, data, parties=parties, checkpoint=checkpoint, discovery=discovery)
        case Als() | ImplicitAls():
            return fit_factors(spec, data, parties=parties, checkpoint=checkpoint, discovery=discovery)
        case GradientFactorization():
            return fit_gradient(spec, data, parties=parties, checkpoint=checkpoint, discovery=discovery)
        case LogisticRegression() | PoissonRegression():
            return fit_newton(spec, data, parties=parties, checkpoint=checkpoint, discovery=discovery)
        case LinearRegression():
            return fit_linear(spec, data, parties=parties, checkpoint=checkpoint, discovery=discovery)
        case Pca():
            return fit_pca(spec, data, parties=parties, checkpoint=checkpoint, discovery=discovery)
        case KMeans():
            return fit_clusters(spec, data, parties=parties, checkpoint=checkpoint, discovery=discovery)
        case FederatedAverage():
            trainer = (trainers or {}).get(spec.trainer)
            if trainer is None:
                raise PlanError("", field="trainer", reason="this party has no training function of that name")
            return fit_average(spec, data, trainer=trainer, checkpoint=checkpoint)


def evaluate(model: FittedModel, spec: Spec, data: Rows) -> Program[Quality]:
    """One party's side of an evaluation on the spec's hold-out.

    Raises:
        PlanError: The spec declares no hold-out, or the model has no evaluation.
    """
    if isinstance(model, FactorModel) and isinstance(spec, Als | GradientFactorization):
        return evaluate_ratings(model, spec, data)
    if isinstance(model, RecommenderModel) and isinstance(spec, Ease | ImplicitAls):
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
