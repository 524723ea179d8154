"""Whole jobs over the in-memory transport, with faults and with participants that lie."""

import asyncio
import contextlib
import os
import threading

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pytest

from mpc.errors import (
    DeadlineExceeded,
    IntegrityError,
    JobCancelled,
    MpcError,
    ParameterError,
    PartyLost,
    PartyUnavailable,
    PolicyDenied,
    ProtocolError,
    RangeError,
    ReplayError,
    ResourceExhausted,
    TransportError,
    WireError,
)
from mpc.keys.statements import Signed
from mpc.sum.messages import Commitment
from mpc.wire import messages as m
from mpc.wire.job import JobRequest, JobState
from tests.simulation.memory_room import MemoryRoom

GROUPED = "SELECT region, COUNT(*) AS n, SUM(qty) AS q FROM sales GROUP BY region ORDER BY region"
PLAIN = "SELECT COUNT(*) AS n, SUM(qty) AS q FROM sales"


def sales(rows, regions, seed):
    rng = np.random.default_rng(seed)
    return pa.table({"region": rng.choice(regions, rows), "qty": rng.integers(-5, 50, rows)})


@pytest.fixture
def tables():
    return {
        "north": {"sales": sales(40, ["a", "b"], 1)},
        "south": {"sales": sales(30, ["b", "c"], 2)},
        "west": {"sales": sales(20, ["d"], 3)},
    }


@pytest.fixture
async def room(tmp_path, tables):
    room = MemoryRoom(tmp_path, tables)
    yield room
    await room.close()


def pooled(tables, sql):
    sales = pa.concat_tables(t["sales"] for t in tables.values())  # noqa: F841 - duckdb reads it by name
    return duckdb.sql(sql).fetchall()


@pytest.mark.parametrize("sql", [PLAIN, GROUPED])
@pytest.mark.parametrize("scheme", [None, "clear"])
async def test_a_query_equals_the_pooled_table(room, tables, sql, scheme):
    answer = await room.sql(sql, scheme)

    assert [tuple(r.values()) for r in answer.rows] == pooled(tables, sql)


async def test_jobs_at_once_wait_for_their_turn(room, tables):
    """The pools refuse a job too many, so that whatever is answered had its turn."""
    seen = []
    announce = room.hub._announce
    room.hub._announce = lambda live, **fields: (seen.append((live, fields)), announce(live, **fields))
    answers = await asyncio.gather(*(room.sql(sql) for sql in [PLAIN, GROUPED] * 5))

    for sql, answer in zip([PLAIN, GROUPED] * 5, answers, strict=True):
        assert [tuple(r.values()) for r in answer.rows] == pooled(tables, sql)
    assert {pool.most_busy for pool in room.pools.values()} == {2}
    assert [event for _, event in seen].count({"step": "queued"}) >= 8
    assert all(pool.busy == 0 for pool in room.pools.values())


async def test_more_jobs_than_may_wait_are_refused(room, tables):
    room.hub._jobs_at_most = 3
    outcomes = await asyncio.gather(*(room.sql(PLAIN) for _ in range(5)), return_exceptions=True)
    refused = [o for o in outcomes if isinstance(o, ResourceExhausted)]

    assert len(refused) == 2
    assert all("jobs that wait" in str(one) for one in refused)
    await assert_recovers(room)


async def test_a_drain_waits_for_a_job_that_is_just_being_written_down(room, monkeypatch):
    plan, written = room.hub._store.plan, threading.Event()

    def slowly(*args):
        written.wait(5)
        return plan(*args)

    monkeypatch.setattr(room.hub._store, "plan", slowly)
    asked = asyncio.create_task(room.sql(PLAIN))
    while not room.hub._planning:  # noqa: ASYNC110 - the hub tells nobody of it
        await asyncio.sleep(0.01)
    drain = asyncio.create_task(room.hub.drain())
    await asyncio.sleep(0.2)
    assert not drain.done()
    written.set()

    assert (await asked).rows[0]["n"] == 90
    await drain


async def test_a_job_that_waits_can_be_cancelled_and_expires(room):
    go_on = asyncio.Event()

    def held(begin):
        async def wait(message):
            await go_on.wait()
            return await begin(message)

        return wait

    for peer in room.hub._peers.values():
        peer.begin = held(peer.begin)

    async def asked(timeout_s=60.0):
        """A query that was submitted, and its job."""
        known = set(room.hub._live)
        task = asyncio.create_task(room.analyst.sql(PLAIN, timeout_s=timeout_s))
        while not (new := set(room.hub._live) - known):  # noqa: ASYNC110 - the hub tells nobody of it
            await asyncio.sleep(0.01)
        return task, new.pop()

    working = [(await asked())[0] for _ in range(2)]
    cancelled, job = await asked()
    expired, _ = await asked(timeout_s=1.0)
    await room.hub.cancel("ana", m.JobReference(job=job))
    with pytest.raises(JobCancelled):
        await cancelled
    with pytest.raises(DeadlineExceeded):
        await expired
    go_on.set()

    assert [(await one).rows[0]["n"] for one in working] == [90, 90]
    await assert_recovers(room)


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan"), float("inf")])
async def test_a_lifetime_that_is_none_is_refused_before_anything_is_sent(room, timeout_s):
    with pytest.raises(ParameterError, match="positive number of seconds"):
        await room.analyst.sql(PLAIN, timeout_s=timeout_s)

    assert room.network.calls == []


async def test_the_nodes_are_idle_after_a_job(room):
    await room.sql(GROUPED)

    assert all(pool.busy == 0 for pool in room.pools.values())
    assert all(not node.open_jobs for node in room.nodes.values())


async def assert_recovers(room):
    """After a failed job the room answers again, and no worker is left at work."""
    room.network.hook = lambda party, method, direction, message: message
    assert (await room.sql(PLAIN)).rows[0]["n"] == 90
    assert all(pool.busy == 0 for pool in room.pools.values())


STEPS = [
    (method, direction)
    for method in ("commit", "begin", "offer_key", "contribute", "deliver", "collect")
    for direction in ("request", "reply")
]


@pytest.mark.parametrize(("method", "direction"), STEPS)
async def test_a_party_that_falls_silent_at_any_step_gives_a_typed_error(room, method, direction):
    victim = "north" if method in {"offer_key", "collect"} else "south"

    def silent(party, at, way, message):
        if (party, at, way) == (victim, method, direction):
            raise TransportError("", member=party)
        return message

    room.network.hook = silent
    with pytest.raises((PartyLost, PartyUnavailable, TransportError)):
        await room.sql(GROUPED)
    await assert_recovers(room)


def flip(signed):
    return Signed(signed.payload, signed.signer, bytes([signed.signature[0] ^ 1]) + signed.signature[1:])


def replace_field(message, name, change):
    value = getattr(message, name, None)
    return msgspec.structs.replace(message, **{name: change(value)}) if value else message


LIES = {
    "request signature": ("commit", "request", lambda x: replace_field(x, "request", flip)),
    "recipient key": ("commit", "request", lambda x: replace_field(x, "recipient_key", lambda k: k[:-1] + b"\0")),
    "commitment signature": ("commit", "reply", lambda x: replace_field(x, "commitment", flip)),
    "one commitment left out": ("begin", "request", lambda x: replace_field(x, "commitments", lambda c: c[1:])),
    "a commitment twice": ("begin", "request", lambda x: replace_field(x, "commitments", lambda c: (c[0], c[0], c[1]))),
    "another round": ("contribute", "request", lambda x: replace_field(x, "round", lambda r: r + 1)),
    "a public key beside a derived one": (
        "contribute",
        "request",
        lambda x: msgspec.structs.replace(x, public_key=b"key") if x.offer else x,
    ),
    "key offer signature": ("contribute", "request", lambda x: replace_field(x, "offer", flip)),
    "group key": ("contribute", "request", lambda x: replace_field(x, "public_key", lambda k: k[:-1] + b"\1")),
    "a ciphertext bit": (
        "contribute", "reply",
        lambda x: replace_field(x, "ciphertexts", lambda c: (c[0][:100] + bytes([c[0][100] ^ 1]) + c[0][101:],)),
    ),
    "a ciphertext dropped": ("contribute", "reply", lambda x: replace_field(x, "ciphertexts", lambda c: c[:-1])),
    "receipt signature": ("contribute", "reply", lambda x: replace_field(x, "receipt", flip)),
    "a summed ciphertext bit": (
        "deliver", "request",
        lambda x: replace_field(x, "ciphertexts", lambda c: (c[0][:100] + bytes([c[0][100] ^ 1]) + c[0][101:],)),
    ),
    "sums delivered twice": ("deliver", "request", lambda x: replace_field(x, "ciphertexts", lambda c: c + c)),
    "sealed bytes": ("collect", "reply", lambda x: replace_field(x, "data", lambda d: d[:-1] + bytes([d[-1] ^ 1]))),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_on_the_way_ends_in_a_typed_error_and_never_in_an_answer(room, lie):
    method, direction, change = LIES[lie]
    told = []

    def lying(party, at, way, message):
        if (at, way) == (method, direction) and party == "north":
            changed = change(message)
            told.append(changed != message)
            return changed
        return message

    room.network.hook = lying
    scheme = "bfv" if lie == "group key" else None  # by default the group's key derives from a sealed seed
    with pytest.raises((IntegrityError, ProtocolError, WireError, RangeError)):
        await room.sql(GROUPED, scheme)
    assert any(told)
    await assert_recovers(room)


async def test_a_disk_that_fills_in_the_middle_is_the_coordinators(room):
    """The sums of a round have no place; the analyst hears at once, and whose disk it is."""

    def fill(party, method, direction, message):
        if method == "begin":
            for spool in (room.folder / "hub/spool").iterdir():
                for number in range(4):
                    with contextlib.suppress(FileExistsError):
                        (spool / f"round-{number}").symlink_to("/dev/full")
        return message

    room.network.hook = fill
    with pytest.raises(ResourceExhausted, match=r"limit disk, member hub\)"):
        await asyncio.wait_for(room.sql(PLAIN), 30)
    await assert_recovers(room)


@pytest.mark.parametrize("state", ["COMMITTED", "RELEASED"])
async def test_a_job_that_cannot_be_recorded_names_the_coordinator(room, state):
    """SQLite's own full-disk error, at a transition in the middle and at the last."""
    database = room.hub._store._db
    database.executescript(
        f"CREATE TABLE ballast (b BLOB); CREATE TRIGGER full AFTER UPDATE ON jobs WHEN NEW.state = '{state}' BEGIN"
        " INSERT INTO ballast VALUES (zeroblob(1000000)); END; PRAGMA max_page_count = 20"
    )
    with pytest.raises(ResourceExhausted, match=r"limit disk, member hub\)"):
        await asyncio.wait_for(room.sql(PLAIN), 30)
    database.execute("DROP TRIGGER full")
    await assert_recovers(room)


async def test_parties_told_of_different_sets_do_not_go_on(room):
    """The coordinator shows one party another party's mask key: all commitments are signed, so it is refused."""
    shown = {}

    def equivocate(party, at, way, message):
        if (at, way) == ("commit", "reply"):
            shown[party] = message.commitment
        if (party, at, way) == ("south", "begin", "request"):
            forged = msgspec.msgpack.decode(shown["west"].payload, type=Commitment)
            forged = msgspec.structs.replace(forged, mask_key=os.urandom(32))
            payload = msgspec.msgpack.encode(forged, order="deterministic")
            others = tuple(c for c in message.commitments if c.signer != "west")
            return msgspec.structs.replace(message, commitments=(*others, Signed(payload, "west", bytes(64))))
        return message

    room.network.hook = equivocate
    with pytest.raises(IntegrityError):
        await room.sql(PLAIN)


async def test_a_round_is_masked_once_whatever_is_asked(room):
    """Asking for a contribution again, as a curious coordinator would for other data under the same masks."""
    north = room.nodes["north"]
    seen = []

    def tap(party, at, way, message):
        if (party, at, way) == ("north", "contribute", "request"):
            seen.append(message)
        return message

    room.network.hook = tap
    original = north.deliver

    async def ask_again(frames):
        with pytest.raises(ReplayError):
            async for _ in north.contribute(seen[-1]):
                pass
        return await original(frames)

    north.deliver = ask_again
    assert (await room.sql(PLAIN)).rows[0]["n"] == 90


async def test_an_attempt_is_committed_to_once(room):
    requests = []

    def tap(party, at, way, message):
        if (party, at, way) == ("north", "commit", "request"):
            requests.append(message)
        return message

    room.network.hook = tap
    await room.sql(PLAIN)
    with pytest.raises(ReplayError):
        await room.nodes["north"].commit(requests[0])


async def test_a_request_that_an_outsider_signed_is_refused(room):
    other = room.keys["north"].identity()
    requests = []
    room.network.hook = lambda p, a, w, x: requests.append(x) or x if (a, w) == ("commit", "request") else x
    await room.sql(PLAIN)
    request = msgspec.msgpack.decode(requests[0].request.payload, type=JobRequest)
    forged = msgspec.structs.replace(request, job=os.urandom(16).hex())
    message = m.CommitRequest(request=other.sign(forged, "north"), recipient_key=requests[0].recipient_key)
    with pytest.raises(ProtocolError):
        await room.nodes["north"].commit(message)
    signed = other.sign(forged, "ana")
    with pytest.raises(IntegrityError):
        await room.nodes["north"].commit(m.CommitRequest(request=signed, recipient_key=requests[0].recipient_key))


@pytest.mark.parametrize(
    "change",
    [
        {"plan_digest": bytes(32)},
        {"participants": ("north", "south")},
        {"participants": ("north", "south", "stranger", "west")},
        {"room": "0" * 64},
        {"expires_at": 1},
        {"issued_at": 1},
        {"recipient_key_digest": bytes(32)},
        {"body": "SELECT SUM(qty) FROM sales"},
        {"attempt": 0},
        {"job": "x"},
    ],
    ids=lambda c: next(iter(c)),
)
async def test_a_party_refuses_a_signed_request_that_does_not_hold_together(room, change):
    requests = []
    room.network.hook = lambda p, a, w, x: requests.append(x) or x if (a, w) == ("commit", "request") else x
    await room.sql(PLAIN)
    request = msgspec.msgpack.decode(requests[0].request.payload, type=JobRequest)
    changed = msgspec.structs.replace(request, **{"job": os.urandom(16).hex(), **change})
    signed = room.keys["ana"].identity().sign(changed, "ana")
    with pytest.raises((ProtocolError, IntegrityError, WireError)):
        await room.nodes["north"].commit(m.CommitRequest(request=signed, recipient_key=requests[0].recipient_key))


async def test_a_policy_refuses_by_column_and_rule(tmp_path, tables):
    deny = {
        "analysts": ["ana"],
        "tables": {"sales": {"count": True, "columns": {"qty": {"use": ["aggregate"], "functions": ["avg"]}}}},
    }
    room = MemoryRoom(tmp_path, tables, policies={"south": deny})
    try:
        assert (await room.sql("SELECT COUNT(*) AS n FROM sales")).rows == [{"n": 90}]
        with pytest.raises(PolicyDenied) as caught:
            await room.sql("SELECT SUM(qty) AS q FROM sales")
        assert caught.value.fields == {"party": "south", "table": "sales", "column": "qty", "rule": "function sum"}
        with pytest.raises(PolicyDenied) as caught:
            await room.sql(GROUPED)
        assert caught.value.fields["column"] == "region"
        with pytest.raises(PolicyDenied) as caught:
            await room.sql("SELECT COUNT(*) AS n FROM sales", "clear")
        assert caught.value.fields["rule"] == "allow_clear"
    finally:
        await room.close()


async def test_states_are_recorded_in_order(room):
    events = []
    await room.analyst.sql(PLAIN, watcher=events.append)

    states = list(dict.fromkeys(e.state for e in events))
    assert states == ["PLANNED", "COMMITTED", "COLLECTING", "RELEASED"]
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))


async def test_a_coordinator_that_restarts_aborts_what_it_was_doing(room, tmp_path):
    def die(party, at, way, message):
        if (at, way) == ("contribute", "request"):
            raise ZeroDivisionError
        return message

    room.network.hook = die
    room.hub._store.plan("f" * 32, 1, "ana", "sql", 2e9)  # a job cut off before it committed
    assert room.hub.recover() == 1
    row = room.hub._store.find("f" * 32)
    assert row.state is JobState.ABORTED
    assert row.error.code == ProtocolError.code
    with pytest.raises(MpcError):
        await room.sql(PLAIN)
    await assert_recovers(room)
