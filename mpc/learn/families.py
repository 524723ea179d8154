"""Response distributions of generalised linear models with their canonical links, and provable bounds of their sums."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.errors import RangeError

__all__ = ["Bernoulli", "Family", "Poisson"]

Vector = NDArray[np.float64]


class Family(Protocol):
    """A one-parameter exponential family; the weight of Newton's method is the variance of the mean."""

    @property
    def name(self) -> str:
        """Name of the distribution."""
        ...

    def check(self, target: Vector, column: str) -> None:
        """Refuse targets outside the family's support (`RangeError` naming the column)."""
        ...

    def start(self, mean: float) -> float:
        """Intercept of the empty model."""
        ...

    def mean(self, eta: Vector) -> Vector:
        """Expected target."""
        ...

    def weight(self, mean: Vector) -> Vector:
        """Variance of the target."""
        ...

    def loss(self, target: Vector, eta: Vector) -> float:
        """Negative log-likelihood, summed."""
        ...

    def bounds(self, rows: float, largest_square: float, reach: float) -> tuple[float, float, float]:
        """Largest magnitudes of a party's sums: Hessian cell, gradient cell, loss.

        Args:
            rows: Rows over all parties.
            largest_square: Largest of the columns' sums of squares over all parties.
            reach: Bound on the summed magnitude of the linear predictor.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bernoulli:
    """0 or 1, logit link."""

    name: str = "bernoulli"

    def check(self, target: Vector, column: str) -> None:
        """Targets are 0 or 1."""
        if not np.isin(target, (0.0, 1.0)).all():
            raise RangeError("", column=column, reason="a logistic regression needs targets 0 and 1")

    def start(self, mean: float) -> float:
        """Log-odds of the mean."""
        bounded = min(max(mean, 1e-12), 1.0 - 1e-12)
        return math.log(bounded / (1.0 - bounded))

    def mean(self, eta: Vector) -> Vector:
        """Logistic function, without overflow."""
        small = np.exp(-np.abs(eta))
        return np.where(eta >= 0, 1.0, small) / (1.0 + small)

    def weight(self, mean: Vector) -> Vector:
        """The mean times one minus the mean."""
        return mean * (1.0 - mean)

    def loss(self, target: Vector, eta: Vector) -> float:
        """Sum of log(1 + e^eta) - y eta."""
        return float((np.maximum(eta, 0.0) + np.log1p(np.exp(-np.abs(eta))) - target * eta).sum())

    def bounds(self, rows: float, largest_square: float, reach: float) -> tuple[float, float, float]:
        """Weights are at most 1/4 and residuals 1: Cauchy-Schwarz does the rest."""
        return 0.25 * largest_square, math.sqrt(rows * largest_square), rows * math.log(2.0) + reach


@dataclass(frozen=True, slots=True)
class Poisson:
    """Counts, logarithmic link. A mean above four times the declared maximum stops the fit as a `RangeError`."""

    maximum: float
    name: str = "poisson"

    def check(self, target: Vector, column: str) -> None:
        """Targets are whole numbers from 0 to the declared maximum."""
        if (target < 0).any() or (target > self.maximum).any() or (target != np.trunc(target)).any():
            raise RangeError("", column=column, reason="a Poisson regression needs counts up to target_maximum")

    def start(self, mean: float) -> float:
        """Logarithm of the mean."""
        return math.log(max(mean, 1e-12))

    def mean(self, eta: Vector) -> Vector:
        """e^eta."""
        return np.exp(np.minimum(eta, 600.0))

    def weight(self, mean: Vector) -> Vector:
        """The mean itself."""
        return mean

    def loss(self, target: Vector, eta: Vector) -> float:
        """Sum of e^eta - y eta + log y!."""
        counts, times = np.unique(target, return_counts=True)
        constants = math.fsum(math.lgamma(c + 1.0) * n for c, n in zip(counts.tolist(), times.tolist(), strict=True))
        return float((self.mean(eta) - target * eta).sum()) + constants

    def bounds(self, rows: float, largest_square: float, reach: float) -> tuple[float, float, float]:
        """Means are at most four times the largest count."""
        most = 4.0 * self.maximum
        constants = rows * math.lgamma(self.maximum + 1.0)
        return most * largest_square, most * math.sqrt(rows * largest_square), most * rows + most * reach + constants
