"""Encoded catalogues in memory: made once, kept while there is room, the least recently used leaving first."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from mpc.errors import ResourceExhausted
from mpc.score.catalogue import Catalogue
from mpc.score.holder import MatrixHolder, holder_memory
from mpc.score.real_spec import RealScorePlan
from mpc.score.spec import ScorePlan
from servers.party.frames import Operation
from servers.party.pool import Worker
from servers.party.scoring_work import RealTask

__all__ = ["RealShelf", "Shelf", "WorkerStarter"]

log = logging.getLogger(__name__)

WorkerStarter = Callable[[], Any]
"""Starts a worker that keeps catalogues under `ckks`, asynchronously."""


class Shelf:
    """Fixed-point catalogues of one node. Kernels release the interpreter's lock; peers' bytes are parsed in numpy.

    Args:
        memory_bytes: For all of them.
        executor: Where they are encoded.
    """

    def __init__(self, memory_bytes: int, executor: Executor) -> None:
        self._most = memory_bytes
        self._executor = executor
        self._kept: OrderedDict[bytes, MatrixHolder] = OrderedDict()
        self._making = asyncio.Lock()

    def memory(self) -> dict[str, float]:
        """Bytes by catalogue."""
        found: dict[str, float] = {}
        for holder in self._kept.values():
            name = holder.plan.spec.catalogue
            found[name] = found.get(name, 0.0) + holder.memory_bytes
        return found

    async def holder(self, plan: ScorePlan, catalogue: Catalogue) -> MatrixHolder:
        """The catalogue encoded for a plan, made now if it is not there.

        Raises:
            ResourceExhausted: It alone exceeds the memory.
            RangeError: An item leaves the declared norm.
        """
        digest = plan.spec.digest()
        if digest not in self._kept:
            async with self._making:
                if digest not in self._kept:
                    self._kept[digest] = await self._make(plan, catalogue)
        self._kept.move_to_end(digest)
        return self._kept[digest]

    async def _make(self, plan: ScorePlan, catalogue: Catalogue) -> MatrixHolder:
        needed = holder_memory(plan)
        if needed > self._most:
            log.error("catalogue %s needs %d MB of memory; scoring.memory_bytes is less", catalogue.name, needed >> 20)
            raise ResourceExhausted("", limit="memory of catalogues", catalogue=catalogue.name)
        while self._kept and needed + sum(h.memory_bytes for h in self._kept.values()) > self._most:
            _, gone = self._kept.popitem(last=False)
            log.info("catalogue %s leaves the memory", gone.plan.spec.catalogue)
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(self._executor, lambda: MatrixHolder(plan, catalogue.read))
        spec = plan.spec
        log.info(
            "catalogue %s: %d items of %d dimensions encoded in %.1f s, %.0f MB, %d dimensions to a ciphertext",
            *(spec.catalogue, spec.rows, spec.dimensions, time.monotonic() - started, made.memory_bytes / 1e6),
            spec.dimensions_per_ciphertext,
        )
        return made


class RealShelf:
    """Real-valued catalogues, in a worker process that is started at the first use and replaced when it ended.

    It is replaced, too, and all that it kept is gone, when one more catalogue would exceed the memory.
    """

    def __init__(self, memory_bytes: int, start: WorkerStarter) -> None:
        self._most = memory_bytes
        self._start = start
        self._worker: Worker | None = None
        self._kept: dict[bytes, int] = {}
        self._lock = asyncio.Lock()

    async def hold(self, plan: RealScorePlan, catalogue: Catalogue) -> None:
        """Have a catalogue ready, so that nothing that can be known before a query is charged fails after it.

        Raises:
            ResourceExhausted: It alone exceeds the memory.
            RangeError: An item leaves the declared norm.
        """
        async with self._lock:
            await self._held(plan, catalogue)

    async def answer(self, plan: RealScorePlan, catalogue: Catalogue, message: bytes) -> bytes:
        """Answer a query message whose queries have been charged.

        Raises:
            ResourceExhausted: There is no memory for the catalogue.
            WireError: The message breaks the format.
        """
        async with self._lock:
            worker = await self._held(plan, catalogue)
            reply: bytes = await worker.request(Operation.SCORE, (plan.spec.digest(), message), bytes)
            return reply

    async def _held(self, plan: RealScorePlan, catalogue: Catalogue) -> Worker:
        if plan.memory_bytes > self._most:
            raise ResourceExhausted("", limit="memory of catalogues", catalogue=catalogue.name)
        digest = plan.spec.digest()
        if digest not in self._kept and sum(self._kept.values()) + plan.memory_bytes > self._most:
            log.info("catalogues for real values leave the memory")
            await self.close()
        worker = self._worker
        if worker is None or not worker.alive:
            worker = self._worker = await self._start()
            self._kept = {}
        if digest not in self._kept:
            await self._keep(worker, plan, catalogue)
        return worker

    async def _keep(self, worker: Worker, plan: RealScorePlan, catalogue: Catalogue) -> None:
        task = RealTask(
            spec=plan.spec,
            dtype=catalogue.vectors.dtype.str,
            vectors=await asyncio.to_thread(catalogue.vectors.tobytes),
            memory_limit=self._most,
        )
        self._kept[plan.spec.digest()] = await worker.request(Operation.KEEP, task, int)
        log.info("catalogue %s: prepared for real values, %.0f MB", catalogue.name, plan.memory_bytes / 1e6)

    async def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            await self._worker.stop()
            self._worker, self._kept = None, {}
