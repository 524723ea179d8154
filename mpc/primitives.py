"""The seam between programs and protocols.

A program is one party's side of a computation: ordinary local code that yields what it wants of the other parties and
receives the answer. SQL plans and models are programs; they know nothing of ciphertexts. Every party of a job runs the
same program over its own data, so all of them yield the same requests in the same order.

    def mean(column: NDArray[np.int64]) -> Program[float]:
        totals = yield Sum.of("mean", count=np.array([len(column)]), total=np.array([column.sum()]), bound=1 << 40)
        return totals["total"][0] / totals["count"][0]

`run_ideal` runs the programs of several parties with the ideal functionality (the trusted adder of `mpc.sum.ideal`):
with it, every model is an ordinary numpy library, and every protocol has its oracle.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError, ProtocolError, RangeError

__all__ = [
    "ArrayValues",
    "Checkpoint",
    "Program",
    "Progress",
    "Recipient",
    "Segment",
    "SegmentValues",
    "Sum",
    "SumHeader",
    "Totals",
    "run_ideal",
]

R = TypeVar("R")

IntegerArray: TypeAlias = NDArray[np.int64] | NDArray[np.object_]
"""int64 where a segment's bound is below 2^62, else Python integers in an object array; shape `(n,)`."""

MAX_BOUND_BITS = 126


class Recipient(StrEnum):
    """Who opens the total."""

    ANALYST = "analyst"
    GROUP = "group"


class Segment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A stretch of a vector whose values share a bound."""

    name: str
    length: int
    bound: int
    """Every party's every value `x` satisfies `|x| <= bound`; at most 2^126."""


class SumHeader(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Everything about a sum that all parties must agree on; its digest goes into the transcript."""

    label: str
    recipient: Recipient
    segments: tuple[Segment, ...]
    context: bytes = b""
    """Digest of anything else that fixes the meaning of the positions (for example the list of group keys)."""

    def check(self) -> None:
        """Refuse an impossible header (`ParameterError`)."""
        names = [s.name for s in self.segments]
        if not names or len(set(names)) != len(names):
            raise ParameterError("a sum has segments with unique names")
        for segment in self.segments:
            if segment.length < 0 or not 0 <= segment.bound <= 1 << MAX_BOUND_BITS:
                raise ParameterError(f"segment {segment.name}: its length or its bound is out of range")


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
        kind = self.array.dtype.kind
        if self.array.ndim != 1 or kind not in "iuOb":
            raise ParameterError("a segment's values are a one-dimensional array of integers")

    def __len__(self) -> int:
        return int(self.array.shape[0])

    def read(self, start: int, stop: int) -> IntegerArray:
        """Values `start` to `stop` as int64, or as Python integers where the array holds those."""
        part = self.array[start:stop]
        if part.dtype.kind == "u" and part.dtype.itemsize == 8 and part.size and int(part.max()) >= 1 << 63:
            wide: NDArray[np.object_] = part.astype(object)
            return wide
        return part if part.dtype == object else part.astype(np.int64, copy=False)


@dataclass(frozen=True, slots=True)
class Sum:
    """Ask for the element-wise total over all parties.

    Reveals: to the recipient, the totals of all segments; to everyone, the header.
    """

    header: SumHeader
    values: Mapping[str, SegmentValues] = field(repr=False)

    def __post_init__(self) -> None:
        self.header.check()
        if set(self.values) != {s.name for s in self.header.segments}:
            raise ParameterError("a sum gives values for exactly its segments")
        for segment in self.header.segments:
            if len(self.values[segment.name]) != segment.length:
                raise ParameterError(f"segment {segment.name}: its length differs from the header")

    @classmethod
    def of(
        cls,
        label: str,
        arrays: Mapping[str, NDArray[Any]],
        bounds: Mapping[str, int] | int,
        *,
        recipient: Recipient = Recipient.GROUP,
        context: bytes = b"",
    ) -> Self:
        """A sum of arrays; multi-dimensional ones are flattened in C order."""
        flat = {name: ArrayValues(np.ascontiguousarray(a).reshape(-1)) for name, a in arrays.items()}
        segments = tuple(
            Segment(name, len(v), bounds if isinstance(bounds, int) else bounds[name]) for name, v in flat.items()
        )
        return cls(SumHeader(label, recipient, segments, context), flat)


Totals: TypeAlias = Mapping[str, IntegerArray]
"""The opened totals of a sum by segment, shape `(length,)`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Tell the analyst (sealed) how far the program is. Values are opened metrics or counters, never local data."""

    step: int
    of: int
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State from which the program can be started again; it stays at the party."""

    state: Mapping[str, NDArray[Any]] = field(repr=False)


Program: TypeAlias = Generator[Sum | Progress | Checkpoint, Totals | None, R]
"""Yields a `Sum` and receives `Totals` (None when the total went to the analyst); yields the others and receives None."""


def check_bound(segment: Segment, values: IntegerArray) -> None:
    """Refuse a value outside the declared bound, naming the segment and never the value (`RangeError`)."""
    if values.size == 0:
        return
    low, high = int(values.min()), int(values.max())
    if low < -segment.bound or high > segment.bound:
        raise RangeError("", segment=segment.name)


def ideal_totals(requests: Sequence[Sum]) -> dict[str, IntegerArray]:
    """The ideal functionality of `sum`: add, exactly, what the parties gave, after checking their bounds."""
    header = requests[0].header
    totals: dict[str, IntegerArray] = {}
    for segment in header.segments:
        wide = segment.bound * len(requests) >= 1 << 62
        total: IntegerArray = np.zeros(segment.length, dtype=object if wide else np.int64)
        for request in requests:
            values = request.values[segment.name].read(0, segment.length)
            check_bound(segment, values)
            total = total + values
        totals[segment.name] = total
    return totals


def run_ideal(programs: Sequence[Program[R]]) -> list[R]:
    """Run one program per party in lock-step with the ideal functionality.

    Raises:
        ProtocolError: The parties asked for different things.
    """
    results: list[R] = []
    replies: list[Totals | None] = [None] * len(programs)
    while True:
        asked: list[Sum | Progress | Checkpoint] = []
        for program, reply in zip(programs, replies, strict=True):
            try:
                asked.append(program.send(reply) if reply is not None else next(program))
            except StopIteration as stop:
                results.append(stop.value)
        if len(results) == len(programs):
            return results
        if results:
            raise ProtocolError("the parties' programs ended at different steps")
        sums = [a for a in asked if isinstance(a, Sum)]
        replies = [None] * len(programs)
        if not sums:
            continue
        if len(sums) != len(programs) or any(s.header != sums[0].header for s in sums):
            raise ProtocolError("the parties asked for different sums")
        if sums[0].header.recipient is Recipient.GROUP:
            replies = [ideal_totals(sums)] * len(programs)
