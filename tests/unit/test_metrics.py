"""Counters, and the operator's port."""

import asyncio

import pytest

from mpc.errors import ConfigurationError
from mpc.runtime.metrics import Metrics
from mpc.runtime.operations import OperationsConfig, OperationsPort, Readiness


def sample(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_counters_count():
    metrics = Metrics()
    metrics.job_ended("sql", "released")
    metrics.job_ended("sql", "E4302")
    metrics.job_ended("sql", "released")
    metrics.moved("sent", 3, 3000)
    metrics.moved("sent", 1, 1000)
    metrics.rounds_done()
    metrics.worker_started()
    metrics.worker_ended("died")
    metrics.call("Commit", "ok", 0.01)
    metrics.phase("add", 0.3)

    assert sample(metrics, "sealroom_jobs_total", kind="sql", outcome="released") == 2
    assert sample(metrics, "sealroom_jobs_total", kind="sql", outcome="E4302") == 1
    assert sample(metrics, "sealroom_ciphertexts_total", direction="sent") == 4
    assert sample(metrics, "sealroom_ciphertext_bytes_total", direction="sent") == 4000
    assert sample(metrics, "sealroom_rounds_total") == 1
    assert sample(metrics, "sealroom_worker_starts_total") == 1
    assert sample(metrics, "sealroom_worker_ends_total", reason="died") == 1
    assert sample(metrics, "sealroom_calls_total", method="Commit", code="ok") == 1
    assert sample(metrics, "sealroom_phase_seconds_sum", phase="add") == pytest.approx(0.3)


def test_watched_values_are_read_at_each_scrape():
    metrics, jobs = Metrics(), {"working": 0.0}
    metrics.watch("sealroom_jobs_open", "Jobs.", lambda: jobs, label="state")
    metrics.watch("sealroom_ready", "Ready.", lambda: {"": 1.0})

    jobs["working"] = 2.0

    assert sample(metrics, "sealroom_jobs_open", state="working") == 2
    assert sample(metrics, "sealroom_ready") == 1


def test_two_nodes_of_a_process_do_not_add_up():
    one, two = Metrics(), Metrics()
    one.rounds_done()

    assert sample(two, "sealroom_rounds_total") == 0


def test_every_metric_is_in_the_table():
    metrics = Metrics()
    names = {family.name for family in metrics.registry.collect()}

    assert all(f"`{name}" in Metrics.__doc__ for name in names), names


async def ask(port, request):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.fixture
async def port():
    readiness = Readiness(started=True)
    served = OperationsPort(Metrics(), readiness)
    await served.start("127.0.0.1:0")
    number = served._server.sockets[0].getsockname()[1]
    yield number, readiness
    await served.close()


async def test_live_is_not_ready(port):
    number, readiness = port
    assert b"200 OK" in await ask(number, b"GET /readyz HTTP/1.1\r\n\r\n")

    readiness.draining = True
    readiness.checks["worker"] = lambda: False

    assert b"200 OK" in await ask(number, b"GET /livez HTTP/1.1\r\n\r\n")
    answer = await ask(number, b"GET /readyz HTTP/1.1\r\n\r\n")
    assert b"503" in answer
    assert b"draining, worker" in answer


async def test_metrics_are_served(port):
    answer = await ask(port[0], b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")

    assert b"sealroom_build" in answer
    assert b"text/plain; version=0.0.4" in answer


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"GET\r\n\r\n", b"405"),
        (b"x" * 10_000, b""),
    ],
)
async def test_bad_requests_get_little(port, request_line, expected):
    assert expected in (await ask(port[0], request_line))[:40]


@pytest.mark.parametrize("config", [{"listen": "9464"}, {"listen": "x:0"}, {"log_format": "xml"}, {"drain_s": -1.0}])
def test_a_wrong_table_is_refused(config):
    with pytest.raises(ConfigurationError):
        OperationsConfig(**config).check()


async def test_an_address_in_use_is_a_configuration_error(port):
    with pytest.raises(ConfigurationError, match=r"operations\.listen"):
        await OperationsPort(Metrics(), Readiness()).start(f"127.0.0.1:{port[0]}")
