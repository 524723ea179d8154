"""The analyst's request: every field that does not hold together is refused, at the edge exactly."""

import functools

import msgspec
import pytest

from mpc.errors import ParameterError, ProtocolError, WireError
from mpc.keys.identity import IdentityKey, new_root
from mpc.keys.manifest import Floor, Manifest, Member
from mpc.parties import Role
from mpc.wire.job import JobKind, JobRequest, JobState, analyst_of, request_digest

NOW = 1_800_000_000
NAMES = {"north": Role.PARTY, "south": Role.PARTY, "west": Role.PARTY, "hub": Role.COORDINATOR, "ana": Role.ANALYST}


@functools.cache
def manifest():
    members = tuple(
        Member(
            name=name,
            role=role,
            endpoint="" if role is Role.ANALYST else "localhost:1",
            identity=IdentityKey(name.encode().ljust(32, b".")).public.hex(),
            certificate=new_root(role, name).certificate.decode(),
        )
        for name, role in NAMES.items()
    )
    return Manifest(name="room", members=members, floor=Floor(minimum_parties=2, job_lifetime_s=600))


def request(**changes):
    fields = {
        "room": manifest().room, "job": "0123456789abcdef" * 2, "attempt": 1, "kind": JobKind.SQL, "body": "SELECT 1",
        "plan_digest": bytes(32), "participants": ("north", "south"), "parameter_set": "rlwe-2048-t30",
        "recipient_key_digest": bytes(32), "sealing_key": bytes(32), "issued_at": NOW, "expires_at": NOW + 600,
    }  # fmt: skip
    return JobRequest(**(fields | changes))


def test_a_good_request_gives_its_participants():
    assert request().check(manifest(), now=NOW + 10.5) == ("north", "south")


MALFORMED = [
    {"job": ""}, {"job": "0" * 31}, {"job": "0" * 33}, {"job": "G" * 32}, {"job": "A" * 32}, {"job": "../" + "0" * 29},
    {"job": "0" * 31 + "\n"}, {"attempt": 0}, {"attempt": -1}, {"attempt": (1 << 16) + 1}, {"plan_digest": b""},
    {"plan_digest": bytes(31)}, {"recipient_key_digest": bytes(33)}, {"sealing_key": bytes(31)},
]  # fmt: skip


@pytest.mark.parametrize("changes", MALFORMED, ids=str)
def test_a_malformed_field_is_a_wire_error(changes):
    with pytest.raises(WireError):
        request(**changes).check(manifest(), now=NOW)


REFUSED = {
    "another room": {"room": "0" * 64},
    "no room": {"room": ""},
    "lives too long": {"expires_at": NOW + 601},
    "ends before it begins": {"expires_at": NOW - 1},
    "names in another order": {"participants": ("south", "north")},
    "a stranger": {"participants": ("east", "north")},
    "an analyst": {"participants": ("ana", "north")},
    "the coordinator": {"participants": ("hub", "north")},
    "one party": {"participants": ("north",)},
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_request_that_the_room_does_not_allow_is_refused(what):
    with pytest.raises(ProtocolError):
        request(**REFUSED[what]).check(manifest(), now=NOW)


@pytest.mark.parametrize("participants", [(), ("north", "north"), ("north", "North"), ("north", "")])
def test_sets_that_are_no_rosters_are_refused(participants):
    with pytest.raises(ParameterError):
        request(participants=participants).check(manifest(), now=NOW)


@pytest.mark.parametrize(
    ("now", "good"),
    [(NOW - 301, False), (NOW - 300, True), (NOW, True), (NOW + 599.9, True), (NOW + 600, False), (NOW + 1e9, False)],
)
def test_a_request_lives_exactly_as_long_as_it_says(now, good):
    if good:
        request().check(manifest(), now=now)
        return
    with pytest.raises(ProtocolError):
        request().check(manifest(), now=now)


def test_not_a_number_is_no_time():
    with pytest.raises(ProtocolError):
        request().check(manifest(), now=float("nan"))


@pytest.mark.parametrize("minimum", [2, 3, 4])
def test_the_rooms_floor_holds_for_every_job(minimum):
    floor = Floor(minimum_parties=minimum, job_lifetime_s=600)
    strict = msgspec.structs.replace(manifest(), floor=floor)
    asked = request(room=strict.room, participants=("north", "south", "west"))
    if minimum <= 3:
        assert asked.check(strict, now=NOW) == ("north", "south", "west")
        return
    with pytest.raises(ProtocolError):
        asked.check(strict, now=NOW)


@pytest.mark.parametrize("signer", ["north", "hub", "", "nobody", "Ana"])
def test_only_analysts_of_the_room_sign_requests(signer):
    with pytest.raises(ProtocolError):
        analyst_of(manifest(), signer)


def test_an_analysts_key_is_the_manifests():
    assert analyst_of(manifest(), "ana") == manifest().member("ana").public_key


def test_the_digest_is_over_the_exact_bytes():
    assert request_digest(b"a") != request_digest(b"a\0")
    assert len({request_digest(bytes(n)) for n in range(40)}) == 40


def test_final_states_are_two():
    assert {s for s in JobState if s.final} == {JobState.RELEASED, JobState.ABORTED}


def test_an_option_is_found_by_name():
    assert request(options=(("seed", "7"),)).option("seed") == "7"
    assert request().option("seed") is None
