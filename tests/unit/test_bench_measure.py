"""Timing, twins, drift and the runner, on work whose behaviour is known."""

import contextlib
import math
import subprocess
import sys

import pytest

from mpc.client.bench import drift as drifting
from mpc.client.bench import measure as measuring
from mpc.client.bench import runner
from mpc.client.bench.cases import Case, ClockKind, Level, Observed, Resources, Twin, Unavailable, Work, expect
from mpc.client.bench.drift import Drift, Reading, read_loop
from mpc.client.bench.machine import cores
from mpc.client.bench.measure import Effort, effort_of, measure
from mpc.client.bench.records import Wire
from mpc.client.bench.runner import Runner
from mpc.errors import InternalError, ResourceExhausted


class Clocks:
    """Elapsed and processor time that pass when a test says so."""

    def __init__(self):
        self.elapsed = self.used = 100.0

    def perf_counter(self):
        return self.elapsed

    def process_time(self):
        return self.used

    def compute(self, seconds):
        self.elapsed += seconds
        self.used += seconds

    def wait(self, seconds):
        self.elapsed += seconds


@pytest.fixture
def clocks(monkeypatch):
    made = Clocks()
    monkeypatch.setattr(measuring, "time", made)
    return made


def working(clocks, **more):
    """Work that computes for 20 ms and waits for 30 ms, and a twin that takes half of both."""

    def run(share):
        def one(_):
            clocks.compute(0.02 * share)
            clocks.wait(0.03 * share)

        return one

    given = {"run": run(1.0), "check": lambda _: None, "values": 10, "twins": {"half": Twin(run(0.5))}}
    return Work(**{**given, **more})


def case(path, work, group="g"):
    @contextlib.contextmanager
    def prepare(_resources):
        yield work() if callable(work) else work

    return Case(path=path, group=group, labels={}, prepare=prepare)


@pytest.mark.parametrize(("kind", "seconds"), [(ClockKind.WALL, 0.05), (ClockKind.CPU, 0.02)])
def test_a_clock_counts_what_it_should_and_a_twin_of_half_the_work_has_half_the_time(clocks, kind, seconds):
    measured = measure(working(clocks, clock=kind), Effort(samples=3, budget_s=5))

    assert measured.timing.least_s == pytest.approx(seconds)
    assert measured.timing.median_s == pytest.approx(seconds)
    assert measured.timing.cold_s == pytest.approx(seconds)
    assert measured.twins["half"].median_s == pytest.approx(seconds / 2)


def test_short_work_is_repeated_within_a_sample(clocks):
    measured = measure(working(clocks, run=lambda _: clocks.compute(3e-6), twins={}), Effort(samples=2, budget_s=1))

    assert measured.timing.runs_per_sample == math.ceil(measuring._SHORTEST_SAMPLE_S / 3e-6) > 100
    assert measured.timing.median_s == pytest.approx(3e-6)


def test_what_is_made_afresh_is_not_timed_and_used_once(clocks):
    made, used = [], []

    def fresh():
        clocks.compute(0.03)
        made.append(object())
        return made[-1]

    def run(given):
        clocks.compute(0.001)
        used.append(given)

    measured = measure(working(clocks, run=run, fresh=fresh, twins={}), Effort(samples=2, budget_s=0.0))

    assert measured.timing.median_s == pytest.approx(0.001)
    assert used == made


def test_a_wrong_answer_gives_no_figure():
    wrong = Work(run=lambda _: 41, check=lambda r: expect(r == 42, "wrong"), twins={}, values=1)

    with pytest.raises(InternalError):
        measure(wrong, effort_of(Level.SMOKE))


def test_peak_memory_is_that_of_one_run():
    def run(_):
        return bytearray(64 << 20)[-1]

    measured = measure(Work(run=run, check=lambda _: None, twins={}, values=1), Effort(samples=1, budget_s=0.01))

    if measured.peak_bytes == 0:
        pytest.skip("this system does not tell a process's peak memory")
    assert 60 << 20 < measured.peak_bytes < 80 << 20


def test_peak_memory_is_seen_though_the_allocator_holds_what_earlier_runs_freed():
    def run(_):
        return sum(len(piece) for piece in [bytes(60_000) for _ in range(200)])  # below the size that is mapped anew

    kept = [bytes(60_000) for _ in range(400)]
    pinned = kept[-1]
    del kept
    measured = measure(Work(run=run, check=lambda _: None, twins={}, values=1), Effort(samples=1, budget_s=0.01))

    assert len(pinned) == 60_000
    if measured.peak_bytes == 0 and not sys.platform.startswith("linux"):
        pytest.skip("this system does not tell a process's peak memory")
    assert measured.peak_bytes > 8_000_000


def test_cold_is_before_the_twins():
    seen = []
    work = Work(
        run=lambda _: seen.append("case"),
        check=lambda _: None,
        twins={"twin": Twin(lambda _: seen.append("twin"))},
        values=1,
    )

    measure(work, effort_of(Level.SMOKE))

    assert seen == ["case", "twin"]


def test_case_and_twins_take_the_first_place_in_turn():
    seen = []
    work = Work(
        run=lambda _: seen.append("case"),
        check=lambda _: None,
        twins={name: Twin(lambda _, name=name: seen.append(name)) for name in ("a", "b")},
        values=1,
    )

    measure(work, Effort(samples=3, budget_s=0.0))

    firsts = seen[3::3]
    assert sorted(firsts) == ["a", "b", "case"]
    assert all(seen.count(name) == 4 for name in firsts)


def test_observations_are_medians_of_the_warm_samples():
    sizes = iter([1000, 10, 20, 30])
    work = Work(
        run=lambda _: next(sizes),
        check=lambda _: None,
        twins={},
        values=1,
        fresh=lambda: None,
        observe=lambda size: Observed(wire=Wire(up_bytes=size), phases={"a": size / 10}, figures={"f": size * 2.0}),
    )

    measured = measure(work, Effort(samples=3, budget_s=0.0))

    assert measured.observed.wire.up_bytes == 20
    assert measured.observed.phases == {"a": 2.0}
    assert measured.observed.figures == {"f": 40.0}


class ScriptedDrift(Drift):
    """A judge whose loop takes the times that a test gives it, then the last one for ever."""

    def __init__(self, times, limit=0.1):
        super().__init__(limit=limit)
        self.times = list(times)

    def read(self):
        now = self.times.pop(0) if len(self.times) > 1 else self.times[0]
        self.readings.append(Reading(now, now))
        return self.readings[-1]


def test_the_loop_takes_about_a_millisecond_of_real_work():
    reading = read_loop(3)

    assert 1e-5 < reading.cpu_s < 0.1


def test_the_reference_is_of_the_faster_half():
    drift = Drift(readings=[Reading(s, s) for s in (1.0, 1.02, 1.04, 3.0, 4.0)])

    assert drift.reference(ClockKind.CPU) == 1.02
    assert drift.beside(Reading(1.02, 1.02), Reading(1.53, 1.53), ClockKind.WALL) == pytest.approx(0.5)


@pytest.mark.parametrize("clock", list(ClockKind))
def test_a_neighbour_that_is_always_there_is_seen(clock, monkeypatch):
    if cores() > 8:
        pytest.skip("too many cores to keep busy")
    monkeypatch.setattr(runner, "_ATTEMPTS", 1)
    monkeypatch.setattr(drifting, "_PAUSE_S", 0.0)
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores())]
    try:
        with pytest.raises(ResourceExhausted, match="a/b"):
            run_one(Drift(), working(Clocks(), twins={}, clock=clock))
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


@pytest.mark.parametrize("clock", list(ClockKind))
def test_a_row_is_judged_by_waiting_whatever_its_clock(clock):
    drift = Drift(readings=[Reading(1.0, 1.0)])
    quiet, waiting = Reading(1.0, 1.0), Reading(1.0, 1.0, 0.4)

    assert drift.beside(quiet, waiting, clock) == 0.4
    assert drift.beside(waiting, quiet, clock) == 0.4
    assert drift.beside(quiet, Reading(1.5, 1.5, 0.4), clock) == 0.5


def test_what_a_row_leaves_behind_is_waited_out(monkeypatch):
    seen = iter([0.5, 0.3, 0.01, 9.0])
    monkeypatch.setattr(drifting, "waited", lambda: next(seen))
    monkeypatch.setattr(drifting, "_PAUSE_S", 0.0)

    assert Drift().read().waited == 0.01


def test_a_smoke_run_does_not_wait_for_quiet(monkeypatch):
    readings = []
    monkeypatch.setattr(drifting, "waited", lambda: readings.append(0.9) or 0.9)

    run_one(Drift(), level=Level.SMOKE)

    assert len(readings) == 3  # at the start, before the case, after it


def test_waiting_that_stays_is_the_least_that_was_seen(monkeypatch):
    seen = iter([0.5, 0.3, 0.4, 0.6, 9.0])
    monkeypatch.setattr(drifting, "waited", lambda: next(seen))
    monkeypatch.setattr(drifting, "_PAUSE_S", 0.0)

    assert Drift().read().waited == 0.3


def run_one(drift, work=None, level=Level.QUICK):
    made = work or Work(run=lambda _: 1, check=lambda _: None, twins={}, values=1)
    return Runner(level=level, drift=drift).run([case("a/b", made)])


def test_a_quiet_machine_reports():
    results = run_one(ScriptedDrift([1.0]))

    assert results.rows[0].drift == 0.0
    assert results.calibration.repeated == 0


def test_a_disturbed_case_is_measured_again():
    #                    start  before after | again: before after
    drift = ScriptedDrift([1.0, 1.0, 1.6, 1.0, 1.0])

    results = run_one(drift)

    assert results.calibration.repeated == 1
    assert results.rows[0].drift == 0.0


def test_a_machine_that_stays_busy_gets_no_report():
    drift = ScriptedDrift([1.0, *[1.0, 2.0] * 40, 2.0])

    with pytest.raises(ResourceExhausted) as raised:
        run_one(drift)

    assert "a/b" in raised.value.public
    assert drift.repeated == 4


def test_a_smoke_run_is_not_judged():
    results = run_one(ScriptedDrift([1.0, 5.0, 1.0, 9.0]), level=Level.SMOKE)

    assert len(results.rows) == 1


def test_failures_and_absences_are_named_and_cost_nothing_else():
    def absent():
        raise Unavailable("nolib is not installed")

    def broken():
        raise ValueError("no good")

    wrong = Work(
        run=lambda _: 0, check=lambda _: expect(condition=False, statement="the total is wrong"), twins={}, values=1
    )
    good = Work(run=lambda _: 0, check=lambda _: None, twins={}, values=1)
    cases = [case("x/absent", absent), case("x/broken", broken), case("x/wrong", wrong), case("x/good", good)]

    results = Runner(level=Level.SMOKE, drift=ScriptedDrift([1.0])).run(cases)

    assert [row.path for row in results.rows] == ["x/good"]
    assert [(s.path, s.failed) for s in results.skipped] == [("x/absent", False), ("x/broken", True), ("x/wrong", True)]
    assert "ValueError: no good" in results.skipped[1].reason


def test_rows_stand_alone():
    row = run_one(ScriptedDrift([1.0]), working(Clocks())).rows[0]

    assert row.commit
    assert row.cpu
    assert row.threads == 1
    assert row.ns_per_value == pytest.approx(row.timing.median_s / 10 * 1e9)


def test_shared_resources_are_made_once_and_closed_in_reverse():
    seen = []

    @contextlib.contextmanager
    def opened(name):
        seen.append(f"+{name}")
        yield name
        seen.append(f"-{name}")

    with Resources() as resources:
        for _ in range(2):
            assert resources.enter("a", lambda: opened("a")) == "a"
            assert resources.enter("b", lambda: opened("b")) == "b"

    assert seen == ["+a", "+b", "-b", "-a"]


def test_what_could_not_be_made_is_not_tried_again():
    tries = []

    def make():
        tries.append(1)
        raise OSError("no")

    resources = Resources()
    for _ in range(3):
        with pytest.raises(OSError, match="no"):
            resources.get("room", make)

    assert len(tries) == 1
