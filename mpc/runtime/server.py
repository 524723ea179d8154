"""gRPC servers built from the method table: authentication, authorisation, limits, deadlines and errors in one place.

A handler receives the authenticated caller and a native message, and returns or yields native messages. Whatever it
raises leaves as a catalogued code; the text of an exception never does.
"""

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import grpc
import grpc.aio
import msgspec

from mpc.errors import (
    AuthorizationError,
    DeadlineExceeded,
    InternalError,
    MpcError,
    ProtocolError,
    ResourceExhausted,
    WireError,
)
from mpc.runtime import traces
from mpc.runtime.metrics import Metrics
from mpc.runtime.storage import disk_full
from mpc.runtime.tls import Caller, Gatekeeper
from mpc.sum.transcript import WIRE_VERSION
from mpc.wire.codec import decode, encode
from mpc.wire.errors import STATUS, to_notice
from mpc.wire.limits import MAX_REQUEST_BYTES, METADATA_BYTES
from mpc.wire.messages import Message
from mpc.wire.methods import SERVICES, Method

__all__ = ["ERROR_METADATA", "SERVER_OPTIONS", "VERSION_METADATA", "add_service", "build_server"]

ERROR_METADATA: Final = "sealroom-error-bin"
VERSION_METADATA: Final = "sealroom-wire"
"""Every call names the wire version that its caller speaks; calls of software older than this line speak version 1."""

_ANY_VERSION: Final = frozenset({"Describe"})
"""Methods for callers of every version: with them one finds out who is how old."""

SERVER_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.max_connection_idle_ms", 15 * 60 * 1000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),
)

CALLS_PER_IDENTITY: Final = 32

log = logging.getLogger(__name__)

Handler = Callable[[Caller, Any], Any]


def build_server() -> Any:
    """A gRPC server with the project's limits and no compression."""
    return grpc.aio.server(options=SERVER_OPTIONS, compression=grpc.Compression.NoCompression)


def add_service(
    server: Any, service: str, handlers: Mapping[str, Handler], gatekeeper: Gatekeeper, metrics: Metrics | None = None
) -> None:
    """Register handlers for every method of a service; a missing or an extra one is an error of ours.

    Raises:
        InternalError: Handlers and method table differ.
    """
    methods = SERVICES[service]
    if set(methods) != set(handlers):
        raise InternalError(f"{service}: handlers and methods differ: {set(methods) ^ set(handlers)}")
    gate = _Gate(gatekeeper, metrics or Metrics())
    built = {name: gate.handler(method, handlers[name]) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, built),))


class _Gate:
    """What every call passes before its handler runs."""

    def __init__(self, gatekeeper: Gatekeeper, metrics: Metrics) -> None:
        self._gatekeeper = gatekeeper
        self._metrics = metrics
        self._running: defaultdict[str, int] = defaultdict(int)

    def handler(self, method: Method, handler: Handler) -> Any:
        """A generic gRPC handler for a method; bytes in, bytes out."""
        if method.request_stream and method.reply_stream:
            return grpc.stream_stream_rpc_method_handler(self._stream_stream(method, handler))
        if method.request_stream:
            return grpc.stream_unary_rpc_method_handler(self._stream_unary(method, handler))
        if method.reply_stream:
            return grpc.unary_stream_rpc_method_handler(self._unary_stream(method, handler))
        return grpc.unary_unary_rpc_method_handler(self._unary_unary(method, handler))

    def _enter(self, method: Method, context: Any) -> Caller:
        caller = self._gatekeeper.caller(context.auth_context())
        if caller.member.role not in method.callers:
            raise AuthorizationError("", member=caller.member.name, method=method.name)
        if method.name not in _ANY_VERSION:
            _check_version(context)
        if self._running[caller.member.name] >= CALLS_PER_IDENTITY:
            raise ResourceExhausted("", member=caller.member.name, limit=CALLS_PER_IDENTITY)
        return caller

    async def _guard(self, method: Method, context: Any, body: Callable[[Caller], Awaitable[None]]) -> None:
        """Run a call between entry and exit, and let nothing but catalogued errors out.

        A call is counted before its end is sent, so whoever saw it end finds it counted.
        """
        name, code, started = "", "cancelled", time.monotonic()
        limit = asyncio.timeout(method.deadline_s)
        refusal: MpcError | None = None
        try:
            caller = self._enter(method, context)
            name = caller.member.name
            self._running[name] += 1
            try:
                with traces.remote(context.invocation_metadata() or ()), traces.span(method.name, member=name):
                    async with limit:
                        await body(caller)
                code = "ok"
            finally:
                self._running[name] -= 1
        except MpcError as error:
            refusal = error
            log.info("%s from %s: %s", method.name, name or "stranger", error)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            # A handler's own TimeoutError, a database's for example, is not this call's deadline.
            if isinstance(error, TimeoutError) and limit.expired():
                refusal = DeadlineExceeded("", method=method.name)
                log.info("%s from %s: %s", method.name, name, "deadline")
            elif full := disk_full(error):
                refusal = full
                log.error("%s from %s: %s", method.name, name, full)  # noqa: TRY400 - the code says it all
            else:
                incident = secrets.token_hex(8)
                refusal = InternalError("", incident=incident)
                log.exception("incident %s in %s", incident, method.name)
        finally:
            self._metrics.call(method.name, refusal.code if refusal else code, time.monotonic() - started)
        if refusal is not None:
            await _abort(context, refusal)

    def _unary_unary(self, method: Method, handler: Handler) -> Any:
        async def call(data: bytes, context: Any) -> bytes:
            replies: list[bytes] = []

            async def body(caller: Caller) -> None:
                replies.append(encode(await handler(caller, _decode(data, method))))

            await self._guard(method, context, body)
            return replies[0]

        return call

    def _unary_stream(self, method: Method, handler: Handler) -> Any:
        async def call(data: bytes, context: Any) -> None:
            async def body(caller: Caller) -> None:
                async for reply in handler(caller, _decode(data, method)):
                    await context.write(encode(reply))

            await self._guard(method, context, body)

        return call

    def _stream_unary(self, method: Method, handler: Handler) -> Any:
        async def call(requests: AsyncIterator[bytes], context: Any) -> bytes:
            replies: list[bytes] = []

            async def native() -> AsyncIterator[Message]:
                async for data in requests:
                    yield _decode(data, method)

            async def body(caller: Caller) -> None:
                replies.append(encode(await handler(caller, native())))

            await self._guard(method, context, body)
            return replies[0]

        return call

    def _stream_stream(self, method: Method, handler: Handler) -> Any:
        async def call(requests: AsyncIterator[bytes], context: Any) -> None:
            async def native() -> AsyncIterator[Message]:
                async for data in requests:
                    yield _decode(data, method)

            async def body(caller: Caller) -> None:
                async with aclosing(handler(caller, native())) as replies:
                    async for reply in replies:
                        await context.write(encode(reply))

            await self._guard(method, context, body)

        return call


def _check_version(context: Any) -> None:
    """Refuse a caller of another wire version (`ProtocolError`), in words that say which side is older."""
    spoken = next((v for k, v in context.invocation_metadata() or () if k == VERSION_METADATA), "1")
    if spoken == str(WIRE_VERSION):
        return
    if not isinstance(spoken, str) or not (spoken.isascii() and spoken.isdigit() and len(spoken) <= 6):
        raise WireError("a call names no wire version")
    older = "the caller" if int(spoken) < WIRE_VERSION else "this node"
    raise ProtocolError(
        "",
        reason=f"the caller speaks wire version {int(spoken)}, this node {WIRE_VERSION}",
        instead=f"upgrade {older}: all members of a room speak one version",
    )


def _decode(data: bytes, method: Method) -> Message:
    if len(data) > method.request_limit_bytes:
        raise WireError("a message exceeds its method's limit", method=method.name)
    return decode(data, method.request)


async def _abort(context: Any, error: MpcError) -> None:
    """End a call with a code, its public sentence, and the notice in trailing metadata."""
    notice = msgspec.msgpack.encode(to_notice(error))
    status = getattr(grpc.StatusCode, STATUS[type(error)])
    await context.abort(status, type(error).sentence, trailing_metadata=((ERROR_METADATA, notice),))
