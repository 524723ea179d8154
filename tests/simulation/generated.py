"""Generated schemas and queries of `tests/property/test_plan_queries.py`, cut for three parties of a room."""

import random
import re

from mpc.errors import PlanError
from mpc.keys.dictionary import Table
from mpc.plan import compile_query
from tests.property.test_plan_queries import CONNECTION, Query, Schema, equal, order

PARTIES = ("p0", "p1", "p2")


class Case:
    """One drawn table with its division over three parties, and queries that it answers."""

    def __init__(self, seed, name="tab", queries=5):
        rng = random.Random(seed)
        schema = Schema(rng)
        schema.parties = len(PARTIES)
        drawn = schema.dictionary.tables[0]
        self.name = name
        self.table = Table(
            name=name,
            parties=PARTIES,
            rows_at_most=drawn.rows_at_most,
            local_keys=drawn.local_keys,
            columns=drawn.columns,
        )
        schema.load()
        self.rows = {
            party: CONNECTION.sql(f"SELECT * EXCLUDE party FROM pool WHERE party = {number}").to_arrow_table()
            for number, party in enumerate(PARTIES)
        }
        self.queries = []
        while len(self.queries) < queries:
            query = Query(rng, schema)
            try:
                compile_query(query.sql, schema.dictionary)
            except PlanError as error:
                if "126" not in str(error.fields["reason"]):
                    raise AssertionError((seed, query.sql, str(error))) from error
                continue
            self.queries.append((re.sub(r"\btab\b", name, query.sql), query.expected()))


def assert_equal_rows(sql, got, want):
    """Rows equal the pooled ones, whatever their order."""
    got, want = sorted(got, key=order), sorted(want, key=order)
    assert len(got) == len(want), (sql, got, want)
    for g, w in zip(got, want, strict=True):
        assert all(map(equal, g, w)), (sql, g, w)
