"""Tail probabilities and quantiles for tests and intervals, without a statistics library."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["normal_quantile", "normal_two_sided", "student_quantile", "student_two_sided"]

_TINY: Final = 1e-300
_STEPS: Final = 400


def normal_two_sided(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(|Z| >= |z|) of the standard normal distribution.

    >>> round(float(normal_two_sided(np.array([1.959963984540054]))[0]), 12)
    0.05
    """
    return np.array([math.erfc(abs(v) / math.sqrt(2.0)) for v in z.tolist()])


def student_two_sided(t: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """P(|T| >= |t|) of Student's distribution: the incomplete beta function at `degrees / (degrees + t^2)`.

    >>> round(float(student_two_sided(np.array([2.2281388519862744]), 10.0)[0]), 12)
    0.05
    """
    return np.array([_incomplete_beta(degrees / 2.0, 0.5, degrees / (degrees + v * v)) for v in t.tolist()])


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function by its continued fraction (DLMF 8.17.22), modified Lentz evaluation."""
    if not 0.0 < x < 1.0:
        return float("nan") if math.isnan(x) else float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0))
    fraction = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for term in (even, odd):
            d = 1.0 / _away(1.0 + term * d)
            c = _away(1.0 + term / c)
            change = c * d
            fraction *= change
        if abs(change - 1.0) < 1e-15:
            break
    return math.exp(front) * fraction / a


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def normal_quantile(confidence: float) -> float:
    """The z with P(|Z| <= z) = confidence."""
    return _solve(lambda z: float(normal_two_sided(np.array([z]))[0]), confidence)


def student_quantile(confidence: float, degrees: float) -> float:
    """The t with P(|T| <= t) = confidence."""
    return _solve(lambda t: float(student_two_sided(np.array([t]), degrees)[0]), confidence)


def _solve(tail: Callable[[float], float], confidence: float) -> float:
    low, high = 0.0, 1.0
    while tail(high) > 1.0 - confidence:
        high *= 2.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if tail(middle) > 1.0 - confidence else (low, middle)
    return 0.5 * (low + high)
