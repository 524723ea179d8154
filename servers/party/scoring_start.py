"""Bring a node's catalogues up in the background: kernels, items, encodings. One that fails is logged and left out."""

import asyncio
import functools
import logging
from pathlib import Path

from mpc.errors import MpcError
from mpc.keys.identity import IdentityKey
from mpc.keys.manifest import Manifest
from mpc.parties import PartyId
from mpc.policy import CatalogueRule, Policy
from mpc.runtime.clock import Clock
from mpc.runtime.metrics import Metrics
from mpc.score.budget import QueryBudget
from mpc.score.warm import warm_up
from servers.party.catalogue_loading import Offered, TableReader, load_catalogue, offer, worker_reader
from servers.party.config import PartyConfig
from servers.party.pool import Worker
from servers.party.sandbox import DEFAULT_MEMORY_BYTES
from servers.party.scoring import Scoring
from servers.party.shelf import RealShelf

__all__ = ["ScoringStart", "make_scoring"]

log = logging.getLogger(__name__)


def make_scoring(
    *,
    config: PartyConfig,
    manifest: Manifest,
    identity: IdentityKey,
    state: Path,
    clock: Clock,
    metrics: Metrics | None = None,
) -> Scoring:
    """The scoring side of a node, with nothing offered yet."""
    limits = config.scoring
    start = functools.partial(
        Worker.start,
        memory_bytes=DEFAULT_MEMORY_BYTES + limits.memory_bytes,
        warm=(),
        threads=config.limits.threads,
        node=config.name,
    )
    return Scoring(
        name=PartyId(config.name),
        manifest=manifest,
        identity=identity,
        budget=QueryBudget(state / "scores.sqlite", clock=clock.now),
        limits=limits,
        clock=clock,
        real=RealShelf(limits.memory_bytes, start),
        metrics=metrics,
    )


class ScoringStart:
    """Reads and offers the catalogues of a configuration, then prepares them.

    Args:
        scoring: Where they are offered.
        config: The node's configuration.
        policy: The owner's policy: a catalogue that it does not name is not even read.
        base: Folder that paths are relative to.
        reader: Reads tables; in a confined worker if not given.
    """

    def __init__(
        self,
        scoring: Scoring,
        config: PartyConfig,
        policy: Policy,
        base: Path,
        reader: TableReader | None = None,
    ) -> None:
        self._scoring = scoring
        self._config = config
        self._policy = policy
        self._base = base
        memory = DEFAULT_MEMORY_BYTES + config.limits.memory_bytes
        self._reader = reader or functools.partial(worker_reader, memory_bytes=memory, node=config.name)
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start; questions wait until the items have been read."""
        if self._config.catalogues:
            loaded = asyncio.get_running_loop().create_future()
            self._scoring.expect(loaded)
            self._task = asyncio.create_task(self._run(loaded))

    async def _run(self, loaded: "asyncio.Future[None]") -> None:
        try:
            offered = {}
            for name in self._config.catalogues:
                rule = self._policy.catalogues.get(name, CatalogueRule())
                found = await self._load(name, rule) if rule.analysts else None
                if found is not None:
                    offered[name] = found
            self._scoring.put_up(offered)
        finally:
            if not loaded.done():
                loaded.set_result(None)
        if not offered:
            return
        for set_name in sorted({p.parameters.id for one in offered.values() for p in one.plans.values()}):
            await asyncio.to_thread(warm_up, set_name)
        for name in offered:
            if self._config.catalogues[name].prepare:
                try:
                    await self._scoring.prepare(name)
                except MpcError as error:
                    log.error("catalogue %s cannot be prepared: %s", name, error)  # noqa: TRY400 - the sentence says it

    async def _load(self, name: str, rule: CatalogueRule) -> Offered | None:
        spec = self._config.catalogues[name]
        try:
            catalogue = await load_catalogue(
                name,
                spec,
                rule,
                base=self._base,
                sources=self._config.sources,
                limits=self._config.limits,
                reader=self._reader,
            )
            return await asyncio.to_thread(offer, name, spec, rule, catalogue)
        except (MpcError, OSError, ValueError) as error:
            log.error("catalogue %s is not offered: %s", name, error)  # noqa: TRY400 - the sentence says it
        except Exception:
            log.exception("catalogue %s is not offered", name)
        return None

    async def close(self) -> None:
        """Stop what still loads."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
