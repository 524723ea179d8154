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
from typing import Any, TypeAlias, TypeVar

from numpy.typing import NDArray

from mpc.errors import ProtocolError
from mpc.packing.segments import ArrayValues, IntegerArray, Segment, SegmentValues
from mpc.sum.ideal import ideal_totals
from mpc.sum.spec import Recipient, Sum, SumHeader, Totals

__all__ = [
    "ArrayValues",
    "Checkpoint",
    "IntegerArray",
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
"""Yields a `Sum` and receives `Totals`, or None when the total goes to the analyst; for the others it receives None."""


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
