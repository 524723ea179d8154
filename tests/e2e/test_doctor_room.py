"""The doctor on the line, against nodes that run: clocks, the way back to a party, versions."""

import time
from dataclasses import replace

import pyarrow as pa
import pytest

from mpc.client import LocalRoom
from mpc.client.doctor import Host, Level
from mpc.client.doctor_peers import peer_findings
from mpc.client.members import MemberFolder

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("doctor")]

TABLE = pa.table({"x": [1, 2, 3]})


@pytest.fixture(scope="module")
def room():
    with LocalRoom({p: {"t": TABLE} for p in ("north", "south")}) as made:
        yield made


async def found(room, name, host=None):
    member = MemberFolder.at(room.folder / name)
    return {f.check: f async for f in peer_findings(host or Host(), member, member.room())}


async def test_a_party_learns_how_it_is_reached_and_nothing_of_others(room):
    seen = await found(room, "north")

    assert all(f.level is Level.OK for f in seen.values()), seen
    assert "north via coordinator" in seen
    assert not any(check.startswith("south") for check in seen)


async def test_a_coordinator_looks_at_every_party(room):
    seen = await found(room, "coordinator")

    assert all(f.level is Level.OK for f in seen.values()), seen
    assert {"north clock", "south clock"} <= set(seen)


@pytest.mark.parametrize(
    ("ahead_s", "level", "text"),
    [
        (0, Level.OK, "agrees"),
        (45, Level.WARN, "45 s behind"),
        (-45, Level.WARN, "45 s ahead"),
        (1200, Level.FAIL, "20 minutes behind this machine's: requests are refused"),
    ],
)
async def test_a_clock_that_differs_is_named_with_its_member(room, ahead_s, level, text):
    """This machine is ahead; so the peers are behind."""
    host = replace(Host(), now=lambda: time.time() + ahead_s)
    seen = await found(room, "coordinator", host)

    assert {(check, f.level) for check, f in seen.items() if f.level is not Level.OK} == (
        set() if level is Level.OK else {("north clock", level), ("south clock", level)}
    )
    assert text in seen["north clock"].text
    assert level is Level.OK or "NTP" in seen["north clock"].cure


async def test_a_party_that_the_coordinator_cannot_reach_is_told_where_to_look(room):
    victim = room.process("north")
    victim.kill()
    victim.wait()
    seen = await found(room, "north")
    room.restart("north")

    wrong = seen["north via coordinator"]
    assert wrong.level is Level.FAIL
    assert "firewall at this one" in wrong.cure
    assert {check for check, f in seen.items() if f.level is not Level.OK} == {"north via coordinator"}
