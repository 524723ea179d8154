"""Workers of a node: what is warmed, and when."""

import asyncio
from types import SimpleNamespace

import pytest

from servers.party.frames import Operation
from servers.party.pool import Worker, WorkerPool

SETS = ["rlwe-2048-t30"]
STAGES = 3


class Recorded(Worker):
    """A worker without a process, whose stages end when told."""

    def __init__(self):
        super().__init__(SimpleNamespace(returncode=None))
        self.begun = []
        self.go_on = asyncio.Semaphore(0)

    async def request(self, operation, payload, kind):
        assert (operation, payload[0], kind) == (Operation.WARM, SETS, bool)
        async with self._lock:
            self.begun.append(payload[1])
            await self.go_on.acquire()
            return payload[1] + 1 < STAGES


@pytest.fixture
async def pool(monkeypatch):
    async def start(**options):
        worker = Recorded()
        worker._unwarmed = list(options["warm"])
        worker.warm()
        return worker

    monkeypatch.setattr(Worker, "start", start)
    return WorkerPool(most=1, warm=SETS)


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_idle_worker_goes_through_all_stages_once(pool):
    pool.prepare()
    await settle()
    (worker,) = pool._idle
    for _ in range(STAGES + 2):
        worker.go_on.release()
        await settle()
    worker.warm()
    await settle()
    assert worker.begun == [0, 1, 2]


async def test_a_job_waits_for_one_stage_and_the_others_wait_for_the_job(pool, monkeypatch):
    pool.prepare()
    await settle()
    worker = await pool.acquire()
    assert worker.begun == [0]
    worker.go_on.release()
    await settle()
    assert worker.begun == [0], "a stage began while a job had the worker"
    assert not worker._lock.locked()

    monkeypatch.setattr("servers.party.pool._PAUSE_S", 0.0)
    await pool.release(worker, clean=True)
    for _ in range(STAGES):
        await settle()
        worker.go_on.release()
    await settle()
    assert worker.begun == [0, 1, 2]


async def test_the_next_job_finds_a_worker_that_stands_still(pool):
    pool.prepare()
    await settle()
    for _ in range(2):
        worker = await pool.acquire()
        worker.go_on.release()
        await settle()
        await pool.release(worker, clean=True)
        await settle()
    assert worker.begun == [0]
