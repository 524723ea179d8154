"""Every protection is needed: with it the attack fails, with it switched off the same attack succeeds.

An attack returns whether it reached its aim; a typed refusal on the way is a failure of the attack. The doubles that
switch protections off exist here alone. Both locks and whole-value masks have their pairs in `test_sum_leakage.py`.
"""

import contextlib
import datetime as dt
import os
from collections import defaultdict

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from mpc.entropy import SystemEntropy
from mpc.errors import IntegrityError, MpcError
from mpc.keys.identity import issue_leaf
from mpc.keys.secret import SecretKey
from mpc.keys.statements import Signed, decode_statement, encode_statement
from mpc.packing.layout import CHECK_SLOTS, VectorLayout
from mpc.packing.limbs import LimbReader
from mpc.params import parameter_set
from mpc.parties import Role
from mpc.plan import compile_query
from mpc.policy.judge import Verdict
from mpc.primitives import Segment, Sum
from mpc.schemes import public as public_schemes
from mpc.schemes import secret as secret_schemes
from mpc.sum.aggregator import Aggregator
from mpc.sum.contributor import Contributor
from mpc.sum.ideal import ideal_totals
from mpc.sum.messages import Commitment
from mpc.sum.opener import Opener
from mpc.testing.statistics import uniform
from mpc.testing.sums import Round, random_sum
from mpc.wire import messages as m
from mpc.wire.job import JobRequest
from mpc.wire.methods import Method
from servers.party.store import PartyStore
from tests.leakage import test_sum_leakage
from tests.simulation.memory_room import MemoryRoom
from tests.wire.grpc_room import COORDINATOR, HOSTS, PARTY, Counting, call, channel, root, serving

CLEAR = parameter_set("insecure-clear-4096-t62")
PLAIN = "SELECT COUNT(*) AS n, SUM(qty) AS q FROM sales"
ROWS = {"north": 40, "south": 30, "west": 20}


def reached(attack):
    """Whether an attack on the roles reaches its aim."""
    try:
        return attack()
    except MpcError:
        return False


async def reached_in(room, attack):
    """The same for an attack on a whole room."""
    try:
        return await attack(room)
    except MpcError:
        return False


@pytest.fixture
async def room(tmp_path):
    tables = {n: {"sales": pa.table({"qty": np.arange(rows) % 7})} for n, rows in ROWS.items()}
    found = MemoryRoom(tmp_path, tables)
    yield found
    await found.close()


# ---- one round -------------------------------------------------------------------------------------------------


def wide_round(parties=3):
    return Round.make(CLEAR, random_sum(parties, [("v", 9000, 1 << 20)]))


def released_wrongly(round_, contributions, *, checked=True):
    """Whether totals leave the opener that are not those of the honest parties."""
    totals = round_.open(round_.add(contributions, check=checked))
    return totals["v"].tolist() != ideal_totals(list(round_.requests.values()))["v"].tolist()


def count_one_party_twice():
    round_ = wide_round()
    contributions = round_.contributions()
    return released_wrongly(round_, contributions | {"p2": contributions["p1"]})


def leave_a_party_out():
    round_ = wide_round()
    contributions = round_.contributions()
    del contributions["p2"]
    return released_wrongly(round_, contributions, checked=False)


def swap_alike_for_all():
    round_ = wide_round()
    return released_wrongly(round_, {p: [c[1], c[0], *c[2:]] for p, c in round_.contributions().items()})


def exceed_the_bound():
    """A value that its slot wraps: does a wrong total open without a word?"""
    width = VectorLayout.compile([Segment("v", 1, 5)], CLEAR, 3).width_bits
    requests = [Sum.of("x", {"v": np.array([v])}, 5) for v in (1 << (width - 1), 1, 1)]
    return Round.make(CLEAR, requests).run()["v"].tolist() != [(1 << (width - 1)) + 2]


def tell_one_party_another_round():
    """Equivocation: a party that believes in another round still contributes data and not noise."""
    round_ = Round.make(CLEAR, random_sum(3, [("v", 100, 1 << 20)]))
    totals = round_.open(round_.add(round_.contributions(equivocate=("p1", "round"))))
    return totals["v"].tolist() == ideal_totals(list(round_.requests.values()))["v"].tolist()


def read_the_tail_of_a_contribution():
    """Whether the slots behind the last value tell that they carry nothing."""
    round_ = Round.make(CLEAR, random_sum(3, [("v", 10, 5)]))
    slots = round_.decrypt_as_attacker(round_.contributions()["p1"])[:, CHECK_SLOTS:].reshape(-1)[10:]
    return not uniform(slots, 1 << round_.layout.width_bits)


def open_twice():
    round_ = wide_round()
    summed = round_.add(round_.contributions())
    round_.open(summed)
    return bool(round_.open(summed))


def without_counts(monkeypatch):
    def take(self, ciphertexts):
        slots = self.decryptor.decrypt(ciphertexts)
        self._seen += len(ciphertexts)
        self._reader.push(slots[:, CHECK_SLOTS:].reshape(-1))

    monkeypatch.setattr(Opener, "take", take)


def without_position_tags(monkeypatch):
    for module in ("contributor", "opener"):
        monkeypatch.setattr(
            f"mpc.sum.{module}.position_tags", lambda bound, first, count, width: np.zeros(count, np.uint64)
        )


def without_bounds(monkeypatch):
    monkeypatch.setattr("mpc.sum.contributor.check_bound", lambda segment, values: None)


def without_a_transcript(monkeypatch):
    monkeypatch.setattr("mpc.testing.sums.transcript", lambda context, **others: bytes(32))


def without_masked_padding(monkeypatch):
    original = Contributor._masked_slots

    def bare(self):
        used = self.layout.payload_slots
        done = 0
        for slots in original(self):
            keep = max(0, min(slots.size, used - done))
            done += slots.size
            yield np.concatenate([slots[:keep], np.zeros(slots.size - keep, np.uint64)])

    monkeypatch.setattr(Contributor, "_masked_slots", bare)


def without_one_opening(monkeypatch):
    monkeypatch.setattr(SecretKey, "open_once", SecretKey.material)


ROLES = {
    "count slot: a party counted twice": (count_one_party_twice, without_counts),
    "count slot: a party left out": (leave_a_party_out, without_counts),
    "position tags": (swap_alike_for_all, without_position_tags),
    "bounds before encryption": (exceed_the_bound, without_bounds),
    "transcript in the masks": (tell_one_party_another_round, without_a_transcript),
    "masks over every slot": (read_the_tail_of_a_contribution, without_masked_padding),
    "one opening per key": (open_twice, without_one_opening),
}


@pytest.mark.parametrize("protection", ROLES)
def test_an_attack_on_the_roles_fails(protection):
    attack, _ = ROLES[protection]

    assert not reached(attack)


@pytest.mark.parametrize("protection", ROLES)
def test_and_succeeds_without_the_protection_it_tests(protection, monkeypatch):
    attack, switch_off = ROLES[protection]
    switch_off(monkeypatch)

    assert reached(attack)


# ---- a whole room ----------------------------------------------------------------------------------------------


def first_commit(room):
    """The analyst's request as the coordinator passes it on."""
    seen = []

    def tap(party, at, way, message):
        if (party, at, way) == ("north", "commit", "request"):
            seen.append(message)
        return message

    room.network.hook = tap
    return seen


async def change_a_ciphertext(room):
    """Add five to a slot of one party's ciphertext on its way: is the wrong sum released?"""

    def change(party, at, way, message):
        if (party, at, way) != ("north", "contribute", "reply") or not message.ciphertexts:
            return message
        data = bytearray(message.ciphertexts[0])
        slot = 16 + 8 * CHECK_SLOTS
        value = int.from_bytes(data[slot : slot + 8], "little") + 5
        data[slot : slot + 8] = (value % CLEAR.plain_modulus).to_bytes(8, "little")
        return msgspec.structs.replace(message, ciphertexts=(bytes(data), *message.ciphertexts[1:]))

    room.network.hook = change
    answer = await room.sql(PLAIN, "clear")
    return tuple(answer.rows[0].values()) != (90, sum(sum(i % 7 for i in range(n)) for n in ROWS.values()))


async def ask_twice_under_one_mask(room):
    """Ask a party for its contribution again: does it leave twice under one mask?"""
    asked, sent, north = [], defaultdict(list), room.nodes["north"]

    def tap(party, at, way, message):
        if (party, at) == ("north", "contribute"):
            if way == "request":
                asked.append(message)
            else:
                sent[0].extend(message.ciphertexts)
        return message

    room.network.hook = tap
    original = north.deliver

    async def again(frames):
        async for frame in north.contribute(asked[-1]):
            sent[1].extend(frame.ciphertexts)
        return await original(frames)

    north.deliver = again
    await room.sql(PLAIN, "clear")
    return sent[0] == sent[1] != []


async def commit_twice(room):
    seen = first_commit(room)
    await room.sql(PLAIN)
    reply = await room.nodes["north"].commit(seen[0])
    return reply.commitment is not None


async def give_the_parties_the_coordinators_key(room):
    """Pass on the coordinator's own key for the analyst's: does the coordinator read the total?"""
    made, sent, headers = {}, defaultdict(list), {}

    def substitute(party, at, way, message):
        if (at, way) == ("commit", "request"):
            request = decode_statement(message.request.payload, JobRequest)
            if "public" not in made:
                made["digest"], made["set"] = request.recipient_key_digest, parameter_set(request.parameter_set)
                made["public"], made["secret"] = secret_schemes.generate(made["set"], SystemEntropy())
            return msgspec.structs.replace(message, recipient_key=made["public"].data)
        if (at, way) == ("contribute", "reply"):
            sent[party] += message.ciphertexts
            for job in room.nodes[party]._jobs.values():
                headers[party] = job.asked.header
        return message

    room.network.hook = substitute
    room.signed_digest = made
    try:
        await room.sql(PLAIN)
    except IntegrityError:
        if not sent:
            raise
    running = public_schemes.adder(made["set"]).start(len(sent["north"]))
    for ciphertexts in sent.values():
        running.add(ciphertexts)
    layout = VectorLayout.compile(headers["north"].segments, made["set"], len(sent))
    reader = LimbReader(layout.segments, layout.width_bits)
    reader.push(secret_schemes.decryptor(made["secret"]).decrypt(running.finish())[:, CHECK_SLOTS:].reshape(-1))
    return 90 in [int(v) for values in reader.totals().values() for v in values]


async def sign_one_plan_and_ask_another(room):
    """An analyst that signs an approved plan's digest over another text: does a party take part?"""
    seen = first_commit(room)
    await room.sql(PLAIN)
    request = decode_statement(seen[0].request.payload, JobRequest)
    changed = msgspec.structs.replace(request, job=os.urandom(16).hex(), body="SELECT SUM(qty * qty) AS q FROM sales")
    signed = room.keys["ana"].identity().sign(changed, "ana")
    reply = await room.nodes["north"].commit(m.CommitRequest(request=signed, recipient_key=seen[0].recipient_key))
    return reply.commitment is not None


async def ask_what_the_policy_denies(room):
    north = room.nodes["north"]
    north._policy = type(north._policy)()
    return (await room.sql(PLAIN)).rows[0]["n"] == 90


async def put_the_coordinator_between_two_parties(room):
    """Show a party the coordinator's mask key for another party's: does it go on and mask with a known key?"""
    shown = {}

    def forge(party, at, way, message):
        if (at, way) == ("commit", "reply"):
            shown[party] = message.commitment
        if (party, at, way) == ("south", "begin", "request"):
            known = decode_statement(shown["west"].payload, Commitment)
            payload = encode_statement(msgspec.structs.replace(known, mask_key=os.urandom(32)))
            others = tuple(c for c in message.commitments if c.signer != "west")
            return msgspec.structs.replace(message, commitments=(*others, Signed(payload, "west", bytes(64))))
        if (party, at, way) == ("south", "begin", "reply"):
            shown["went on"] = True
        return message

    room.network.hook = forge
    with contextlib.suppress(MpcError):
        await room.sql(PLAIN)
    return "went on" in shown


async def let_an_outsider_sign(room):
    seen = first_commit(room)
    await room.sql(PLAIN)
    request = decode_statement(seen[0].request.payload, JobRequest)
    forged = msgspec.structs.replace(request, job=os.urandom(16).hex())
    signed = room.keys["hub"].identity().sign(forged, "ana")
    reply = await room.nodes["north"].commit(m.CommitRequest(request=signed, recipient_key=seen[0].recipient_key))
    return reply.commitment is not None


def without_receipts(monkeypatch, _room):
    monkeypatch.setattr(Aggregator, "check", lambda self, receipts: None)


def without_mask_records(monkeypatch, _room):
    monkeypatch.setattr(PartyStore, "use_mask", lambda self, job, attempt, number: None)


def without_commit_records(monkeypatch, _room):
    monkeypatch.setattr(PartyStore, "commit", lambda self, job, attempt, digest: None)


def without_the_recipients_digest(monkeypatch, room):
    monkeypatch.setattr(
        "servers.party.node.public_key_digest", lambda parameter_set, data: room.signed_digest["digest"]
    )


def without_recompilation(monkeypatch, _room):
    monkeypatch.setattr(
        "servers.party.judgement.compiled_query",
        lambda request, manifest: compile_query(request.body, manifest.dictionary),
    )


def without_a_judge(monkeypatch, _room):
    monkeypatch.setattr("servers.party.judgement.judge", lambda policy, facts: Verdict())


def unsigned(signed, kind, public):
    return decode_statement(signed.payload, kind)


def without_signatures_of_commitments(monkeypatch, _room):
    monkeypatch.setattr("servers.party.statements.verify_signed", unsigned)


def without_the_analysts_signature(monkeypatch, _room):
    monkeypatch.setattr("servers.party.node.verify_signed", unsigned)


ROOMS = {
    "receipts": (change_a_ciphertext, without_receipts),
    "record of masks": (ask_twice_under_one_mask, without_mask_records),
    "record of commitments": (commit_twice, without_commit_records),
    "signed recipient key": (give_the_parties_the_coordinators_key, without_the_recipients_digest),
    "recompilation of the plan": (sign_one_plan_and_ask_another, without_recompilation),
    "policy": (ask_what_the_policy_denies, without_a_judge),
    "signed mask keys": (put_the_coordinator_between_two_parties, without_signatures_of_commitments),
    "the analyst's signature": (let_an_outsider_sign, without_the_analysts_signature),
}


@pytest.mark.parametrize("protection", ROOMS)
async def test_an_attack_on_a_room_fails(protection, room):
    attack, _ = ROOMS[protection]

    assert not await reached_in(room, attack)


@pytest.mark.parametrize("protection", ROOMS)
async def test_and_succeeds_there_without_the_protection_it_tests(protection, room, monkeypatch):
    attack, switch_off = ROOMS[protection]
    switch_off(monkeypatch, room)

    assert await reached_in(room, attack)


# ---- the transport ---------------------------------------------------------------------------------------------


async def coordinators_name_under_a_partys_root():
    counter = Counting(PARTY)
    impostor = issue_leaf(root("south"), Role.COORDINATOR, "hub", HOSTS)
    async with serving((PARTY, counter.handlers())) as (port,), channel(port, PARTY, impostor) as opened:
        try:
            await call(opened, PARTY, "Describe")
        except Exception:
            return False
    return bool(counter.reached)


async def party_as_an_analyst():
    counter = Counting(COORDINATOR)
    party = issue_leaf(root("south"), Role.PARTY, "south", HOSTS)
    async with serving((COORDINATOR, counter.handlers())) as (port,), channel(port, COORDINATOR, party) as opened:
        try:
            await call(opened, COORDINATOR, "List")
        except Exception:
            return False
    return bool(counter.reached)


async def test_a_leaf_is_tied_to_its_own_members_root(monkeypatch):
    assert not await coordinators_name_under_a_partys_root()
    forever = dt.datetime(9000, 1, 1, tzinfo=dt.UTC)
    monkeypatch.setattr("mpc.runtime.tls.verify_leaf", lambda *_, **__: forever)
    assert await coordinators_name_under_a_partys_root()


async def test_a_method_is_tied_to_its_callers_role(monkeypatch):
    assert not await party_as_an_analyst()
    monkeypatch.setattr(Method, "callers", property(lambda self: frozenset(Role)), raising=False)
    assert await party_as_an_analyst()


# ---- nothing is forgotten --------------------------------------------------------------------------------------


def test_every_protection_of_the_design_has_its_pair():
    here = {*ROLES, *ROOMS}
    elsewhere = vars(test_sum_leakage)

    assert {"receipts", "record of masks", "signed recipient key", "recompilation of the plan", "policy"} <= here
    assert any(name.startswith("count slot") for name in here)
    assert "position tags" in here
    for name in (
        "test_without_masks_the_same_detector_sees_the_value",
        "test_without_encryption_the_coordinator_can",
        "test_masking_limbs_separately_would_tell_the_divisions_apart",
    ):
        assert callable(elsewhere[name])
