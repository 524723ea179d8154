"""Planner cases: what the cost model predicts against what is measured.

`planner/sum` compares the roles of one sum in this process; `planner/query` a whole query through a room, from the call
to the answer, over loopback and over lines, as EXPLAIN predicts it before anything has run. The databases' own work is
not predicted: the tables are small enough for it not to count. The model is this machine's if it was calibrated.
Figures of a row: `predicted_s`, `measured_s`, `predicted_bytes`, `measured_bytes`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from mpc.client.bench import queries, sums
from mpc.client.bench.cases import Case, ClockKind, Level, Observed, Resources, Work, expect
from mpc.client.bench.machine import cores
from mpc.client.bench.measure import clock_of
from mpc.client.bench.micro import threads_limited
from mpc.entropy import SystemEntropy
from mpc.params import parameter_set
from mpc.plan.constants import calibrated_model
from mpc.plan.cost import Line, cost_of
from mpc.schemes import secret

if TYPE_CHECKING:
    from mpc.client.answer import Answer

__all__ = ["planner_cases"]

_PARTIES: Final = 3
_SUMS: Final[Mapping[Level, tuple[tuple[str, int], ...]]] = {
    Level.SMOKE: (("rlwe-4096-t60", 100),),
    Level.QUICK: tuple(
        (name, length)
        for name in ("rlwe-2048-t30", "rlwe-4096-t60", "bfv-4096-t40", "paillier-3072-s64")
        for length in (100, 1_000, 20_000)
        if name != "paillier-3072-s64" or length <= 1_000
    ),
}
_ROWS: Final = 1_000
_ROOMS: Final[Mapping[Level, tuple[tuple[int, tuple[int, int] | None], ...]]] = {
    Level.SMOKE: ((16, None),),
    Level.QUICK: ((100, None), (10_000, None)),
    Level.FULL: ((100, None), (10_000, None), (1_000, (20, 100)), (1_000, (50, 20))),
}
"""Groups of `by-product`, and the line: one-way delay in milliseconds, and megabits per second."""


@contextlib.contextmanager
def _sum(name: str, length: int, resources: Resources) -> Iterator[Work]:
    parameters = parameter_set(name)
    segments = sums.requests_of(sums.vectors(_PARTIES, length))[0].header.segments
    predicted = cost_of(segments, _PARTIES, parameters, calibrated_model())
    clock = clock_of(ClockKind.CPU)

    def observe(result: tuple[float, sums.Opened]) -> Observed:
        phases = {"key": result[0], **result[1].phases}
        return Observed(
            wire=result[1].wire,
            phases=phases,
            figures={
                "predicted_s": predicted.party_s + predicted.coordinator_s + predicted.opener_s,
                "measured_s": sum(phases.values()),
                "predicted_bytes": float(_PARTIES * predicted.upload_bytes),
                "measured_bytes": float(result[1].wire.up_bytes),
            },
        )

    with threads_limited(1), sums.prepared(name, length, _PARTIES, resources) as work:

        def run(_: object) -> tuple[float, sums.Opened]:
            start = clock()
            secret.generate(parameters, SystemEntropy())
            return clock() - start, work.run(None)

        yield Work(
            run=run,
            check=lambda result: work.check(result[1]),
            observe=observe,
            twins={},
            values=work.values,
            parameters=parameters,
            payload_bits=work.payload_bits,
        )


@contextlib.contextmanager
def _query(sql: str, groups: int, line: tuple[int, int] | None, resources: Resources) -> Iterator[Work]:
    site = resources.enter("room", lambda: queries.site(_ROWS, groups, line))
    stated = Line(latency_s=line[0] / 1e3, megabits_per_s=line[1]) if line else None
    explained = site.client.explain(sql, line=stated)
    parameters, right = parameter_set(explained.parameter_set), site.check(sql)

    def check(answer: "Answer") -> None:
        right(answer)
        expect(answer.report.parameter_set == parameters.id, "another set was chosen than EXPLAIN said")

    def observe(answer: "Answer") -> Observed:
        seen = site.observe(answer)
        return Observed(
            wire=seen.wire,
            phases=seen.phases,
            peak_bytes=seen.peak_bytes,
            figures={
                "predicted_s": explained.seconds,
                "measured_s": answer.report.seconds,
                "predicted_bytes": float(explained.bytes_per_party * explained.participants),
                "measured_bytes": float(seen.wire.up_bytes),
            },
        )

    yield Work(
        run=lambda _: site.client.sql(sql, line=stated),
        check=check,
        observe=observe,
        twins={},
        values=_ROWS * explained.participants,
        parameters=parameters,
        threads=cores(),
        clock=ClockKind.WALL,
    )


def planner_cases(level: Level) -> Iterator[Case]:
    """Sums by set and length; the SQL set by number of groups and by line."""
    for name, length in _SUMS.get(level, _SUMS[Level.QUICK]):
        yield Case(
            path=f"planner/sum/{name}/n{length}",
            group="planner/sum",
            labels={"set": name, "length": length, "parties": _PARTIES},
            prepare=partial(_sum, name, length),
        )
    for groups, line in _ROOMS.get(level, _ROOMS[Level.QUICK]):
        room = f"g{groups}" if line is None else f"g{groups}-{line[0]}ms-{line[1]}mbit"
        delay, rate = line or (0, 0)
        for query, sql in queries.QUERIES.items():
            yield Case(
                path=f"planner/query/{room}/{query}",
                group=f"planner/query/{room}",
                labels={
                    "query": query, "rows": _ROWS, "groups": groups, "parties": _PARTIES,
                    "delay_ms": delay, "megabits": rate,
                },
                prepare=partial(_query, sql, groups, line),
            )  # fmt: skip
