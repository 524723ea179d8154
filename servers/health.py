"""Ask a node of this machine for its health: `python -m servers.health`; exit code 0 means it serves.

It is a container's health check: the standard gRPC health service over mutual TLS, with the node's own certificate on
both ends, so no other port and no other program is needed.
"""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mpc.errors import ConfigurationError, MpcError
from mpc.keys.files import KeyFolder
from mpc.keys.manifest import Member, SignedManifest
from mpc.runtime.logs import Sentence, configure_logging
from mpc.runtime.settings import read_settings
from mpc.runtime.tls import channel_credentials

FOLDER: Final = Path("/etc/sealroom")
_FILES: Final = {"party.toml": "mpc.wire.v1.Party", "coordinator.toml": "mpc.wire.v1.Coordinator"}

log = logging.getLogger("sealroom.health")


def _node(folder: Path) -> tuple[dict[str, Any], str]:
    """The configuration in a folder, and the service that its node offers."""
    for name, service in _FILES.items():
        if (folder / name).is_file():
            return read_settings(folder / name, dict[str, Any]), service
    raise ConfigurationError(f"{folder} has neither {' nor '.join(_FILES)}")


def _here(listen: str) -> str:
    """The address to dial for an address that is bound."""
    host, _, port = listen.rpartition(":")
    return f"{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"  # noqa: S104 - read, not bound


async def check(folder: Path, timeout_s: float) -> bool:
    """Whether the node says that it serves."""
    config, service = _node(folder)
    manifest = SignedManifest.load(folder / str(config.get("manifest", "room.toml"))).manifest
    me: Member | None = manifest.member(str(config.get("name", "")))
    if me is None:
        raise ConfigurationError("the room does not know this node")
    leaf = KeyFolder.at(folder / str(config.get("keys", "keys"))).leaf()
    address = _here(os.environ.get("SEALROOM_LISTEN", str(config.get("listen", ""))))
    name = me.endpoint.rpartition(":")[0].strip("[]")
    options = (("grpc.ssl_target_name_override", name), ("grpc.enable_http_proxy", 0))
    async with grpc.aio.secure_channel(address, channel_credentials(me, leaf), options=options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            reply = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            log.error("no answer: %s", error.code().name)  # noqa: TRY400 - the status is the message
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> int:
    """Parse the command line and ask."""
    parser = argparse.ArgumentParser(prog="python -m servers.health", description="Ask a node for its health.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where party.toml or coordinator.toml is")
    parser.add_argument("--timeout", type=float, default=4.0, metavar="SECONDS")
    arguments = parser.parse_args()
    configure_logging("health", "warning")
    try:
        return 0 if asyncio.run(check(arguments.folder.resolve(), arguments.timeout)) else 1
    except MpcError as error:
        log.error("%s %s", error.code, Sentence(str(error)))  # noqa: TRY400 - the sentence is the message
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
