"""Protocol cases: whole rounds of `sum`, every role real, in one process.

One run is all parties' contributions (bound, cut, mask, pack, encrypt, digest), the coordinator's addition with its
checks, and the recipient's opening. Batches stream as they do over the network, so memory is that of a batch. Keys are
made beforehand; their cost is in `micro/schemes/*/keygen`. The twin adds the same vectors as plain arrays that are
written to bytes and read back, which is what a trusted coordinator would do.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.cases import Case, ClockKind, Level, Observed, Resources, Twin, Work, expect
from mpc.client.bench.machine import cores
from mpc.client.bench.measure import clock_of
from mpc.client.bench.micro import threads_limited
from mpc.client.bench.records import Wire
from mpc.keys.secret import SecretKey
from mpc.params import ParameterSet, SchemeId, parameter_set
from mpc.primitives import Sum, Totals
from mpc.schemes import secret as secret_schemes
from mpc.sum.opener import Opener
from mpc.testing.sums import Round

__all__ = ["VALUE_BITS", "Opened", "RoundRunner", "plain_sum", "prepared", "requests_of", "sum_cases", "vectors"]

VALUE_BITS: Final = 40
"""Every measured value is uniform below 2^40: money in cents, or a fixed-point number."""

_PARTIES: Final = 3
_SETS: Final = ("insecure-clear-4096-t62", "rlwe-2048-t30", "rlwe-4096-t60", "bfv-4096-t40", "paillier-3072-s64")

_LENGTHS: Final[Mapping[Level, tuple[int, ...]]] = {
    Level.SMOKE: (100,),
    Level.QUICK: (10, 100, 1_000, 10_000, 100_000),
    Level.FULL: (10, 100, 1_000, 10_000, 100_000, 1_000_000),
}
_PAILLIER_MOST: Final[Mapping[Level, int]] = {Level.SMOKE: 100, Level.QUICK: 1_000, Level.FULL: 10_000}
_SCALING_SET: Final = "rlwe-4096-t60"
_SCALING: Final[Mapping[Level, tuple[int, tuple[int, ...]]]] = {
    Level.SMOKE: (100, ()),
    Level.QUICK: (20_000, (2, 3, 5, 8)),
    Level.FULL: (100_000, (2, 3, 5, 8, 16)),
}
"""Length, and numbers of parties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a round gives: totals, seconds by role, bytes."""

    totals: Totals
    phases: Mapping[str, float]
    wire: Wire


class RoundRunner:
    """Runs one round again and again under one key, each time as if the key had never been opened.

    Args:
        parameters: The set.
        requests: One per party.
        clock: Seconds of the roles are read from it.
    """

    def __init__(self, parameters: ParameterSet, requests: Sequence[Sum], clock: ClockKind = ClockKind.CPU) -> None:
        self._round = Round.make(parameters, requests)
        self._clock = clock_of(clock)

    def run(self) -> Opened:
        """All roles; every ciphertext is dropped as soon as it was used."""
        current, clock = self._round, self._clock
        aggregator = current.aggregator()
        key = SecretKey(current.parameters.id, current.secret.material())
        start = clock()
        opener = Opener(current.layout, secret_schemes.decryptor(key), current.transcript())
        opening, contributing, adding = clock() - start, 0.0, 0.0
        up = down = 0
        start = clock()
        streams = {p: current.contributor(p).batches() for p in current.requests}
        contributing += clock() - start
        while True:
            start = clock()
            batch = {p: b for p, b in ((p, next(s, None)) for p, s in streams.items()) if b is not None}
            contributing += clock() - start
            if not batch:
                break
            up += sum(len(c) for ciphertexts in batch.values() for c in ciphertexts)
            start = clock()
            summed = aggregator.add(batch)
            adding += clock() - start
            down += sum(map(len, summed))
            start = clock()
            opener.take(summed)
            opening += clock() - start
        start = clock()
        totals = opener.totals()
        opening += clock() - start
        phases = {"party": contributing / len(streams), "coordinator": adding, "recipient": opening}
        return Opened(totals=totals, phases=phases, wire=Wire(up_bytes=up, down_bytes=down))


def vectors(parties: int, length: int, bits: int = VALUE_BITS) -> list[NDArray[np.int64]]:
    """One vector per party, the same in every run."""
    return [np.random.default_rng([7, p]).integers(0, 1 << bits, length, dtype=np.int64) for p in range(parties)]


def requests_of(data: Sequence[NDArray[np.int64]]) -> list[Sum]:
    """The parties' requests for the total of their vectors."""
    return [Sum.of("benchmark", {"x": values}, 1 << VALUE_BITS) for values in data]


def plain_sum(data: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """A trusted coordinator: every vector to bytes, added as it is read, the total to bytes and back."""
    total = np.zeros(len(data[0]), dtype=np.int64)
    for values in data:
        total += np.frombuffer(values.tobytes(), dtype=np.int64)
    return np.frombuffer(total.tobytes(), dtype=np.int64)


def _observe(opened: Opened) -> Observed:
    return Observed(wire=opened.wire, phases=opened.phases)


@contextlib.contextmanager
def prepared(
    name: str, length: int, parties: int, _resources: Resources, *, threads: int = 1, scaling: bool = False
) -> Iterator[Work]:
    """One round under a set: vectors of a length from some parties.

    Args:
        name: The parameter set.
        length: Values per party.
        parties: Number of parties.
        threads: Threads that compute.
        scaling: Whether elapsed time counts, to compare numbers of threads.
    """
    parameters = parameter_set(name)
    clock = ClockKind.WALL if scaling else ClockKind.CPU
    data = vectors(parties, length)
    total = np.sum(data, axis=0)
    with threads_limited(threads):
        runner = RoundRunner(parameters, requests_of(data), clock)

        def check(opened: Opened) -> None:
            expect(np.array_equal(np.asarray(opened.totals["x"], dtype=np.int64), total), "the total is wrong")

        yield Work(
            run=lambda _: runner.run(),
            check=check,
            observe=_observe,
            twins={"numpy": Twin(lambda _: plain_sum(data))},
            values=length * parties,
            parameters=parameters,
            payload_bits=VALUE_BITS,
            threads=threads,
            clock=clock,
        )


def _case(name: str, length: int, parties: int, *, threads: int = 0) -> Case:
    """A case; with `threads` it is one of the comparison of threads."""
    path = f"protocols/sum/{name}/n{length}/p{parties}"
    return Case(
        path=f"{path}/threads{threads}" if threads else path,
        group="protocols/sum",
        labels={"set": name, "length": length, "parties": parties, "threads": threads or 1},
        prepare=partial(prepared, name, length, parties, threads=threads or 1, scaling=bool(threads)),
    )


def sum_cases(level: Level) -> Iterator[Case]:
    """By scheme and length; by parties; by threads."""
    for name in _SETS:
        most = _PAILLIER_MOST[level] if parameter_set(name).scheme is SchemeId.PAILLIER else max(_LENGTHS[level])
        for length in (n for n in _LENGTHS[level] if n <= most):
            yield _case(name, length, _PARTIES)
    length, numbers = _SCALING[level]
    for parties in numbers:
        if parties != _PARTIES or length not in _LENGTHS[level]:
            yield _case(_SCALING_SET, length, parties)
    if level is not Level.SMOKE:
        for threads in sorted({1, 2, 4, 8, cores()} & set(range(1, cores() + 1))):
            yield _case(_SCALING_SET, max(_LENGTHS[level]), _PARTIES, threads=threads)
