"""Measured rooms: queries, sums over gRPC, and a modelled line, each once and small."""

from types import SimpleNamespace

import pytest

from mpc.client.bench import queries
from mpc.client.bench.cases import Level, Resources
from mpc.client.bench.drift import Drift
from mpc.client.bench.runner import Runner
from mpc.client.bench.suite import select
from mpc.client.client import Client
from mpc.errors import InternalError
from mpc.plan import Line

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("bench-rooms")]


def smoke(*only):
    return Runner(level=Level.SMOKE, drift=Drift()).run(select(Level.SMOKE, only))


def test_queries_agree_with_duckdb_and_with_the_clear_plan():
    results = smoke(
        "queries/rows500-groups16/total", "queries/rows500-groups16/by-product", "queries/rows500-groups16/discovered"
    )

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
    results = smoke("planner/query/g16/total")

    assert results.skipped == ()
    figures = results.rows[0].figures
    assert figures["measured_bytes"] == figures["predicted_bytes"]
    assert figures["predicted_s"] > 0
    assert figures["measured_s"] > 0


def test_the_first_run_of_a_query_is_its_cold_one(monkeypatch):
    asked = []
    sql = Client.sql

    def watched(self, text, *args, **more):
        asked.append(more.get("scheme"))
        return sql(self, text, *args, **more)

    monkeypatch.setattr(Client, "sql", watched)
    for path in ("queries/rows500-groups16/total", "planner/query/g16/total"):
        (case,) = select(Level.SMOKE, (path,))
        with Resources() as resources, case.prepare(resources) as work:
            assert asked == []
            work.check(work.run(None))
            assert asked.pop(0) is None
        asked.clear()


def test_a_wrong_answer_gives_no_prediction_row(monkeypatch):
    (case,) = select(Level.SMOKE, ("planner/query/g16/total",))
    with Resources() as resources, case.prepare(resources) as work:
        answer = work.run(None)
        with pytest.raises(InternalError):
            work.check(SimpleNamespace(values=[(1, 2)], report=answer.report))


@pytest.fixture(scope="module")
def site():
    with queries.site(300, 3_000, None) as running:
        yield running


@pytest.mark.parametrize("query", ["total", "by-product", "discovered"])
@pytest.mark.parametrize("scheme", ["rlwe-2048-t30", "rlwe-4096-t60", "bfv", "paillier", "clear"])
def test_explain_predicts_the_bytes_that_each_party_sends(site, scheme, query):
    sql = queries.QUERIES[query]

    predicted = site.client.explain(sql, scheme=scheme).bytes_per_party
    report = site.client.sql(sql, scheme=scheme).report

    assert report.participants == queries.PARTIES
    for party in report.participants:
        assert report.traffic[party]["bytes_received"] == pytest.approx(predicted, rel=0.02)


def test_a_stated_line_changes_the_choice(site):
    sql = queries.QUERIES["total"]
    thin = Line(megabits_per_s=0.05, latency_s=0.05)

    assert site.client.explain(sql).scheme == "rlwe"
    assert site.client.explain(sql, line=thin).scheme == "paillier"
    assert site.client.sql(sql, line=thin).report.scheme == "paillier"
    assert site.client.explain(sql, line=thin).seconds > site.client.explain(sql).seconds + 7 * 0.1
