"""Initial factors from a public seed: every party, and the pooled reference, starts from the same numbers."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.learn.splits import key_hash, splitmix64

__all__ = ["initial_factors"]

_GAMMA: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1


def initial_factors(keys: NDArray[Any], dimension: int, *, seed: int, deviation: float) -> NDArray[np.float64]:
    """Nearly normal numbers, a function of each key and the seed, shape `(len(keys), dimension)`.

    A number is the sum of twelve uniform 16-bit integers (variance 65536^2 in units of 2^-16), centred: integer
    arithmetic, so that it is the same on every machine.
    """
    base = splitmix64(key_hash(keys) + np.uint64(seed * _GAMMA & _MASK))
    out = np.zeros((len(keys), dimension), dtype=np.int64)
    for column in range(dimension):
        for word in range(3):
            bits = splitmix64(base + np.uint64((3 * column + word + 1) * _GAMMA & _MASK))
            for shift in (0, 16, 32, 48):
                out[:, column] += ((bits >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
    return (out - 6 * 65_535).astype(np.float64) / 65_536.0 * deviation
