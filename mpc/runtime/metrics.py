"""Counters for operators, in Prometheus's terms. Every label is from a closed list or a member's name; none is data.

One `Metrics` belongs to one node and has a registry of its own, so that several nodes in a process do not add up.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from mpc import __version__

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_CALL_BUCKETS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0)
_PHASE_BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1800.0)


class _Live:
    """Gauges that are read from the node when somebody asks."""

    def __init__(self) -> None:
        self.readings: dict[tuple[str, str, str], Callable[[], dict[str, float]]] = {}

    def collect(self) -> Iterator[Metric]:
        """The present values."""
        for (name, meaning, label), reading in self.readings.items():
            family = GaugeMetricFamily(name, meaning, labels=[label] if label else [])
            for value, number in reading().items():
                family.add_metric([value] if label else [], number)
            yield family


class Metrics:
    """What one node counts.

    | metric | labels | meaning |
    |---|---|---|
    | `sealroom_jobs_total` | kind, outcome | jobs that ended: `released`, `aborted` (parties), or an error's code |
    | `sealroom_jobs_open` | state | jobs that are open now |
    | `sealroom_rounds_total` | | sums in which this node took part |
    | `sealroom_ciphertexts_total` | direction | ciphertexts sent and received |
    | `sealroom_ciphertext_bytes_total` | direction | their bytes |
    | `sealroom_phase_seconds` | phase | time by phase of a job |
    | `sealroom_calls_total` | method, code | calls served: `ok`, or the code of the error |
    | `sealroom_call_seconds` | method | how long they took |
    | `sealroom_workers` | state | worker processes now, `idle` and `busy` |
    | `sealroom_worker_starts_total` | | worker processes started |
    | `sealroom_worker_ends_total` | reason | those that ended: with a `job`, long `idle`, or `died` (a crash, a kill) |
    | `sealroom_certificate_expiry_seconds` | | when this node's certificate ends, in seconds since 1970 |
    | `sealroom_catalogue_bytes` | catalogue | memory of a party's encoded catalogues now |
    | `sealroom_ready` | | 1 when `/readyz` says yes |
    | `sealroom_build` | version | 1 |
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._jobs = Counter("sealroom_jobs", "Jobs that ended.", ["kind", "outcome"], registry=registry)
        self._rounds = Counter("sealroom_rounds", "Sums in which this node took part.", registry=registry)
        self._ciphertexts = Counter(
            "sealroom_ciphertexts", "Ciphertexts sent and received.", ["direction"], registry=registry
        )
        self._bytes = Counter("sealroom_ciphertext_bytes", "Bytes of ciphertexts.", ["direction"], registry=registry)
        self._phases = Histogram(
            "sealroom_phase_seconds", "Time by phase of a job.", ["phase"], buckets=_PHASE_BUCKETS, registry=registry
        )
        self._calls = Counter("sealroom_calls", "Calls served.", ["method", "code"], registry=registry)
        self._call_seconds = Histogram(
            "sealroom_call_seconds", "Time of calls.", ["method"], buckets=_CALL_BUCKETS, registry=registry
        )
        self._starts = Counter("sealroom_worker_starts", "Worker processes started.", registry=registry)
        self._ends = Counter("sealroom_worker_ends", "Worker processes that ended.", ["reason"], registry=registry)
        Gauge("sealroom_build", "The software.", ["version"], registry=registry).labels(__version__).set(1)
        self._live = _Live()
        registry.register(self._live)

    def watch(self, name: str, meaning: str, reading: Callable[[], dict[str, float]], *, label: str = "") -> None:
        """Show a value, or one per value of a label, that is read when somebody asks.

        Args:
            name: The metric, which this class's table lists.
            meaning: One sentence.
            reading: Called at each scrape: label value -> number; without a label, one entry with any key.
            label: The label's name.
        """
        self._live.readings[name, meaning, label] = reading

    def job_ended(self, kind: str, outcome: str) -> None:
        """Count a job that ended: `released`, `aborted`, or the code of the error that ended it."""
        self._jobs.labels(kind, outcome).inc()

    def rounds_done(self, number: int = 1) -> None:
        """Count sums."""
        self._rounds.inc(number)

    def moved(self, direction: str, ciphertexts: int, size: int) -> None:
        """Count ciphertexts that were `sent` or `received`."""
        self._ciphertexts.labels(direction).inc(ciphertexts)
        self._bytes.labels(direction).inc(size)

    def phase(self, name: str, seconds: float) -> None:
        """Record how long a phase took."""
        self._phases.labels(name).observe(seconds)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Record how long a block takes."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.phase(phase, time.monotonic() - started)

    def call(self, method: str, code: str, seconds: float) -> None:
        """Count a call that was served."""
        self._calls.labels(method, code).inc()
        self._call_seconds.labels(method).observe(seconds)

    def worker_started(self) -> None:
        """Count a worker's start."""
        self._starts.inc()

    def worker_ended(self, reason: str) -> None:
        """Count a worker's end."""
        self._ends.labels(reason).inc()

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)
