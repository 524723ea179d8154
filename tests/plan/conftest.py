"""The oracle: a query over several parties with the ideal sum, beside the same query over the pooled rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from mpc.keys.dictionary import Column, Dictionary, Table
from mpc.plan import check_failure, compile_query, finish_query, query_program
from mpc.primitives import Recipient, ideal_totals, run_ideal


def run_local(connection, relation):
    def run(query):
        results = []
        for statement in query.statements:
            try:
                results.append(connection.execute(statement.text(relation)).fetchnumpy())
            except duckdb.Error as error:
                raise (check_failure(str(error)) or error) from None
        return results

    return run


def tapped(program, opened):
    """The program with what it sends to the analyst kept."""
    reply = None
    try:
        request = next(program)
        while True:
            if request.header.recipient is Recipient.ANALYST:
                opened.append(request)
            reply = yield request
            request = program.send(reply)
    except StopIteration as stop:
        return stop.value


def answer(connection, plan, relations):
    opened = []
    results = run_ideal([tapped(query_program(plan, run_local(connection, r)), opened) for r in relations])
    assert len(opened) == len(relations)
    keys = results[0].group_keys if plan.discovery is not None else None
    return finish_query(plan, ideal_totals(opened), keys)


def same(got, want, *, relative=1e-9):
    if got is None or want is None:
        return got is None and want is None
    if isinstance(got, float) or isinstance(want, float):
        a, b = float(got), float(want)
        return (math.isnan(a) and math.isnan(b)) or a == b or math.isclose(a, b, rel_tol=relative, abs_tol=relative)
    if isinstance(got, (int, Decimal)) and isinstance(want, (int, Decimal)):
        return Decimal(got) == Decimal(want)
    return type(got) is type(want) and got == want


def assert_same_rows(got: Sequence[tuple], want: Sequence[tuple], *, ordered: bool, relative: float = 1e-9):
    assert len(got) == len(want), (got[:5], want[:5])
    if not ordered:

        def order(row):
            return [(v is None, str(type(v).__name__) if v is None else "", _rounded(v)) for v in row]

        got, want = sorted(got, key=order), sorted(want, key=order)
    for g, w in zip(got, want, strict=True):
        assert all(same(a, b, relative=relative) for a, b in zip(g, w, strict=True)), (g, w)


def _rounded(value):
    return str(round(float(value), 6)) if isinstance(value, (float, int, Decimal)) else str(value)


@dataclass
class Room:
    """A pooled table cut into parties inside one DuckDB."""

    connection: duckdb.DuckDBPyConnection
    dictionary: Dictionary
    relations: Sequence[str]
    pooled: str
    queries: int = field(default=0)

    def plan(self, sql):
        return compile_query(sql, self.dictionary)

    def ask(self, sql):
        return answer(self.connection, self.plan(sql), self.relations)

    def check(self, sql, pooled_sql=None, *, ordered=None, relative=1e-9):
        table = self.ask(sql)
        self.connection.execute(f"CREATE OR REPLACE VIEW {self.dictionary.tables[0].name} AS FROM {self.pooled}")
        want = self.connection.execute(pooled_sql or sql).fetchall()
        self.queries += 1
        is_ordered = "ORDER BY" in sql if ordered is None else ordered
        assert_same_rows(table.rows, want, ordered=is_ordered, relative=relative)
        return table


SALES = Table(
    name="sales",
    parties=("east", "north", "south"),
    rows_at_most=1 << 20,
    local_keys=("customer",),
    columns=(
        Column(name="region", type="VARCHAR", domain=("n", "s", "w")),
        Column(name="country", type="VARCHAR", discoverable=True, capacity=64, max_bytes=16),
        Column(name="customer", type="INTEGER", discoverable=True, capacity=256),
        Column(name="q", type="INTEGER"),
        Column(name="small", type="TINYINT", nullable=False, minimum=-5, maximum=9),
        Column(name="big", type="BIGINT"),
        Column(name="x", type="DOUBLE", scale=6, minimum=-1000, maximum=1000),
        Column(name="d", type="DECIMAL(10,2)", scale=2),
        Column(name="t", type="TIMESTAMP", earliest="2010-01-01", latest="2010-12-31"),
        Column(name="day", type="DATE", discoverable=True, capacity=400),
        Column(name="flag", type="BOOLEAN"),
    ),
)


@pytest.fixture(scope="session")
def queries():
    """Every statement that is answered over `sales`."""
    return (Path(__file__).parent / "fixtures" / "answered.sql").read_text().splitlines()[1:]


@pytest.fixture(scope="session")
def room_type():
    return Room


@pytest.fixture(scope="session")
def sales():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
    connection.execute(
        """
        CREATE TABLE pool AS SELECT
          CASE WHEN i % 7 < 3 THEN 'n' WHEN i % 7 < 6 THEN 's' END AS region,
          CASE WHEN i % 13 <> 4 THEN 'Land ' || (i % 9) || CASE WHEN i % 9 = 3 THEN 'é' ELSE '' END END AS country,
          CASE WHEN i % 17 <> 0 THEN i * 7 % 101 END::INTEGER AS customer,
          CASE WHEN i % 11 <> 2 THEN (i * 31 % 200) - 60 END::INTEGER AS q,
          ((i * 5 % 15) - 5)::TINYINT AS small,
          CASE WHEN i % 5 <> 1 THEN (i * 7919) % 1000003 - 500000 END::BIGINT AS big,
          CASE WHEN i % 6 <> 5 THEN (i * 37 % 2001 - 1000) / 8.0 END::DOUBLE AS x,
          CASE WHEN i % 8 <> 3 THEN (i * 41 % 20001 - 10000) / 100 END::DECIMAL(10,2) AS d,
          TIMESTAMP '2010-01-01' + INTERVAL (i * 131 % 525000) MINUTE AS t,
          CASE WHEN i % 19 <> 7 THEN DATE '2010-03-01' + (i * 3 % 90)::INTEGER END AS day,
          CASE WHEN i % 4 <> 0 THEN i % 3 = 0 END AS flag
        FROM range(3000) r(i)
        """
    )
    relations = []
    for number, name in enumerate(SALES.parties):
        connection.execute(f"CREATE TABLE {name} AS FROM pool WHERE coalesce(customer, 0) % 3 = {number}")
        relations.append(name)
    return Room(connection, Dictionary(tables=(SALES,)), relations, "pool")
