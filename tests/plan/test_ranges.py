"""Values are quantised as DuckDB's own cast does it; what leaves its range is an error that names the column."""

import math
import random

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpc.errors import PlanError, RangeError
from mpc.keys.dictionary import Column, Dictionary, Table
from mpc.plan import compile_query, local_query
from mpc.plan.duckdb import DUCKDB
from mpc.plan.relation import column_of

COLUMNS = (
    Column(name="x", type="DOUBLE", scale=3, minimum=-100, maximum=100),
    Column(name="free", type="DOUBLE", scale=6),
    Column(name="big", type="BIGINT"),
    Column(name="i", type="INTEGER", minimum=0, maximum=9),
    Column(name="d", type="DECIMAL(12,2)", scale=2, minimum=-50, maximum=50),
    Column(name="c", type="VARCHAR", domain=("a", "b")),
    Column(name="s", type="VARCHAR", discoverable=True, max_bytes=4, capacity=2),
    Column(name="t", type="TIMESTAMP", earliest="2020-01-01", latest="2020-12-31"),
    Column(name="k", type="INTEGER"),
)
GOOD = "1.5, 2.5, 3, 4, 5.25, 'a', 'xy', TIMESTAMP '2020-05-05', 7"


@pytest.fixture
def room(room_type):
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE here (x DOUBLE, free DOUBLE, big BIGINT, i INTEGER, d DECIMAL(12,2), c VARCHAR, s VARCHAR, "
        f"t TIMESTAMP, k INTEGER); INSERT INTO here VALUES ({GOOD}), ({GOOD})"
    )
    table = Table(name="tab", parties=("p",), rows_at_most=100, columns=COLUMNS)
    return room_type(connection, Dictionary(tables=(table,)), ("here",), "here")


BAD = [
    ("x", "100.5", "SUM(x)"),
    ("x", "'NaN'::DOUBLE", "SUM(x)"),
    ("x", "'inf'::DOUBLE", "AVG(x * i)"),
    ("x", "'-inf'::DOUBLE", "COUNT(*) FILTER (WHERE x > 3)"),
    ("x", "1e300", "COUNT(*) FILTER (WHERE x IS NULL)"),
    ("free", "2e12", "VAR_POP(CAST(free AS DECIMAL(12,2)))"),
    ("free", "-1e13", "SUM(CAST(free AS DECIMAL(18,3)))"),
    ("big", "281474976710656", "SUM(big)"),
    ("big", "-281474976710656", "MEDIAN(big)"),
    ("i", "10", "SUM(i)"),
    ("i", "-1", "AVG(CASE WHEN i > 3 THEN i END)"),
    ("d", "50.01", "SUM(d)"),
    ("d", "-51", "SUM(d) FILTER (WHERE i > 1000)"),
]


@pytest.mark.parametrize(("column", "value", "aggregate"), BAD)
def test_a_value_outside_its_range_is_an_error_that_names_the_column_alone(room, column, value, aggregate):
    room.connection.execute(f"UPDATE here SET {column} = {value} WHERE rowid = 1")

    with pytest.raises(RangeError) as caught:
        room.ask(f"SELECT {aggregate} FROM tab")

    assert caught.value.fields == {"column": column}
    assert not caught.value.detail


@pytest.mark.parametrize(("column", "value", "aggregate"), BAD)
def test_rows_that_are_filtered_out_are_not_read(room, column, value, aggregate):
    room.connection.execute(f"UPDATE here SET {column} = {value}, k = -1 WHERE rowid = 1")

    assert room.ask(f"SELECT {aggregate} FROM tab WHERE k > 0").rows


@pytest.mark.parametrize("value", ["100", "-100", "99.9999", "NULL"])
def test_the_ends_of_a_range_are_inside(room, value):
    room.connection.execute(f"UPDATE here SET x = {value} WHERE rowid = 1")

    assert room.ask("SELECT SUM(x), COUNT(x) FROM tab").rows


def test_a_double_in_a_condition_is_checked_too(room):
    room.connection.execute("UPDATE here SET x = 'NaN' WHERE rowid = 1")

    with pytest.raises(RangeError, match="column x"):
        room.ask("SELECT COUNT(*) FROM tab WHERE x > 1")


def test_a_value_outside_the_domain_is_an_error_that_names_the_column(room):
    room.connection.execute("UPDATE here SET c = 'secret' WHERE rowid = 1")

    with pytest.raises(RangeError) as caught:
        room.ask("SELECT c, COUNT(*) FROM tab GROUP BY c")

    assert caught.value.fields == {"column": "c"}
    assert "secret" not in str(caught.value)


def test_a_date_outside_its_days_is_an_error_that_names_the_column(room):
    room.connection.execute("UPDATE here SET t = '2021-01-01' WHERE rowid = 1")

    with pytest.raises(RangeError, match="column t"):
        room.ask("SELECT date_trunc('month', t), COUNT(*) FROM tab GROUP BY 1")


def test_a_key_longer_than_declared_is_an_error_that_names_the_column(room):
    room.connection.execute("UPDATE here SET s = 'äöü' WHERE rowid = 1")

    with pytest.raises(RangeError) as caught:
        room.ask("SELECT s, COUNT(*) FROM tab GROUP BY s")

    assert caught.value.fields == {"column": "s"}


def test_more_keys_than_the_capacity_is_an_error_that_names_the_column(room):
    room.connection.execute("INSERT INTO here SELECT * REPLACE ('q' || rowid AS s) FROM here")

    with pytest.raises(RangeError) as caught:
        room.ask("SELECT s, COUNT(*) FROM tab GROUP BY s")

    assert caught.value.fields == {"column": "s"}


def test_more_rows_than_declared_is_an_error(room):
    room.connection.execute(f"INSERT INTO here SELECT {GOOD} FROM range(200)")

    with pytest.raises(RangeError, match="rows_at_most"):
        room.ask("SELECT COUNT(*) FROM tab")


def test_a_cast_that_does_not_fit_is_an_error_that_names_the_column(room):
    room.connection.execute("UPDATE here SET k = 128 WHERE rowid = 1")

    with pytest.raises(RangeError) as caught:
        room.ask("SELECT SUM(CAST(k AS TINYINT)) FROM tab")

    assert caught.value.fields == {"column": "k"}


def test_a_bound_over_126_bits_is_refused_before_any_data_is_read(room):
    with pytest.raises(PlanError) as caught:
        room.plan("SELECT SUM(free * free * free) FROM tab")

    assert caught.value.fields["offset"] == 11
    assert "free" in str(caught.value.fields["instead"])


def test_second_moments_of_a_default_double_need_a_narrower_cast(room):
    room.dictionary = Dictionary(tables=(Table(name="tab", parties=("p",), columns=COLUMNS),))

    with pytest.raises(PlanError, match="126"):
        room.plan("SELECT VAR_POP(free) FROM tab")
    assert room.ask("SELECT VAR_POP(CAST(free AS DECIMAL(12,2))) FROM tab").rows == ((0.0,),)


def test_sums_near_126_bits_are_exact(room):
    wide = Column(name="w", type="DECIMAL(30,0)", minimum=-(10**30), maximum=10**30)
    room.dictionary = Dictionary(tables=(Table(name="tab", parties=("p",), rows_at_most=1000, columns=(wide,)),))
    room.connection.execute("CREATE OR REPLACE TABLE here (w DECIMAL(30,0))")
    values = [10**30 - 1 - 7 * i for i in range(900)]
    room.connection.executemany("INSERT INTO here VALUES (?)", [[str(v)] for v in values])
    plan = room.plan("SELECT SUM(w), SUM(-w) FROM tab")

    assert plan.statistics[0].bound.bit_length() > 100
    assert room.ask(plan.sql).rows == ((sum(values), -sum(values)),)


@pytest.mark.parametrize("scale", [0, 1, 2, 3, 6, 9])
def test_quantisation_equals_the_databases_own_cast(scale):
    rng = random.Random(scale)
    values = [rng.uniform(-1e5, 1e5) for _ in range(20_000)]
    values += [(rng.randint(-(10**7), 10**7) + 0.5) / 10**scale for _ in range(20_000)]
    values += [rng.randint(-(10**7), 10**7) / 8 for _ in range(5000)] + [0.0, -0.0, 5e-324, 1e-9, -1e-10]
    values += [math.nextafter(v, 0) for v in values[20_000:25_000]]
    connection = duckdb.connect()
    connection.execute("CREATE TABLE v (x DOUBLE)")
    connection.execute("INSERT INTO v SELECT unnest(?::DOUBLE[])", [values])
    column = column_of(Table(name="v", parties=("p",), columns=COLUMNS), Column(name="x", type="DOUBLE", scale=scale))
    ours = DUCKDB.rounded("x", column, wide=False)
    theirs = f"CAST(CAST(x AS DECIMAL(38,{scale})) * {10**scale} AS BIGINT)" if scale else "CAST(x AS DECIMAL(38,0))"

    assert connection.execute(f"SELECT COUNT(*) FROM v WHERE {ours} <> {theirs}").fetchall() == [(0,)]


def test_a_cast_directly_on_a_double_quantises_once():
    column = Column(name="x", type="DOUBLE", scale=6)
    known = Dictionary(tables=(Table(name="tab", parties=("p",), rows_at_most=9, columns=(column,)),))
    plan = compile_query("SELECT SUM(CAST(x AS DECIMAL(18,3))) FROM tab", known)
    connection = duckdb.connect()
    connection.execute("CREATE TABLE here AS SELECT 1.2344999999::DOUBLE AS x")
    text = local_query(plan).statements[0].text("here")

    assert connection.execute(text).fetchall()[0][0] == 1234


def test_generated_text_contains_nothing_of_the_analysts_but_literals(room):
    plan = room.plan("SELECT SUM(i) AS \"a; DROP TABLE x\" FROM tab /* hidden */ WHERE c = 'o''; --' AND s LIKE '%\";'")
    text = local_query(plan).statements[0].text("here")

    assert "DROP" not in text
    assert "hidden" not in text
    assert "'o''; --'" in text
    room.connection.execute(text)


def test_nan_in_a_file_whose_statistics_leave_it_out_is_an_error(room, tmp_path):
    """Arrow's Parquet writer skips NaN in minimum and maximum, and DuckDB then believes that there is none."""
    values = pa.table({"x": pa.array([1.0, float("nan"), 2.0] * 100)})
    pq.write_table(values, tmp_path / "nan.parquet")
    room.connection.execute(f"CREATE OR REPLACE VIEW seen AS FROM '{tmp_path}/nan.parquet'")
    assert room.connection.execute("SELECT COUNT(*) FROM seen WHERE isnan(x)").fetchall()[0][0] in {0, 100}
    room.relations = ("seen",)

    for sql in (
        "SELECT SUM(x) FROM tab",
        "SELECT COUNT(*) FROM tab WHERE x > 50",
        "SELECT COUNT(*) FROM tab WHERE x < 9",
    ):
        with pytest.raises(RangeError) as caught:
            room.ask(sql)
        assert caught.value.fields == {"column": "x"}


@pytest.mark.parametrize("aggregate", ["COUNT(x)", "AVG(x)", "COUNT(s)", "COUNT(*) FILTER (WHERE x > 1)", "SUM(k)"])
def test_a_null_where_the_dictionary_has_none_is_an_error_that_names_the_column(room, aggregate):
    columns = tuple(type(c)(**{n: getattr(c, n) for n in c.__struct_fields__} | {"nullable": False}) for c in COLUMNS)
    room.dictionary = Dictionary(tables=(Table(name="tab", parties=("p",), rows_at_most=100, columns=columns),))
    assert room.ask(f"SELECT {aggregate} FROM tab").rows

    name = "s" if "(s)" in aggregate else "k" if "(k)" in aggregate else "x"
    room.connection.execute(f"UPDATE here SET {name} = NULL WHERE rowid = 1")
    with pytest.raises(RangeError) as caught:
        room.ask(f"SELECT {aggregate} FROM tab")
    assert caught.value.fields == {"column": name}


def test_a_vector_that_is_too_long_is_refused(room):
    with pytest.raises(PlanError, match="fewer buckets"):
        room.ask("SELECT k // 1000000, QUANTILE_CONT(big, 0.5), HISTOGRAM(big, 60000) FROM tab GROUP BY 1")
