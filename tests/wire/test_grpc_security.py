"""Who gets in: every identity that is not the right one, at every method of both services.

Real gRPC and mutual TLS on loopback; the handlers count, so "refused" means that no handler was reached.
"""

import datetime as dt
import time

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mpc.errors import (
    AuthenticationError,
)
from mpc.keys.identity import TlsMaterial, issue_leaf, new_root, spiffe_id
from mpc.parties import Role
from mpc.runtime.channel import GrpcPartyPeer
from mpc.runtime.server import VERSION_METADATA, add_service, build_server
from mpc.runtime.tls import Gatekeeper, server_credentials
from mpc.wire import messages as m
from mpc.wire.codec import encode
from mpc.wire.methods import SERVICES
from tests.wire.grpc_room import (
    COORDINATOR,
    HOSTS,
    NAMES,
    PARTY,
    Counting,
    call,
    channel,
    leaf,
    manifest,
    member,
    notice,
    root,
    serving,
)

NOW = dt.datetime.now(dt.UTC)
REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE}
CODE = grpc.StatusCode


# ---- who gets in -----------------------------------------------------------------------------------------------------


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
