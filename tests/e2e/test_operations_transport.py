"""One connection under operations: renewed certificates on a channel that is in use, and other wire versions."""

import asyncio

import grpc
import pytest
from cryptography import x509

from mpc.client.local import free_ports
from mpc.errors import ConfigurationError, ProtocolError, WireError
from mpc.keys.files import LEAF_CERTIFICATE, LEAF_KEY, KeyFolder
from mpc.keys.manifest import Manifest, endorsed
from mpc.parties import Role
from mpc.runtime import server
from mpc.runtime.channel import GrpcPartyPeer
from mpc.runtime.metrics import Metrics
from mpc.runtime.server import VERSION_METADATA, add_service, build_server
from mpc.runtime.tls import CurrentLeaf, Gatekeeper, channel_credentials, server_credentials
from mpc.wire import messages as m
from mpc.wire.codec import encode
from mpc.wire.methods import PARTY_METHODS

HOSTS = ("127.0.0.1",)


class Line:
    """A party's server that notes every caller's certificate, and a coordinator's channel to it."""

    def __init__(self, folder):
        port = free_ports(1)[0]
        self.keys = {name: KeyFolder(folder / name) for name in ("north", "south", "hub", "ana")}
        roles = {"north": Role.PARTY, "south": Role.PARTY, "hub": Role.COORDINATOR, "ana": Role.ANALYST}
        members = [
            KeyFolder.create(
                folder / n, r, n, f"127.0.0.1:{port}" if r in {Role.PARTY, Role.COORDINATOR} else "", HOSTS
            )
            for n, r in roles.items()
        ]
        self.manifest = endorsed(
            Manifest(name="line", members=tuple(members)), [(n, k.identity()) for n, k in self.keys.items()]
        ).verify()
        self.north = self.manifest.member("north")
        self.leaf = CurrentLeaf(self.keys["hub"])
        self.metrics, self.callers, self.finish = Metrics(), [], asyncio.Event()

    async def serve(self):
        async def reply(caller, message):
            return m.Acknowledgement(job=message.job)

        async def describe(caller, message):
            return m.Description(member="north")

        async def collect(caller, message):
            yield m.SealedFrame(party="north", data=b"first")
            await self.finish.wait()
            yield m.SealedFrame(party="north", data=b"last")

        handlers = {**dict.fromkeys(PARTY_METHODS, reply), "Describe": describe, "Collect": collect}
        self.server = build_server()
        gate = Gatekeeper(self.manifest)
        seen, self.serials = gate.caller, []

        def noting(context):
            self.serials.append(x509.load_pem_x509_certificate(context["x509_pem_cert"][0]).serial_number)
            return seen(context)

        gate.caller = noting
        add_service(self.server, "mpc.wire.v1.Party", handlers, gate, self.metrics)
        credentials = server_credentials(self.manifest, CurrentLeaf(self.keys["north"]))
        self.server.add_secure_port(self.north.endpoint, credentials)
        await self.server.start()
        self.peer = GrpcPartyPeer(self.north, self.leaf)

    async def close(self):
        self.finish.set()
        await self.peer.close()
        await self.server.stop(0)

    async def raw(self, method, message, metadata):
        credentials = channel_credentials(self.north, self.keys["hub"].leaf())
        async with grpc.aio.secure_channel(self.north.endpoint, credentials) as channel:
            call = channel.unary_unary(f"/mpc.wire.v1.Party/{method}")
            return await call(encode(message), metadata=metadata, timeout=5)


@pytest.fixture
async def line(tmp_path):
    made = Line(tmp_path)
    await made.serve()
    yield made
    await made.close()


async def test_a_renewed_certificate_is_shown_at_the_next_call_and_open_streams_go_on(line):
    stream = line.peer.collect(m.CollectRequest(job="a", round=1))
    assert (await anext(stream)).data == b"first"
    before = line.serials[-1]

    line.keys["hub"].renew(Role.COORDINATOR, "hub", HOSTS)
    await line.peer.cancel(m.JobReference(job="a"))

    assert line.serials[-1] != before
    line.finish.set()
    assert (await anext(stream)).data == b"last"
    assert await anext(stream, None) is None


async def test_without_a_renewal_the_channel_stays(line):
    channel = line.peer._channel
    await line.peer.cancel(m.JobReference(job="a"))

    assert line.peer._channel is channel


def test_a_half_written_pair_leaves_the_last_good_one_in_use(tmp_path):
    keys = KeyFolder(tmp_path / "north")
    KeyFolder.create(tmp_path / "north", Role.PARTY, "north", "127.0.0.1:7443", HOSTS)
    leaf = CurrentLeaf(keys)
    good = leaf().certificate
    old_key = (keys.path / LEAF_KEY).read_bytes()

    keys.renew(Role.PARTY, "north", HOSTS)
    new = (keys.path / LEAF_CERTIFICATE).read_bytes()
    new_key = (keys.path / LEAF_KEY).read_bytes()
    (keys.path / LEAF_KEY).write_bytes(old_key)
    assert leaf().certificate == good
    (keys.path / LEAF_CERTIFICATE).write_bytes(new[: len(new) // 2])
    assert leaf().certificate == good
    (keys.path / LEAF_CERTIFICATE).unlink()
    assert leaf().certificate == good
    (keys.path / LEAF_KEY).write_bytes(new_key)
    (keys.path / LEAF_CERTIFICATE).write_bytes(new)

    assert leaf().certificate == new
    assert leaf.expires == x509.load_pem_x509_certificate(new).not_valid_after_utc.timestamp()


def test_a_pair_that_does_not_match_at_the_start_is_a_configuration_error(tmp_path):
    for name in ("north", "south"):
        KeyFolder.create(tmp_path / name, Role.PARTY, name, "127.0.0.1:7443", HOSTS)
    (tmp_path / "north" / LEAF_KEY).write_bytes((tmp_path / "south" / LEAF_KEY).read_bytes())

    with pytest.raises(ConfigurationError, match="do not belong together"):
        CurrentLeaf(KeyFolder(tmp_path / "north"))


@pytest.mark.parametrize(
    ("spoken", "said"),
    [("2", "upgrade this node"), ("0", "upgrade the caller"), ("999999", "the caller speaks wire version 999999")],
)
async def test_another_wire_version_is_refused_with_a_clear_sentence(line, spoken, said):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await line.raw("Cancel", m.JobReference(job="a"), ((VERSION_METADATA, spoken),))

    error = await line.peer._translate(caught.value)
    assert isinstance(error, ProtocolError)
    assert said in error.public
    assert "wire version" in error.public


async def test_describe_answers_every_version(line):
    assert await line.raw("Describe", m.DescribeRequest(wire_version=7), ((VERSION_METADATA, "7"),))


async def test_software_from_before_versions_speaks_version_one(line):
    assert await line.raw("Cancel", m.JobReference(job="a"), ())


@pytest.mark.parametrize("spoken", ["", "x", "1" * 50, "-1", "1.0"])
async def test_a_version_that_is_none_is_a_wire_error(line, spoken):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await line.raw("Cancel", m.JobReference(job="a"), ((VERSION_METADATA, spoken),))

    assert isinstance(await line.peer._translate(caught.value), WireError)


async def test_calls_are_counted_by_method_and_code_before_they_end(line, monkeypatch):
    async def slowly(context, error, abort=server._abort):
        try:
            await abort(context, error)
        finally:
            await asyncio.sleep(0.2)

    monkeypatch.setattr(server, "_abort", slowly)
    await line.peer.cancel(m.JobReference(job="a"))
    with pytest.raises(grpc.aio.AioRpcError):
        await line.raw("Cancel", m.JobReference(job="a"), ((VERSION_METADATA, "2"),))

    count = line.metrics.registry.get_sample_value
    assert count("sealroom_calls_total", {"method": "Cancel", "code": "ok"}) == 1
    assert count("sealroom_calls_total", {"method": "Cancel", "code": "E8201"}) == 1


async def test_a_channel_that_lost_its_peers_name_is_replaced(line):
    """A container that was away has no name meanwhile; the channel would ask for it again only minutes later."""
    lost = line.peer._channel
    line.peer._channel = grpc.aio.secure_channel("away.invalid:1", channel_credentials(line.north, line.leaf()))
    found = await line.peer.describe(m.DescribeRequest())

    assert found.member == "north"
    await line.peer._channel.close()
    line.peer._channel = lost
