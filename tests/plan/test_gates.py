"""Every generated statement passes the node's gates, and is one SELECT over the party's relation alone."""

import re
from datetime import UTC, datetime

import pytest

from mpc.errors import ParameterError
from mpc.plan import PlanOptions, compile_query, local_query
from servers.party.sources.pushdown import checked_query
from servers.party.sources.statement import check_select


def test_the_gates_admit_every_generated_statement(sales, queries):
    for sql in queries:
        plan = sales.plan(sql)
        for statement in local_query(plan).statements:
            check_select(sales.connection, statement.text('"sales"'), {"sales"})
        for statement in local_query(plan, "postgres").statements:
            checked_query(statement.text('"sales"'), {"sales"}, "postgres")


def test_results_are_bigints_and_texts_without_null(sales, queries):
    for sql in queries:
        for statement in local_query(sales.plan(sql)).statements:
            relation = sales.connection.sql(statement.text("pool")).to_arrow_table()
            kinds = {c.name: c.encoding for c in statement.columns}

            assert relation.column_names == list(kinds)
            for name, column in zip(relation.column_names, relation.columns, strict=True):
                assert column.null_count == 0
                assert str(column.type) == ("int64" if kinds[name] == "int64" else "string")


def test_a_statement_needs_a_relation_and_a_known_dialect(sales):
    plan = sales.plan("SELECT COUNT(*) FROM sales")

    with pytest.raises(ParameterError):
        local_query(plan).statements[0].text("")
    with pytest.raises(ParameterError):
        local_query(plan, "oracle")


def test_statements_do_not_repeat_an_aggregate(sales):
    plan = sales.plan(
        "SELECT COUNT(*), COUNT(d), SUM(d), AVG(d), VAR_POP(d), STDDEV_POP(d), SUM(d) / COUNT(d) FROM sales"
    )
    text = local_query(plan).statements[-1].text("sales")

    assert len(plan.statistics) == 4
    assert len(re.findall(r"SUM\(|COUNT\(", text)) == 4


def test_the_digest_depends_on_meaning_alone(sales):
    base = sales.plan("SELECT region, SUM(q) AS s FROM sales WHERE q > 3 GROUP BY region").digest
    same = [
        "select region, sum(q) as s from SALES where q > 3 group by 1",
        "SELECT t.region, SUM(t.q) AS s FROM sales AS t WHERE (t.q > 3) GROUP BY t.region -- why",
    ]
    other = [
        "SELECT region, SUM(q) AS z FROM sales WHERE q > 3 GROUP BY region",
        "SELECT region, SUM(q) AS s FROM sales WHERE q > 4 GROUP BY region",
        "SELECT region, SUM(q) AS s FROM sales WHERE q >= 3 GROUP BY region",
        "SELECT region, SUM(q) AS s FROM sales WHERE q > 3 GROUP BY region ORDER BY s",
        "SELECT region, SUM(q) AS s FROM sales WHERE q > 3 GROUP BY region LIMIT 1",
        "SELECT region, SUM(small) AS s FROM sales WHERE q > 3 GROUP BY region",
    ]

    assert all(sales.plan(sql).digest == base for sql in same)
    assert len({sales.plan(sql).digest for sql in other} | {base}) == len(other) + 1


def test_the_digest_depends_on_options_and_dictionary(sales):
    sql = "SELECT country, MEDIAN(small) FROM sales GROUP BY country"
    base = sales.plan(sql).digest
    table = sales.dictionary.tables[0]
    wider = type(sales.dictionary)(tables=(type(table)(**{**_fields(table), "rows_at_most": 1 << 21}),))

    assert compile_query(sql, sales.dictionary, options=PlanOptions(buckets=4)).digest != base
    assert compile_query(sql, sales.dictionary, options=PlanOptions(discovery_capacity=9)).digest != base
    assert compile_query(sql, wider).digest != base
    assert compile_query(sql, sales.dictionary, now=datetime(2026, 1, 1, tzinfo=UTC)).digest == base


def _fields(struct):
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_the_digest_is_the_same_in_another_process(sales):
    """No hash seed, set order or address may enter it."""
    import subprocess
    import sys

    code = (
        "from mpc.keys.dictionary import *; from mpc.plan import compile_query;"
        "t = Table(name='t', parties=('a',), columns=(Column(name='x', type='DOUBLE', scale=2),"
        "Column(name='s', type='VARCHAR', domain=('p', 'q'))));"
        "print(compile_query(\"SELECT s, VAR_POP(CAST(x AS DECIMAL(9,2))) FROM t WHERE s IN ('p', 'q') GROUP BY s\","
        " Dictionary(tables=(t,))).digest.hex())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("0", "1", "77")
    }

    assert len(runs) == 1
