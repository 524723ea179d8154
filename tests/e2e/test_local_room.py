"""A room of real processes: answers, faults at every step, and nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from mpc.client import LocalRoom
from mpc.errors import (
    ConfigurationError,
    DeadlineExceeded,
    JobCancelled,
    MpcError,
    PlanError,
    PolicyDenied,
    TransportError,
)

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("local-room")]

GROUPED = "SELECT region, COUNT(*) AS n, SUM(qty) AS q, AVG(amount) AS mean FROM sales GROUP BY region ORDER BY region"
COUNT = "SELECT COUNT(*) AS n FROM sales"


def sales(rows, regions, seed):
    rng = np.random.default_rng(seed)
    amount = pa.array(np.round(rng.normal(50, 20, rows), 2), mask=rng.random(rows) < 0.1)
    return pa.table({"region": rng.choice(regions, rows), "qty": rng.integers(-5, 50, rows), "amount": amount})


TABLES = {
    "north": {"sales": sales(400, ["a", "b"], 1)},
    "south": {"sales": sales(300, ["b", "c"], 2)},
    "west": {"sales": sales(200, ["d"], 3)},
}


@pytest.fixture(scope="module")
def room():
    with LocalRoom(TABLES) as room:
        yield room


@pytest.fixture
def client(room):
    return room.client()


def node_processes(folder):
    """Processes that belong to a room, by its folder in their command lines, and their workers."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if state[0] != "Z":
                found[int(entry.name)] = (int(state[1]), command)
    roots = {pid for pid, (_, command) in found.items() if str(folder).encode() in command}
    return roots | {pid for pid, (parent, command) in found.items() if parent in roots and b"worker" in command}


def test_answers_equal_the_pooled_table(client):
    sales = pa.concat_tables(t["sales"] for t in TABLES.values())  # noqa: F841 - duckdb reads it by name
    expected = duckdb.sql(GROUPED).fetchall()

    answer = client.sql(GROUPED)

    assert [r[:3] for r in answer.values] == [r[:3] for r in expected]
    assert [r[3] for r in answer.values] == pytest.approx([r[3] for r in expected], rel=1e-12)
    assert answer.to_pandas().shape == (4, 4)
    assert answer.to_arrow().num_rows == 4


def test_the_report_tells_what_was_done(client):
    report = client.sql(COUNT).report

    assert report.scheme == "bfv" or report.scheme == "rlwe"
    assert report.participants == ("north", "south", "west")
    assert report.ciphertexts == 1
    assert all(report.traffic[p]["bytes_received"] > 1000 for p in report.participants)


def test_clear_runs_the_same_plan(client):
    assert client.sql(GROUPED, scheme="clear").values == client.sql(GROUPED).values


def test_a_refusal_comes_before_anything_is_sent(client):
    with pytest.raises(PlanError) as caught:
        client.sql("SELECT region, qty FROM sales")
    assert caught.value.exit_code == 7


def test_tables_lists_the_dictionary(client):
    (table,) = client.tables()

    assert [c.name for c in table.columns] == ["region", "qty", "amount"]
    assert table.parties == ("north", "south", "west")


def kill_at(room, victim, step, number=signal.SIGKILL):
    """A watcher that ends a node when a step of the job is announced."""
    done = []

    def watch(event):
        if not done and event.step == step:
            done.append(event)
            room.process(victim).send_signal(number)

    return watch


def outcome(client, watcher):
    """The error of a query under a fault; None if the fault came too late to matter, and then the answer is right."""
    try:
        rows = client.sql(GROUPED, watcher=watcher).rows
    except MpcError as error:
        return error
    assert sum(r["n"] for r in rows) == 900
    return None


@pytest.mark.parametrize("step", ["commit", "compute", "group key", "add"])
@pytest.mark.parametrize("victim", ["south", "north"])
def test_a_killed_party_gives_a_typed_error_and_the_next_query_works(room, client, victim, step):
    started = time.monotonic()
    error = outcome(client, kill_at(room, victim, step))
    assert error is None or (isinstance(error, TransportError) and error.fields["party"] == victim), error
    assert time.monotonic() - started < 15
    room.process(victim).wait(timeout=10)

    room.restart(victim)

    assert client.sql(COUNT).rows == [{"n": 900}]


@pytest.mark.parametrize("step", ["commit", "compute", "add"])
def test_a_killed_coordinator_gives_a_typed_error_and_the_next_query_works(room, client, step):
    error = outcome(client, kill_at(room, "coordinator", step))
    assert error is None or isinstance(error, TransportError), error
    room.process("coordinator").wait(timeout=10)

    room.restart("coordinator")

    assert room.client().sql(COUNT).rows == [{"n": 900}]


def test_a_killed_client_leaves_no_job_at_work(room):
    script = (
        "import sys; from pathlib import Path; from mpc.client import Client\n"
        "client = Client.open(Path(sys.argv[1]))\n"
        "client.sql(sys.argv[2], watcher=lambda e: print(e.step, flush=True))\n"
    )
    command = [sys.executable, "-c", script, str(room.folder / "analyst"), GROUPED]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.kill()

    assert room.client().sql(COUNT).rows == [{"n": 900}]


def test_a_killed_worker_costs_one_job(room, client):
    workers = [p for p in node_processes(room.folder) if b"worker" in Path(f"/proc/{p}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    time.sleep(0.2)

    assert client.sql(COUNT).rows == [{"n": 900}]


def test_a_deadline_ends_the_job(room, client):
    room.process("west").send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises((DeadlineExceeded, TransportError)):
            client.sql(COUNT, timeout_s=3)
        assert time.monotonic() - started < 12
    finally:
        room.process("west").send_signal(signal.SIGCONT)
    time.sleep(0.5)

    assert client.sql(COUNT).rows == [{"n": 900}]


def test_cancel_ends_the_job(room, client):
    room.process("west").send_signal(signal.SIGSTOP)

    def cancel(event):
        if event.step == "commit":
            client.analyst.peer and cancelled.append(event.job)
            client._loop.create_task(client.analyst.cancel(event.job))

    cancelled = []
    try:
        with pytest.raises(JobCancelled):
            client.sql(COUNT, watcher=cancel)
    finally:
        room.process("west").send_signal(signal.SIGCONT)
    assert cancelled
    time.sleep(0.5)
    assert client.sql(COUNT).rows == [{"n": 900}]


def test_logs_hold_no_value_of_the_data(room, client):
    client.sql(GROUPED)
    for name in ("north", "south", "west", "coordinator"):
        log = room.log(name)
        assert "Traceback" not in log
        assert "SELECT" not in log


def test_nothing_is_left_behind():
    with LocalRoom({"a": TABLES["north"], "b": TABLES["south"]}) as room:
        folder = room.folder
        room.client().sql(COUNT)
        assert len(node_processes(folder)) >= 3
    time.sleep(0.3)

    assert not node_processes(folder)
    assert not folder.exists()


def test_nothing_is_left_behind_when_the_owner_of_the_room_is_killed():
    script = (
        "import pyarrow as pa, sys; from mpc.client import LocalRoom\n"
        "t = pa.table({'x': [1, 2]})\n"
        "room = LocalRoom({'a': {'t': t}, 'b': {'t': t}}); room.start(); print(room.folder, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        folder = process.stdout.readline().strip()
        assert node_processes(folder)
        process.kill()
    deadline = time.monotonic() + 10
    while node_processes(folder) and time.monotonic() < deadline:
        time.sleep(0.2)

    assert not node_processes(folder)


def test_one_party_is_no_room():
    with pytest.raises(ConfigurationError):
        LocalRoom({"only": TABLES["north"]})


def test_a_policy_in_force_names_column_and_rule():
    policy = {"analysts": ["*"], "tables": {"sales": {"count": True}}}
    with LocalRoom({"a": TABLES["north"], "b": TABLES["south"]}, policies={"b": policy}) as room:
        client = room.client()
        assert client.sql(COUNT).rows == [{"n": 700}]
        with pytest.raises(PolicyDenied) as caught:
            client.sql("SELECT SUM(qty) AS q FROM sales")
    assert caught.value.fields["party"] == "b"
    assert caught.value.fields["column"] == "qty"


def test_a_port_that_somebody_takes_in_between_is_no_obstacle(monkeypatch):
    from mpc.client import local

    choose, asked = local.free_ports, []

    def taken_first(count):
        asked.append(count)
        ports = choose(count)
        return [holder.getsockname()[1], *ports[1:]] if len(asked) == 1 else ports

    with socket.create_server(("127.0.0.1", 0)) as holder:
        monkeypatch.setattr(local, "free_ports", taken_first)
        with LocalRoom({"a": TABLES["north"], "b": TABLES["south"]}) as room:
            assert room.client().sql(COUNT).rows == [{"n": 700}]

    assert len(asked) == 2
