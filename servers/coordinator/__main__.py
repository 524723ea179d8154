"""Run the coordinator: `python -m servers.coordinator --config coordinator.toml`. Wiring only."""

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from mpc.errors import ConfigurationError, MpcError
from mpc.keys.files import KeyFolder
from mpc.keys.manifest import SignedManifest
from mpc.parties import PartyId, Role
from mpc.runtime import traces
from mpc.runtime.channel import GrpcPartyPeer
from mpc.runtime.clock import SystemClock
from mpc.runtime.daemon import Daemon
from mpc.runtime.logs import Sentence, configure_logging
from mpc.runtime.metrics import Metrics
from mpc.runtime.server import add_service, build_server
from mpc.runtime.storage import opening_state
from mpc.runtime.tls import CurrentLeaf, Gatekeeper, server_credentials
from mpc.runtime.warming import warm_kernels
from servers.coordinator.config import CoordinatorConfig, load_config
from servers.coordinator.hub import Hub
from servers.coordinator.scoring import Scorings
from servers.coordinator.service import handlers
from servers.coordinator.store import JobStore

log = logging.getLogger("sealroom.coordinator")


async def run(path: Path, config: CoordinatorConfig) -> None:
    """Serve until told to stop."""
    base = path.parent
    manifest = SignedManifest.load(base / config.manifest).verify()
    keys = KeyFolder.at(base / config.keys)
    me = manifest.member(config.name)
    if me is None or me.role is not Role.COORDINATOR or me.public_key != keys.identity().public:
        raise ConfigurationError(f"{config.name} is not the room's coordinator under this key")
    clock, metrics, leaf = SystemClock(), Metrics(), CurrentLeaf(keys)
    metrics.watch("sealroom_certificate_expiry_seconds", "When the certificate ends.", lambda: {"": leaf.expires})
    traces.set_up(config.name)
    peers = {PartyId(x.name): GrpcPartyPeer(x, leaf) for x in manifest.with_role(Role.PARTY)}
    state = base / config.state
    store = JobStore(state / "jobs.sqlite", clock.now)
    scorings = Scorings(manifest=manifest, peers=peers, store=store, clock=clock, metrics=metrics)
    hub = Hub(
        manifest=manifest,
        peers=peers,
        store=store,
        spool=state / "spool",
        clock=clock,
        jobs_at_once=config.jobs_at_once,
        jobs_waiting=config.jobs_waiting,
        metrics=metrics,
    )
    with opening_state(state):
        cut_off = hub.recover()
    if cut_off:
        log.warning("%d jobs were cut off by the last stop and are aborted", cut_off)
    releasing = asyncio.create_task(hub.release_parties())
    warming = asyncio.create_task(asyncio.to_thread(warm_kernels, config.warm))
    server = build_server()
    add_service(server, "mpc.wire.v1.Coordinator", handlers(hub, manifest, scorings), Gatekeeper(manifest), metrics)

    async def drain() -> None:
        await asyncio.gather(hub.drain(), scorings.drain())

    async def stop() -> None:
        releasing.cancel()
        warming.cancel()
        await hub.close()
        await asyncio.gather(*(peer.close() for peer in peers.values()))

    daemon = Daemon(
        operations=config.operations,
        services=("mpc.wire.v1.Coordinator",),
        drain=drain,
        stop=stop,
        metrics=metrics,
    )
    await daemon.serve(server, config.listen, server_credentials(manifest, leaf))


def _checked(path: Path) -> str:
    """What `--check` prints: beyond its configuration a coordinator has nothing that is its own."""
    try:
        load_config(path)
    except MpcError as error:
        return json.dumps([{"check": "configuration", "text": error.detail, "cure": f"correct {path}"}])
    return json.dumps(
        [{"check": "configuration", "text": f"{path.name} can be read, and every setting in it is known"}]
    )


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="sealroom coordinator serve", description="Run the coordinator.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--check", action="store_true", help="Say what is wrong, as JSON, and do not serve.")
    arguments = parser.parse_args()
    path = arguments.config.resolve()
    configure_logging("coordinator", arguments.log_level)
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
