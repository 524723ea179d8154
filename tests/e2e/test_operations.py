"""Nodes as their operators see them: counters, readiness, drains, renewed certificates, logs without data."""

import asyncio
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import tomllib

import numpy as np
import pyarrow as pa
import pytest
import tomli_w

from mpc.client import LocalRoom, aio
from mpc.client.local import free_ports
from mpc.errors import JobCancelled, MpcError, PlanError, TransportError
from mpc.keys.files import KeyFolder
from mpc.parties import Role

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("operations")]

COUNT = "SELECT COUNT(*) AS n FROM sales"
CANARIES = ("Canaria", "Zanzibar", "73519.25")


def sales(rows, seed):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "region": rng.choice(list(CANARIES[:2]), rows),
            "amount": np.where(rng.random(rows) < 0.3, float(CANARIES[2]), 2.5),
        }
    )


class Operated:
    """A local room whose nodes have an operator's port."""

    def __init__(self, room, drain_s):
        self.room = room
        names = ("north", "south", "west", "coordinator")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        for name in names:
            path = room.folder / name / ("coordinator.toml" if name == "coordinator" else "party.toml")
            config = tomllib.loads(path.read_text())
            listen = f"127.0.0.1:{self.ports[name]}"
            config["operations"] = {"listen": listen, "drain_s": drain_s, "log_format": "json", "log_level": "debug"}
            path.write_text(tomli_w.dumps(config))
            room.restart(name)

    def get(self, name, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=5)
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()

    def metric(self, name, line):
        text = self.get(name, "/metrics")[1]
        found = [x for x in text.splitlines() if x.startswith(line + " ")]
        return float(found[0].split()[-1]) if found else 0.0


@pytest.fixture(scope="module", params=[20.0])
def operated(request, tmp_path_factory):
    before = os.environ.get("SEALROOM_LOG_FORMAT")
    os.environ["SEALROOM_LOG_FORMAT"] = "json"
    with LocalRoom({p: {"sales": sales(100, i)} for i, p in enumerate(("north", "south", "west"))}) as room:
        yield Operated(room, request.param)
    if before is None:
        del os.environ["SEALROOM_LOG_FORMAT"]


def rows_of(room):
    return room.client().sql(COUNT).rows


def eventually(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_counters_follow_a_query(operated):
    party = 'sealroom_jobs_total{kind="sql",outcome="released"}'
    before = operated.metric("north", party), operated.metric("coordinator", party)
    rounds = operated.metric("north", "sealroom_rounds_total")

    assert rows_of(operated.room) == [{"n": 300}]

    # The analyst has its answer before the coordinator has told the parties to forget the job, and has recorded it.
    eventually(lambda: operated.metric("north", party) == before[0] + 1)
    eventually(lambda: operated.metric("coordinator", party) == before[1] + 1)
    assert operated.metric("north", "sealroom_rounds_total") == rounds + 1
    assert operated.metric("north", 'sealroom_ciphertext_bytes_total{direction="sent"}') > 1000
    assert operated.metric("coordinator", 'sealroom_ciphertexts_total{direction="received"}') >= 3
    assert operated.metric("north", "sealroom_worker_starts_total") >= 1
    assert operated.metric("coordinator", 'sealroom_phase_seconds_count{phase="add"}') >= 1
    assert operated.metric("north", 'sealroom_calls_total{code="ok",method="Commit"}') >= 1
    assert operated.metric("north", "sealroom_certificate_expiry_seconds") > time.time()


@pytest.mark.parametrize("name", ["north", "coordinator"])
def test_a_node_is_live_and_ready(operated, name):
    assert operated.get(name, "/livez") == (200, "alive\n")
    assert operated.get(name, "/readyz") == (200, "ready\n")
    assert operated.metric(name, "sealroom_ready") == 1


def test_queries_at_once_wait_for_their_turn_and_are_all_answered(operated):
    async def ask():
        async with aio.connect(operated.room.folder / "analyst") as analyst:
            return await asyncio.gather(*(analyst.sql(COUNT) for _ in range(8)))

    answers = asyncio.run(ask())

    assert [answer.rows for answer in answers] == [[{"n": 300}]] * 8
    assert operated.metric("north", 'sealroom_calls_total{code="E4501",method="Begin"}') == 0


class Asking(threading.Thread):
    """A query that somebody waits for; its outcome is rows or an error.

    Args:
        room: The room.
        on_step: Called with every step's name, the first time it is seen.
    """

    def __init__(self, room, on_step):
        super().__init__(daemon=True)
        self.client, self.on_step, self.steps, self.outcome = room.client(), on_step, [], None
        self.start()

    def watch(self, event):
        if event.step not in self.steps:
            self.on_step(event.step)
            self.steps.append(event.step)

    def run(self):
        try:
            self.outcome = self.client.sql(COUNT, watcher=self.watch).rows
        except MpcError as error:
            self.outcome = error

    def until(self, step):
        deadline = time.monotonic() + 20
        while step not in self.steps:
            assert time.monotonic() < deadline, (self.steps, self.outcome)
            time.sleep(0.02)


@pytest.fixture
def held(operated):
    """A query that waits at a party which was stopped after its commitment."""
    victim = operated.room.process("west")
    for _ in range(10):  # a query may be faster than the signal
        asking = Asking(operated.room, lambda step: step == "compute" and victim.send_signal(signal.SIGSTOP))
        asking.until("compute")
        asking.join(timeout=0.3)
        if asking.is_alive():
            break
        victim.send_signal(signal.SIGCONT)
    assert asking.is_alive(), asking.outcome
    yield asking, victim
    victim.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("name", ["north", "coordinator"])
def test_a_drain_lets_the_running_job_end_and_refuses_new_ones(operated, held, name):
    asking, victim = held
    process = operated.room.process(name)
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    while operated.get(name, "/readyz")[0] == 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)

    assert operated.get(name, "/readyz") == (503, "draining\n")
    assert operated.get(name, "/livez")[0] == 200
    with pytest.raises(TransportError, match="it is stopping, and takes no new jobs"):
        rows_of(operated.room)
    assert process.poll() is None

    victim.send_signal(signal.SIGCONT)
    asking.join(timeout=20)

    assert asking.outcome == [{"n": 300}]
    assert process.wait(timeout=10) == 0
    operated.room.restart(name)
    assert rows_of(operated.room) == [{"n": 300}]


def test_a_second_signal_ends_the_drain(operated, held):
    asking, victim = held
    process = operated.room.process("north")
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=15) == 0
    assert time.monotonic() - started < 15
    victim.send_signal(signal.SIGCONT)
    asking.join(timeout=30)
    assert isinstance(asking.outcome, MpcError)
    operated.room.restart("north")
    assert rows_of(operated.room) == [{"n": 300}]


# ---- certificates ----------------------------------------------------------------------------------------------------


def served_serial(room, name):
    """Serial number of the certificate that a node shows in a new handshake."""
    from cryptography import x509

    member = room.member(name)
    host, _, port = member.endpoint.rpartition(":")
    context = ssl.create_default_context(cadata=member.certificate)
    context.set_alpn_protocols(["h2"])
    keys = room.folder / "analyst" / "keys"
    context.load_cert_chain(keys / "tls.pem", keys / "tls.key")
    with (
        socket.create_connection((host, int(port)), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname=host) as t,
    ):
        return x509.load_der_x509_certificate(t.getpeercert(binary_form=True)).serial_number


def test_certificates_are_renewed_while_queries_run(operated):
    room = operated.room
    client = room.client()
    before = {name: served_serial(room, name) for name in operated.ports}

    for name in operated.ports:
        role = Role.COORDINATOR if name == "coordinator" else Role.PARTY
        KeyFolder(room.folder / name / "keys").renew(role, name, ("127.0.0.1",))
        assert client.sql(COUNT).rows == [{"n": 300}]

    after = {name: served_serial(room, name) for name in operated.ports}
    assert all(after[name] != before[name] for name in before)
    assert "a renewed certificate is in use" in room.log("coordinator")
    assert client.sql(COUNT).rows == [{"n": 300}]


# ---- logs ------------------------------------------------------------------------------------------------------------


def test_logs_of_a_full_run_contain_no_value(operated):
    """Group keys, amounts, SQL literals and a crash; at level debug."""
    room = operated.room
    client = room.client()
    client.sql(f"SELECT region, SUM(amount) AS s FROM sales WHERE amount > {CANARIES[2]} - 1 GROUP BY region")
    client.sql(f"SELECT COUNT(*) AS n FROM sales WHERE region = '{CANARIES[0]}'")
    with pytest.raises(PlanError):
        client.sql(f"SELECT region FROM sales WHERE region = '{CANARIES[1]}'")
    room.process("west").send_signal(signal.SIGKILL)
    room.process("west").wait()
    with pytest.raises(TransportError):
        client.sql(f"SELECT COUNT(*) AS n FROM sales WHERE region = '{CANARIES[0]}'")
    room.restart("west")

    texts = {name: room.log(name) for name in operated.ports}

    for name, text in texts.items():
        assert text, name
        assert not any(canary in text for canary in (*CANARIES, "amount", "SELECT")), name
        for line in text.splitlines():
            record = json.loads(line)
            assert {"time", "level", "node", "event"} <= set(record)


def test_a_trace_reaches_from_the_client_to_the_workers(tmp_path, monkeypatch):
    """A collector on loopback receives the spans of every process; they are one tree and say nothing of the data."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc", reason="the extra `otel` is not installed")
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

    from mpc.runtime import traces

    received = []

    class Collector(service.TraceServiceServicer):
        def Export(self, request, context):
            received.append(request)
            return pb.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    service.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    try:
        with LocalRoom({p: {"sales": sales(50, i)} for i, p in enumerate(("north", "south"))}) as room:
            room.client().sql(f"SELECT COUNT(*) AS n FROM sales WHERE region = '{CANARIES[0]}'")
        traces.shut_down()
    finally:
        server.stop(0)

    spans = [
        (resource.resource.attributes[-1].value.string_value, span)
        for request in received
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    job = next(span for _, span in spans if span.name == "job")
    linked = [span for _, span in spans if span.trace_id == job.trace_id]
    names = {span.name for span in linked}
    assert {"job", "Submit", "coordinate", "Commit", "Begin", "Contribute", "worker advance"} <= names, names
    ids = {span.span_id for span in linked}
    assert all(span.parent_span_id in ids for span in linked if span is not job)
    text = str(received)
    assert not any(canary in text for canary in (*CANARIES, "SELECT", "region"))


def test_a_terminal_that_is_closed_drains_a_node_as_a_stop_does(operated):
    process = operated.room.process("south")
    process.send_signal(signal.SIGHUP)

    assert process.wait(timeout=15) == 0
    operated.room.restart("south")
    assert rows_of(operated.room) == [{"n": 300}]


def test_a_node_under_nohup_survives_its_terminal():
    seen = subprocess.run(
        [sys.executable, "-c", _HANGUP], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()  # fmt: skip

    assert seen == ["ignored"]


_HANGUP = """
import asyncio, os, signal
from mpc.runtime.daemon import _signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what nohup does before it starts a program
async def main():
    ended = _signals()
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.1)
    print("drains" if ended.is_set() else "ignored")
asyncio.run(main())
"""


def test_a_client_that_is_closed_ends_what_it_waits_for_here_and_at_the_coordinator(operated, held):
    asking, victim = held
    started = time.monotonic()
    asking.client.close()
    asking.join(timeout=10)

    assert not asking.is_alive()
    assert isinstance(asking.outcome, JobCancelled)
    assert time.monotonic() - started < 10
    other = operated.room.client()
    eventually(lambda: other._run(other.analyst.jobs(1)).jobs[0].state == "ABORTED")
    victim.send_signal(signal.SIGCONT)
    assert rows_of(operated.room) == [{"n": 300}]


async def test_a_query_that_is_given_up_in_time_is_cancelled_and_nothing_else_is_left(operated, held):
    asking, victim = held
    before = asyncio.all_tasks()
    async with aio.connect(operated.room.folder / "analyst") as analyst:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await analyst.sql(COUNT)
        victim.send_signal(signal.SIGCONT)
        while (await analyst.jobs(1)).jobs[0].state != "ABORTED":  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before
    await asyncio.to_thread(asking.join, 30)
    assert asking.outcome == [{"n": 300}]
