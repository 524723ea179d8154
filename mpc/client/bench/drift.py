"""Whether the machine was quiet: a loop of fixed work beside every row.

The loop is 2048-bit modular exponentiation by a 1024-bit exponent with GMP: a millisecond of pure arithmetic in the
first-level cache, the same instructions every time. How long one takes tells of frequency changes and of neighbours on
the same core; a row is judged by processor time or by elapsed time as its clock is.

It also runs on every core at once, and what its elapsed time is beyond its processor time it waited for somebody else.
That needs no reference, so a machine that is busy all the time does not pass for a slow one; and it takes the mean of
all loops, since most of them fit between two turns of a neighbour that has half of the core. It judges processor time,
too: turns do not count there, but a neighbour takes caches, memory and the other half of a core, which a loop in the
first-level cache does not feel and a kernel that fills vector registers from memory does (masks took twice the
processor time beside neighbours that moved the loop by 5 %). A reading that waited is taken again a few times: what a
row itself leaves behind ends soon.

A row is measured again when the loop moved or waited beside it by more than the limit, and a run in which it still did
so does not report.
"""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from mpc.client.bench.cases import ClockKind
from mpc.client.bench.machine import cores
from mpc.errors import ResourceExhausted

__all__ = ["DEFAULT_LIMIT", "Drift", "Reading", "read_loop", "waited"]

DEFAULT_LIMIT: Final = 0.15
"""Drift that a run accepts: a quiet machine stays within 5 %, one of whose two cores is busy is far beyond."""

_LOOPS: Final = 31
_MOST_THREADS: Final = 4
"""Loops at once: a room keeps about so many cores busy, and more would exhaust the share of a small container."""

_WAITS: Final = 3
_PAUSE_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of one loop, the median of several."""

    cpu_s: float
    wall_s: float
    waited: float = 0.0
    """Elapsed over processor time of loops on every core, less one."""

    def of(self, clock: ClockKind) -> float:
        """The time that judges a clock."""
        return self.cpu_s if clock is ClockKind.CPU else self.wall_s


class _Loop:
    """The work."""

    def __init__(self) -> None:
        import gmpy2

        self._gmp = gmpy2
        self._modulus = gmpy2.mpz(2) ** 2048 - 1942289
        self._base = gmpy2.powmod(gmpy2.mpz(3), 1291, self._modulus)
        self._exponent = gmpy2.mpz(2) ** 1024 - 3

    def once(self) -> None:
        """About a millisecond."""
        self._gmp.powmod(self._base, self._exponent, self._modulus)

    def side_by_side(self) -> None:
        """From here on the calling thread works while others do."""
        self._gmp.get_context().allow_release_gil = True


def read_loop(loops: int = _LOOPS) -> Reading:
    """Run the loop: about 40 ms."""
    loop, cpu, wall = _Loop(), [], []
    for _ in range(loops):
        cpu_start, wall_start = time.process_time_ns(), time.perf_counter_ns()
        loop.once()
        wall.append(time.perf_counter_ns() - wall_start)
        cpu.append(time.process_time_ns() - cpu_start)
    return Reading(statistics.median(cpu) / 1e9, statistics.median(wall) / 1e9)


def waited(loops: int = _LOOPS) -> float:
    """How much longer than its processor time the loop takes on every core at once: about 40 ms."""
    threads = min(cores(), _MOST_THREADS)
    ready = threading.Barrier(threads)

    def run(_: int) -> tuple[int, int]:
        loop = _Loop()
        loop.side_by_side()
        ready.wait()
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        for _ in range(loops):
            loop.once()
        return time.perf_counter_ns() - wall, time.thread_time_ns() - cpu

    with ThreadPoolExecutor(threads) as pool:
        taken = list(pool.map(run, range(threads)))
    return max(0.0, sum(wall for wall, _ in taken) / sum(cpu for _, cpu in taken) - 1.0)


@dataclass(slots=True)
class Drift:
    """All readings of a run, and the judgement.

    Args:
        limit: Largest relative distance from the reference that is accepted.
        patience: How often a reading that waited is taken again.
    """

    limit: float = DEFAULT_LIMIT
    patience: int = _WAITS
    readings: list[Reading] = field(default_factory=list)
    repeated: int = 0

    def read(self) -> Reading:
        """Take a reading."""
        self.readings.append(replace(read_loop(), waited=self._waited()))
        return self.readings[-1]

    def _waited(self) -> float:
        least = waited()
        for _ in range(self.patience):
            if least <= self.limit / 2:
                break
            time.sleep(_PAUSE_S)
            least = min(least, waited())
        return least

    def reference(self, clock: ClockKind) -> float:
        """The loop on the undisturbed machine: the median of the faster half of all readings.

        The minimum would make one lucky reading the judge of all others; the median of all would call a machine that
        was busy most of the time quiet.
        """
        times = sorted(r.of(clock) for r in self.readings)
        return statistics.median(times[: max(1, (len(times) + 1) // 2)])

    def beside(self, before: Reading, after: Reading, clock: ClockKind) -> float:
        """How far the loop was from the reference around a row, or how long it waited, if that is more."""
        reference = self.reference(clock)
        return max(max(abs(r.of(clock) / reference - 1.0), r.waited) for r in (before, after))

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
                f"the calibration loop moved or waited by {over[worst]:.0%} beside {worst}, and by more than "
                f"{self.limit:.0%} beside {len(over)} of {len(drifts)} cases: these figures would not be of this "
                "machine"
            ),
            instead="stop what else runs on the machine, or raise --max-drift and say so beside the figures",
        )
