"""The same queries over PostgreSQL parties: a real server, the generated statements through the node's own gate."""

import numpy as np
import pytest

from mpc.errors import RangeError
from mpc.keys.dictionary import Dictionary
from mpc.plan import Encoding, check_failure, compile_query, finish_query, local_query, query_program
from mpc.primitives import Recipient, ideal_totals, run_ideal
from servers.party.sources.pushdown import checked_query, with_relations
from tests.interop.postgres_server import postgres_server

pytestmark = [pytest.mark.database, pytest.mark.lane("database")]

TYPES = {"TINYINT": "smallint", "DOUBLE": "double precision", "VARCHAR": "text"}


@pytest.fixture(scope="module")
def server():
    """A cursor on a private server."""
    with postgres_server() as running:
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(running.admin, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
            yield cursor


@pytest.fixture(scope="module")
def filled(server, sales):
    """The sales of every party as PostgreSQL tables."""
    columns = sales.dictionary.tables[0].columns
    kinds = ", ".join(f'"{c.name}" {TYPES.get(c.type, c.type)}' for c in columns)
    for name in sales.relations:
        server.execute(f"CREATE TABLE {name} ({kinds})")
        rows = sales.connection.execute(f"FROM {name}").fetchall()
        values = ", ".join(f"({', '.join(literal(v) for v in row)})" for row in rows)
        server.execute(f"INSERT INTO {name} VALUES {values}")
    return server


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    return "'" + str(value).replace("'", "''") + "'"


def run_local(cursor, table):
    def run(query):
        results = []
        for statement in query.statements:
            gated = checked_query(statement.text('"sales"'), {"sales"}, "postgres")
            try:
                cursor.execute(with_relations(gated, {"sales": f"SELECT * FROM public.{table}"}))
                found = cursor.fetch_arrow_table()
            except Exception as error:
                raise (check_failure(str(error)) or error) from None
            columns = {}
            for column in statement.columns:
                values = found[column.name].to_pylist()
                assert None not in values
                assert all(isinstance(v, int) == (column.encoding is Encoding.INT64) for v in values)
                columns[column.name] = np.array(values, dtype=object)
            results.append(columns)
        return results

    return run


def kept(steps, opened):
    reply = None
    try:
        request = next(steps)
        while True:
            if request.header.recipient is Recipient.ANALYST:
                opened.append(request)
            reply = yield request
            request = steps.send(reply)
    except StopIteration as stop:
        return stop.value


def ask(cursor, plan, tables):
    opened = []
    programs = [kept(query_program(plan, run_local(cursor, t), dialect="postgres"), opened) for t in tables]
    results = run_ideal(programs)
    return finish_query(plan, ideal_totals(opened), results[0].group_keys)


def test_every_query_answers_as_over_duckdb(filled, sales, queries):
    for sql in queries:
        plan = sales.plan(sql)

        assert ask(filled, plan, sales.relations).rows == sales.ask(sql).rows, sql


@pytest.mark.parametrize("value", ["'NaN'", "'Infinity'", "'-Infinity'", "1e300", "1000.1"])
@pytest.mark.parametrize("aggregate", ["SUM(x)", "COUNT(*) FILTER (WHERE x > 1)", "AVG(CAST(x AS DECIMAL(12,2)))"])
def test_a_double_outside_its_range_is_an_error_that_names_the_column(filled, sales, value, aggregate):
    filled.execute("CREATE TABLE IF NOT EXISTS bad AS SELECT * FROM east")
    filled.execute(f"UPDATE bad SET x = {value} WHERE ctid = (SELECT min(ctid) FROM bad)")

    with pytest.raises(RangeError) as caught:
        ask(filled, sales.plan(f"SELECT {aggregate} FROM sales"), ["bad"])

    assert caught.value.fields == {"column": "x"}


def test_numeric_nan_and_a_checked_integer_are_errors_that_name_the_column(filled, sales):
    filled.execute("CREATE TABLE wrong AS SELECT * FROM north")
    filled.execute("ALTER TABLE wrong ALTER COLUMN d TYPE numeric")
    filled.execute("UPDATE wrong SET d = 'NaN', small = 10")

    for column in ("d", "small"):
        with pytest.raises(RangeError) as caught:
            ask(filled, sales.plan(f"SELECT SUM({column}) FROM sales"), ["wrong"])
        assert caught.value.fields == {"column": column}


@pytest.mark.parametrize("scale", [0, 2, 6])
def test_doubles_are_quantised_as_in_duckdb(filled, sales, scale):
    rng = np.random.default_rng(scale)
    halves = (rng.integers(-(10**7), 10**7, 2000) + 0.5) / 10**scale
    values = np.concatenate([halves, np.nextafter(halves, 0), rng.uniform(-900, 900, 2000), [0.0, -0.0, 5e-324]])
    values = values[np.abs(values) < 1e6]
    table = sales.dictionary.tables[0]
    columns = tuple(
        type(c)(name="x", type="DOUBLE", scale=scale, minimum=-(10**6), maximum=10**6) if c.name == "x" else c
        for c in table.columns
    )
    known = Dictionary(tables=(type(table)(name="sales", parties=("p",), columns=columns),))
    plan = compile_query("SELECT SUM(x * x), SUM(x), COUNT(x) FROM sales", known)
    filled.execute("DROP TABLE IF EXISTS halves")
    filled.execute("CREATE TABLE halves (x double precision)")
    filled.execute("INSERT INTO halves VALUES " + ", ".join(f"({v!r}::float8)" for v in values.tolist()))
    sales.connection.execute("CREATE OR REPLACE TABLE halves AS SELECT unnest(?::DOUBLE[]) AS x", [values.tolist()])
    ours = [sales.connection.execute(s.text("halves")).fetchall() for s in local_query(plan).statements]
    theirs = run_local(filled, "halves")(local_query(plan, "postgres"))

    assert [int(v) for v in ours[0][0]] == [int(theirs[0][c][0]) for c in theirs[0]]
