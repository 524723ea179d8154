"""Models trained over encrypted sums: each equals the model trained on the pooled data.

Written against `mpc.primitives` alone: with `run_ideal` this is an ordinary numpy library.
"""

from mpc.learn.archive import FittedModel, safetensors
from mpc.learn.averaging import AveragedModel, Trainer
from mpc.learn.clusters import ClusterModel
from mpc.learn.components import PcaModel
from mpc.learn.data import ArrayRows, Rows
from mpc.learn.ease import EaseModel
from mpc.learn.evaluating import ClassifierQuality, RegressionQuality
from mpc.learn.explaining import TrainingExplanation, chosen_set, explain_training
from mpc.learn.factor_model import FactorModel
from mpc.learn.forecast import SumForecast, disclosures, evaluation_forecast, forecast
from mpc.learn.noise import Noise, PrivacyLoss
from mpc.learn.programs import evaluate, load_model, program
from mpc.learn.ranking import RankingQuality, RatingQuality
from mpc.learn.recommender_specs import Als, Ease, GradientFactorization, Holdout, ImplicitAls
from mpc.learn.recommending import Recommendation, RecommenderModel
from mpc.learn.regression import RegressionModel
from mpc.learn.regression_specs import (
    ArraySpec,
    Category,
    FederatedAverage,
    KMeans,
    LinearRegression,
    LogisticRegression,
    Numeric,
    Pca,
    PoissonRegression,
)
from mpc.learn.specs import Spec, columns_of, complete, kind_of, spec_from_mapping, to_mapping

__all__ = [
    "Als",
    "ArrayRows",
    "ArraySpec",
    "AveragedModel",
    "Category",
    "ClassifierQuality",
    "ClusterModel",
    "Ease",
    "EaseModel",
    "FactorModel",
    "FederatedAverage",
    "FittedModel",
    "GradientFactorization",
    "Holdout",
    "ImplicitAls",
    "KMeans",
    "LinearRegression",
    "LogisticRegression",
    "Noise",
    "Numeric",
    "Pca",
    "PcaModel",
    "PoissonRegression",
    "PrivacyLoss",
    "RankingQuality",
    "RatingQuality",
    "Recommendation",
    "RecommenderModel",
    "RegressionModel",
    "RegressionQuality",
    "Rows",
    "Spec",
    "SumForecast",
    "Trainer",
    "TrainingExplanation",
    "chosen_set",
    "columns_of",
    "complete",
    "disclosures",
    "evaluate",
    "evaluation_forecast",
    "explain_training",
    "forecast",
    "kind_of",
    "load_model",
    "program",
    "safetensors",
    "spec_from_mapping",
    "to_mapping",
]
