"""Real numbers as integers of a declared range: the only way a real number enters a sum.

A value outside its declared range is refused and named. Nothing here clips: a silently clipped statistic is a wrong
model that looks right.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError, RangeError

__all__ = ["Encoding", "range_for"]

IntegerArray: TypeAlias = NDArray[np.int64] | NDArray[np.object_]

_MAX_BITS = 126
_INT64_SAFE = 1 << 62


def range_for(magnitude: float) -> float:
    """The least power of two that is at least `magnitude` (and at least 1).

    Bounds travel in public headers, so they are rounded to powers of two rather than fitted to data.

    >>> range_for(300.0)
    512.0
    """
    return float(2.0 ** max(0, int(np.ceil(np.log2(max(1.0, magnitude))))))


@dataclass(frozen=True, slots=True)
class Encoding:
    """Fixed point: `x` becomes the integer nearest to `x * 2**scale_bits` (ties to even), `|x| <= range`.

    The error of one value is at most `2**-(scale_bits + 1)`; a sum over P parties is off by at most P times that.

    >>> Encoding(scale_bits=4, range=2.0).encode(np.array([0.5, -1.25]), statistic="x").tolist()
    [8, -20]
    """

    scale_bits: int
    range: float

    def __post_init__(self) -> None:
        if not 0 <= self.scale_bits <= 100 or not np.isfinite(self.range) or self.range < 0:
            raise ParameterError("a fixed-point encoding has 0 to 100 fractional bits and a finite range")
        if self.bound > 1 << _MAX_BITS:
            raise ParameterError(f"a fixed-point encoding of more than {_MAX_BITS} bits does not fit a sum")

    @property
    def bound(self) -> int:
        """Largest magnitude of an encoded value."""
        numerator, denominator = float(self.range).as_integer_ratio()
        return -((-numerator << self.scale_bits) // denominator)

    def encode(self, values: NDArray[np.float64], *, statistic: str) -> IntegerArray:
        """Encode real values, shape kept; int64 below 2^62, Python integers above.

        Args:
            values: Real values of any shape.
            statistic: What they are, for the error message.

        Raises:
            RangeError: A value is not finite or leaves the range; names `statistic`, never the value.
        """
        reals = np.asarray(values, dtype=np.float64)
        # The comparisons are false for NaN, so they refuse it too.
        if reals.size and not (float(reals.max()) <= self.range and float(reals.min()) >= -self.range):
            raise RangeError("beyond the declared range, or not a number", statistic=statistic)
        scaled = np.asarray(np.multiply(reals, 2.0**self.scale_bits))
        np.rint(scaled, out=scaled)
        if self.bound < _INT64_SAFE:
            return scaled.astype(np.int64)
        wide = np.empty(scaled.shape, dtype=object)
        wide.reshape(-1)[:] = [int(v) for v in scaled.reshape(-1).tolist()]
        return wide

    def decode(self, totals: NDArray[Any]) -> NDArray[np.float64]:
        """Read integers back as real numbers, each correctly rounded."""
        if totals.dtype != object:
            narrow: NDArray[np.float64] = np.multiply(totals, 2.0**-self.scale_bits)
            return narrow
        unit = 1 << self.scale_bits
        flat = [int(v) / unit for v in totals.reshape(-1).tolist()]
        return np.array(flat, dtype=np.float64).reshape(totals.shape)
