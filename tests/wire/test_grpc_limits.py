"""What one caller can take from the others: calls, time, memory; and a whole daemon, over real gRPC."""

import asyncio
import gc
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mpc.errors import (
    DeadlineExceeded,
    TransportError,
)
from mpc.parties import Role
from mpc.runtime.channel import GrpcCoordinatorPeer
from mpc.runtime.daemon import Daemon
from mpc.runtime.metrics import Metrics
from mpc.runtime.operations import OperationsConfig
from mpc.runtime.server import CALLS_PER_IDENTITY, _Gate, add_service, build_server
from mpc.runtime.tls import Gatekeeper, server_credentials
from mpc.wire import messages as m
from mpc.wire.codec import encode
from mpc.wire.methods import COORDINATOR_METHODS, PARTY_METHODS
from tests.wire.grpc_room import (
    COORDINATOR,
    PARTY,
    Counting,
    call,
    channel,
    leaf,
    manifest,
    member,
    notice,
    serving,
)

CANARY = "hunter2-4711-canary"
CODE = grpc.StatusCode


# ---- what one caller can take from the others ------------------------------------------------------------------------


async def test_one_identity_cannot_take_the_calls_of_another(room):
    counters, ports = room
    release, service = asyncio.Event(), COORDINATOR

    async def hang(message):
        await release.wait()

    counters[service].behaviours["List"] = hang
    channels = [channel(ports[service], service, leaf("ana")) for _ in range(3)]
    flood = [asyncio.create_task(call(channels[i % 3], service, "List", timeout_s=30)) for i in range(80)]
    for _ in range(200):
        done, held = await asyncio.wait(flood, timeout=0.1)
        if len(held) <= CALLS_PER_IDENTITY:
            break

    assert len(held) == CALLS_PER_IDENTITY == counters[service].reached["List"]
    assert {task.exception().code() for task in done} == {CODE.RESOURCE_EXHAUSTED}
    started = time.monotonic()
    async with channel(ports[service], service, leaf("north")) as other:
        for _ in range(20):
            await call(other, service, "Describe", timeout_s=5)
    assert time.monotonic() - started < 5
    release.set()
    await asyncio.gather(*held)
    assert len(await call(channels[0], service, "List")) == 1, "served again"
    await asyncio.gather(*(c.close() for c in channels))


async def test_calls_that_fail_or_are_cancelled_give_their_place_back(room):
    counters, ports = room

    async def behave(message):
        if counters[COORDINATOR].reached["List"] % 2:
            raise ValueError(CANARY)
        await asyncio.sleep(60)

    counters[COORDINATOR].behaviours["List"] = behave
    async with channel(ports[COORDINATOR], COORDINATOR, leaf("ana")) as opened:
        for _ in range(3 * CALLS_PER_IDENTITY):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(opened, COORDINATOR, "List", timeout_s=0.03)
            assert caught.value.code() is not CODE.RESOURCE_EXHAUSTED
        await call(opened, COORDINATOR, "Describe")


@pytest.mark.parametrize("name", ["Describe", "Contribute", "Deliver"])
async def test_a_handler_that_never_answers_is_ended_by_the_servers_own_deadline(name):
    ended = asyncio.Event()

    async def hang():
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def unary(caller, message):
        await hang()

    async def stream(caller, message):
        yield m.ContributionFrame()
        await hang()

    async def upload(caller, frames):
        try:
            async for _ in frames:
                pass
        finally:
            ended.set()

    method = replace(PARTY_METHODS[name], deadline_s=0.3)
    handler = {"Describe": unary, "Contribute": stream, "Deliver": upload}[name]

    def generic(gatekeeper):
        built = _Gate(gatekeeper, Metrics()).handler(method, handler)
        return grpc.method_handlers_generic_handler("test.Slow", {name: built})

    async def silent():
        yield encode(m.DeliverFrame())
        await asyncio.sleep(60)

    async def ask(opened, path):
        if name == "Deliver":
            await opened.stream_unary(path)(silent())
        elif name == "Contribute":
            async for _ in opened.unary_stream(path)(b""):
                pass
        else:
            await opened.unary_unary(path)(b"")

    started = time.monotonic()
    async with (
        serving((PARTY, Counting(PARTY).handlers()), extra=(generic,)) as (port,),
        channel(port, PARTY, leaf("hub")) as opened,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(opened, f"/test.Slow/{name}")

    assert notice(caught.value).code == DeadlineExceeded.code
    assert time.monotonic() - started < 5
    assert ended.is_set(), "the handler was cancelled"


async def test_a_callers_deadline_ends_the_handler_too(room):
    counters, ports = room
    ended = asyncio.Event()

    async def hang(message):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    counters[PARTY].behaviours["Describe"] = hang
    async with channel(ports[PARTY], PARTY, leaf("hub")) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(opened, PARTY, "Describe", timeout_s=0.3)
        await asyncio.wait_for(ended.wait(), 5)

    assert caught.value.code() is CODE.DEADLINE_EXCEEDED


async def test_a_message_beyond_its_methods_limit_reaches_no_handler(room):
    counters, ports = room
    read = []

    async def reading(frames):
        read.extend([frame async for frame in frames])

    streams = {name for name, method in PARTY_METHODS.items() if method.request_stream}
    counters[PARTY].behaviours |= dict.fromkeys(streams, reading)
    async with channel(ports[PARTY], PARTY, leaf("hub"), options=(("grpc.max_send_message_length", -1),)) as opened:
        for name, method in PARTY_METHODS.items():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(opened, PARTY, name, data=b"\x0a" + bytes(method.request_limit_bytes))

            assert caught.value.code() in {CODE.INVALID_ARGUMENT, CODE.RESOURCE_EXHAUSTED}
    # A stream's handler is entered before its first message is read.
    assert set(counters[PARTY].reached) <= streams
    assert not read


async def test_a_compressed_message_is_measured_unpacked(room):
    counters, ports = room
    async with channel(ports[PARTY], PARTY, leaf("hub"), options=(("grpc.max_send_message_length", -1),)) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(opened, PARTY, "Commit", data=bytes(64 << 20), compression=grpc.Compression.Gzip)

    assert caught.value.code() is CODE.RESOURCE_EXHAUSTED
    assert not counters[PARTY].reached


async def test_large_metadata_is_refused(room):
    counters, ports = room
    async with channel(ports[PARTY], PARTY, leaf("hub")) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(opened, PARTY, "Describe", metadata=(("padding", "x" * 65536),))

    assert caught.value.code() is not CODE.OK
    assert not counters[PARTY].reached


def memory_kib(field):
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field))


def forget_peak():
    """Begin measuring the peak of memory anew; the present use."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_kib("VmRSS")


FLOODS = {"empty statements": b"\x12\x00", "unknown numbers": b"\xf8\x07\x00", "unknown groups": b"\xfb\x07\xfc\x07"}


@pytest.mark.parametrize("what", FLOODS)
async def test_a_mebibyte_costs_little_before_it_is_refused(room, what):
    counters, ports = room
    data = FLOODS[what] * ((1 << 20) // len(FLOODS[what]))
    async with channel(ports[PARTY], PARTY, leaf("hub")) as opened:
        await call(opened, PARTY, "Describe")
        gc.collect()
        before, started = forget_peak(), time.process_time()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(opened, PARTY, "Begin", data=data)
        seconds = time.process_time() - started
        grown = (memory_kib("VmHWM") - before) / 1024

    assert caught.value.code() is CODE.INVALID_ARGUMENT
    assert seconds < 1.0
    assert grown < 32, "client and server together, so copies of the message count twice"
    assert not counters[PARTY].reached["Begin"]


# ---- a whole daemon --------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


async def test_a_daemon_tells_members_of_its_health_and_nobody_else(monkeypatch):
    monkeypatch.delenv("SEALROOM_PARENT", raising=False)
    ended = []

    async def note(what):
        ended.append(what)

    daemon = Daemon(
        operations=OperationsConfig(), services=(PARTY,), drain=lambda: note("drained"), stop=lambda: note("stopped")
    )
    server, port = build_server(), free_port()
    add_service(server, PARTY, Counting(PARTY).handlers(), Gatekeeper(manifest()))
    credentials = server_credentials(manifest(), lambda: leaf("north"))
    serve = asyncio.create_task(daemon.serve(server, f"localhost:{port}", credentials))
    try:
        async with channel(port, PARTY, leaf("eve")) as opened:
            await asyncio.wait_for(opened.channel_ready(), 10)
            stub = health_pb2_grpc.HealthStub(opened)
            for service in ("", PARTY):
                reply = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Check(health_pb2.HealthCheckRequest(service="mpc.wire.v1.Other"), timeout=5)
            assert caught.value.code() is CODE.NOT_FOUND
        async with channel(port, PARTY, None) as opened:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert caught.value.code() is CODE.UNAVAILABLE
    finally:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(serve, 20)
    assert ended == ["drained", "stopped"]


async def test_a_peer_that_is_not_there_is_a_transport_error():
    peer = GrpcCoordinatorPeer(member("hub", f"localhost:{free_port()}"), leaf("ana"))
    try:
        with pytest.raises(TransportError) as caught:
            await peer.describe(m.DescribeRequest())
    finally:
        await peer.close()

    assert caught.value.fields["member"] == "hub"


def test_every_method_of_the_coordinator_has_a_way_in_for_somebody():
    assert all(x.callers - {Role.PARTY} for x in COORDINATOR_METHODS.values())
