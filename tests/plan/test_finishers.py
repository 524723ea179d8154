"""Finishers are correctly rounded, and expressions over totals follow DuckDB."""

import math
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import IntegrityError
from mpc.plan import finish_query
from mpc.plan.evaluate import GroupValues, evaluate
from mpc.plan.finishers import nearest, square_root
from mpc.plan.ir import Call, Kind, Literal, Op, Type


@given(st.fractions(min_value=0, max_value=10**40))
def test_square_roots_are_correctly_rounded(value):
    root = square_root(value)
    below, above = math.nextafter(root, 0), math.nextafter(root, math.inf)

    assert (Fraction(root) + Fraction(below)) ** 2 / 4 <= value <= (Fraction(root) + Fraction(above)) ** 2 / 4


@given(st.floats(min_value=0, allow_infinity=False, allow_nan=False))
def test_square_roots_of_floats_are_the_processors(value):
    assert square_root(Fraction(value)) == math.sqrt(value)


def test_a_rational_beyond_the_floats_is_infinite():
    assert nearest(Fraction(10**400)) == math.inf
    assert nearest(Fraction(-(10**400))) == -math.inf


EXPRESSIONS = [
    "n + 1, n - 3, n * 2, n / 3, n // 4, n % 7, -n, +n",
    "s / n, s * 1.5, s + 0.25, s - n, s % 3, ABS(-s), ROUND(s, 1), FLOOR(s), CEIL(s), TRUNC(s)",
    "a + 1, a / n, a * s, ROUND(a, 3), FLOOR(a), CEIL(a), ABS(a - 100)",
    "SQRT(n), LN(n), LOG10(n), EXP(n / 1000.0), POWER(n, 2), n ** 0.5",
    "n > 3, n = 3000, s <> 5, a BETWEEN 1 AND 5, n IN (1, 3000), n NOT IN (3, 4), NOT n > 3",
    "n > 3 AND NULL, n > 3 OR NULL, n < 3 AND NULL, NULL IS NULL, z IS NULL, n IS NOT NULL",
    "CASE WHEN n > 5 THEN 'big' ELSE 'small' END, CASE n WHEN 3000 THEN 1 ELSE 2.5 END, CASE WHEN n < 0 THEN 1 END",
    "COALESCE(z, n), NULLIF(n, 3000), NULLIF(n, 3), GREATEST(n, s), LEAST(n, 2.5), COALESCE(z, 0.5)",
    "CAST(n AS DECIMAL(12,2)), CAST(s AS INTEGER), CAST(a AS INTEGER), CAST(a AS DECIMAL(18,4)), CAST(n AS DOUBLE)",
    "CAST(n AS VARCHAR), z + 1, z / 2, z > 1, z * s",
    "n / 0, -n / 0, (n - n) / 0, 1 / (n - n)",
    "SIGN(s), SIGN(-n), n IS DISTINCT FROM z, n IS NOT DISTINCT FROM 3000",
    "DATE '2020-01-31' + INTERVAL 1 MONTH, date_trunc('quarter', TIMESTAMP '2020-05-06 07:08:09')",
    "UPPER('aé'), LOWER('AÉ'), TRIM('  x '), LTRIM(' x'), RTRIM('x '), SUBSTR('hello', 2, 3), LENGTH('héllo')",
    "'abc' LIKE 'a%', 'abc' LIKE '_b_', 'ABC' ILIKE 'a%c', CONTAINS('abc', 'b'), STARTS_WITH('abc', 'ab')",
    "LEFT('abc', 2), 'a' || 'b', year(DATE '2020-02-01'), date_part('week', DATE '2021-01-03')",
    "'a' < 'B', 'é' > 'z', 'a' = 'a', DATE '2020-01-01' < TIMESTAMP '2020-01-01 00:00:01'",
    "date_diff('day', DATE '2020-01-01', DATE '2021-01-01'), date_diff('month', DATE '2020-01-31', DATE '2020-02-01')",
]


@pytest.mark.parametrize("items", EXPRESSIONS)
def test_expressions_over_totals_equal_duckdb(sales, items):
    totals = {"n": "COUNT(*)", "s": "SUM(d)", "a": "AVG(q)", "z": "SUM(q) FILTER (WHERE region = 'w')"}
    inner = ", ".join(f"{sql} AS {name}" for name, sql in totals.items())
    used = ", ".join(_spelled(items, totals))
    sales.connection.execute("SET ieee_floating_point_ops = true")

    table = sales.ask(f"SELECT {used}, COUNT(*) AS n FROM sales")
    want = sales.connection.execute(f"SELECT {items} FROM (SELECT {inner} FROM pool)").fetchall()[0]
    got = table.rows[0][:-1]
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        if isinstance(b, float):
            assert (math.isnan(a) and math.isnan(b)) or a == pytest.approx(b, rel=1e-14), (items, a, b)
        else:
            assert a == b, (items, a, b)
            assert isinstance(a, (int, Decimal)) if isinstance(b, (int, Decimal)) else type(a) is type(b)


def _spelled(items, totals):
    """The items with each name of a total written out, outside of quotes."""
    import re

    return [re.sub(r"(?<!['\w.])([nsaz])(?!['\w(])", lambda m: f"({totals[m[1]]})", items)]


ORDERED = [
    "SELECT region, COUNT(*) AS n FROM sales GROUP BY region ORDER BY region DESC",
    "SELECT region, COUNT(*) AS n FROM sales GROUP BY region ORDER BY region NULLS FIRST",
    "SELECT region, COUNT(*) AS n FROM sales GROUP BY region ORDER BY region DESC NULLS FIRST",
    "SELECT country, AVG(q) AS a FROM sales GROUP BY country ORDER BY a DESC, country LIMIT 3 OFFSET 2",
    "SELECT small, region, COUNT(*) FROM sales GROUP BY ALL ORDER BY region, small DESC LIMIT 20",
    "SELECT day, COUNT(*) FROM sales GROUP BY day ORDER BY 2 DESC, 1 LIMIT 9",
    "SELECT flag, COUNT(*) FROM sales GROUP BY flag HAVING flag ORDER BY 1",
    "SELECT country FROM sales GROUP BY country HAVING COUNT(*) > 100 AND country LIKE '%2' ORDER BY COUNT(*) + 1",
    "SELECT COUNT(*) FROM sales HAVING COUNT(*) > 1000000",
    "SELECT COUNT(*) FROM sales LIMIT 0",
    "SELECT region, CORR(q, q) AS c FROM sales GROUP BY region ORDER BY c DESC, region",
]


@pytest.mark.parametrize("sql", ORDERED)
def test_order_and_limits_equal_duckdb(sales, sql):
    sales.check(sql, ordered=True)


def test_types_and_names_of_an_answer(sales):
    table = sales.ask(
        "SELECT region, flag, date_trunc('month', t) AS m, COUNT(*), SUM(q), SUM(d) AS d, AVG(d) AS d, SUM(x) "
        "FROM sales GROUP BY ALL LIMIT 1"
    )
    row = table.rows[0]

    assert [c.name for c in table.columns] == ["region", "flag", "m", "count_star()", "sum(q)", "d", "d_1", "sum(x)"]
    assert [c.type for c in table.columns][3:] == ["BIGINT", "HUGEINT", "DECIMAL(38,2)", "DOUBLE", "DOUBLE"]
    assert isinstance(row[2], datetime)
    assert isinstance(row[4], int)
    assert isinstance(row[5], Decimal)
    assert isinstance(row[7], float)
    assert table.dictionaries()[0]["d_1"] == row[6]


def test_dates_come_back_as_dates(sales):
    row = sales.ask("SELECT day, COUNT(*) FROM sales GROUP BY day ORDER BY day LIMIT 1").rows[0]

    assert row[0] == sales.connection.execute("SELECT MIN(day) FROM pool").fetchall()[0][0]
    assert type(row[0]) is date


def test_an_average_is_the_nearest_float(sales):
    (got,) = sales.ask("SELECT AVG(d) FROM sales").rows[0]
    values = [Fraction(v[0]) for v in sales.connection.execute("SELECT d FROM pool WHERE d IS NOT NULL").fetchall()]

    assert got == nearest(sum(values) / len(values))


def test_a_histogram_counts_by_bucket(sales):
    table = sales.ask("SELECT HISTOGRAM(small, 5) FROM sales")
    want = sales.connection.execute(
        "SELECT MAP_FROM_ENTRIES(LIST((b, n) ORDER BY b)) FROM (SELECT -5 + 3.0 * ((small + 5) // 3) AS b, "
        "COUNT(*) AS n FROM pool GROUP BY b)"
    ).fetchall()[0][0]

    assert table.rows[0][0] == {float(k): v for k, v in want.items()}
    assert table.columns[0].bucket_width == 3.0


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 0.75, 0.999, 1])
def test_quantiles_with_a_bucket_per_value_are_exact(sales, share):
    for column in ("small", "CAST(d AS DECIMAL(5,1))"):
        sql = f"SELECT region, QUANTILE_CONT({column}, {share}), MEDIAN(small) FROM sales GROUP BY region"
        table = sales.ask(sql)
        want = sales.connection.execute(sql.replace("sales", "pool")).fetchall()
        exact = {row[0]: row[1:] for row in want}
        for region, quantile, median in table.rows:
            assert abs(quantile - float(exact[region][0])) <= table.columns[1].bucket_width
            assert median == float(exact[region][1])


def test_totals_of_another_shape_are_refused(sales):
    plan = sales.plan("SELECT region, SUM(q) FROM sales GROUP BY region")
    short = {f"s{i}": np.zeros(2, dtype=np.int64) for i in range(len(plan.statistics))}

    with pytest.raises(IntegrityError):
        finish_query(plan, short)
    with pytest.raises(IntegrityError):
        finish_query(plan, {})


def test_discovered_keys_are_needed_and_must_be_in_order(sales):
    plan = sales.plan("SELECT country, COUNT(*) FROM sales GROUP BY country")
    keys = sorted(plan.codec.encode(k) for k in [("a",), ("b",), (None,)])
    totals = {"s0": np.array([1, 2, 3], dtype=np.int64)}

    assert finish_query(plan, totals, keys).rows == (("a", 2), ("b", 3), (None, 1))
    for wrong in (None, keys[::-1], [*keys, keys[-1]]):
        with pytest.raises(IntegrityError):
            finish_query(plan, totals, wrong)


def test_case_mapping_at_the_client_is_the_databases(sales):
    everything = [chr(i) for i in range(32, 0x10000) if not 0xD800 <= i <= 0xDFFF]
    sales.connection.execute("CREATE OR REPLACE TABLE letters AS SELECT unnest(?::VARCHAR[]) AS s", [everything])
    rows = sales.connection.execute("SELECT s, upper(s), lower(s) FROM letters").fetchall()
    nothing = GroupValues((), ())
    kind = Type(kind=Kind.VARCHAR)
    for text, upper, lower in rows:
        assert evaluate(Call(Op.UPPER, (Literal(text, kind),), kind), nothing) == upper
        assert evaluate(Call(Op.LOWER, (Literal(text, kind),), kind), nothing) == lower


@pytest.mark.parametrize("name", ["TRIM", "LTRIM", "RTRIM"])
def test_trimming_at_the_client_is_the_databases(sales, name):
    spaces = "".join(chr(i) for i in range(1, 0x3100) if chr(i).isspace())
    texts = ["a", *(f"{c}a{c}" for c in spaces)]
    sales.connection.execute("CREATE OR REPLACE TABLE padded AS SELECT unnest(?::VARCHAR[]) AS s", [texts])
    rows = sales.connection.execute(f"SELECT s, {name}(s) FROM padded").fetchall()
    kind = Type(kind=Kind.VARCHAR)

    for text, trimmed in rows:
        assert evaluate(Call(Op(name.lower()), (Literal(text, kind),), kind), GroupValues((), ())) == trimmed, ascii(
            text
        )
