"""The transport under attack: who gets in, what leaks out, and what one caller can take from the others.

Real gRPC and mutual TLS on loopback; the handlers count, so "refused" means that no handler was reached.
"""

import asyncio
import datetime as dt
import gc
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mpc.errors import (
    AuthenticationError,
    DeadlineExceeded,
    InternalError,
    MpcError,
    PolicyDenied,
    ResourceExhausted,
    SourceError,
    TransportError,
    WireError,
)
from mpc.keys.identity import TlsMaterial, issue_leaf, new_root, spiffe_id
from mpc.parties import Role
from mpc.runtime.channel import GrpcCoordinatorPeer, GrpcPartyPeer
from mpc.runtime.daemon import Daemon
from mpc.runtime.metrics import Metrics
from mpc.runtime.operations import OperationsConfig
from mpc.runtime.server import CALLS_PER_IDENTITY, ERROR_METADATA, VERSION_METADATA, _Gate, add_service, build_server
from mpc.runtime.tls import Gatekeeper, server_credentials
from mpc.wire import messages as m
from mpc.wire.codec import decode, encode
from mpc.wire.limits import MAX_REQUEST_BYTES
from mpc.wire.methods import COORDINATOR_METHODS, PARTY_METHODS, SERVICES
from tests.wire.grpc_room import (
    COORDINATOR,
    HOSTS,
    METHODS,
    NAMES,
    PARTY,
    Counting,
    call,
    channel,
    leaf,
    log_lines,
    manifest,
    member,
    root,
    serving,
)

CANARY = "hunter2-4711-canary"
NOW = dt.datetime.now(dt.UTC)
REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE}

CODE = grpc.StatusCode


@pytest.fixture
async def room():
    """Both services, their ports, and who reached what."""
    counters = {PARTY: Counting(PARTY), COORDINATOR: Counting(COORDINATOR)}
    async with serving(*((s, c.handlers()) for s, c in counters.items())) as ports:
        yield counters, dict(zip(counters, ports, strict=True))


def notice(error):
    found = [v for k, v in error.trailing_metadata() or () if k == ERROR_METADATA]
    return msgspec.msgpack.decode(found[0], type=m.ErrorNotice) if found else None


# ---- who gets in -----------------------------------------------------------------------------------------------


ROGUE = new_root(Role.COORDINATOR, "hub")

IMPOSTORS = {
    "no certificate": None,
    "the right names under a rogue root": issue_leaf(ROGUE, Role.COORDINATOR, "hub", HOSTS),
    "an analyst under a rogue root": issue_leaf(ROGUE, Role.ANALYST, "ana", HOSTS),
    "an expired leaf": issue_leaf(root("hub"), Role.COORDINATOR, "hub", HOSTS, days=1, now=NOW - dt.timedelta(days=3)),
    "an expired analyst": issue_leaf(root("ana"), Role.ANALYST, "ana", HOSTS, days=1, now=NOW - dt.timedelta(days=3)),
    "a leaf of tomorrow": issue_leaf(root("hub"), Role.COORDINATOR, "hub", HOSTS, now=NOW + dt.timedelta(days=1)),
    "the coordinator's name under a party's root": issue_leaf(root("south"), Role.COORDINATOR, "hub", HOSTS),
    "an analyst's name under a party's root": issue_leaf(root("south"), Role.ANALYST, "ana", HOSTS),
    "the coordinator's name under the analyst's root": issue_leaf(root("ana"), Role.COORDINATOR, "hub", HOSTS),
    "the right name in another role": issue_leaf(root("hub"), Role.ANALYST, "hub", HOSTS),
    "an analyst as coordinator": issue_leaf(root("ana"), Role.COORDINATOR, "ana", HOSTS),
    "a member that is not in the manifest": issue_leaf(root("south"), Role.PARTY, "west", HOSTS),
    "a root for a leaf": root("hub"),
}


@pytest.mark.parametrize("who", IMPOSTORS)
async def test_impostors_reach_no_handler_of_any_method(room, who):
    counters, ports = room
    for service, port in ports.items():
        async with channel(port, service, IMPOSTORS[who]) as opened:
            for name in SERVICES[service]:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(opened, service, name, timeout_s=5)

                assert caught.value.code() in REFUSALS, (service, name)
    assert not counters[PARTY].reached
    assert not counters[COORDINATOR].reached


@pytest.mark.parametrize(
    "uris",
    [[spiffe_id("coordinator", "hub"), spiffe_id("analyst", "ana")], [spiffe_id("analyst", "ana"), "spiffe://x/y"], []],
    ids=["two members", "a member and a stranger", "nobody"],
)
async def test_a_leaf_with_two_names_or_none_reaches_nothing(room, uris):
    counters, ports = room
    key = TlsMaterial(*mixed_leaf(root("hub"), uris))
    for service, port in ports.items():
        async with channel(port, service, key) as opened:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(opened, service, "Describe", timeout_s=5)

            assert caught.value.code() in REFUSALS
    assert not counters[PARTY].reached + counters[COORDINATOR].reached


def mixed_leaf(issuer, uris):
    """A leaf with any URIs, issued by a member's root."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.UniformResourceIdentifier(u) for u in uris] + [x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.load_pem_x509_certificate(issuer.certificate).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(serialization.load_pem_private_key(issuer.key, None), hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


@pytest.mark.parametrize("who", NAMES)
async def test_every_member_reaches_exactly_the_methods_of_its_role(room, who):
    counters, ports = room
    for service, port in ports.items():
        async with channel(port, service, leaf(who)) as opened:
            for name, method in SERVICES[service].items():
                if NAMES[who] in method.callers:
                    assert await call(opened, service, name) == [encode(method.reply())]
                    continue
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(opened, service, name)
                assert caught.value.code() is CODE.PERMISSION_DENIED
                assert notice(caught.value).code == "E4201"
        allowed = {n for n, x in SERVICES[service].items() if NAMES[who] in x.callers}
        assert counters[service].reached == dict.fromkeys(allowed, 1)


async def test_plain_text_and_methods_that_do_not_exist_reach_nothing(room):
    counters, ports = room
    async with grpc.aio.insecure_channel(f"localhost:{ports[PARTY]}") as opened:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(opened, PARTY, "Describe", timeout_s=5)
    assert caught.value.code() is CODE.UNAVAILABLE
    async with channel(ports[PARTY], PARTY, leaf("hub")) as opened:
        for path in (f"/{PARTY}/describe", f"/{PARTY}/Shutdown", f"/{COORDINATOR}/List", f"/{PARTY}/", "/"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await opened.unary_unary(path)(b"", timeout=5)

            assert caught.value.code() is CODE.UNIMPLEMENTED
    assert not counters[PARTY].reached


@pytest.mark.parametrize("method", ["ServerReflectionInfo"])
@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha", "grpc.channelz.v1"])
async def test_there_is_no_reflection(room, package, method):
    _, ports = room
    async with channel(ports[COORDINATOR], COORDINATOR, leaf("ana")) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await opened.unary_unary(f"/{package}.ServerReflection/{method}")(b"", timeout=5)

        assert caught.value.code() is CODE.UNIMPLEMENTED


async def test_a_connection_does_not_outlive_its_certificate():
    clock = [time.time()]
    counter = Counting(PARTY)
    async with (
        serving((PARTY, counter.handlers()), now=lambda: clock[0]) as (port,),
        channel(port, PARTY, leaf("hub")) as opened,
    ):
        await call(opened, PARTY, "Describe")
        clock[0] += 91 * 86400
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(opened, PARTY, "Describe")

    assert caught.value.code() is CODE.UNAUTHENTICATED
    assert counter.reached == {"Describe": 1}


async def test_a_server_that_is_not_the_member_is_not_spoken_to():
    """South's node answers at north's address: its chain is good, but it is not north's."""
    impostor = Counting(PARTY)
    server = build_server()
    add_service(server, PARTY, impostor.handlers(), Gatekeeper(manifest()))
    port = server.add_secure_port("localhost:0", server_credentials(manifest(), lambda: leaf("south")))
    await server.start()
    peer = GrpcPartyPeer(member("north", f"localhost:{port}"), leaf("hub"))
    try:
        with pytest.raises(AuthenticationError):
            await peer.describe(m.DescribeRequest())
    finally:
        await peer.close()
        await server.stop(0)
    assert not impostor.reached


@pytest.mark.parametrize("version", ["0", "2", "999999", "-1", "x", "1000000", ""])
async def test_another_wire_version_is_told_so_and_reaches_only_describe(room, version):
    counters, ports = room
    metadata = ((VERSION_METADATA, version),)
    async with channel(ports[COORDINATOR], COORDINATOR, leaf("ana")) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(opened, COORDINATOR, "List", metadata=metadata)
        await call(opened, COORDINATOR, "Describe", metadata=metadata)

    assert notice(caught.value).code in {"E8101", "E8201"}
    assert counters[COORDINATOR].reached == {"Describe": 1}


# ---- what leaks out --------------------------------------------------------------------------------------------


class Spiteful(Exception):
    def __str__(self):
        raise ValueError(CANARY)

    __repr__ = __str__


def chained():
    try:
        raise KeyError(CANARY)
    except KeyError as cause:
        raise RuntimeError(CANARY) from cause


def grouped():
    raise ExceptionGroup(CANARY, [ValueError(CANARY), PolicyDenied(CANARY)])


def raises(error):
    def do():
        raise error

    return do


THROWN = {
    "ValueError": (raises(ValueError(CANARY)), "E1001"),
    "KeyError": (raises(KeyError(CANARY)), "E1001"),
    "OSError": (raises(OSError(13, CANARY, f"/srv/{CANARY}.duckdb")), "E1001"),
    "UnicodeDecodeError": (raises(UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY)), "E1001"),
    "StopAsyncIteration": (raises(StopAsyncIteration(CANARY)), "E1001"),
    "a chain": (chained, "E1001"),
    "a group": (grouped, "E1001"),
    "an error that cannot be printed": (raises(Spiteful()), "E1001"),
    "a timeout that is not the call's": (raises(TimeoutError(CANARY)), "E1001"),
    "our error's detail": (raises(SourceError(CANARY)), "E3301"),
    "our error's other fields": (raises(PolicyDenied(CANARY, value=CANARY, row=CANARY)), "E5001"),
    "an internal error": (raises(InternalError(CANARY)), "E1001"),
    "grpc's own error": (raises(grpc.RpcError(CANARY)), "E1001"),
}


@pytest.mark.parametrize("what", THROWN)
async def test_no_word_of_an_exception_leaves_a_node(room, what):
    """Every method of both services is a point of injection: fifteen for each kind of exception."""
    counters, ports = room
    throw, code = THROWN[what]

    async def behave(message):
        throw()

    with log_lines() as written:
        for service, port in ports.items():
            counters[service].behaviours = dict.fromkeys(SERVICES[service], behave)
            async with channel(port, service, leaf("hub" if service == PARTY else "ana")) as opened:
                for name in SERVICES[service]:
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await call(opened, service, name)

                    told = (caught.value.details(), caught.value.trailing_metadata(), caught.value.initial_metadata(),
                            caught.value.debug_error_string())  # fmt: skip
                    assert CANARY not in repr(told)
                    assert CANARY.encode() not in msgspec.msgpack.encode(notice(caught.value))
                    assert notice(caught.value).code == code, name
    assert sum(counters[PARTY].reached.values()) + sum(counters[COORDINATOR].reached.values()) == len(METHODS)
    assert written.lines, "the node did write of it"
    assert not [line for line in written.lines if CANARY in line]


LATER = {
    "after the first reply": ("Watch", COORDINATOR),
    "while reading a stream of requests": ("Deliver", PARTY),
    "a reply of another kind": ("List", COORDINATOR),
    "a reply that does not fit its type": ("Describe", PARTY),
}


@pytest.mark.parametrize("where", LATER)
async def test_nor_of_one_that_comes_later(where):
    name, service = LATER[where]
    counter = Counting(service)
    handlers = counter.handlers()

    async def stream(caller, message):
        yield m.JobEvent(job="a")
        raise ValueError(CANARY)

    async def reading(caller, frames):
        async for _ in frames:
            raise ValueError(CANARY)

    async def other(caller, message):
        return CANARY

    async def misfit(caller, message):
        return m.Description(wire_version=CANARY)

    handlers[name] = {"Watch": stream, "Deliver": reading, "List": other, "Describe": misfit}[name]
    with log_lines() as written:
        async with (
            serving((service, handlers)) as (port,),
            channel(port, service, leaf("hub" if service == PARTY else "ana")) as opened,
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(opened, service, name)

    assert caught.value.code() in {CODE.INTERNAL, CODE.INVALID_ARGUMENT}
    assert CANARY not in repr((caught.value.details(), caught.value.trailing_metadata(), caught.value))
    assert not [line for line in written.lines if CANARY in line]


async def test_an_incident_can_be_found_in_the_log_and_names_the_place(room):
    counters, ports = room

    async def behave(message):
        raise ValueError(CANARY)

    counters[PARTY].behaviours["Describe"] = behave
    with log_lines() as written:
        async with channel(ports[PARTY], PARTY, leaf("hub")) as opened:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(opened, PARTY, "Describe")
    incident = notice(caught.value).fields[0].value

    assert any(incident in line and "test_grpc_security.py" in line for line in written.lines)


async def test_a_typed_error_crosses_with_its_fields_under_the_peers_own_name(room):
    counters, ports = room

    async def behave(message):
        raise PolicyDenied(CANARY, party="south", column="age", rule="use group")

    counters[PARTY].behaviours["Commit"] = behave
    peer = GrpcPartyPeer(member("north", f"localhost:{ports[PARTY]}"), leaf("hub"))
    try:
        with pytest.raises(PolicyDenied) as caught:
            await peer.commit(m.CommitRequest())
    finally:
        await peer.close()

    assert caught.value.fields == {"party": "north", "column": "age", "rule": "use group"}
    assert caught.value.detail == ""


# ---- hostile servers -------------------------------------------------------------------------------------------


def hostile(replies=(), trailing=None, status=CODE.INTERNAL):
    """A node of the room, with a good certificate, that answers with any bytes."""

    async def unary(data, context):
        if trailing is not None:
            await context.abort(status, "x" * 200, trailing_metadata=((ERROR_METADATA, trailing),))
        return replies[0]

    async def stream(data, context):
        for reply in replies:
            await context.write(reply)
        if trailing is not None:
            await context.abort(status, "", trailing_metadata=((ERROR_METADATA, trailing),))

    return grpc.method_handlers_generic_handler(
        PARTY,
        {
            "Describe": grpc.unary_unary_rpc_method_handler(unary),
            "Contribute": grpc.unary_stream_rpc_method_handler(stream),
        },
    )


async def asked(handler, ask):
    server = build_server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_secure_port("localhost:0", server_credentials(manifest(), lambda: leaf("north")))
    await server.start()
    peer = GrpcPartyPeer(member("north", f"localhost:{port}"), leaf("hub"))
    try:
        return await ask(peer)
    finally:
        await peer.close()
        await server.stop(0)


def packed(code="E5001", **fields):
    return msgspec.msgpack.encode(
        m.ErrorNotice(code=code, fields=tuple(m.ErrorField(name=n, value=v) for n, v in fields.items()))
    )


@pytest.mark.parametrize(
    "trailing",
    [b"", b"\xc1", b"\x82\xa4code\xa0\xa6fields\xdd\xff\xff\xff\xff", packed("E9999"), packed(offset="x"),
     packed(secret="x"), packed(reason="\x1b[2J"), packed(reason="y" * 401), b"\x90" * 4000],
    ids=["empty", "no code", "a boastful list", "an unknown code", "no number", "an unknown field", "an escape",
         "too long", "deep"],
)  # fmt: skip
async def test_a_hostile_notice_is_a_wire_error(trailing):
    async def ask(peer):
        await peer.describe(m.DescribeRequest())

    with pytest.raises(WireError):
        await asked(hostile(trailing=trailing), ask)


@pytest.mark.parametrize("status", [s for s in CODE if s is not CODE.OK], ids=lambda s: s.name)
async def test_any_status_without_a_notice_is_one_of_our_errors(status):
    async def unary(data, context):
        await context.abort(status, CANARY)

    handler = grpc.method_handlers_generic_handler(PARTY, {"Describe": grpc.unary_unary_rpc_method_handler(unary)})

    async def ask(peer):
        await peer.describe(m.DescribeRequest())

    with pytest.raises(MpcError) as caught:
        await asked(handler, ask)
    assert CANARY not in caught.value.public


@pytest.mark.parametrize("reply", [b"\xff", b"\x0a\x00", encode(m.SealedFrame(data=b"x" * 200)), b"\x0a\x01a" * 2])
async def test_a_hostile_reply_is_a_wire_error(reply):
    async def unary(peer):
        return await peer.describe(m.DescribeRequest())

    async def stream(peer):
        return [f async for f in peer.contribute(m.ContributeRequest())]

    for ask in (unary, stream):
        try:
            decode(reply, m.Description if ask is unary else m.ContributionFrame)
        except WireError:
            with pytest.raises(WireError):
                await asked(hostile([reply]), ask)


async def test_a_reply_beyond_its_methods_limit_is_refused():
    async def describe(peer):
        await peer.describe(m.DescribeRequest())

    with pytest.raises(WireError):
        await asked(hostile([encode(m.Description(software="x" * (1 << 17)))]), describe)
    with pytest.raises(ResourceExhausted):
        await asked(hostile([bytes(MAX_REQUEST_BYTES + 1)]), describe)


# ---- what one caller can take from the others ------------------------------------------------------------------


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

    counters[PARTY].behaviours["Deliver"] = reading
    async with channel(ports[PARTY], PARTY, leaf("hub"), options=(("grpc.max_send_message_length", -1),)) as opened:
        for name, method in PARTY_METHODS.items():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(opened, PARTY, name, data=b"\x0a" + bytes(method.request_limit_bytes))

            assert caught.value.code() in {CODE.INVALID_ARGUMENT, CODE.RESOURCE_EXHAUSTED}
    # A stream's handler is entered before its first message is read.
    assert set(counters[PARTY].reached) <= {"Deliver"}
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


# ---- a whole daemon --------------------------------------------------------------------------------------------


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
