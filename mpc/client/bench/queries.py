"""Query cases: the SQL set through a whole room, over row counts and group counts.

Each query runs over gRPC and mutual TLS between processes, encrypted. Its twins are the same plan with the `clear`
scheme (what the protocol costs without encryption) and the same SQL in DuckDB over the pooled table (what a trusted
party would pay). All three must agree.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mpc.client.bench.cases import Case, ClockKind, Level, Observed, Resources, Twin, Work, expect
from mpc.client.bench.machine import cores
from mpc.client.bench.records import Wire
from mpc.client.bench.rooms import LinedRoom, peak_bytes
from mpc.params import parameter_set

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from mpc.client.answer import Answer
    from mpc.client.client import Client
    from mpc.client.local import LocalRoom
    from mpc.keys.dictionary import Dictionary

__all__ = ["QUERIES", "Site", "line_cases", "loopback_cases", "query_cases", "site"]

PARTIES: Final = ("east", "north", "south")
_MORE_PARTIES: Final = (*PARTIES, "west", "coast", "hills", "isles", "plain")
_REGIONS: Final = tuple(f"r{i}" for i in range(8))

QUERIES: Final[Mapping[str, str]] = {
    "total": "SELECT COUNT(*) AS n, SUM(amount) AS total FROM sales",
    "filter": "SELECT COUNT(*) AS n, SUM(amount) AS total FROM sales WHERE quantity >= 5 AND amount < 80000",
    "moments": "SELECT AVG(amount) AS mean, STDDEV_SAMP(amount) AS deviation, CORR(amount, quantity) AS r FROM sales",
    "by-region": "SELECT region, COUNT(*) AS n, SUM(amount) AS total FROM sales GROUP BY region ORDER BY region",
    "by-product": "SELECT product, COUNT(*) AS n, SUM(amount) AS total FROM sales GROUP BY product ORDER BY product",
    "discovered": "SELECT country, COUNT(*) AS n FROM sales GROUP BY country ORDER BY country",
}
"""By name. `by-product` has as many groups as the case says; `discovered` opens its keys by a round of its own."""

_SIZES: Final[Mapping[Level, tuple[tuple[int, int], ...]]] = {
    Level.SMOKE: ((500, 16),),
    Level.QUICK: ((10_000, 100), (1_000_000, 1_000)),
    Level.FULL: ((10_000, 100), (1_000_000, 1_000), (1_000_000, 10_000), (5_000_000, 1_000)),
}
"""Rows per party and groups of `by-product`."""

_LOOPBACK: Final[Mapping[Level, tuple[tuple[int, int], ...]]] = {
    Level.SMOKE: ((16, 2),),
    Level.QUICK: ((10, 3), (1_000, 2), (1_000, 3), (1_000, 5), (1_000, 8), (10_000, 3)),
    Level.FULL: ((10, 3), (1_000, 2), (1_000, 3), (1_000, 5), (1_000, 8), (10_000, 3), (10_000, 8), (50_000, 3)),
}
"""Groups and parties."""

_LINES: Final[Mapping[Level, tuple[tuple[int, int], ...]]] = {
    Level.SMOKE: ((1, 1000),),
    Level.QUICK: ((20, 100), (50, 20)),
    Level.FULL: ((20, 100), (20, 20), (50, 100), (50, 20)),
}
"""One-way delay in milliseconds, and megabits per second."""

_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Site:
    """A running room with its tables pooled in DuckDB beside it."""

    room: "LocalRoom"
    client: "Client"
    pooled: "duckdb.DuckDBPyConnection"

    def plain(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer over the pooled table."""
        found: list[tuple[Any, ...]] = self.pooled.execute(sql).fetchall()
        return found

    def check(self, sql: str) -> "Callable[[Answer], None]":
        """Refuses answers that differ from the pooled table's."""
        wanted = self.plain(sql)

        def checked(answer: "Answer") -> None:
            expect(_same(list(answer.values), wanted), "the answer differs from the pooled table's")

        return checked

    def observe(self, answer: "Answer") -> Observed:
        """Bytes, phases and memory of an answered query."""
        report = answer.report
        up = sum(report.traffic[p].get("bytes_received", 0) for p in report.participants if p in report.traffic)
        wire = Wire(up_bytes=up, down_bytes=report.bytes_received)
        peak = peak_bytes(self.room, dict.fromkeys((*report.participants, "coordinator")))
        return Observed(wire=wire, phases=dict(report.phases), peak_bytes=peak)


def table(rows: int, groups: int, seed: int) -> "pa.Table":
    """One party's sales; every group occurs where there are rows enough."""
    import pyarrow as pa

    draw = np.random.default_rng([11, seed])
    product = np.arange(rows, dtype=np.int32) % groups
    draw.shuffle(product)
    return pa.table(
        {
            "region": pa.array(np.array(_REGIONS)[draw.integers(0, len(_REGIONS), rows)]),
            "country": pa.array(np.array([f"country {i}" for i in range(30)])[draw.integers(0, 30, rows)]),
            "product": product,
            "quantity": draw.integers(1, 20, rows, dtype=np.int32),
            "amount": draw.integers(0, 100_000, rows, dtype=np.int64),
        }
    )


def dictionary(rows: int, groups: int, parties: tuple[str, ...] = PARTIES) -> "Dictionary":
    """Declared domains for region and product; countries are discovered."""
    from mpc.keys.dictionary import Column, Dictionary, Table

    columns = (
        Column(name="region", type="VARCHAR", nullable=False, domain=_REGIONS),
        Column(name="country", type="VARCHAR", nullable=False, discoverable=True, capacity=64, max_bytes=16),
        Column(name="product", type="INTEGER", nullable=False, domain=tuple(range(groups))),
        Column(name="quantity", type="INTEGER", nullable=False, minimum=0, maximum=100),
        Column(name="amount", type="BIGINT", nullable=False, minimum=0, maximum=100_000),
    )
    return Dictionary(tables=(Table(name="sales", parties=parties, rows_at_most=2 * rows, columns=columns),))


@contextlib.contextmanager
def site(rows: int, groups: int, line: tuple[int, int] | None, count: int = 3) -> Iterator[Site]:
    """A room of some parties with tables, over loopback or over lines of (delay in ms, megabits per second)."""
    import duckdb
    import pyarrow as pa

    from mpc.client.local import LocalRoom

    names = _MORE_PARTIES[:count]
    tables = {name: table(rows, groups, seed) for seed, name in enumerate(names)}
    pooled = duckdb.connect()
    pooled.execute(f"SET threads = {cores()}")
    pooled.register("given", pa.concat_tables(list(tables.values())))
    pooled.execute("CREATE TABLE sales AS FROM given")
    parties = {name: {"sales": data} for name, data in tables.items()}
    declared = dictionary(rows, groups, tuple(sorted(names)))
    room = (
        LocalRoom(parties, dictionary=declared)
        if line is None
        else LinedRoom(parties, dictionary=declared, delay_ms=line[0], megabits_per_s=line[1])
    )
    with room, contextlib.closing(pooled):
        yield Site(room, room.client(), pooled)


def _same(got: list[tuple[Any, ...]], want: list[tuple[Any, ...]]) -> bool:
    if len(got) != len(want):
        return False
    pairs = ((a, b) for g, w in zip(got, want, strict=True) for a, b in zip(g, w, strict=True))
    return all(
        a == b or (isinstance(b, float) and abs(float(a) - b) <= _TOLERANCE * max(1.0, abs(b))) for a, b in pairs
    )


@contextlib.contextmanager
def _asked(
    sql: str, rows: int, groups: int, line: tuple[int, int] | None, values: int, parties: int, resources: Resources
) -> Iterator[Work]:
    here = resources.enter(f"{rows}/{groups}/{line}", lambda: site(rows, groups, line, parties))
    right = here.check(sql)

    def check(answer: "Answer") -> None:
        right(answer)
        right(here.client.sql(sql, scheme="clear"))

    # What is asked is explained rather than run, so that the first run is the cold one.
    parameters = parameter_set(here.client.explain(sql).parameter_set)
    yield Work(
        run=lambda _: here.client.sql(sql),
        check=check,
        observe=here.observe,
        twins={
            "duckdb": Twin(lambda _: here.plain(sql)),
            "clear": Twin(lambda _: here.client.sql(sql, scheme="clear")),
        },
        values=values,
        parameters=parameters,
        threads=cores(),
        clock=ClockKind.WALL,
    )


def query_cases(level: Level) -> Iterator[Case]:
    """The SQL set over row counts."""
    for rows, groups in _SIZES[level]:
        for name, sql in QUERIES.items():
            yield Case(
                path=f"queries/rows{rows}-groups{groups}/{name}",
                group=f"queries/rows{rows}-groups{groups}",
                labels={"query": name, "rows": rows, "groups": groups, "parties": len(PARTIES)},
                prepare=partial(_asked, sql, rows, groups, None, rows * len(PARTIES), len(PARTIES)),
            )


def loopback_cases(level: Level) -> Iterator[Case]:
    """One sum by length and parties through processes, gRPC and mutual TLS on loopback: groups times two statistics."""
    for groups, parties in _LOOPBACK[level]:
        yield Case(
            path=f"protocols/sum-grpc/n{2 * groups}/p{parties}",
            group=f"protocols/sum-grpc/n{2 * groups}/p{parties}",
            labels={"length": 2 * groups, "parties": parties},
            prepare=partial(
                _asked, QUERIES["by-product"], max(groups, 1_000), groups, None, 2 * groups * parties, parties
            ),
        )


def line_cases(level: Level) -> Iterator[Case]:
    """The same over lines of stated delay and rate: a small answer, and one of a thousand groups."""
    for delay, rate in _LINES[level]:
        for name in ("total", "by-product"):
            groups = 16 if level is Level.SMOKE else 1_000
            yield Case(
                path=f"protocols/sum-wan/{delay}ms-{rate}mbit/{name}",
                group=f"protocols/sum-wan/{delay}ms-{rate}mbit",
                labels={"query": name, "delay_ms": delay, "megabits": rate, "parties": len(PARTIES)},
                prepare=partial(
                    _asked, QUERIES[name], 1_000, groups, (delay, rate),
                    (2 * groups if name == "by-product" else 2) * len(PARTIES), len(PARTIES),
                ),
            )  # fmt: skip
