"""`sealroom demo`: every answer equal to the pooled plaintext, told in full, nothing left behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mpc.client.demo import QUESTIONS, agreement, plaintext_answer
from mpc.client.demo_data import RETAILERS, orders, write_orders

COMMAND = [sys.executable, "-m", "mpc.client.cli", "demo"]


def _children_of(text):
    return [int(pid) for pid in re.findall(r"process (\d+)$", text, re.MULTILINE)]


def _gone(group):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 0)
        return False
    return True


@pytest.mark.processes
@pytest.mark.xdist_group("demo")
def test_the_demo_tells_its_story_and_leaves_nothing_behind(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        COMMAND, capture_output=True, text=True, timeout=300, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    text = done.stdout

    assert done.returncode == 0, done.stderr
    assert text.count("✓ equal to the pooled plaintext") == len(QUESTIONS)
    for expected in (
        "spiffe://sealroom/party/aurora", "key exchange negotiated: X25519", "SELECT region", "sum discover",
        "pooled plaintext (DuckDB)", "none: it has no key", "The price of encryption", "every process has ended",
        "sealroom demo --keep",
    ):  # fmt: skip
        assert expected in text, expected
    groups = _children_of(text)
    assert len(groups) == 4
    assert all(map(_gone, groups))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
@pytest.mark.xdist_group("demo")
def test_a_kept_demo_stays_up_until_it_is_told_and_then_leaves_nothing(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*COMMAND, "--keep", "--no-progress"], stdout=subprocess.PIPE, text=True, env=environment,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    told = ""
    while "sealroom doctor --room" not in told:
        line = process.stdout.readline()
        assert line, told
        told += line
    profile = next(Path(tempfile.gettempdir(), tmp_path).glob("sealroom-*/analyst"))
    query = [sys.executable, "-m", "mpc.client.cli", "query", "-q", "--json", "-r", str(profile)]
    found = subprocess.run(
        [*query, "SELECT COUNT(*) AS n FROM orders"], capture_output=True, text=True, timeout=120, check=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=120)

    assert json.loads(found.stdout)["rows"] == [{"n": sum(r.rows for r in RETAILERS)}]
    assert process.returncode == 0, rest
    assert all(map(_gone, _children_of(told)))
    assert list(tmp_path.iterdir()) == []


def test_the_data_are_the_same_for_the_same_seed_and_realistic():
    table, again, other = orders(RETAILERS[2]), orders(RETAILERS[2]), orders(RETAILERS[2], seed=1)

    assert table.equals(again)
    assert not table.equals(other)
    quantity = table.column("quantity").to_pylist()
    assert 0.02 < sum(q < 0 for q in quantity) / len(quantity) < 0.05
    assert 0 not in quantity
    assert all(table.column(name).null_count for name in ("customer", "region", "rating"))
    assert not any(table.column(name).null_count for name in ("order_id", "placed", "quantity", "price"))
    assert {r for t in RETAILERS for r in t.regions} > set(RETAILERS[2].regions)


def test_the_comparison_can_fail(tmp_path):
    files = write_orders(tmp_path)
    columns, rows = plaintext_answer(QUESTIONS[1].sql, "orders", list(files.values()))

    class Given:
        def __init__(self, values):
            self.columns, self.values = columns, values

        def __len__(self):
            return len(self.values)

    def changed(row, column, value):
        return [tuple(value if (i, j) == (row, column) else v for j, v in enumerate(r)) for i, r in enumerate(rows)]

    assert agreement(Given(rows), columns, rows).holds
    mean = rows[0][2]
    assert agreement(Given(changed(0, 2, mean * (1 + 1e-14))), columns, rows).holds
    assert agreement(Given(changed(0, 2, mean * (1 + 1e-9))), columns, rows).wrong == (columns[2],)
    assert agreement(Given(changed(3, 1, rows[3][1] + 1)), columns, rows).wrong == (columns[1],)
    assert agreement(Given(changed(0, 0, None)), columns, rows).wrong == (columns[0],)
    assert not agreement(Given(rows[1:]), columns, rows).holds


@pytest.mark.processes
@pytest.mark.xdist_group("demo")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_midway_leaves_nothing(tmp_path, number):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*COMMAND, "--no-progress"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    told = ""
    while "Question 1" not in told:
        line = process.stdout.readline()
        assert line, told
        told += line
    process.send_signal(number)
    _, err = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "SEALROOM-E1301" in err
    assert len(_children_of(told)) == 4
    assert all(map(_gone, _children_of(told)))
    assert list(tmp_path.iterdir()) == []
