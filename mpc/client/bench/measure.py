"""Timing of one case: first run, warm samples alternating with the twin, peak memory.

The case and its twins alternate sample by sample, so that whatever moves the machine moves both, and the ratio of their
medians is steadier than either. Each takes the first place in turn, since what ran before leaves its traces: full
caches, a worker that is started anew. Samples shorter than 20 ms are means of several runs.
"""

import contextlib
import ctypes
import gc
import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mpc.client.bench.cases import ClockKind, Level, Observed, Work
from mpc.client.bench.records import Timing, Wire

__all__ = ["Effort", "Measured", "clock_of", "effort_of", "measure", "memory_of"]

_SHORTEST_SAMPLE_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long a case may take.

    Args:
        samples: Warm samples wanted; with none the cold run is all there is.
        budget_s: Elapsed seconds after which no further sample begins.
    """

    samples: int
    budget_s: float


def effort_of(level: Level) -> Effort:
    """The effort of a level."""
    match level:
        case Level.SMOKE:
            return Effort(samples=0, budget_s=0.0)
        case Level.QUICK:
            return Effort(samples=7, budget_s=0.8)
        case Level.FULL:
            return Effort(samples=11, budget_s=8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one case gave."""

    timing: Timing
    twins: dict[str, Timing]
    observed: Observed
    peak_bytes: int


@dataclass(slots=True)
class _Series:
    """Samples of one function."""

    run: Callable[[Any], Any]
    fresh: Callable[[], Any] | None
    clock: Callable[[], float]
    runs: int = 1
    cold_s: float = 0.0
    samples: list[float] = field(default_factory=list)

    def once(self) -> tuple[Any, float]:
        """One run with its time."""
        given = self.fresh() if self.fresh is not None else None
        start = self.clock()
        result = self.run(given)
        return result, self.clock() - start

    def first(self) -> Any:
        """The cold run; it also decides how many runs a sample takes."""
        result, self.cold_s = self.once()
        return result

    def settle(self, *, least_s: float) -> None:
        """Choose the runs of a sample by a warm run."""
        _, seconds = self.once()
        self.runs = min(10_000, max(1, math.ceil(least_s / max(seconds, 1e-7))))

    def sample(self) -> Any:
        """One sample; returns the last result. Where nothing is made afresh, the clock is read once around all runs."""
        total, result = 0.0, None
        if self.fresh is None:
            run, start = self.run, self.clock()
            for _ in range(self.runs):
                result = run(None)
            total = self.clock() - start
        else:
            for _ in range(self.runs):
                result, seconds = self.once()
                total += seconds
        self.samples.append(total / self.runs)
        return result

    def timing(self) -> Timing:
        """The summary."""
        kept = sorted(self.samples)
        low, _, high = statistics.quantiles(kept, n=4, method="inclusive") if len(kept) > 1 else (kept[0],) * 3
        return Timing(
            cold_s=self.cold_s,
            median_s=statistics.median(kept),
            low_s=low,
            high_s=high,
            least_s=kept[0],
            samples=len(kept),
            runs_per_sample=self.runs,
        )


def clock_of(kind: ClockKind) -> Callable[[], float]:
    """The clock of a kind, in seconds."""
    return time.process_time if kind is ClockKind.CPU else time.perf_counter


def measure(work: Work, effort: Effort) -> Measured:
    """Time prepared work.

    Raises:
        InternalError: A result is wrong.
    """
    clock = clock_of(work.clock)
    subject = _Series(work.run, work.fresh, clock)
    twins = {name: _Series(twin.run, twin.fresh, clock) for name, twin in work.twins.items()}
    result = subject.first()  # before its twins, which would warm what both of them use
    work.check(result)
    for series in twins.values():
        series.first()
    cold, warm, peak = work.observe(result), [], 0
    if effort.samples:
        peak = _peak_bytes(subject) if effort.budget_s else 0
        warm = _sampled(work, subject, list(twins.values()), effort)
    else:
        for series in (subject, *twins.values()):
            series.samples.append(series.cold_s)
    return Measured(
        timing=subject.timing(),
        twins={name: series.timing() for name, series in twins.items()},
        observed=_summary(warm or [cold]),
        peak_bytes=max(peak, cold.peak_bytes, *(o.peak_bytes for o in warm)),
    )


def _sampled(work: Work, subject: _Series, twins: list[_Series], effort: Effort) -> list[Observed]:
    """Take warm samples of a case and its twins in turn, until there are enough or the budget is used up."""
    started, observed = time.perf_counter(), []
    order = deque((subject, *twins))
    if effort.budget_s:
        for series in order:
            series.settle(least_s=_SHORTEST_SAMPLE_S)
    collecting = gc.isenabled()
    gc.disable()
    try:
        while len(subject.samples) < effort.samples:
            for series in order:
                result = series.sample()
                if series is subject:
                    observed.append(work.observe(result))
            order.rotate(1)
            if time.perf_counter() - started > effort.budget_s and len(subject.samples) >= min(3, effort.samples):
                break
    finally:
        if collecting:
            gc.enable()
        gc.collect()
    return observed


def _summary(observed: list[Observed]) -> Observed:
    phases = {n: statistics.median(o.phases.get(n, 0.0) for o in observed) for n in observed[-1].phases}
    figures = {n: statistics.median(o.figures.get(n, 0.0) for o in observed) for n in observed[-1].figures}
    up = int(statistics.median(o.wire.up_bytes for o in observed))
    down = int(statistics.median(o.wire.down_bytes for o in observed))
    return Observed(wire=Wire(up_bytes=up, down_bytes=down), phases=phases, figures=figures)


def _peak_bytes(subject: _Series) -> int:
    """Peak resident memory of one warm run beyond what was resident before it (Linux; 0 elsewhere).

    Writing 5 to `clear_refs` resets the process's high-water mark (proc(5)). What earlier runs freed goes back to the
    system first: the allocator keeps it resident, and a run that finds it there would seem to need nothing.
    """
    given = subject.fresh() if subject.fresh is not None else None
    gc.collect()
    with contextlib.suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = memory_of("self", "VmRSS")
        subject.run(given)
        return max(0, memory_of("self", "VmHWM") - before)
    except OSError:
        return 0


def memory_of(process: str | int, field_name: str = "VmHWM") -> int:
    """A field of a process's memory status in bytes (`OSError` where the system does not tell)."""
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    for line in text.splitlines():
        if line.startswith(field_name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field_name}")
