"""A room in one process: real nodes, hub and analyst over an in-memory transport that can be made to fail.

Every message passes the wire codec, so nothing crosses that gRPC would not carry. Sessions run in the loop's thread
instead of worker processes, so thousands of jobs are cheap.
"""

from contextlib import aclosing
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from mpc.client.analyst import Analyst
from mpc.client.infer import infer_dictionary
from mpc.client.jobs import KeyPool
from mpc.client.profile import Profile
from mpc.errors import MpcError, ResourceExhausted, TransportError
from mpc.keys.files import KeyFolder
from mpc.keys.manifest import Manifest, endorsed
from mpc.parties import PartyId, Role
from mpc.policy.rules import Policy, open_policy
from mpc.runtime.clock import SystemClock
from mpc.wire import messages as m
from mpc.wire.codec import decode, encode
from mpc.wire.errors import from_notice, to_notice
from servers.coordinator.hub import Hub
from servers.coordinator.store import JobStore
from servers.party.config import PartyConfig
from servers.party.frames import Operation
from servers.party.node import PartyNode
from servers.party.session import Session
from servers.party.sources.spec import SourceSpec, TableSpec
from servers.party.store import PartyStore


class InlineWorker:
    """A worker without a process."""

    def __init__(self):
        self.session = None
        self.alive = True

    async def request(self, operation, payload, kind):
        if not self.alive:
            raise TransportError("the worker was killed")
        match operation:
            case Operation.OPEN:
                self.session = Session.open(payload, confined=False)
                return None
            case Operation.ADVANCE:
                return self.session.advance()
            case Operation.GROUP_KEY:
                return self.session.make_group_key()
            case Operation.TAKE:
                return self.session.take(payload)
            case Operation.COMPLETE:
                return self.session.complete()
            case Operation.CLOSE:
                return self.session.close()

    async def stream(self, operation, keys):
        for item in self.session.contribute(keys):
            yield isinstance(item, bytes), msgspec.Raw(msgspec.msgpack.encode(item))

    def kill(self):
        self.alive = False


class InlinePool:
    """Hands out inline workers, at most so many at once."""

    def __init__(self, most):
        self.most, self.busy, self.most_busy = most, 0, 0

    async def acquire(self):
        if self.busy >= self.most:
            raise ResourceExhausted("", limit="jobs at work")
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        return InlineWorker()

    async def release(self, worker, *, clean):
        self.busy -= 1
        worker.kill()

    async def close(self):
        pass


class Network:
    """What happens on the way: a hook sees every message and may change it, or raise."""

    def __init__(self):
        self.hook = lambda party, method, direction, message: message
        self.calls = []

    def carry(self, party, method, direction, message):
        self.calls.append((party, method, direction))
        changed = self.hook(party, method, direction, message)
        return decode(encode(changed), type(changed))


class MemoryParty:
    """A party as the hub sees it (`mpc.runtime.peers.PartyPeer`), through the network."""

    def __init__(self, name, node, network):
        self.name, self.node, self.network = name, node, network

    def _across(self, error):
        return from_notice(to_notice(error), party=self.name)

    async def _unary(self, method, message):
        sent = self.network.carry(self.name, method, "request", message)
        try:
            reply = await getattr(self.node, method)(sent)
        except MpcError as error:
            raise self._across(error) from None
        return self.network.carry(self.name, method, "reply", reply)

    async def _stream(self, method, message):
        sent = self.network.carry(self.name, method, "request", message)
        try:
            async with aclosing(getattr(self.node, method)(sent)) as frames:
                async for frame in frames:
                    yield self.network.carry(self.name, method, "reply", frame)
        except MpcError as error:
            raise self._across(error) from None

    async def describe(self, message):
        return m.Description(member=self.name, role="party")

    async def commit(self, message):
        return await self._unary("commit", message)

    async def begin(self, message):
        return await self._unary("begin", message)

    async def offer_key(self, message):
        return await self._unary("offer_key", message)

    def contribute(self, message):
        return self._stream("contribute", message)

    async def deliver(self, frames):
        async def carried():
            async for frame in frames:
                yield self.network.carry(self.name, "deliver", "request", frame)

        try:
            reply = await self.node.deliver(carried())
        except MpcError as error:
            raise self._across(error) from None
        return self.network.carry(self.name, "deliver", "reply", reply)

    def collect(self, message):
        return self._stream("collect", message)

    async def cancel(self, message):
        return await self.node.cancel(message)


class MemoryCoordinator:
    """The hub as an analyst sees it."""

    def __init__(self, hub, analyst):
        self.hub, self.analyst = hub, analyst

    async def submit(self, message):
        return await self.hub.submit(self.analyst, message)

    def watch(self, message):
        return self.hub.watch(self.analyst, message)

    def fetch(self, message):
        return self.hub.fetch(self.analyst, message)

    async def cancel(self, message):
        return await self.hub.cancel(self.analyst, message)

    async def list(self, message):
        return await self.hub.list(self.analyst, message)

    async def survey(self, message):
        return await self.hub.survey(message)


class MemoryRoom:
    """Parties with Arrow tables, a hub, an analyst."""

    def __init__(self, folder: Path, tables, policies=None, dictionary=None, clock=None):
        self.folder = folder
        self.network = Network()
        self.clock = clock or SystemClock()
        roles = [(p, Role.PARTY) for p in tables] + [("hub", Role.COORDINATOR), ("ana", Role.ANALYST)]
        self.keys, members = {}, []
        for name, role in roles:
            endpoint = "" if role is Role.ANALYST else "localhost:1"
            members.append(KeyFolder.create(folder / name, role, name, endpoint))
            self.keys[name] = KeyFolder(folder / name)
        dictionary = dictionary or infer_dictionary(tables)
        manifest = Manifest(name="memory", members=tuple(members), dictionary=dictionary)
        self.signed = endorsed(manifest, [(n, k.identity()) for n, k in self.keys.items()])
        self.manifest = self.signed.verify()
        self.nodes, self.pools = {}, {}
        for name, data in tables.items():
            policy = Policy.from_mapping((policies or {}).get(name) or open_policy(tuple(data)))
            self.nodes[name] = self._node(name, data, policy)
        self.hub = self._hub()
        self.analyst = self.new_analyst()

    def _node(self, name, data, policy):
        sources = {}
        for table, rows in data.items():
            path = self.folder / name / f"{table}.parquet"
            pq.write_table(rows, path)
            sources[table] = SourceSpec(url=f"parquet:{path}", tables={table: TableSpec()})
        config = PartyConfig(name=name, listen="localhost:1", sources=sources)
        self.pools[name] = InlinePool(config.jobs_at_once)
        return PartyNode(
            config=config,
            manifest=self.manifest,
            policy=policy,
            identity=self.keys[name].identity(),
            store=PartyStore(self.folder / name / "state" / "party.sqlite"),
            pool=self.pools[name],
            state=self.folder / name / "state",
            clock=self.clock,
        )

    def _hub(self):
        peers = {PartyId(n): MemoryParty(n, node, self.network) for n, node in self.nodes.items()}
        hub = Hub(
            manifest=self.manifest,
            peers=peers,
            store=JobStore(self.folder / "hub" / "jobs.sqlite", self.clock.now),
            spool=self.folder / "hub" / "spool",
            clock=self.clock,
        )
        hub.recover()
        return hub

    def new_analyst(self):
        profile = Profile("ana", self.manifest, self.keys["ana"])
        peer = MemoryCoordinator(self.hub, "ana")
        return Analyst(profile=profile, peer=peer, clock=self.clock, keys=KeyPool())

    async def sql(self, text, scheme=None):
        return await self.analyst.sql(text, scheme=scheme)

    async def close(self):
        self.analyst.keys.close()
        await self.hub.close()
        for node in self.nodes.values():
            await node.close()
