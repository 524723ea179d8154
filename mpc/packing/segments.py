"""Segments: stretches of a vector whose values share a bound, and the arrays they are read from."""

from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError, RangeError

__all__ = ["MAX_BOUND_BITS", "ArrayValues", "IntegerArray", "Segment", "SegmentValues", "check_bound"]

IntegerArray: TypeAlias = NDArray[np.int64] | NDArray[np.object_]
"""int64 where every value fits, else Python integers in an object array; shape `(n,)`."""

MAX_BOUND_BITS: Final = 126


class Segment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A stretch of a vector whose values share a bound."""

    name: str
    length: int
    bound: int
    """Every party's every value `x` satisfies `|x| <= bound`; at most 2^126."""


class SegmentValues(Protocol):
    """One party's values of one segment, read in stretches so that a long vector need not exist at once."""

    def __len__(self) -> int:
        """Number of values."""
        ...

    def read(self, start: int, stop: int) -> IntegerArray:
        """Values `start` to `stop`."""
        ...


@dataclass(frozen=True, slots=True)
class ArrayValues:
    """Values that are already an array (any integer dtype, or object with Python integers)."""

    array: NDArray[Any]

    def __post_init__(self) -> None:
        if self.array.ndim != 1 or self.array.dtype.kind not in "iuOb":
            raise ParameterError("a segment's values are a one-dimensional array of integers")

    def __len__(self) -> int:
        return int(self.array.shape[0])

    def read(self, start: int, stop: int) -> IntegerArray:
        """Values `start` to `stop` as int64, or as Python integers where the array holds those.

        Raises:
            ParameterError: An object array holds something else than integers.
        """
        part = self.array[start:stop]
        if part.dtype == object and not all(isinstance(v, int | np.integer) for v in part):
            raise ParameterError("a segment's values are integers")
        if part.dtype.kind == "u" and part.dtype.itemsize == 8 and part.size and int(part.max()) >= 1 << 63:
            wide: NDArray[np.object_] = part.astype(object)
            return wide
        return part if part.dtype == object else part.astype(np.int64, copy=False)


def check_bound(segment: Segment, values: IntegerArray) -> None:
    """Refuse a value outside the declared bound, naming the segment and never the value.

    Raises:
        RangeError: Names the segment.
    """
    if values.size and (int(values.min()) < -segment.bound or int(values.max()) > segment.bound):
        raise RangeError("", segment=segment.name)
