"""Queries over three parties equal the same query over the pooled rows (`fixtures/answered.sql`)."""

from pathlib import Path

import pytest

QUERIES = (Path(__file__).parent / "fixtures" / "answered.sql").read_text().splitlines()[1:]


@pytest.mark.parametrize("sql", QUERIES)
def test_answers_equal_the_pooled_table(sales, sql):
    sales.check(sql)


_GROUPED = "(SELECT customer * 30000 AS a, customer AS u, COUNT(*) AS n FROM sales WHERE customer > 0 GROUP BY ALL)"
_DISTINCT = "(SELECT DISTINCT customer::HUGEINT AS u FROM pool WHERE customer > 0)"
WIDER = [
    (f"SELECT SUM(a * 100000), SUM(u * u) FROM {_GROUPED}", f"SELECT SUM(u * 3000000000), SUM(u * u) FROM {_DISTINCT}"),
    (
        "SELECT SUM(CASE WHEN flag THEN 5000 ELSE 3 END * 1.000000), SUM(flag::INTEGER * 2000000 * 3000) FROM sales",
        "SELECT SUM(CASE WHEN flag THEN 5000 ELSE 3 END), SUM(flag::HUGEINT * 6000000000) FROM pool",
    ),
]


@pytest.mark.parametrize(("sql", "wide"), WIDER)
def test_arithmetic_is_widened_before_it_could_overflow(sales, sql, wide):
    """DuckDB stops at the overflow of a 32-bit product; we do not have one."""
    sales.check(sql, wide)


@pytest.mark.parametrize(("key", "groups"), [
    ("date_trunc('month', t)", 12),
    ("CAST(date_trunc('month', t) AS DATE)", 12),
    ("CAST(t AS DATE)", 365),
])  # fmt: skip
def test_days_that_are_the_first_of_a_month_are_as_many_groups_as_months(sales, key, groups):
    plan = sales.plan(f"SELECT {key} AS k, COUNT(*) FROM sales GROUP BY k")

    assert len([group for group in plan.groups if group != (None,)]) == groups
