"""Which item solver is cheapest on the stated link, from public numbers alone, so that all parties choose alike."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mpc.learn.recommender_specs import Als, ImplicitAls
from mpc.learn.symmetric import triangle_length

__all__ = ["Schedule", "choose", "schedules"]

_BYTES_PER_VALUE: Final = 26.0
"""Of an `rlwe` ciphertext with 40-bit values, measured."""

_SECONDS_PER_VALUE: Final = 60e-9
"""Encryption, addition and decryption of one value, measured."""

_TRIPS_PER_SUM: Final = 4
_FLOPS: Final = 8e9

_GRADIENT_ROUNDS: Final = 2.5
"""Gradient rounds that reach the error of one full item update (measured on MovieLens: 24 to 10)."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The rounds of a solver."""

    solver: Literal["normal", "blocks", "gradient"]
    blocks: tuple[NDArray[np.int64], ...]
    """Coordinates updated in each round of a sweep."""

    rounds: int

    @property
    def values_per_item(self) -> int:
        """Values per item over the whole training."""
        each = [len(b) + (triangle_length(len(b)) if self.solver != "gradient" else 0) for b in self.blocks]
        return sum(each[r % len(each)] for r in range(self.rounds))


def schedules(spec: Als | ImplicitAls, width: int) -> dict[str, Schedule]:
    """Every solver's schedule for vectors of so many coordinates."""
    everything = (np.arange(width),)
    size = min(spec.block, width)
    cut = tuple(np.arange(s, min(s + size, width)) for s in range(0, width, size))
    return {
        "normal": Schedule("normal", everything, spec.iterations),
        "blocks": Schedule("blocks", cut, spec.iterations * len(cut)),
        "gradient": Schedule("gradient", everything, int(np.ceil(_GRADIENT_ROUNDS * spec.iterations))),
    }


def seconds(spec: Als | ImplicitAls, schedule: Schedule, width: int, items: int, entries: int) -> float:
    """Predicted duration: round trips, bytes over the link, encryption, and the users' exact solutions."""
    values = float(schedule.values_per_item * items)
    sums = schedule.rounds * np.ceil(values / schedule.rounds / spec.block_values)
    link = values * (_BYTES_PER_VALUE * 8.0 / (spec.bandwidth_mbit * 1e6) + _SECONDS_PER_VALUE)
    local = schedule.rounds * entries * 2.0 * width**2 / _FLOPS
    if schedule.solver == "normal":
        local *= 2.0
    return float(sums * _TRIPS_PER_SUM * spec.latency_ms * 1e-3 + link + local)


def choose(spec: Als | ImplicitAls, width: int, *, items: int, entries: int) -> Schedule:
    """The schedule that the spec names, or the cheapest.

    Args:
        spec: Names a solver or `auto`.
        width: Coordinates of an item.
        items: Admitted items.
        entries: Ratings over all parties (opened).
    """
    known = schedules(spec, width)
    if spec.solver != "auto":
        return known[spec.solver]
    return min(known.values(), key=lambda s: seconds(spec, s, width, items, entries))
