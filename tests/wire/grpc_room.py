"""Both services over real gRPC and mutual TLS in one process, with handlers that count who reached them."""

import asyncio
import functools
import logging
from collections import Counter
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import msgspec

from mpc.keys.identity import IdentityKey, TlsMaterial, issue_leaf, new_root
from mpc.keys.manifest import Manifest, Member
from mpc.parties import Role
from mpc.runtime.logs import JsonFormatter, TextFormatter
from mpc.runtime.server import ERROR_METADATA, add_service, build_server
from mpc.runtime.tls import Gatekeeper, server_credentials
from mpc.wire.codec import encode
from mpc.wire.messages import ErrorNotice
from mpc.wire.methods import SERVICES

__all__ = [
    "COORDINATOR",
    "HOSTS",
    "METHODS",
    "NAMES",
    "PARTY",
    "Counting",
    "call",
    "channel",
    "leaf",
    "log_lines",
    "manifest",
    "member",
    "notice",
    "root",
    "serving",
]  # fmt: skip

PARTY, COORDINATOR = "mpc.wire.v1.Party", "mpc.wire.v1.Coordinator"
HOSTS = ("localhost", "127.0.0.1")
NAMES = {
    "north": Role.PARTY, "south": Role.PARTY, "hub": Role.COORDINATOR, "ana": Role.ANALYST, "eve": Role.AUDITOR,
}  # fmt: skip
METHODS = [(service, name) for service, methods in SERVICES.items() for name in methods]
OWNERS = {PARTY: "north", COORDINATOR: "hub"}


@functools.cache
def root(name, role=None):
    return new_root(role or NAMES[name], name)


@functools.cache
def leaf(name):
    return issue_leaf(root(name), NAMES[name], name, HOSTS)


def member(name, endpoint="localhost:1"):
    role = NAMES[name]
    return Member(
        name=name,
        role=role,
        endpoint=endpoint if role in {Role.PARTY, Role.COORDINATOR} else "",
        identity=IdentityKey(name.encode().ljust(32, b".")).public.hex(),
        certificate=root(name).certificate.decode(),
    )


@functools.cache
def manifest():
    return Manifest(name="room", members=tuple(member(n) for n in NAMES))


class Counting:
    """Handlers for a service: each counts, then does what the test says, then answers with the empty reply."""

    def __init__(self, service):
        self.reached = Counter()
        self.behaviours = {}
        self._methods = SERVICES[service]

    def handlers(self):
        return {name: self._handler(method) for name, method in self._methods.items()}

    async def _behave(self, name, message):
        self.reached[name] += 1
        if name in self.behaviours:
            return await self.behaviours[name](message)
        return None

    def _handler(self, method):
        async def unary(caller, message):
            found = await self._behave(method.name, message)
            return method.reply() if found is None else found

        async def stream(caller, message):
            found = await self._behave(method.name, message)
            yield method.reply() if found is None else found

        return stream if method.reply_stream else unary


@asynccontextmanager
async def serving(*handlers_by_service, now=None, extra=()):
    """Serve services under their owners' leaves; yields their ports."""
    servers, ports = [], []
    for service, handlers in handlers_by_service:
        server = build_server()
        gatekeeper = Gatekeeper(manifest(), now) if now else Gatekeeper(manifest())
        add_service(server, service, handlers, gatekeeper)
        for generic in extra:
            server.add_generic_rpc_handlers((generic(gatekeeper),))
        owner = OWNERS[service]
        ports.append(server.add_secure_port("localhost:0", server_credentials(manifest(), lambda o=owner: leaf(o))))
        await server.start()
        servers.append(server)
    try:
        yield ports
    finally:
        await asyncio.gather(*(s.stop(0) for s in servers))


def channel(port, service, client: TlsMaterial | None, *, options=()):
    """A channel that trusts the right server and shows any certificate, or none."""
    anchor = root(OWNERS[service]).certificate
    key, certificate = (client.key, client.certificate) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(anchor, key, certificate)
    return grpc.aio.secure_channel(
        f"localhost:{port}", credentials, options=(("grpc.use_local_subchannel_pool", 1), *options)
    )


async def call(open_channel, service, name, **options):
    """Call a method with raw bytes; the replies, or the error.

    A send that loses the race against the end of its call makes gRPC forget the status that the peer gave: once more.
    """
    for _ in range(4):
        try:
            return await call_once(open_channel, service, name, **options)
        except grpc.aio.AioRpcError as error:
            if "execute_batch" not in (error.debug_error_string() or ""):
                raise
            lost = error
    raise lost


async def call_once(open_channel, service, name, *, data=None, timeout_s=10.0, metadata=None, compression=None):
    """One such call."""
    method = SERVICES[service][name]
    path = f"/{service}/{name}"
    data = encode(method.request()) if data is None else data
    kwargs = {"timeout": timeout_s, "metadata": metadata, "compression": compression}
    if method.request_stream:

        async def requests():
            yield data

        if method.reply_stream:
            return [reply async for reply in open_channel.stream_stream(path)(requests(), **kwargs)]
        return [await open_channel.stream_unary(path)(requests(), **kwargs)]
    if method.reply_stream:
        return [reply async for reply in open_channel.unary_stream(path)(data, **kwargs)]
    return [await open_channel.unary_unary(path)(data, **kwargs)]


class log_lines(logging.Handler):
    """Everything that a node would write at INFO, through both of the project's formatters."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.formatters = (JsonFormatter("node"), TextFormatter("node"))
        self.lines = []

    def emit(self, record):
        self.lines += [f.format(record) for f in self.formatters]

    def __enter__(self):
        logging.getLogger().addHandler(self)
        self._before = logging.getLogger().level
        logging.getLogger().setLevel(logging.INFO)
        return self

    def __exit__(self, *_):
        logging.getLogger().removeHandler(self)
        logging.getLogger().setLevel(self._before)


def notice(error):
    """What a refused call was told of the error, beside its status."""
    found = [v for k, v in error.trailing_metadata() or () if k == ERROR_METADATA]
    return msgspec.msgpack.decode(found[0], type=ErrorNotice) if found else None
