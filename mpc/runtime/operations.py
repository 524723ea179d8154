"""The operator's port: `/livez`, `/readyz` and `/metrics` over plain HTTP, meant for loopback or a pod's own network.

It answers GET, reads at most 4 KiB, keeps no connection, and never shows anything that the room's members would not
know: states, counts and member names.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from mpc.errors import ConfigurationError
from mpc.runtime.metrics import CONTENT_TYPE, Metrics

__all__ = ["OperationsConfig", "OperationsPort", "Readiness"]

log = logging.getLogger(__name__)

_REQUEST_BYTES: Final = 4096
_PATIENCE_S: Final = 5.0


class OperationsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The `[operations]` table of a node's configuration."""

    listen: str = ""
    """`host:port` of `/livez`, `/readyz` and `/metrics`; empty: none of them. Use loopback unless the network around
    the node is its operator's alone."""

    log_format: str = "auto"
    """`json`, `text`, or `auto`: JSON unless stderr is a terminal."""

    log_level: str = ""
    """debug, info, warning or error; empty: what the command line says."""

    drain_s: float = 30.0
    """After SIGTERM new jobs are refused and running ones have this long to end."""

    def check(self) -> None:
        """Refuse what cannot be (`ConfigurationError`)."""
        host, _, port = self.listen.rpartition(":")
        if self.listen and not (host and port.isdigit() and 0 < int(port) < 65536):
            raise ConfigurationError("operations.listen is host:port")
        if self.log_format not in {"auto", "json", "text"} or not 0 <= self.drain_s <= 3600:
            raise ConfigurationError("operations: log_format is auto, json or text; drain_s is 0 to 3600")


@dataclass(slots=True)
class Readiness:
    """Whether a node may be sent new jobs: not before it has started, not while it drains, not while a check fails."""

    started: bool = False
    draining: bool = False
    checks: dict[str, Callable[[], bool]] = field(default_factory=dict)

    def missing(self) -> tuple[str, ...]:
        """Why not; empty when ready."""
        states = (("starting", not self.started), ("draining", self.draining))
        return tuple(n for n, bad in states if bad) + tuple(n for n, good in self.checks.items() if not good())


class OperationsPort:
    """A tiny HTTP server.

    Args:
        metrics: What `/metrics` shows.
        readiness: What `/readyz` shows.
    """

    def __init__(self, metrics: Metrics, readiness: Readiness) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._server: asyncio.Server | None = None

    async def start(self, listen: str) -> None:
        """Listen.

        Raises:
            ConfigurationError: The address cannot be bound.
        """
        host, _, port = listen.rpartition(":")
        try:
            self._server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=_REQUEST_BYTES)
        except OSError:
            raise ConfigurationError(
                f"operations.listen: cannot listen on {listen}: in use, or not this machine's"
            ) from None
        log.info("operations on %s", listen)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.partition(b"\r\n")[0]))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks badly gets nothing
        finally:
            writer.close()

    def _answer(self, line: bytes) -> bytes:
        words = line.split(b" ")
        if len(words) != 3 or words[0] not in {b"GET", b"HEAD"}:
            return _response("405 Method Not Allowed", b"only GET\n")
        match words[1].partition(b"?")[0]:
            case b"/livez":
                status, body, kind = "200 OK", b"alive\n", "text/plain"
            case b"/readyz":
                missing = self._readiness.missing()
                status = "503 Service Unavailable" if missing else "200 OK"
                body, kind = ((", ".join(missing) or "ready") + "\n").encode(), "text/plain"
            case b"/metrics":
                status, body, kind = "200 OK", self._metrics.render(), CONTENT_TYPE
            case _:
                status, body, kind = "404 Not Found", b"livez, readyz, metrics\n", "text/plain"
        return _response(status, b"" if words[0] == b"HEAD" else body, kind)


def _response(status: str, body: bytes, kind: str = "text/plain") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode("ascii") + body
