"""Run a party node: `python -m servers.party --config party.toml`. Wiring only."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import msgspec

from mpc.errors import ConfigurationError, MpcError
from mpc.keys.files import KeyFolder
from mpc.keys.manifest import SignedManifest
from mpc.parties import Role
from mpc.policy import Policy
from mpc.runtime.clock import SystemClock
from mpc.runtime.daemon import configure_logging, serve_until_signal
from mpc.runtime.server import add_service, build_server
from mpc.runtime.tls import Gatekeeper, server_credentials
from servers.party.config import PartyConfig, load_config
from servers.party.node import PartyNode
from servers.party.pool import WorkerPool
from servers.party.service import handlers
from servers.party.sources.spec import resolved, split_url
from servers.party.store import PartyStore

log = logging.getLogger("sealroom.party")


def absolute_sources(config: PartyConfig, base: Path) -> PartyConfig:
    """Follow `env:` and `file:` references, which workers cannot, and resolve relative paths against the file."""
    fixed = {}
    for name, given in config.sources.items():
        spec = resolved(given)
        scheme, rest = split_url(spec.url)
        if scheme in {"parquet", "csv", "arrow", "duckdb", "sqlite"}:
            spec = msgspec.structs.replace(spec, url=f"{scheme}:{base / rest}")
        fixed[name] = spec
    return msgspec.structs.replace(config, sources=fixed)


async def run(path: Path) -> None:
    """Serve until told to stop."""
    base = path.parent
    config = absolute_sources(load_config(path), base)
    manifest = SignedManifest.load(base / config.manifest).verify()
    keys = KeyFolder.at(base / config.keys)
    me = manifest.member(config.name)
    if me is None or me.role is not Role.PARTY or me.public_key != keys.identity().public:
        raise ConfigurationError(f"{config.name} is not a party of the room under this key")
    state = base / config.state
    pool = WorkerPool(most=config.jobs_at_once, memory_bytes=config.worker_memory_bytes, warm=config.warm)
    node = PartyNode(
        config=config,
        manifest=manifest,
        policy=Policy.load(base / config.policy),
        identity=keys.identity(),
        store=PartyStore(state / "party.sqlite"),
        pool=pool,
        state=state,
        clock=SystemClock(),
    )
    server = build_server()
    add_service(server, "mpc.wire.v1.Party", handlers(node, manifest), Gatekeeper(manifest))
    try:
        await pool.ready()
        await serve_until_signal(
            server,
            config.listen,
            server_credentials(manifest, keys.leaf),
            ("mpc.wire.v1.Party",),
            stop=node.close,
        )
    finally:
        await pool.close()


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="sealroom party serve", description="Run a party node.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--log-level", default="info")
    arguments = parser.parse_args()
    configure_logging(f"party[{arguments.config.resolve().parent.name}]", arguments.log_level)
    try:
        asyncio.run(run(arguments.config.resolve()))
    except MpcError as error:
        log.error("%s %s", error.code, error)  # noqa: TRY400 - the sentence is the message, a trace is not
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
