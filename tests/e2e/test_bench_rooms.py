"""Measured rooms: queries, sums over gRPC, and a modelled line, each once and small."""

import pytest

from mpc.client.bench.cases import Level
from mpc.client.bench.drift import Drift
from mpc.client.bench.runner import Runner
from mpc.client.bench.suite import select

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("bench-rooms")]


def smoke(*only):
    return Runner(level=Level.SMOKE, drift=Drift()).run(select(Level.SMOKE, only))


def test_queries_agree_with_duckdb_and_with_the_clear_plan():
    results = smoke("queries/rows500/total", "queries/rows500/by-product", "queries/rows500/discovered")

    assert results.skipped == ()
    for row in results.rows:
        assert row.twins.keys() == {"duckdb", "clear"}
        assert row.wire.up_bytes > 0
        assert row.wire.down_bytes > 0
        assert row.clock == "wall"
        assert row.security_bits == 128
        assert row.phases["local"] > 0


def test_a_line_is_felt():
    results = smoke("protocols/sum-wan/1ms-1000mbit/total")

    assert results.skipped == ()
    assert [row.labels["delay_ms"] for row in results.rows] == [1]


def test_predictions_are_beside_what_was_measured():
    results = smoke("planner/query/total")

    assert results.skipped == ()
    figures = results.rows[0].figures
    assert abs(figures["measured_bytes"] / figures["predicted_bytes"] - 1) <= 0.02
    assert figures["predicted_s"] > 0
    assert figures["measured_s"] > 0
