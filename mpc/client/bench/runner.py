"""Runs cases one after the other, each between two readings of the calibration loop."""

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from mpc.client.bench.cases import Case, ClockKind, Level, Resources, Unavailable, Work, security_bits
from mpc.client.bench.drift import Drift, Reading
from mpc.client.bench.machine import describe_machine, short_cpu
from mpc.client.bench.measure import Measured, effort_of, measure
from mpc.client.bench.records import Calibration, Machine, Results, Row, Skipped
from mpc.errors import MpcError

__all__ = ["Progress", "Runner"]

_ATTEMPTS: Final = 4
_SETTLE_S: Final = 0.5
_LONGEST_REASON: Final = 400

Progress = Callable[[int, int, str], None]
"""Called with the number of cases done, of how many, and the path that comes next."""


@dataclass(slots=True, kw_only=True)
class Runner:
    """One run of the suite.

    Args:
        level: How much is measured.
        drift: The judge of the machine's quiet.
        progress: Told before every case.
        judged: Whether a drift leads to a second measurement and in the end to a refusal; a smoke run only runs.
    """

    level: Level
    drift: Drift = field(default_factory=Drift)
    progress: Progress = lambda _done, _of, _path: None
    machine: Machine = field(default_factory=describe_machine)
    _rows: list[tuple[Row, ClockKind, Reading, Reading]] = field(default_factory=list, init=False)
    _skipped: list[Skipped] = field(default_factory=list, init=False)

    @property
    def judged(self) -> bool:
        """Whether the machine's quiet matters: a smoke run only runs."""
        return self.level is not Level.SMOKE

    def run(self, cases: Sequence[Case], *, only: tuple[str, ...] = ()) -> Results:
        """Measure the cases.

        Raises:
            ResourceExhausted: The machine was not quiet.
        """
        if not self.judged:
            self.drift.patience = 0
        started, clock = dt.datetime.now(dt.UTC), time.monotonic()
        self.drift.read()
        done = 0
        for _, group in groupby(cases, key=lambda c: c.group):
            with Resources() as resources:
                for case in group:
                    self.progress(done, len(cases), case.path)
                    self._case(case, resources)
                    done += 1
        self.progress(done, len(cases), "")
        rows = tuple(self._final(*entry) for entry in self._rows)
        if self.judged:
            self.drift.judge({row.path: row.drift for row in rows})
        return Results(
            level=self.level.value,
            only=only,
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - clock, 1),
            machine=self.machine,
            calibration=self._calibration(rows),
            rows=rows,
            skipped=tuple(self._skipped),
        )

    def _final(self, row: Row, clock: ClockKind, before: Reading, after: Reading) -> Row:
        """The row with its drift against the reference of the whole run, which only now is known."""
        import msgspec

        return msgspec.structs.replace(row, drift=round(self.drift.beside(before, after, clock), 4))

    def _calibration(self, rows: Iterable[Row]) -> Calibration:
        return Calibration(
            limit=self.drift.limit,
            cpu_reference_s=self.drift.reference(ClockKind.CPU),
            wall_reference_s=self.drift.reference(ClockKind.WALL),
            worst=max((row.drift for row in rows), default=0.0),
            repeated=self.drift.repeated,
        )

    def _case(self, case: Case, resources: Resources) -> None:
        try:
            with self._prepared(case, resources) as work:
                self._measure(case, work)
        except Unavailable as absent:
            self._skip(case, str(absent), failed=False)
        except MpcError as error:
            self._skip(case, str(error), failed=True)
        except Exception as error:  # noqa: BLE001 - a fault in one case must not cost the others their figures
            self._skip(case, f"{type(error).__name__}: {error}", failed=True)

    def _skip(self, case: Case, reason: str, *, failed: bool) -> None:
        self._skipped.append(Skipped(path=case.path, reason=" ".join(reason.split())[:_LONGEST_REASON], failed=failed))

    @contextmanager
    def _prepared(self, case: Case, resources: Resources) -> Iterator[Work]:
        with case.prepare(resources) as work:
            yield work

    def _measure(self, case: Case, work: Work) -> None:
        best: tuple[float, Row, Reading, Reading] | None = None
        for attempt in range(_ATTEMPTS if self.judged else 1):
            before = self.drift.read()
            measured = measure(work, effort_of(self.level))
            after = self.drift.read()
            moved = self.drift.beside(before, after, work.clock)
            if best is None or moved < best[0]:
                best = (moved, self._row(case, work, measured), before, after)
            if moved <= self.drift.limit:
                break
            self.drift.repeated += 1
            time.sleep(_SETTLE_S * attempt)
        if best is not None:
            self._rows.append((best[1], work.clock, best[2], best[3]))

    def _row(self, case: Case, work: Work, measured: Measured) -> Row:
        timing, wire = measured.timing, measured.observed.wire
        values = max(1, work.values)
        parameters = work.parameters
        bits = work.security if work.security is not None else (security_bits(parameters) if parameters else 0)
        return Row(
            path=case.path,
            group=case.group,
            clock=work.clock.value,
            timing=timing,
            twins=measured.twins,
            ratios={name: timing.median_s / t.median_s for name, t in measured.twins.items() if t.median_s > 0},
            values=work.values,
            ns_per_value=timing.median_s / values * 1e9,
            bytes_per_value=wire.up_bytes / values,
            wire=wire,
            phases=dict(measured.observed.phases),
            figures=dict(measured.observed.figures),
            labels=dict(case.labels),
            scheme=parameters.scheme.value if parameters else work.scheme,
            parameter_set=parameters.id if parameters else "",
            security_bits=bits,
            payload_bits=work.payload_bits,
            threads=work.threads,
            peak_bytes=measured.peak_bytes,
            drift=0.0,
            commit=self.machine.commit + ("+changes" if self.machine.dirty else ""),
            cpu=short_cpu(self.machine),
            notes=work.notes,
        )
