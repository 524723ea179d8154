"""Whether the machine was quiet: a loop of fixed work beside every row.

The loop is 2048-bit modular exponentiation by a 1024-bit exponent with GMP: a millisecond of pure arithmetic in the
first-level cache, the same instructions every time. Its processor time tells of frequency changes and of neighbours on
the same core; its elapsed time tells of other processes besides. A row whose clock is `cpu` is judged by the first, a
row whose clock is `wall` by the second. A row is measured again when the loop moved beside it by more than the limit,
and a run in which it still did so does not report.
"""

import statistics
import time
from dataclasses import dataclass, field
from typing import Final

from mpc.client.bench.cases import ClockKind
from mpc.errors import ResourceExhausted

__all__ = ["DEFAULT_LIMIT", "Drift", "Reading", "read_loop"]

DEFAULT_LIMIT: Final = 0.15
"""Drift that a run accepts: a quiet machine stays within 3 %, one whose cores are all busy within this on most rows."""

_LOOPS: Final = 31


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of one loop, the median of several."""

    cpu_s: float
    wall_s: float

    def of(self, clock: ClockKind) -> float:
        """The time that judges a clock."""
        return self.cpu_s if clock is ClockKind.CPU else self.wall_s


def read_loop(loops: int = _LOOPS) -> Reading:
    """Run the loop: about 40 ms."""
    import gmpy2

    modulus = gmpy2.mpz(2) ** 2048 - 1942289
    base = gmpy2.powmod(gmpy2.mpz(3), 1291, modulus)
    exponent = gmpy2.mpz(2) ** 1024 - 3
    cpu, wall = [], []
    for _ in range(loops):
        cpu_start, wall_start = time.process_time_ns(), time.perf_counter_ns()
        gmpy2.powmod(base, exponent, modulus)
        wall.append(time.perf_counter_ns() - wall_start)
        cpu.append(time.process_time_ns() - cpu_start)
    return Reading(statistics.median(cpu) / 1e9, statistics.median(wall) / 1e9)


@dataclass(slots=True)
class Drift:
    """All readings of a run, and the judgement.

    Args:
        limit: Largest relative distance from the reference that is accepted.
    """

    limit: float = DEFAULT_LIMIT
    readings: list[Reading] = field(default_factory=list)
    repeated: int = 0

    def read(self) -> Reading:
        """Take a reading."""
        self.readings.append(read_loop())
        return self.readings[-1]

    def reference(self, clock: ClockKind) -> float:
        """The loop on the undisturbed machine: the median of the faster half of all readings.

        The minimum would make one lucky reading the judge of all others; the median of all would call a machine that
        was busy most of the time quiet.
        """
        times = sorted(r.of(clock) for r in self.readings)
        return statistics.median(times[: max(1, (len(times) + 1) // 2)])

    def beside(self, before: Reading, after: Reading, clock: ClockKind) -> float:
        """How far the loop was from the reference around a row."""
        reference = self.reference(clock)
        return max(abs(reading.of(clock) / reference - 1.0) for reading in (before, after))

    def judge(self, drifts: dict[str, float]) -> None:
        """Refuse a run.

        Args:
            drifts: Drift by row.

        Raises:
            ResourceExhausted: A row was measured while the machine was busy; names the worst, and how many.
        """
        over = {path: drift for path, drift in drifts.items() if drift > self.limit}
        if not over:
            return
        worst = max(over, key=over.__getitem__)
        raise ResourceExhausted(
            "",
            reason=(
                f"the calibration loop moved by {over[worst]:.0%} beside {worst}, and by more than {self.limit:.0%} "
                f"beside {len(over)} of {len(drifts)} cases: these figures would not be of this machine"
            ),
            instead="stop what else runs on the machine, or raise --max-drift and say so beside the figures",
        )
