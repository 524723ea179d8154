"""What leaks out of a node, and what a hostile one can do to its callers, over real gRPC and mutual TLS."""

from pathlib import Path

import grpc
import grpc.aio
import msgspec
import pytest

from mpc.errors import (
    InternalError,
    MpcError,
    PolicyDenied,
    ResourceExhausted,
    SourceError,
    WireError,
)
from mpc.runtime.channel import GrpcCoordinatorPeer, GrpcPartyPeer
from mpc.runtime.server import ERROR_METADATA, build_server
from mpc.runtime.tls import server_credentials
from mpc.wire import messages as m
from mpc.wire.codec import decode, encode
from mpc.wire.limits import MAX_REQUEST_BYTES
from mpc.wire.methods import SERVICES
from tests.wire.grpc_room import (
    COORDINATOR,
    METHODS,
    PARTY,
    Counting,
    call,
    channel,
    leaf,
    log_lines,
    manifest,
    member,
    notice,
    serving,
)

CANARY = "hunter2-4711-canary"
CODE = grpc.StatusCode


# ---- what leaks out --------------------------------------------------------------------------------------------------


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

    assert any(incident in line and Path(__file__).name in line for line in written.lines)


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


# ---- hostile servers -------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("given", "shown"),
    [({}, {"member": "hub"}), ({"party": "north"}, {"party": "north"}), ({"member": "ana"}, {"member": "ana"})],
    ids=["its own", "a party's", "somebody's"],
)
async def test_a_coordinators_limit_carries_its_name(room, given, shown):
    counters, ports = room

    async def behave(message):
        raise ResourceExhausted("", limit="disk", **given)

    counters[COORDINATOR].behaviours["Describe"] = behave
    peer = GrpcCoordinatorPeer(member("hub", f"localhost:{ports[COORDINATOR]}"), leaf("ana"))
    with pytest.raises(ResourceExhausted) as caught:
        await peer.describe(m.DescribeRequest())
    await peer.close()

    assert caught.value.fields == {"limit": "disk", **shown}


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
