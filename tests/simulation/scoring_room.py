"""A memory room whose parties offer catalogues: the scoring sides of nodes and hub over the same fallible transport."""

from contextlib import aclosing

import msgspec
import numpy as np

from mpc.errors import MpcError
from mpc.policy.rules import CatalogueRule, Policy
from servers.coordinator.scoring import Scorings
from servers.party.catalogue_spec import CatalogueSpec
from servers.party.config import PartyConfig
from servers.party.scoring_start import ScoringStart, make_scoring
from tests.simulation.memory_room import MemoryCoordinator, MemoryParty, MemoryRoom


class ScoringParty(MemoryParty):
    """A party whose scoring methods pass the network, too."""

    def __init__(self, name, node, network, scoring):
        super().__init__(name, node, network)
        self.scoring = scoring

    async def catalogues(self, message):
        sent = self.network.carry(self.name, "catalogues", "request", message)
        try:
            reply = await self.scoring.catalogues(sent)
        except MpcError as error:
            raise self._across(error) from None
        return self.network.carry(self.name, "catalogues", "reply", reply)

    async def labels(self, message):
        async for frame in self._carried("labels", self.scoring.labels(message)):
            yield frame

    async def score(self, frames):
        async def carried():
            async for frame in frames:
                yield self.network.carry(self.name, "score", "request", frame)

        async for frame in self._carried("score", self.scoring.score(carried())):
            yield frame

    async def _carried(self, method, replies):
        try:
            async with aclosing(replies) as frames:
                async for frame in frames:
                    yield self.network.carry(self.name, method, "reply", frame)
        except MpcError as error:
            raise self._across(error) from None


class ScoringCoordinator(MemoryCoordinator):
    """The hub with its scorings as an analyst sees them."""

    def __init__(self, hub, analyst, scorings):
        super().__init__(hub, analyst)
        self.scorings = scorings

    async def catalogues(self, message):
        return await self.scorings.catalogues(self.analyst, message)

    def labels(self, message):
        return self.scorings.labels(self.analyst, message)

    def score(self, frames):
        return self.scorings.score(self.analyst, frames)


class ScoringRoom(MemoryRoom):
    """Parties with tables and with catalogues: name -> (entry of party.toml, rule of policy.toml, arrays to save)."""

    async def open(self, catalogues):
        self.scoring, self.starts = {}, []
        for name in self.nodes:
            folder = self.folder / name
            specs, rules = {}, {}
            for catalogue, (entry, rule, arrays) in catalogues.get(name, {}).items():
                if arrays:
                    np.savez(folder / f"{catalogue}.npz", **arrays)
                specs[catalogue] = msgspec.convert(entry, CatalogueSpec)
                rules[catalogue] = msgspec.convert(rule, CatalogueRule)
            config = PartyConfig(name=name, listen="localhost:1", catalogues=specs)
            self.scoring[name] = self._scoring(name, config)
            start = ScoringStart(self.scoring[name], config, Policy(catalogues=rules), folder)
            start.begin()
            self.starts.append(start)
        self._connect()
        return self

    def _scoring(self, name, config):
        return make_scoring(
            config=config,
            manifest=self.manifest,
            identity=self.keys[name].identity(),
            state=self.folder / name / "state",
            clock=self.clock,
        )

    def _connect(self):
        peers = {n: ScoringParty(n, node, self.network, self.scoring[n]) for n, node in self.nodes.items()}
        self.jobs = self.hub._store
        self.scorings = Scorings(manifest=self.manifest, peers=peers, store=self.jobs, clock=self.clock)
        self.analyst.peer = ScoringCoordinator(self.hub, "ana", self.scorings)

    def last_job(self):
        return self.jobs.latest("ana", 1)[0]

    async def close(self):
        for start in self.starts:
            await start.close()
        for scoring in self.scoring.values():
            await scoring.close()
        self.jobs.close()
        await super().close()
