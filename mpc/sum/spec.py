"""What a sum is: the header all parties agree on, and one party's values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError
from mpc.packing.segments import MAX_BOUND_BITS, ArrayValues, IntegerArray, Segment, SegmentValues

__all__ = ["Recipient", "Sum", "SumHeader", "Totals"]


class Recipient(StrEnum):
    """Who opens the total."""

    ANALYST = "analyst"
    GROUP = "group"


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
