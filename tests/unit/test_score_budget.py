"""The holder's ledger of answered queries."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from mpc.errors import BudgetExhausted, ConfigurationError
from mpc.parties import PartyId
from mpc.score.budget import QueryBudget, QueryLimit

ANN, BOB = PartyId("ann"), PartyId("bob")


@pytest.fixture
def budget(tmp_path):
    ledger = QueryBudget(tmp_path / "state" / "budget.db")
    yield ledger
    ledger.close()


def charge(ledger, client=ANN, item_set="films", queries=1, *, per_client=10, all_clients=None, dimensions=64):
    limit = QueryLimit(per_client=per_client, all_clients=all_clients)
    ledger.charge(client, item_set, queries, limit=limit, dimensions=dimensions)


def test_a_client_gets_its_limit_and_no_more(budget):
    charge(budget, queries=9)
    charge(budget)
    with pytest.raises(BudgetExhausted):
        charge(budget)

    assert budget.used(ANN, "films") == 10


def test_a_batch_is_charged_whole_or_not_at_all(budget):
    charge(budget, queries=8)
    with pytest.raises(BudgetExhausted):
        charge(budget, queries=3)
    charge(budget, queries=2)


def test_clients_and_item_sets_are_counted_apart(budget):
    charge(budget, queries=10)
    charge(budget, client=BOB, queries=10)
    charge(budget, item_set="books", queries=10)

    assert budget.used(ANN, "films") == budget.used(BOB, "films") == budget.used(ANN, "books") == 10


def test_clients_that_join_forces_share_the_limit_of_all(budget):
    charge(budget, queries=10, all_clients=15)
    with pytest.raises(BudgetExhausted):
        charge(budget, client=BOB, queries=6, all_clients=15)
    charge(budget, client=BOB, queries=5, all_clients=15)


@pytest.mark.parametrize("limit", [64, 65, 1000, 0, -1])
def test_a_limit_that_gives_the_items_away_is_refused(budget, limit):
    with pytest.raises(ConfigurationError):
        charge(budget, per_client=limit)


def test_charges_outlive_the_process_that_made_them(tmp_path):
    """The process is killed the moment `charge` returns: what it would have sent next was paid for."""
    path = tmp_path / "budget.db"
    code = (
        "import os, sys; from pathlib import Path; from mpc.score.budget import *\n"
        f"ledger = QueryBudget(Path({str(path)!r}))\n"
        "ledger.charge('ann', 'films', 7, limit=QueryLimit(per_client=10), dimensions=64)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    ledger = QueryBudget(path)

    assert ledger.used(ANN, "films") == 7
    with pytest.raises(BudgetExhausted):
        charge(ledger, queries=4)
    ledger.close()


def test_exactly_one_of_many_gets_the_last_query(tmp_path):
    ledgers = [QueryBudget(tmp_path / "budget.db") for _ in range(4)]
    charge(ledgers[0], queries=9)

    def attempt(number):
        try:
            charge(ledgers[number % 4])
        except BudgetExhausted:
            return 0
        return 1

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(64))) == 1
    for ledger in ledgers:
        ledger.close()


def test_forgetting_an_item_set_leaves_the_others(budget):
    charge(budget, queries=3)
    charge(budget, item_set="books", queries=4)
    budget.forget("films")

    assert (budget.used(ANN, "films"), budget.used(ANN, "books")) == (0, 4)


def test_a_charge_is_on_the_disk_before_its_reply_leaves(budget):
    """A lost write would give a query back: the log is synchronised with every charge (2 is FULL)."""
    assert budget._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert budget._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
