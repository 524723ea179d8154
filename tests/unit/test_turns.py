"""Whose turn it is: never more jobs at a party than it works on, in order, and nobody waits for ever."""

import asyncio
import random
from collections import Counter

import pytest

from servers.coordinator.turns import Turns


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


class Job:
    """A job that holds its turn until it is told."""

    def __init__(self, turns, *parties):
        self.queued, self.working, self.done = False, False, asyncio.Event()
        self.task = asyncio.create_task(self._run(turns, parties))

    async def _run(self, turns, parties):
        async with turns.taken(parties, self._wait):
            self.working = True
            await self.done.wait()
        self.working = False

    def _wait(self):
        self.queued = True

    async def end(self):
        self.done.set()
        await self.task
        await settle()


@pytest.fixture
def turns():
    made = Turns(8)
    for party, places in (("n", 1), ("s", 2), ("w", 2)):
        made.learn(party, places)
    return made


async def test_jobs_work_together_up_to_what_every_party_takes(turns):
    first, second, third = (Job(turns, "s", "w") for _ in range(3))
    await settle()

    assert (first.working, second.working, third.working) == (True, True, False)
    assert (first.queued, second.queued, third.queued) == (False, False, True)
    await second.end()
    assert third.working


async def test_who_waits_longer_comes_first_and_others_pass_where_they_do_not_meet(turns):
    first = Job(turns, "n", "s")
    await settle()
    second = Job(turns, "n", "s")
    await settle()
    third, other = Job(turns, "s"), Job(turns, "w")
    await settle()

    assert not second.working
    assert not third.working, "a place at s that the second job waits for was given away"
    assert other.working
    await first.end()
    assert second.working
    assert third.working


async def test_a_party_that_said_nothing_works_on_one_job():
    turns = Turns(8)
    first, second = Job(turns, "x"), Job(turns, "x")
    await settle()
    assert (first.working, second.working) == (True, False)

    turns.learn("x", 2)
    await settle()
    assert second.working


async def test_no_more_jobs_work_than_the_coordinator_takes():
    turns = Turns(1)
    first, second = Job(turns, "x"), Job(turns, "y")
    await settle()
    assert (first.working, second.working) == (True, False)
    await first.end()
    assert second.working


@pytest.mark.parametrize("which", [0, 1])
async def test_a_job_that_ends_early_or_fails_gives_its_places_back(turns, which):
    jobs = [Job(turns, "n"), Job(turns, "n"), Job(turns, "n")]
    await settle()
    jobs[which].task.cancel()
    await settle()

    assert [job.working and not job.task.done() for job in jobs] == [which == 1, which == 0, False]
    await jobs[1 - which].end()
    assert jobs[2].working


async def test_a_job_that_is_cancelled_in_the_moment_of_its_turn_keeps_no_place(turns):
    first, second, third = (Job(turns, "n") for _ in range(3))
    await settle()
    turns.learn("n", 2)
    second.task.cancel()
    await settle()

    assert (first.working, second.working, third.working) == (True, False, True)


@pytest.mark.parametrize("seed", range(20))
async def test_random_jobs_all_end_and_no_party_has_too_many(seed):
    source = random.Random(seed)
    places = {party: source.randint(1, 3) for party in "abcd"}
    turns, working, most = Turns(source.randint(1, 5)), Counter(), Counter()

    async def job():
        parties = source.sample("abcd", source.randint(1, 4))
        await asyncio.sleep(source.random() / 200)
        async with turns.taken(parties, lambda: None):
            for party in parties:
                turns.learn(party, places[party])
            working.update(parties)
            for party in parties:
                most[party] = max(most[party], working[party])
            try:
                await asyncio.sleep(source.random() / 500)
            finally:
                working.subtract(parties)

    jobs = [asyncio.create_task(job()) for _ in range(40)]
    for one in source.sample(jobs, 8):
        asyncio.get_running_loop().call_later(source.random() / 50, one.cancel)
    ended = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), timeout=20)

    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)
    assert all(most[party] <= places[party] for party in places)
    assert turns._waiting == turns._working == []
