"""Jobs under a coordinator that mangles, replays and keeps silent: a typed error or the right answer, in time."""

import asyncio
import random
import threading
import time
from collections import Counter, defaultdict

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from mpc.errors import DeadlineExceeded, IntegrityError, MpcError, ProtocolError, WireError
from mpc.testing.mutations import mutate
from mpc.wire.codec import decode, encode
from tests.simulation.memory_room import MemoryRoom

PLAIN = "SELECT COUNT(*) AS n, SUM(qty) AS q FROM sales"
GROUPED = "SELECT region, COUNT(*) AS n FROM sales GROUP BY region ORDER BY region"
METHODS = ("commit", "begin", "offer_key", "contribute", "deliver", "collect")


def tables():
    rows = {"north": 40, "south": 30, "west": 20}
    return {
        n: {"sales": pa.table({"region": ["ab"[i % 2] for i in range(count)], "qty": np.arange(count) % 7})}
        for n, count in rows.items()
    }


@pytest.fixture
async def room(tmp_path):
    found = MemoryRoom(tmp_path, tables())
    yield found
    await found.close()


def mangling(source, hits):
    """A hook that changes the bytes of one message, somewhere in the job.

    Sums on their way to a group are left alone: SECURITY.md says that a malicious coordinator can add to a total.
    """
    countdown = source.randrange(24)

    def hook(party, method, direction, message):
        nonlocal countdown
        summed = (method, direction) == ("deliver", "request") and bool(message.ciphertexts)
        countdown -= not summed
        if countdown != -1 or summed:
            return message
        data = mutate(encode(message) or b"\x0a\x01a", source)
        hits[method, direction] += 1
        changed = decode(data, type(message))
        hits["decoded"] += changed != message
        return changed

    return hook


async def test_mangled_messages_give_a_typed_error_or_the_right_answer(room):
    source, hits, outcomes = random.Random(20260301), Counter(), Counter()
    right = {PLAIN: (await room.sql(PLAIN)).rows, GROUPED: (await room.sql(GROUPED)).rows}
    for i in range(60):
        sql = GROUPED if i % 3 == 0 else PLAIN
        room.network.hook = mangling(source, hits)
        try:
            answer = await room.sql(sql)
        except MpcError as error:
            outcomes[type(error).__name__] += 1
        else:
            outcomes["answer"] += 1
            assert answer.rows == right[sql], "a mangled message changed an answer"

    assert outcomes.total() == 60
    assert outcomes["InternalError"] == 0, "hostile bytes are never our own fault"
    assert outcomes.total() - outcomes["answer"] >= 25, "void unless the attack was noticed often"
    assert hits["decoded"] >= 10, "void unless many messages were well-formed lies"
    assert all(pool.busy == 0 for pool in room.pools.values())
    room.network.hook = lambda party, method, direction, message: message
    assert (await room.sql(PLAIN)).rows == right[PLAIN]


@pytest.mark.parametrize("with_receipt", [False, True], ids=["under the new receipt", "under its old receipt"])
async def test_a_contribution_of_an_earlier_job_does_not_stand_in(room, with_receipt):
    kept = []

    def keep(party, method, direction, message):
        if (party, method, direction) == ("north", "contribute", "reply"):
            kept.append(message)
        return message

    def replay(party, method, direction, message):
        if (party, method, direction) == ("north", "contribute", "reply"):
            old = kept.pop(0)
            return old if message.ciphertexts or with_receipt else message
        return message

    room.network.hook = keep
    await room.sql(PLAIN)
    room.network.hook = replay
    with pytest.raises((IntegrityError, ProtocolError, WireError)):
        await room.sql(PLAIN)
    assert not kept


async def test_two_parties_contributions_do_not_change_places(room):
    """Each under the other's receipt as well: the signatures name their party."""
    sent, gate = defaultdict(asyncio.Queue), {"north": "south", "south": "north"}
    hub_side = room.hub._peers

    def crossed(name):
        original = hub_side[name].contribute

        async def contribute(message):
            async for frame in original(message):
                await sent[name].put(frame)
                yield await sent[gate[name]].get()

        return contribute

    for name in gate:
        hub_side[name].contribute = crossed(name)
    with pytest.raises((IntegrityError, ProtocolError)):
        await asyncio.wait_for(room.sql(PLAIN), 30)


async def answer_never(folder, method):
    """A job in which one party takes a call and never answers; what it ends with, and after how long."""
    room = MemoryRoom(folder, tables())
    victim = room.hub._peers["north"]
    original = {name: getattr(victim, name) for name in METHODS}

    async def hang(*_):
        await asyncio.sleep(3600)

    async def hanging_stream(*_):
        await asyncio.sleep(3600)
        yield None

    setattr(victim, method, hanging_stream if method in {"contribute", "collect"} else hang)
    started = time.monotonic()
    try:
        with pytest.raises(DeadlineExceeded):
            await room.analyst.sql(GROUPED, timeout_s=3)
        seconds = time.monotonic() - started
        setattr(victim, method, original[method])
        answer = await room.sql(PLAIN)
        return seconds, answer.rows[0]["n"], [p.busy for p in room.pools.values()]
    finally:
        await room.close()


async def test_a_party_that_never_answers_ends_the_job_at_its_deadline_at_every_step(tmp_path):
    threads = threading.active_count()
    ended = await asyncio.gather(*(answer_never(tmp_path / m, m) for m in METHODS))

    for method, (seconds, count, busy) in zip(METHODS, ended, strict=True):
        assert seconds < 6, method
        assert count == 90, "the room answers again"
        assert busy == [0, 0, 0], "no worker stays at work"
    assert threading.active_count() <= threads + 8, "threads of the loop's pool alone"


async def test_a_request_whose_key_was_exchanged_on_the_way_reaches_no_data(room):
    seen = []

    def exchange(party, method, direction, message):
        seen.append(method)
        if (method, direction) == ("commit", "request"):
            return msgspec.structs.replace(message, recipient_key=message.recipient_key[:-1] + b"\x01")
        return message

    room.network.hook = exchange
    with pytest.raises(IntegrityError):
        await room.sql(PLAIN)
    assert set(seen) <= {"commit", "cancel"}
