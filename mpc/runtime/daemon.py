"""The outer shell of both daemons: bind, serve, answer the operator, drain on SIGTERM."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mpc.errors import ConfigurationError
from mpc.runtime import traces
from mpc.runtime.metrics import Metrics
from mpc.runtime.operations import OperationsConfig, OperationsPort, Readiness

__all__ = ["Daemon"]

_LAST_CALLS_S: Final = 5.0
"""After the drain, calls that still hang have this long."""

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Daemon:
    """One node's life.

    Args:
        operations: The operator's table of its configuration.
        services: Full names of the gRPC services, for the health service.
        drain: Refuse new jobs from now on, and return when the running ones have ended.
        stop: End whatever is left, and release everything.
    """

    operations: OperationsConfig
    services: tuple[str, ...]
    drain: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    metrics: Metrics = field(default_factory=Metrics)
    readiness: Readiness = field(default_factory=Readiness)

    async def serve(self, server: Any, listen: str, credentials: Any) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP; then drain, and stop. A second signal ends the drain.

        Raises:
            ConfigurationError: An address cannot be bound.
        """
        checks = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        try:
            port = server.add_secure_port(listen, credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise ConfigurationError(f"cannot listen on {listen}: the address is in use or not this machine's")
        self.metrics.watch("sealroom_ready", "Whether /readyz says yes.", self._ready)
        operator = OperationsPort(self.metrics, self.readiness)
        if self.operations.listen:
            await operator.start(self.operations.listen)
        ended = _signals()
        await server.start()
        for service in ("", *self.services):
            await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
        self.readiness.started = True
        log.info("serving on %s", listen)
        watchman = asyncio.create_task(_end_with_parent(ended))
        await ended.wait()
        watchman.cancel()
        await self._end(server, checks, ended)
        await operator.close()
        traces.shut_down()
        log.info("stopped")

    def _ready(self) -> dict[str, float]:
        return {"": float(not self.readiness.missing())}

    async def _end(self, server: Any, checks: Any, ended: asyncio.Event) -> None:
        """Drain for as long as the configuration allows and nobody presses on, then stop."""
        self.readiness.draining = True
        log.info("draining for at most %d s", self.operations.drain_s)
        await checks.enter_graceful_shutdown()
        ended.clear()
        draining = asyncio.ensure_future(self.drain())
        pressing = asyncio.ensure_future(ended.wait())
        await asyncio.wait({draining, pressing}, timeout=self.operations.drain_s, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            log.warning("jobs still run and are ended")
        for task in (draining, pressing):
            task.cancel()
        await asyncio.gather(draining, pressing, return_exceptions=True)
        await self.stop()
        await server.stop(_LAST_CALLS_S)


def _signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set, and SIGHUP: a terminal that is closed ends nobody's job."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants it ignored
            loop.add_signal_handler(number, ended.set)
    return ended


async def _end_with_parent(ended: asyncio.Event) -> None:
    """End when the process named by `SEALROOM_PARENT` is gone; local rooms set it, services do not."""
    parent = os.environ.get("SEALROOM_PARENT", "")
    while parent.isdigit():
        if os.getppid() != int(parent):
            ended.set()
            return
        await asyncio.sleep(1.0)
