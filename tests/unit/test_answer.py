"""Answers in every form, and EXPLAIN ANALYZE."""

import asyncio
import datetime as dt
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from mpc.client.analysis import Analysis
from mpc.client.answer import Answer, Report
from mpc.keys.dictionary import Column, Dictionary, Table
from mpc.plan import compile_query, explain

REPORT = Report(
    job="ab" * 16,
    scheme="rlwe",
    parameter_set="rlwe-2048-t30",
    security="128-bit classical",
    participants=("north", "south"),
    ciphertexts=1,
    bytes_received=25616,
    traffic={"north": {"bytes_received": 25616, "ciphertexts_received": 1}, "south": {"bytes_received": 25616}},
    seconds=0.1234,
    phases={"local": 0.05},
    disclosure=(("the analyst", "totals"),),
)
ANSWER = Answer(
    ("name", "n", "total", "mean", "day"),
    (("a<b", 3, Decimal("1.50"), 0.5, dt.date(2024, 1, 2)), (None, 0, None, None, None)),
    REPORT,
)


def test_rows_columns_and_iteration():
    assert ANSWER.rows[0] == {"name": "a<b", "n": 3, "total": Decimal("1.50"), "mean": 0.5, "day": dt.date(2024, 1, 2)}
    assert ANSWER.column("n") == [3, 0]
    assert [r["n"] for r in ANSWER] == [3, 0]
    assert len(ANSWER) == 2
    with pytest.raises(KeyError):
        ANSWER.column("nothing")


def test_arrow_pandas_and_parquet_hold_the_same(tmp_path):
    ANSWER.to_parquet(tmp_path / "answer.parquet")

    assert pq.read_table(tmp_path / "answer.parquet").to_pylist() == ANSWER.rows
    assert ANSWER.to_arrow().to_pylist() == ANSWER.rows
    assert ANSWER.to_pandas()["n"].tolist() == [3, 0]


def test_polars_holds_the_same():
    assert ANSWER.to_polars().to_dicts() == ANSWER.rows


def test_text_and_notebook_forms_escape_and_align():
    text, shown = str(ANSWER), ANSWER._repr_html_()

    assert text.splitlines()[0].split() == ["name", "n", "total", "mean", "day"]
    assert "NULL" in text
    assert "a&lt;b" in shown
    assert "a<b" not in shown
    assert "rlwe" in shown


def test_the_report_reads_as_sentences():
    text = str(REPORT)

    assert "2 parties" in text
    assert "the analyst learned: totals" in text
    assert "north: sent 1 ciphertexts, 25,616 bytes" in text


def test_explain_analyze_sets_measured_beside_predicted():
    table = Table(name="t", parties=("north", "south"), columns=(Column(name="x", type="INTEGER"),))
    plan = compile_query("SELECT SUM(x) AS s FROM t", Dictionary(tables=(table,)))
    found = Analysis(explain(plan), ANSWER)

    assert found.bytes_per_party == {"north": 25616, "south": 25616}
    assert "measured" in found.text()
    assert f"predicted {found.explanation.bytes_per_party:,}" in str(found)


def test_the_asynchronous_client_is_the_same_analyst():
    from mpc.client import aio
    from mpc.client.analyst import Analyst
    from mpc.errors import ConfigurationError

    async def nowhere():
        async with aio.connect("/nowhere/at/all"):
            pass

    assert aio.Analyst is Analyst
    with pytest.raises(ConfigurationError):
        asyncio.run(nowhere())
