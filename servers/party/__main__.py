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
from mpc.runtime import traces
from mpc.runtime.clock import SystemClock
from mpc.runtime.daemon import Daemon
from mpc.runtime.logs import Sentence, configure_logging
from mpc.runtime.metrics import Metrics
from mpc.runtime.server import add_service, build_server
from mpc.runtime.storage import opening_state
from mpc.runtime.tls import CurrentLeaf, Gatekeeper, server_credentials
from servers.party.config import PartyConfig, load_config
from servers.party.node import PartyNode
from servers.party.pool import WorkerPool
from servers.party.sandbox import DEFAULT_MEMORY_BYTES, address_space
from servers.party.scoring_start import ScoringStart, make_scoring
from servers.party.service import handlers
from servers.party.sources.spec import located
from servers.party.store import PartyStore

log = logging.getLogger("sealroom.party")


def absolute_sources(config: PartyConfig, base: Path) -> PartyConfig:
    """Follow `env:` and `file:` references, which workers cannot, and resolve relative paths against the file."""
    fixed = {name: located(spec, base) for name, spec in config.sources.items()}
    trainers = {name: trainer.under(base) for name, trainer in config.trainers.items()}
    return msgspec.structs.replace(config, sources=fixed, trainers=trainers)


def _pool(config: PartyConfig, metrics: Metrics) -> WorkerPool:
    limits = config.limits
    return WorkerPool(
        most=config.jobs_at_once,
        memory_bytes=config.worker_memory_bytes
        or max(DEFAULT_MEMORY_BYTES, address_space(limits.memory_bytes, limits.threads)),
        warm=config.warm,
        threads=limits.threads,
        metrics=metrics,
        node=config.name,
    )


async def run(path: Path, config: PartyConfig) -> None:
    """Serve until told to stop."""
    base = path.parent
    config = absolute_sources(config, base)
    manifest = SignedManifest.load(base / config.manifest).verify()
    keys = KeyFolder.at(base / config.keys)
    me = manifest.member(config.name)
    if me is None or me.role is not Role.PARTY or me.public_key != keys.identity().public:
        raise ConfigurationError(f"{config.name} is not a party of the room under this key")
    state, metrics, leaf = base / config.state, Metrics(), CurrentLeaf(keys)
    metrics.watch("sealroom_certificate_expiry_seconds", "When the certificate ends.", lambda: {"": leaf.expires})
    pool = _pool(config, metrics)
    policy = Policy.load(base / config.policy)
    node = PartyNode(
        config=config,
        manifest=manifest,
        policy=policy,
        identity=keys.identity(),
        store=PartyStore(state / "party.sqlite"),
        pool=pool,
        state=state,
        clock=SystemClock(),
        metrics=metrics,
    )
    with opening_state(state):
        scoring = make_scoring(
            config=config,
            manifest=manifest,
            identity=keys.identity(),
            state=state,
            clock=SystemClock(),
            metrics=metrics,
        )
    starting = ScoringStart(scoring, config, policy, base)
    server = build_server()
    add_service(server, "mpc.wire.v1.Party", handlers(node, manifest, scoring), Gatekeeper(manifest), metrics)

    async def drain() -> None:
        await asyncio.gather(node.drain(), scoring.drain())

    async def stop() -> None:
        await starting.close()
        await scoring.close()
        await node.close()

    daemon = Daemon(
        operations=config.operations,
        services=("mpc.wire.v1.Party",),
        drain=drain,
        stop=stop,
        metrics=metrics,
    )
    daemon.readiness.checks["worker"] = lambda: pool.able
    traces.set_up(config.name)
    try:
        starting.begin()
        await pool.ready()
        await daemon.serve(server, config.listen, server_credentials(manifest, leaf))
    finally:
        await pool.close()


def _checked(path: Path) -> str:
    """What `--check` prints."""
    from servers.party.checking import check_node

    return msgspec.json.encode(list(check_node(path))).decode()


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="sealroom party serve", description="Run a party node.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--check", action="store_true", help="Say what is wrong, as JSON, and do not serve.")
    arguments = parser.parse_args()
    path = arguments.config.resolve()
    configure_logging(f"party[{path.parent.name}]", arguments.log_level)
    try:
        if arguments.check:
            print(_checked(path))  # noqa: T201 - what was asked for
            return 0
        config = load_config(path)
        configure_logging(config.name, config.operations.log_level or arguments.log_level, config.operations.log_format)
        asyncio.run(run(path, config))
    except MpcError as error:
        log.error("%s %s", error.code, Sentence(str(error)))  # noqa: TRY400 - the sentence is the message, a trace is not
        return error.exit_code
    except KeyboardInterrupt:
        log.info("stopped before it served")
    return 0


if __name__ == "__main__":
    sys.exit(main())
