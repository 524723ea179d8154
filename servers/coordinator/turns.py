"""Which jobs work at the parties now, and which wait for their turn.

A job needs a worker of every participant at once. Were each party to queue by itself, two jobs could hold one party
each and wait for the other for ever; so a job takes its places at all of them together, here, and parties refuse what
comes beyond.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mpc.parties import PartyId

__all__ = ["Turns"]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    parties: frozenset[PartyId]
    admitted: asyncio.Event = field(default_factory=asyncio.Event)


class Turns:
    """Admits jobs in the order in which they came, but for those that need none of the parties that others wait for.

    Args:
        most: Jobs at work together, whoever takes part.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: dict[PartyId, int] = {}
        self._working: list[_Waiter] = []
        self._waiting: list[_Waiter] = []

    def learn(self, party: PartyId, places: int) -> None:
        """Note how many jobs a party works on at once; one that said nothing yet works on one."""
        self._places[party] = places
        self._admit()

    @asynccontextmanager
    async def taken(self, parties: Collection[PartyId], queued: Callable[[], None]) -> AsyncIterator[None]:
        """Hold a place at each of some parties.

        Args:
            parties: The participants.
            queued: Called if the job has to wait.
        """
        mine = _Waiter(frozenset(parties))
        self._waiting.append(mine)
        try:
            self._admit()
            if mine in self._waiting:
                queued()
                await mine.admitted.wait()
            yield
        finally:
            (self._waiting if mine in self._waiting else self._working).remove(mine)
            self._admit()

    def _admit(self) -> None:
        wanted = Counter(party for one in self._working for party in one.parties)
        for one in list(self._waiting):
            if len(self._working) < self._most and all(wanted[p] < self._places.get(p, 1) for p in one.parties):
                self._waiting.remove(one)
                self._working.append(one)
                one.admitted.set()
            wanted.update(one.parties)
