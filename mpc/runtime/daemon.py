"""The outer shell of both daemons: bind, serve, drain on SIGTERM."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mpc.errors import ConfigurationError

__all__ = ["configure_logging", "serve_until_signal"]

_DRAIN_S: Final = 10.0

log = logging.getLogger(__name__)


def configure_logging(name: str, level: str) -> None:
    """Log lines to stderr: time, level, node, message. Messages never carry data."""
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format=f"%(asctime)s %(levelname)-7s {name} %(name)s: %(message)s"
    )


async def serve_until_signal(
    server: Any, listen: str, credentials: Any, services: tuple[str, ...], *, stop: Callable[[], Awaitable[None]]
) -> None:
    """Serve until SIGTERM or SIGINT, then refuse new calls, let running ones end, and stop.

    Raises:
        ConfigurationError: The address cannot be bound.
    """
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    try:
        port = server.add_secure_port(listen, credentials)
    except RuntimeError:
        port = 0
    if not port:
        raise ConfigurationError(f"cannot listen on {listen}: the address is in use or not this machine's")
    await server.start()
    for service in ("", *services):
        await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
    log.info("serving on %s", listen)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    watchman = asyncio.create_task(_end_with_parent(ended))
    await ended.wait()
    watchman.cancel()
    log.info("draining")
    await checks.enter_graceful_shutdown()
    await stop()
    await server.stop(_DRAIN_S)


async def _end_with_parent(ended: asyncio.Event) -> None:
    """End when the process named by `SEALROOM_PARENT` is gone; local rooms set it, services do not."""
    parent = os.environ.get("SEALROOM_PARENT", "")
    while parent.isdigit():
        if os.getppid() != int(parent):
            ended.set()
            return
        await asyncio.sleep(1.0)
