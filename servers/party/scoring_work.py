"""What a worker does for scorings: it reads a table's vectors, or keeps catalogues under `ckks` and answers with them.

TenSEAL runs here and nowhere else at a party: its loaders see the bytes of peers only behind the strict validator of
`mpc.schemes.ckks`, and in a process that holds no key, opens no file and no connection, and may be killed.
"""

from collections.abc import Iterator

import msgspec
import numpy as np

from mpc.errors import ProtocolError
from mpc.score.real_holder import RealMatrixHolder
from mpc.score.real_spec import RealScoreSpec
from servers.party.catalogue_table import CatalogueBatch, CatalogueTask, read_table
from servers.party.sandbox import confine
from servers.party.sources.opening import needs_network, readable_paths

__all__ = ["CatalogueTask", "RealCatalogues", "RealTask", "confined_table"]


class RealTask(msgspec.Struct, frozen=True, kw_only=True):
    """A catalogue to be kept."""

    spec: RealScoreSpec
    dtype: str
    vectors: bytes
    memory_limit: int


def confined_table(task: CatalogueTask) -> Iterator[CatalogueBatch]:
    """Read a table with the file system closed to everything but its source."""
    confine(readable=readable_paths(task.source), network=needs_network(task.source))
    yield from read_table(task)


class RealCatalogues:
    """The catalogues of one worker, by the digest of their spec."""

    def __init__(self) -> None:
        self._holders: dict[bytes, RealMatrixHolder] = {}

    def keep(self, task: RealTask) -> int:
        """Prepare a catalogue; returns the memory it takes."""
        if not self._holders:
            confine(readable=())
        plan = task.spec.compile()
        vectors = np.frombuffer(task.vectors, dtype=task.dtype).reshape(task.spec.rows, task.spec.dimensions)
        self._holders[task.spec.digest()] = RealMatrixHolder(
            plan, lambda start, stop: vectors[start:stop], memory_limit=task.memory_limit
        )
        return plan.memory_bytes

    def answer(self, digest: bytes, message: bytes) -> bytes:
        """Answer a query message whose queries have been charged.

        Raises:
            ProtocolError: No such catalogue is kept here.
            WireError: The message breaks the format.
        """
        holder = self._holders.get(digest)
        if holder is None:
            raise ProtocolError("no such catalogue is kept here")
        return holder.answer(message, charge=lambda _queries: None).result
