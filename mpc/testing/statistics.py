"""Statistical tests with a stated false-positive rate.

Every test here rejects a true hypothesis with probability at most `ALPHA` = 1e-6. Critical values come from the
Wilson-Hilferty approximation of the chi-square distribution, which at these degrees of freedom (31 and more) is within
one percent of the exact quantile and is rounded up by two percent.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALPHA", "chi_square_critical", "same_distribution", "uniform"]

ALPHA: Final = 1e-6
_Z: Final = 4.753424
"""Upper quantile of the standard normal distribution at `ALPHA`."""


def chi_square_critical(freedom: int) -> float:
    """The value that a chi-square variable exceeds with probability at most `ALPHA` (Wilson and Hilferty, 1931)."""
    term = 2.0 / (9.0 * freedom)
    return float(freedom * (1.0 - term + _Z * math.sqrt(term)) ** 3 * 1.02)


def uniform(values: NDArray[np.uint64], modulus: int, *, bins: int = 64) -> bool:
    """Whether residues look uniform modulo `modulus`: chi-square over equal bins."""
    edges = [-(-modulus * i // bins) for i in range(bins + 1)]
    observed = np.histogram(values.astype(np.float64), bins=np.array(edges, dtype=np.float64))[0]
    expected = values.size * np.diff(np.array(edges, dtype=np.float64)) / modulus
    return bool(np.sum((observed - expected) ** 2 / expected) <= chi_square_critical(bins - 1))


def same_distribution(one: NDArray[np.int64], other: NDArray[np.int64], *, bins: int = 64) -> bool:
    """Whether two samples of equal size look drawn from one distribution: two-sample chi-square over pooled bins."""
    pooled = np.concatenate([one, other])
    edges = np.unique(np.quantile(pooled, np.linspace(0, 1, bins + 1)))
    if edges.size < 2:
        return True
    edges[-1] += 1
    a, b = np.histogram(one, bins=edges)[0], np.histogram(other, bins=edges)[0]
    kept = (a + b) > 0
    statistic = float(np.sum((a[kept] - b[kept]) ** 2 / (a[kept] + b[kept])))
    return statistic <= chi_square_critical(max(31, int(kept.sum()) - 1))
