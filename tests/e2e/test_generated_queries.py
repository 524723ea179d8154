"""Fifty generated queries over ten generated tables through processes, against the pooled rows."""

import pytest

from mpc.client import LocalRoom
from mpc.keys.dictionary import Dictionary
from tests.simulation.generated import PARTIES, Case, assert_equal_rows

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("generated")]


def test_fifty_generated_queries_equal_the_pooled_rows():
    cases = [Case(seed, name=f"t{seed}", queries=5) for seed in range(10)]
    tables = {p: {case.name: case.rows[p] for case in cases} for p in PARTIES}
    with LocalRoom(tables, dictionary=Dictionary(tables=tuple(case.table for case in cases))) as room:
        client = room.client()
        answered = 0
        for case in cases:
            for sql, want in case.queries:
                assert_equal_rows(sql, client.sql(sql).values, want)
                answered += 1

    assert answered == 50
