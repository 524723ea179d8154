"""Which items (or levels) exist: a public catalogue, or the union that a discovery opens."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError, RangeError, SourceError
from mpc.primitives import Program

__all__ = ["Discovery", "Vocabulary", "agree", "contributors"]


class Discovery(Protocol):
    """A program that opens the union of the parties' distinct values and how many parties hold each, not who."""

    def __call__(
        self, label: str, values: NDArray[Any], *, capacity: int
    ) -> Program[Mapping[str, int] | Mapping[int, int]]:
        """Open the union of `values` (distinct, int64 or text).

        Raises:
            ResourceExhausted: The union has more than `capacity` values.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """Distinct identifiers in sorted order; an identifier's number is its rank."""

    values: NDArray[Any]
    """int64 or text, strictly increasing."""

    @classmethod
    def of(cls, values: Any) -> Self:
        """The vocabulary of a collection of identifiers of one type."""
        array = np.array(list(values)) if not isinstance(values, np.ndarray) else values
        if array.dtype.kind not in "iuU":
            raise PlanError("", reason="identifiers are all texts or all integers")
        return cls(np.unique(array.astype(np.int64) if array.dtype.kind in "iu" else array))

    def __len__(self) -> int:
        return len(self.values)

    def index(self, identifiers: NDArray[Any]) -> NDArray[np.int64]:
        """Number of each identifier, -1 where the vocabulary does not have it.

        Raises:
            SourceError: The identifiers are of the other type.
        """
        if not len(identifiers) or not len(self):
            return np.full(len(identifiers), -1, dtype=np.int64)
        if (identifiers.dtype.kind == "U") != (self.values.dtype.kind == "U"):
            raise SourceError("", reason="texts are compared with integers")
        position = np.minimum(np.searchsorted(self.values, identifiers), len(self) - 1)
        return np.where(self.values[position] == identifiers, position, -1).astype(np.int64)

    def require(self, identifiers: NDArray[Any], column: str) -> NDArray[np.int64]:
        """Number of each identifier; one outside the vocabulary is a `RangeError` naming the column."""
        try:
            numbers = self.index(identifiers)
        except SourceError:
            raise SourceError("", column=column, reason="texts are compared with integers") from None
        if (numbers < 0).any():
            raise RangeError("", column=column, reason="a value is outside the declared domain")
        return numbers

    def subset(self, mask: NDArray[np.bool_]) -> "Vocabulary":
        """The identifiers where `mask` holds."""
        return Vocabulary(self.values[mask])

    def digest(self) -> bytes:
        """SHA-256 of the list: it is bound into every sum whose positions it fixes."""
        state = hashlib.sha256(b"sealroom/v1/vocabulary")
        for value in self.values.tolist():
            encoded = value.encode() if isinstance(value, str) else str(value).encode()
            state.update(len(encoded).to_bytes(8, "big") + encoded)
        return state.digest()


def contributors(wanted: int, parties: int) -> int:
    """The minimum number of contributing parties; a room of one has nobody to hide from.

    Raises:
        PlanError: More are wanted than there are.
    """
    if wanted > parties > 1:
        raise PlanError("", field="minimum_parties", reason="more than there are parties")
    return min(wanted, parties)


def agree(
    label: str,
    declared: tuple[str | int, ...] | None,
    local: NDArray[Any] | None,
    *,
    capacity: int,
    minimum_parties: int,
    discovery: Discovery | None,
) -> Program[Vocabulary]:
    """The vocabulary that all parties use.

    Args:
        label: Name of the discovery's sum.
        declared: The public list, if there is one.
        local: This party's distinct values, needed for a discovery only.
        capacity: Most values of the union.
        minimum_parties: Values with fewer holders are left out.
        discovery: The mechanism that opens the union.

    Raises:
        PlanError: Nothing is declared and there is no discovery, or nothing is left.

    Reveals: with a discovery, to all parties, the union and the number of holders of each value.
    """
    if declared is not None:
        return Vocabulary.of(declared)
    if discovery is None or local is None:
        raise PlanError("", reason="the values are not declared and no discovery is available")
    holders = yield from discovery(label, local, capacity=capacity)
    kept = [value for value, count in holders.items() if count >= minimum_parties]
    if not kept:
        raise PlanError("", reason="no value has enough parties", statistic=label)
    return Vocabulary.of(kept)
