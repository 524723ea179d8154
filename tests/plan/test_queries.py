"""Queries over three parties equal the same query over the pooled rows (`fixtures/answered.sql`)."""

from pathlib import Path

import pytest

QUERIES = (Path(__file__).parent / "fixtures" / "answered.sql").read_text().splitlines()[1:]


@pytest.mark.parametrize("sql", QUERIES)
def test_answers_equal_the_pooled_table(sales, sql):
    sales.check(sql)
