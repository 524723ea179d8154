"""Runs the suite's cases under pytest-benchmark: the same cases, checks and twins as `sealroom bench`.

pytest benchmarks --benchmark-disable        every case once, small: a smoke test for continuous integration
pytest benchmarks                            the quick level, with pytest-benchmark's own statistics and storage
pytest benchmarks --bench-level full -k rlwe
"""

import pytest

from mpc.client.bench.cases import Level, Resources, Unavailable, security_bits
from mpc.client.bench.machine import describe_machine, short_cpu
from mpc.client.bench.measure import effort_of, measure
from mpc.client.bench.suite import select


def pytest_addoption(parser):
    parser.addoption("--bench-level", choices=[level.value for level in Level], help="how much is measured")


def level_of(config):
    """The level asked for; without one, smoke where nothing is timed, else quick."""
    chosen = config.getoption("--bench-level")
    if chosen:
        return Level(chosen)
    return Level.SMOKE if config.getoption("--benchmark-disable") else Level.QUICK


def pytest_generate_tests(metafunc):
    """A test with a `case` gets every case of the sections that its module names."""
    if "case" in metafunc.fixturenames:
        cases = select(level_of(metafunc.config), metafunc.module.SECTIONS, peers=True)
        metafunc.parametrize("case", cases, ids=[case.path for case in cases])


class Groups:
    """Shared resources of one group of cases at a time: a room ends when the next group begins."""

    def __init__(self):
        self._name, self._resources = "", Resources()

    def of(self, name):
        if name != self._name:
            self._resources.close()
            self._name, self._resources = name, Resources()
        return self._resources

    def close(self):
        self._resources.close()


@pytest.fixture(scope="module")
def groups():
    held = Groups()
    yield held
    held.close()


@pytest.fixture(scope="session")
def machine():
    return describe_machine()


@pytest.fixture
def run_case(request, benchmark, groups, machine):
    """Prepare, check, time, and record a case's facts in the row's `extra_info`."""

    def run(case):
        level = level_of(request.config)
        try:
            with case.prepare(groups.of(case.group)) as work:
                # Twins, memory and bytes by the suite's own measurement, which also checks the answer.
                measured = measure(work, effort_of(level))
                benchmark.group = case.group
                if work.fresh is None:
                    benchmark(work.run, None)
                else:
                    rounds = max(1, effort_of(level).samples)
                    benchmark.pedantic(work.run, setup=lambda: ((work.fresh(),), {}), rounds=rounds, warmup_rounds=1)
        except Unavailable as absent:
            pytest.skip(str(absent))
        parameters, wire = work.parameters, measured.observed.wire
        benchmark.extra_info.update(
            path=case.path,
            parameter_set=parameters.id if parameters else work.scheme,
            security_bits=security_bits(parameters) if parameters else work.security or 0,
            threads=work.threads,
            cpu=short_cpu(machine),
            commit=machine.commit,
            values=work.values,
            up_bytes=wire.up_bytes,
            down_bytes=wire.down_bytes,
            peak_bytes=measured.peak_bytes,
            ratios={n: measured.timing.median_s / t.median_s for n, t in measured.twins.items() if t.median_s > 0},
            **{name: value for name, value in case.labels.items() if name != "threads"},
        )

    return run
