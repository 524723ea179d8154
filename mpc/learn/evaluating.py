"""Evaluation of classifiers by sums: a histogram of scores per outcome gives AUC, calibration and the mean losses."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError
from mpc.fixedpoint import Encoding, range_for
from mpc.learn.data import Rows
from mpc.learn.design import load_rows
from mpc.learn.enough import enough
from mpc.learn.regression import RegressionModel
from mpc.learn.regression_specs import LinearRegression, LogisticRegression, PoissonRegression
from mpc.primitives import Program, Sum

__all__ = ["SCORE_BINS", "ClassifierQuality", "RegressionQuality", "binned_auc", "evaluate_regression"]

_SCALE_BITS: Final = 30
_CALIBRATION_BINS: Final = 10
SCORE_BINS: Final = 1 << 14
"""Bins of scores from which the area under the curve is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierQuality:
    """Quality of predicted probabilities over all parties' held-out rows."""

    rows: int
    positives: int
    auc: float
    """Area under the ROC curve; pairs in one bin of scores count one half."""

    auc_resolution: float
    """Largest possible distance of `auc` from the exact value: half the share of pairs that share a bin."""

    log_loss: float
    brier: float
    calibration: tuple[tuple[float, float, int], ...]
    """For ten bins of predicted probability: mean prediction, share of positives, rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionQuality:
    """Quality of predicted values over all parties' held-out rows."""

    rows: int
    rmse: float
    mae: float
    r_squared: float


def evaluate_regression(
    model: RegressionModel,
    spec: LinearRegression | LogisticRegression | PoissonRegression,
    data: Rows,
    *,
    bins: int = SCORE_BINS,
) -> Program[ClassifierQuality | RegressionQuality]:
    """Quality on the declared hold-out.

    Reveals: to all parties, for a classifier the number of held-out positives and negatives per bin of scores and the
    sums of both losses; for a regression the number of rows, the sums of absolute and squared errors, and the sum of
    the targets and of their squares.
    """
    if spec.holdout is None:
        raise PlanError("", field="holdout", reason="an evaluation needs a declared hold-out")
    local = load_rows(spec.features, spec.target, spec.holdout, data, held_out=True)
    yield from enough(
        "evaluate/regression", local.count, minimum=spec.rows_per_feature, most=spec.rows_at_most, noun="rows"
    )
    predicted = model.predict_local(local)
    assert local.target is not None
    if model.family == "bernoulli":
        return (yield from _classifier(spec.rows_at_most, local.target, predicted, bins))
    return (yield from _values(spec, local.target, predicted))


def _classifier(
    most: int, target: NDArray[np.float64], predicted: NDArray[np.float64], bins: int
) -> Program[ClassifierQuality | RegressionQuality]:
    encoding = Encoding(scale_bits=_SCALE_BITS, range=range_for(most * 28.0))
    arrays = _histograms(target, np.clip(predicted, 1e-12, 1.0 - 1e-12), bins, encoding)
    bounds = {name: encoding.bound if name in {"predictions", "losses"} else most for name in arrays}
    totals = yield Sum.of("evaluate/classifier", arrays, bounds)
    assert totals is not None
    positives, negatives = (totals[n].astype(np.int64) for n in ("positives", "negatives"))
    rows = int(positives.sum() + negatives.sum())
    area, resolution = binned_auc(positives, negatives)
    opened = encoding.decode(totals["losses"]) / max(1, rows)
    sizes = np.maximum(totals["sizes"].astype(np.float64), 1.0)
    curve = zip(
        (encoding.decode(totals["predictions"]) / sizes).tolist(),
        (totals["outcomes"].astype(np.float64) / sizes).tolist(),
        totals["sizes"].astype(np.int64).tolist(),
        strict=True,
    )
    return ClassifierQuality(
        rows=rows,
        positives=int(positives.sum()),
        auc=area,
        auc_resolution=resolution,
        log_loss=float(opened[0]),
        brier=float(opened[1]),
        calibration=tuple(curve),
    )


def _histograms(
    target: NDArray[np.float64], clipped: NDArray[np.float64], bins: int, encoding: Encoding
) -> dict[str, NDArray[Any]]:
    """This party's rows by score and outcome, by tenth of predicted probability, and its losses."""
    # Bins are uniform in the log-odds between -12 and 12: risks crowd near 0, where bins of probability are too wide.
    odds = np.log(clipped / (1.0 - clipped))
    place = np.clip(((odds + 12.0) / 24.0 * bins).astype(np.int64), 0, bins - 1)
    tenth = np.clip((clipped * _CALIBRATION_BINS).astype(np.int64), 0, _CALIBRATION_BINS - 1)
    losses = np.array(
        [
            -(target * np.log(clipped) + (1.0 - target) * np.log1p(-clipped)).sum(),
            np.square(target - clipped).sum(),
        ]
    )
    means = np.bincount(tenth, weights=clipped, minlength=_CALIBRATION_BINS).astype(np.float64)
    return {
        "positives": np.bincount(place[target == 1.0], minlength=bins),
        "negatives": np.bincount(place[target == 0.0], minlength=bins),
        "outcomes": np.bincount(tenth[target == 1.0], minlength=_CALIBRATION_BINS),
        "sizes": np.bincount(tenth, minlength=_CALIBRATION_BINS),
        "predictions": encoding.encode(means, statistic="predicted probabilities"),
        "losses": encoding.encode(losses, statistic="losses"),
    }


def binned_auc(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> tuple[float, float]:
    """Area under the ROC curve of two histograms over increasing scores, and its largest possible error.

    >>> binned_auc(np.array([0, 2]), np.array([2, 0]))
    (1.0, 0.0)
    """
    pairs = float(positives.sum()) * float(negatives.sum())
    if pairs == 0.0:
        return float("nan"), float("nan")
    below = np.cumsum(negatives) - negatives
    shared = float((positives.astype(np.float64) * negatives).sum())
    area = (float((positives.astype(np.float64) * below).sum()) + 0.5 * shared) / pairs
    return area, 0.5 * shared / pairs


def _values(
    spec: LinearRegression | LogisticRegression | PoissonRegression,
    target: NDArray[np.float64],
    predicted: NDArray[np.float64],
) -> Program[ClassifierQuality | RegressionQuality]:
    ends = (spec.target_minimum, spec.target_maximum) if isinstance(spec, LinearRegression) else (0.0, _largest(spec))
    reach = max(abs(e) for e in ends)
    # Predictions are bounded by nothing but the data; errors beyond this range are refused by name.
    encoding = Encoding(scale_bits=20, range=range_for(spec.rows_at_most * (4.0 * reach) ** 2))
    error = predicted - target
    sums = np.array([np.square(error).sum(), np.abs(error).sum(), target.sum(), np.square(target).sum()])
    arrays = {"rows": np.array([len(target)]), "sums": encoding.encode(sums, statistic="prediction errors")}
    totals = yield Sum.of("evaluate/values", arrays, {"rows": spec.rows_at_most, "sums": encoding.bound})
    assert totals is not None
    rows = max(1, int(totals["rows"][0]))
    squared, absolute, total, squares = encoding.decode(totals["sums"]).tolist()
    spread = squares - total * total / rows
    return RegressionQuality(
        rows=int(totals["rows"][0]),
        rmse=float(np.sqrt(squared / rows)),
        mae=absolute / rows,
        r_squared=1.0 - squared / spread if spread > 0 else float("nan"),
    )


def _largest(spec: LogisticRegression | PoissonRegression) -> float:
    return spec.target_maximum if isinstance(spec, PoissonRegression) else 1.0
