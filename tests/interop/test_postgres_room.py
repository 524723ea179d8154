"""A room whose parties keep their tables in PostgreSQL, in Parquet, or some here and some there: one answer.

A real server in a private folder, a role that may only read, one schema per party, encrypted queries through processes.
"""

import datetime as dt
import tomllib

import numpy as np
import pyarrow as pa
import pytest
import tomli_w

from mpc.client import LocalRoom
from mpc.errors import MpcError
from mpc.learn import LinearRegression
from tests.interop.postgres_server import postgres_server

pytestmark = [
    pytest.mark.database,
    pytest.mark.lane("database"),
    pytest.mark.processes,
    pytest.mark.xdist_group("postgres-room"),
]

PARTIES = ("north", "south", "west")
WORDS = ("süß", "Zebra", "zebra", "Äpfel", "apple", "")

QUERIES = (
    "SELECT COUNT(*) AS n FROM orders",
    "SELECT word, COUNT(*) AS n, SUM(price) AS s, AVG(price) AS m FROM orders GROUP BY word ORDER BY word",
    "SELECT flag, COUNT(ratio) AS n, SUM(quantity) AS q FROM orders GROUP BY flag ORDER BY flag",
    "SELECT COUNT(*) AS n, SUM(quantity) AS q FROM orders WHERE quantity IS NULL OR quantity % 3 = 1",
    "SELECT DATE_TRUNC('month', day) AS month, COUNT(*) AS n FROM orders GROUP BY 1 ORDER BY 1",
    ("SELECT COUNT(*) AS n FROM orders"
    " WHERE at >= TIMESTAMP '2024-03-31 00:30:00' AND zoned < TIMESTAMP '2024-10-27 01:00:00'"),
    "SELECT EXTRACT(hour FROM zoned) AS h, COUNT(*) AS n FROM orders GROUP BY 1 ORDER BY 1",
    "SELECT SUM(CASE WHEN flag THEN price ELSE -price END) AS s FROM orders WHERE word <> 'apple'",
    "SELECT AVG(ratio) AS m, VAR_SAMP(ratio) AS v, CORR(ratio, quantity) AS c FROM orders WHERE ratio IS NOT NULL",
    ("SELECT word, SUM(price) FILTER (WHERE quantity > 5) AS s FROM orders"
    " WHERE day < DATE '2024-06-01' GROUP BY word ORDER BY word"),
    "SELECT COUNT(*) AS n FROM orders WHERE word LIKE '%ebra' OR word IS NULL",
    "SELECT SUM(price) AS s FROM orders WHERE quantity > 1000",
)  # fmt: skip


def orders(party, rows=400):
    rng = np.random.default_rng(list(party.encode()))
    start, day = dt.datetime(2024, 1, 1), dt.timedelta(days=1)  # noqa: DTZ001
    moments = [start + day * float(x) for x in np.round(rng.uniform(0, 366, rows), 5)]
    some = lambda p: rng.random(rows) < p  # noqa: E731
    return pa.table(
        {
            "word": pa.array(rng.choice(WORDS, rows), mask=some(0.05)),
            "flag": pa.array(rng.random(rows) < 0.4, mask=some(0.1)),
            "quantity": pa.array(rng.integers(-5, 40, rows, dtype=np.int32), mask=some(0.1)),
            "price": pa.array(np.round(rng.normal(30, 12, rows), 2).astype(str)).cast(pa.decimal128(12, 2)),
            "ratio": pa.array(np.round(rng.normal(0, 1, rows), 6), mask=some(0.05)),
            "day": pa.array([m.date() for m in moments]),
            "at": pa.array(moments, pa.timestamp("us")),
            "zoned": pa.array(moments[::-1], pa.timestamp("us", tz="UTC")),
        }
    )


TABLES = {party: orders(party) for party in PARTIES}


@pytest.fixture(scope="module")
def address():
    """Fill a schema per party; the role may read one view in each and nothing else."""
    with postgres_server() as server:
        server.execute("CREATE ROLE clerk LOGIN", *(s for party, table in TABLES.items() for s in filled(party, table)))
        yield server.url("clerk")


def filled(party, table):
    yield f'CREATE SCHEMA "{party}"'
    yield (
        f'CREATE TABLE "{party}".raw ("Word" text, flag bool, quantity int, price numeric(12, 2),'
        " ratio float8, day date, at timestamp, zoned timestamptz)"
    )
    yield (
        f'CREATE VIEW "{party}".orders AS SELECT "Word" AS word, flag, quantity, price, ratio, day, at,'
        f' zoned FROM "{party}".raw'
    )
    yield f'GRANT USAGE ON SCHEMA "{party}" TO clerk'
    yield f'GRANT SELECT ON "{party}".orders TO clerk'
    rows = ", ".join(f"({', '.join(map(literal, row.values()))})" for row in table.to_pylist())
    yield f'INSERT INTO "{party}".raw VALUES {rows}'


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def move(room, party, address):
    """Give a party's node another source: its schema's view, or its Parquet file again."""
    path = room.folder / party / "party.toml"
    before = path.read_text()
    config = tomllib.loads(before)
    config["sources"] = {"db": {"url": address, "tables": {"orders": {"origin": f"{party}.orders"}}}}
    path.write_text(tomli_w.dumps(config))
    room.restart(party)
    return lambda: (path.write_text(before), room.restart(party))


def answers(client):
    found = {}
    for sql in QUERIES:
        try:
            found[sql] = client.sql(sql).values
        except MpcError as error:
            found[sql] = error.public
    return found


@pytest.fixture(scope="module")
def room():
    with LocalRoom({p: {"orders": t} for p, t in TABLES.items()}) as room:
        yield room


@pytest.fixture(scope="module")
def over_parquet(room):
    found = answers(room.client())

    assert all(not isinstance(v, str) for v in found.values()), found
    return found


@pytest.mark.parametrize("moved", [("south",), ("north", "south", "west")], ids=["mixture", "all-postgresql"])
def test_one_query_set_one_answer(room, over_parquet, address, moved):
    back = [move(room, party, address) for party in moved]
    try:
        found = answers(room.client())
    finally:
        for undo in back:
            undo()

    for sql in QUERIES:
        assert found[sql] == over_parquet[sql], sql


def test_regression_rows_stream_from_the_database(room, address):
    spec = LinearRegression(table="orders", target="ratio", features=("price", "quantity"), regularization=1.0)
    before = room.client().train(spec).model
    undo = move(room, "west", address)
    try:
        after = room.client().train(spec).model
    finally:
        undo()

    assert (after.intercept, dict(after.coefficients)) == (before.intercept, dict(before.coefficients))


def test_what_the_role_may_not_read_is_a_source_error_without_a_value(room, address):
    undo = move(room, "west", address.replace("clerk@", "nobody@"))
    try:
        with pytest.raises(MpcError) as caught:
            room.client().sql(QUERIES[0])
    finally:
        undo()

    assert caught.value.code == "E3301"
    assert caught.value.fields["party"] == "west"
    assert "nobody" not in caught.value.public


@pytest.mark.slow
def test_the_measurement_over_both_kinds_of_source_runs_and_compares(capsys):
    from benchmarks.queries.databases import QUERIES, main

    assert main(["--rows", "2000", "--repeat", "1"]) == 0
    said = capsys.readouterr().out
    assert all(said.count(name) == 2 for name in QUERIES)
    assert "DIFFER" not in said
