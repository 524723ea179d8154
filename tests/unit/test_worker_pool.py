"""Workers of a node: what is warmed, and when."""

import asyncio
from types import SimpleNamespace

import pytest

from mpc.errors import InternalError, ResourceExhausted
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


async def started(pool, count):
    workers = [await pool.acquire() for _ in range(count)]
    for worker in workers:
        worker.go_on.release()
    await settle()
    return workers


@pytest.fixture
def wide(pool, monkeypatch):
    async def stop(worker):
        worker.ended = True

    monkeypatch.setattr(Recorded, "stop", stop, raising=False)
    return WorkerPool(most=2)


async def test_a_job_waits_for_a_worker_that_is_given_back_soon(wide):
    first, _ = await started(wide, 2)
    waiting = asyncio.create_task(wide.acquire())
    await settle()
    assert not waiting.done()

    await wide.release(first, clean=True)
    await settle()
    assert waiting.result() is first


async def test_a_job_for_which_there_is_no_worker_soon_is_refused_and_takes_no_place(wide, monkeypatch):
    monkeypatch.setattr("servers.party.pool._PATIENCE_S", 0.01)
    first, _ = await started(wide, 2)
    for _ in range(3):
        with pytest.raises(ResourceExhausted, match="jobs at work"):
            await wide.acquire()

    await wide.release(first, clean=False)
    assert first.ended
    await wide.acquire()
    with pytest.raises(ResourceExhausted):
        await wide.acquire()


async def test_a_worker_that_cannot_start_takes_no_place(wide, monkeypatch):
    async def broken(**_options):
        raise InternalError("no process")

    with monkeypatch.context() as patched:
        patched.setattr(Worker, "start", broken)
        for _ in range(3):
            with pytest.raises(InternalError):
                await wide.acquire()
    assert len(await started(wide, 2)) == 2


async def test_what_jobs_at_once_needed_stays_for_a_while_and_then_one_stays(wide, monkeypatch):
    monkeypatch.setattr("servers.party.pool._SPARE_S", 0.2)
    first, second = await started(wide, 2)
    await wide.release(first, clean=True)
    await wide.release(second, clean=True)
    assert wide._idle == [first, second]

    for _ in range(6):  # jobs one after another keep one worker busy, and the other is not needed
        await asyncio.sleep(0.05)
        assert await wide.acquire() is second
        await wide.release(second, clean=True)
    await asyncio.sleep(0.1)
    assert wide._idle == [second]
    assert first.ended
    assert not hasattr(second, "ended")


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
