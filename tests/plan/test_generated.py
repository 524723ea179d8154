"""The generated SQL of typical queries, word for word (`fixtures/generated.sql`).

A difference here is a difference in what parties run: it must be meant.
"""

from pathlib import Path

import pytest

from mpc.plan import local_query

FIXTURE = Path(__file__).parent / "fixtures" / "generated.sql"


def blocks():
    found = []
    for block in FIXTURE.read_text().split("\n\n")[1:]:
        lines = block.strip().splitlines()
        assert lines[0].startswith("-- query: ")
        found.append((lines[0].removeprefix("-- query: "), lines[1:]))
    return found


@pytest.mark.parametrize(("sql", "statements"), blocks())
def test_the_statements_are_word_for_word_these(sales, sql, statements):
    assert rendered(sales.plan(sql)) == statements


def rendered(plan):
    lines = []
    for dialect in ("duckdb", "postgres"):
        lines.append(f"-- {dialect}")
        lines += [s.text('"sales"') + ";" for s in local_query(plan, dialect).statements]
    return lines


def test_there_are_enough_of_them():
    assert len(blocks()) >= 14
