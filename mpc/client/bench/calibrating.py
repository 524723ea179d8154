"""The planner's constants, measured on this machine.

Whole roles of a sum run at two lengths, so that what is paid once per key and what is paid per slot come apart.
"""

import contextlib
import datetime as dt
import itertools
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mpc.client.bench import queries, sums
from mpc.client.bench.cases import ClockKind, Resources
from mpc.client.bench.drift import Drift, Reading
from mpc.client.bench.machine import describe_machine
from mpc.client.bench.measure import clock_of
from mpc.client.bench.micro import threads_limited
from mpc.client.bench.sums import RoundRunner
from mpc.entropy import SystemEntropy
from mpc.packing.layout import VectorLayout
from mpc.params import ParameterSet, SchemeId, parameter_set
from mpc.plan.constants import COSTS_VARIABLE, CostConstants, SchemeConstants
from mpc.plan.cost import DEFAULT_MODEL
from mpc.schemes import secret

__all__ = ["calibrate"]

_SETS: Final[Mapping[SchemeId, tuple[str, int, int]]] = {
    SchemeId.CLEAR: ("insecure-clear-4096-t62", 16, 128),
    SchemeId.RLWE: ("rlwe-4096-t60", 16, 128),
    SchemeId.BFV: ("bfv-4096-t40", 4, 32),
    SchemeId.PAILLIER: ("paillier-3072-s64", 2, 12),
}
"""A set of each scheme, and two numbers of ciphertexts."""

_SAMPLES: Final = 5
_JOBS: Final = 15


@dataclass(frozen=True, slots=True)
class _Line:
    """Seconds = fixed + slots x slope, through two medians."""

    fixed_s: float
    slot_ns: float

    @classmethod
    def through(cls, few: tuple[int, float], many: tuple[int, float]) -> "_Line":
        slope = max(0.0, (many[1] - few[1]) / (many[0] - few[0]))
        return cls(fixed_s=max(0.0, few[1] - slope * few[0]), slot_ns=slope * 1e9)


def calibrate(
    progress: Callable[[str], None] = lambda _: None, *, drift: Drift | None = None, with_room: bool = True
) -> CostConstants:
    """Measure the constants; about a minute.

    Args:
        progress: Told what is measured next.
        drift: The judge of the machine's quiet; none asks for no judgement.
        with_room: Whether to start a room for the cost of a job; without it the reference machine's stands for it.

    Raises:
        ResourceExhausted: The machine was not quiet.
    """
    readings: list[tuple[str, ClockKind, Reading]] = []

    def next_is(what: str, clock: ClockKind = ClockKind.CPU) -> None:
        progress(what)
        if drift is not None:
            readings.append((what, clock, drift.read()))

    with threads_limited(1):
        lines = {}
        for scheme, (name, few, many) in _SETS.items():
            next_is(f"sums under {name}")
            lines[scheme] = _roles(parameter_set(name), few, many)
        next_is("masks")
        mask_ns = _mask_ns(lines[SchemeId.CLEAR])
        keys = {}
        for scheme, (name, _, _) in _SETS.items():
            next_is(f"keys of {name}")
            keys[scheme] = _key_s(parameter_set(name))
    # `clear` copies: what its party does beyond masks is packing, and its own copy is counted with it.
    packing_ns = max(0.0, lines[SchemeId.CLEAR]["party"].slot_ns - mask_ns)
    next_is("a job in a room of three parties", ClockKind.WALL)
    job_s, sum_s = _job_and_sum_s() if with_room else (DEFAULT_MODEL.job_s, DEFAULT_MODEL.sum_s)
    next_is("end")
    if drift is not None:
        steps = itertools.pairwise(readings)
        drift.judge({what: drift.beside(before, after, clock) for (what, clock, before), (_, _, after) in steps})
    machine = describe_machine()
    return CostConstants(
        machine=machine.cpu_model,
        commit=machine.commit,
        measured_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        mask_ns=round(mask_ns, 2),
        packing_ns=round(packing_ns, 2),
        job_s=round(job_s, 4),
        sum_s=round(sum_s, 4),
        schemes={
            scheme.value: _constants(scheme, roles, keys[scheme], mask_ns, packing_ns)
            for scheme, roles in lines.items()
        },
    )


def _constants(
    scheme: SchemeId, roles: Mapping[str, _Line], key_s: float, mask_ns: float, packing_ns: float
) -> SchemeConstants:
    parameters = parameter_set(_SETS[scheme][0])
    primes = len(parameters.lattice.moduli) if parameters.lattice and scheme is SchemeId.RLWE else 1
    once = sum(line.fixed_s for line in roles.values())
    return SchemeConstants(
        encrypt_ns=round(max(0.0, roles["party"].slot_ns - mask_ns - packing_ns) / primes, 3),
        add_ns=round(roles["coordinator"].slot_ns / 2 / primes, 3),
        decrypt_ns=round(max(0.0, roles["recipient"].slot_ns - packing_ns) / primes, 3),
        key_s=round(key_s + once, 5),
    )


def _roles(parameters: ParameterSet, few: int, many: int, parties: int = 2) -> dict[str, _Line]:
    """The three roles of a sum of two parties (one pair's masks) by number of slots."""
    short, long = _round(parameters, few, parties), _round(parameters, many, parties)
    return {
        role: _Line.through((few * parameters.slots, short[role]), (many * parameters.slots, long[role]))
        for role in short
    }


def _round(parameters: ParameterSet, ciphertexts: int, parties: int) -> dict[str, float]:
    probe = VectorLayout.compile(sums.requests_of(sums.vectors(parties, 1))[0].header.segments, parameters, parties)
    length = ciphertexts * probe.slots_per_ciphertext // probe.segments[0].limbs
    runner = RoundRunner(parameters, sums.requests_of(sums.vectors(parties, length)), ClockKind.CPU)
    runner.run()
    phases = [runner.run().phases for _ in range(_SAMPLES)]
    return {role: statistics.median(p[role] for p in phases) for role in phases[0]}


def _mask_ns(clear: Mapping[str, _Line]) -> float:
    """One more pair's mask, per slot: a party among six against a party among two."""
    name, few, many = _SETS[SchemeId.CLEAR]
    among_six = _roles(parameter_set(name), few, many, parties=6)["party"].slot_ns
    return max(0.0, (among_six - clear["party"].slot_ns) / 4)


def _key_s(parameters: ParameterSet) -> float:
    clock = clock_of(ClockKind.CPU)
    taken = []
    for _ in range(_SAMPLES):
        start = clock()
        secret.generate(parameters, SystemEntropy())
        taken.append(clock() - start)
    return statistics.median(taken)


@contextlib.contextmanager
def _without_constants() -> Iterator[None]:
    """Plan by the reference machine's constants: the file that is to be replaced may be out of order."""
    before = os.environ.get(COSTS_VARIABLE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[COSTS_VARIABLE] = str(Path(folder) / "none.toml")
        try:
            yield
        finally:
            del os.environ[COSTS_VARIABLE]
            if before is not None:
                os.environ[COSTS_VARIABLE] = before


def _job_and_sum_s() -> tuple[float, float]:
    """What a job takes beside its sums, and what a sum takes beside arithmetic and bytes, on loopback.

    Queries of one and of two sums take turns, over 1000 rows under `clear`, so that neither database nor arithmetic
    counts for much.
    """
    with _without_constants(), Resources() as resources:
        site = resources.enter("job", lambda: queries.site(1_000, 16, None))
        taken: dict[str, list[float]] = {"total": [], "discovered": []}
        for _ in range(_JOBS):
            for name, samples in taken.items():
                samples.append(site.client.sql(queries.QUERIES[name], scheme="clear").report.seconds)
    one, two = (statistics.median(samples[1:]) for samples in taken.values())
    sum_s = max(0.0, two - one)
    return max(0.0, one - sum_s), sum_s
