"""The Online Retail data in a room of processes, cut by customer and by country, through the client and the shell."""

import json
import subprocess
import sys
from contextlib import nullcontext
from datetime import date
from decimal import Decimal

import duckdb
import pytest

from mpc.client import LocalRoom
from mpc.errors import PlanError
from tests.plan.conftest import assert_same_rows
from tests.plan.test_online_retail import DATA, EVERYWHERE, ONLY_CUSTOMERS, PARTIES

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/online-retail is absent"),
    pytest.mark.processes,
    pytest.mark.xdist_group("retail"),
]

SPLITS = {
    "customer": "coalesce(CustomerID, 0) * 7919 % 3",
    "country": "ascii(substr(md5(Country), 1, 1)) % 3",
}


@pytest.fixture(scope="module")
def pool():
    connection = duckdb.connect()
    connection.execute(f"SET enable_progress_bar = false; CREATE TABLE retail AS FROM '{DATA}/*.parquet'")
    assert connection.execute("SELECT COUNT(*) FROM retail").fetchone() == (1_067_370,)
    return connection


@pytest.fixture(scope="module", params=SPLITS)
def split(request, pool, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    for number, name in enumerate(PARTIES):
        target = folder / f"{name}.parquet"
        pool.execute(f"COPY (FROM retail WHERE {SPLITS[request.param]} = {number}) TO '{target}' (FORMAT parquet)")
    with LocalRoom({name: {"retail": folder / f"{name}.parquet"} for name in PARTIES}) as room:
        yield request.param, room, room.client()


def ask_shell(room, sql):
    """The rows of a query through the command line."""
    command = [sys.executable, "-m", "mpc.client.cli", "query", "--json", "--room", str(room.folder / "analyst"), sql]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_the_room_answers_as_the_pooled_table(split, pool):
    kind, _room, client = split
    queries = EVERYWHERE if kind == "country" else [q for q in EVERYWHERE if "DISTINCT Country" not in q]
    queries = queries + (ONLY_CUSTOMERS if kind == "customer" else [])
    assert len(queries) >= 25
    for sql in queries:
        answer = client.sql(sql)
        assert_same_rows(answer.values, pool.execute(sql).fetchall(), ordered="ORDER BY" in sql)


def test_what_each_party_would_get_wrong_is_refused(split):
    """By country a customer has rows at several parties; by customer each has all of its own."""
    kind, _room, client = split
    for sql in ONLY_CUSTOMERS:
        with nullcontext() if kind == "customer" else pytest.raises(PlanError):
            client.sql(sql)


@pytest.mark.parametrize("index", [0, 2, 3, 6, 9, 11, 18, 19, 24])
def test_the_command_line_answers_the_same(split, index):
    _kind, room, client = split
    sql = EVERYWHERE[index]

    code, out, err = ask_shell(room, sql)

    assert code == 0, err
    shown = [[plain(v) for v in row.values()] for row in json.loads(out, parse_float=Decimal)["rows"]]
    assert shown == [[plain(v) for v in row] for row in client.sql(sql).values]


def plain(value):
    """A cell without the differences of JSON: exact decimals, dates as ISO text."""
    if isinstance(value, float):
        return Decimal(repr(value)).normalize()
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value).normalize()
    return value.isoformat() if isinstance(value, date) else value
