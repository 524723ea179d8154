"""What is refused, where in the text, and why: pairs in `fixtures/refused.sql`."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mpc.errors import PlanError
from mpc.keys.dictionary import Column, Dictionary, Table
from mpc.plan import compile_query, fold_now

FIXTURE = Path(__file__).parent / "fixtures" / "refused.sql"


def pairs():
    lines = [line for line in FIXTURE.read_text().splitlines()[1:] if line]
    assert len(lines) % 2 == 0
    for comment, sql in zip(lines[::2], lines[1::2], strict=True):
        offset, _, reason = comment.removeprefix("-- ").partition(": ")
        yield pytest.param(sql, int(offset), reason, id=sql[:70])


@pytest.mark.parametrize(("sql", "offset", "reason"), list(pairs()))
def test_the_refusal_names_offset_reason_and_alternative(sales, sql, offset, reason):
    with pytest.raises(PlanError) as caught:
        sales.plan(sql)

    assert caught.value.fields["offset"] == offset
    assert caught.value.fields["reason"] == reason
    assert len(str(caught.value.fields["instead"])) >= 3


def test_there_are_many_refusals():
    assert len(list(pairs())) >= 95


@pytest.mark.parametrize(
    "sql", ["", "   ", "-- nothing", ";", "SELECT", "SELECT (", "SELECT COUNT(*) FROM sales WHERE", "\x00"]
)
def test_broken_text_is_a_plan_error(sales, sql):
    with pytest.raises(PlanError) as caught:
        sales.plan(sql)

    assert "offset" in caught.value.fields


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) FROM sales WHERE q = " + "(" * 5000 + "1" + ")" * 5000,
        "SELECT COUNT(*) FROM sales WHERE q = " + "+".join(["1"] * 20000),
        "SELECT COUNT(*) FROM sales WHERE " + " OR ".join(["q = 1"] * 9000),
        "SELECT COUNT(*) FROM sales -- " + "x" * 200_000,
    ],
)
def test_a_monstrous_text_is_refused_and_nothing_crashes(sales, sql):
    with pytest.raises(PlanError):
        sales.plan(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT /* all */ COUNT(*) -- of them\nFROM sales;",
        "select count(*) from SALES",
        'SELECT COUNT(*) FROM "sales" AS s WHERE s."q" > 1',
        "FROM sales SELECT COUNT(*)",
        "(SELECT COUNT(*) FROM sales)",
    ],
)
def test_comments_case_quotes_and_a_last_semicolon_are_fine(sales, sql):
    assert sales.plan(sql).statistics


def test_an_offset_counts_characters_not_bytes(sales):
    sql = "SELECT COUNT(*) FROM sales WHERE country = 'Île-de-Fränce' AND amount = 1"

    with pytest.raises(PlanError) as caught:
        sales.plan(sql)

    assert sql[int(caught.value.fields["offset"]) :] == "amount = 1"


def test_the_clock_is_folded_before_signing(sales):
    now = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    sql = "SELECT COUNT(*) FROM sales WHERE t < now() AND day <= current_date AND country <> 'now()' -- now()"
    folded = fold_now(sql, now)

    assert "t < TIMESTAMP '2026-03-04 05:06:07.000089' AND day <= DATE '2026-03-04'" in folded
    assert folded.endswith("country <> 'now()' -- now()")
    assert fold_now(folded, now) == folded
    assert compile_query(sql, sales.dictionary, now=now).digest == sales.plan(folded).digest


def test_a_column_named_like_the_clock_is_left_alone():
    sql = "SELECT COUNT(*) FROM sales WHERE sales.today = 1 AND today > 2 AND now < 3"

    assert fold_now(sql, datetime(2026, 1, 1, tzinfo=UTC)) == sql


def test_a_table_without_local_keys_says_so():
    column = Column(name="a", type="INTEGER")
    known = Dictionary(tables=(Table(name="t", parties=("p",), columns=(column,)),))

    with pytest.raises(PlanError) as caught:
        compile_query("SELECT COUNT(*) FROM (SELECT DISTINCT a FROM t)", known)

    assert "none is declared" in str(caught.value.fields["instead"])
