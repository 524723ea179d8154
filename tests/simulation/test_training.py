"""Training jobs over the in-memory transport: equal to the ideal functionality, resumable bit for bit, blind middle."""

import itertools

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from mpc.errors import MpcError, PolicyDenied, ProtocolError, TransportError
from mpc.keys.statements import decode_statement
from mpc.learn import ArrayRows, Ease, ImplicitAls, LogisticRegression, complete, program
from mpc.learn.digest import training_digest
from mpc.learn.union import union_program
from mpc.params import parameter_set
from mpc.plan import choose_parameters
from mpc.primitives import Segment, run_ideal
from mpc.wire import messages as m
from mpc.wire.job import JobRequest
from tests.simulation.memory_room import MemoryRoom

PARTIES = ("north", "south", "west")


def cohort(seed, rows=400):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    y = rng.random(rows) < 1 / (1 + np.exp(-(x @ [1.0, -0.7] + 0.2)))
    return pa.table({"x0": np.round(x[:, 0], 4), "x1": np.round(x[:, 1], 4), "y": y.astype(np.int64)})


def clicks(first_user, seed, users=40, items=25):
    rng = np.random.default_rng(seed)
    pairs = {(u, i) for u in range(users) for i in rng.choice(items, 8, replace=False, p=weights(items))}
    user, item = zip(*sorted(pairs), strict=True)
    return pa.table({"user": np.array(user) + first_user, "item": [f"i{i:02d}" for i in item]})


def weights(items):
    popularity = 1.0 / np.arange(1, items + 1)
    return popularity / popularity.sum()


@pytest.fixture
def tables():
    return {p: {"cohort": cohort(k), "clicks": clicks(1000 * k, 10 + k)} for k, p in enumerate(PARTIES)}


@pytest.fixture
async def room(tmp_path, tables):
    room = MemoryRoom(tmp_path, tables)
    yield room
    await room.close()


SPECS = {
    "logistic": LogisticRegression(table="cohort", target="y", features=("x0", "x1"), regularization=1.0),
    "ease": Ease("clicks", "user", "item", regularization=20.0, minimum_users=3),
    "ials": ImplicitAls("clicks", "user", "item", dimension=4, iterations=3, minimum_users=3),
}


def chosen(scheme=None):
    return choose_parameters((Segment("v", 1 << 12, 1 << 40),), 3, scheme=scheme).parameters.id


async def train(room, spec, *, scheme=None, resume="", attempt=1, steps=None):
    keys = await room.analyst.keys.take(chosen(scheme))
    job = room.analyst.sign_training(spec, keys, timeout_s=600, resume=resume, attempt=attempt)
    room.last_job = job.request.job
    return await room.analyst.train(job, (steps if steps is not None else []).append)


def ideal(room, tables, spec):
    completed = complete(spec, room.manifest.dictionary.table(spec.table))
    discovery = union_program(training_digest(completed))
    data = [ArrayRows({n: t[spec.table][n].to_numpy() for n in t[spec.table].column_names}) for t in tables.values()]
    return run_ideal([program(completed, d, parties=3, discovery=discovery) for d in data])[0]


@pytest.mark.parametrize("name", SPECS)
async def test_the_encrypted_model_is_the_ideal_one_bit_for_bit(room, tables, name):
    result = await train(room, SPECS[name])

    assert result.model.digest() == ideal(room, tables, SPECS[name]).digest()


async def test_progress_arrives_sealed_and_in_order(room):
    steps = []
    await train(room, SPECS["logistic"], steps=steps)

    assert [s.step for s in steps] == list(range(1, len(steps) + 1))
    assert all("loss" in s.metrics for s in steps)
    assert steps[0].sent_bytes > 0
    assert all(later.sent_bytes > one.sent_bytes for one, later in itertools.pairwise(steps))
    assert not [c for c in room.network.calls if c[1] == "collect" and c[0] not in PARTIES]


def fail_after(deliveries, victim="south"):
    seen = []

    def hook(party, method, direction, message):
        if (party, method, direction) == (victim, "deliver", "reply"):
            seen.append(message)
            if len(seen) == deliveries:
                raise TransportError("", member=party)
        return message

    return hook


@pytest.mark.parametrize("name", ["logistic", "ials"])
@pytest.mark.parametrize("deliveries", [2, 3, 5])
async def test_a_training_cut_off_in_any_round_resumes_to_the_same_bits(room, tables, name, deliveries):
    room.network.hook = fail_after(deliveries)
    with pytest.raises(MpcError):
        await train(room, SPECS[name])
    job = room.last_job
    room.network.hook = lambda party, method, direction, message: message

    result = await train(room, SPECS[name], resume=job, attempt=2)

    assert result.model.digest() == ideal(room, tables, SPECS[name]).digest()


def rounds(room):
    return sum(c == ("north", "contribute", "request") for c in room.network.calls)


async def test_a_resumed_training_does_fewer_rounds(room):
    await train(room, SPECS["ials"])
    whole = rounds(room)
    room.network.hook = fail_after(4)
    with pytest.raises(MpcError):
        await train(room, SPECS["ials"])
    room.network.hook = lambda party, method, direction, message: message
    room.network.calls.clear()

    await train(room, SPECS["ials"], resume=room.last_job, attempt=2)

    assert 0 < rounds(room) < whole


async def test_group_keys_of_all_rounds_derive_from_one_sealed_seed(room):
    await train(room, SPECS["logistic"])

    offers = [c for c in room.network.calls if c[1:] == ("offer_key", "request")]
    assert len(offers) == 1
    assert rounds(room) > 3


async def test_members_that_hold_the_key_upload_half(room):
    sizes = {}
    for scheme in ("rlwe-2048-t30", "bfv-4096-t40"):
        room.network.hook = collect_sizes(sizes.setdefault(scheme, []))
        await train(room, SPECS["logistic"], scheme=scheme)
    rlwe = parameter_set("rlwe-2048-t30")

    assert set(sizes["rlwe-2048-t30"]) == {rlwe.symmetric_ciphertext_bytes}
    assert rlwe.symmetric_ciphertext_bytes < 0.51 * rlwe.ciphertext_bytes


def collect_sizes(sizes):
    def hook(party, method, direction, message):
        if (method, direction) == ("contribute", "reply"):
            sizes.extend(len(c) for c in message.ciphertexts)
        return message

    return hook


async def test_a_policy_without_training_refuses(tmp_path, tables):
    policy = {"analysts": ["*"], "tables": {"cohort": {"allow_all": True}, "clicks": {"allow_all": True}}}
    room = MemoryRoom(tmp_path, tables, policies={"west": policy})
    try:
        with pytest.raises(PolicyDenied) as caught:
            await train(room, SPECS["logistic"])
        assert caught.value.fields["rule"] == "train"
    finally:
        await room.close()


@pytest.mark.parametrize("column", ["x0", "x1", "y"])
async def test_every_column_that_a_training_reads_needs_its_owners_consent(tmp_path, tables, column):
    columns = {name: {"use": ["train"]} for name in ("x0", "x1", "y")}
    columns[column] = {"use": ["group", "filter", "aggregate", "join"]}
    policy = {"analysts": ["*"], "train": True, "tables": {"cohort": {"count": True, "columns": columns}}}
    room = MemoryRoom(tmp_path, tables, policies={"west": policy})
    try:
        with pytest.raises(PolicyDenied) as caught:
            await train(room, SPECS["logistic"])
        assert caught.value.fields == {"party": "west", "table": "cohort", "column": column, "rule": "use train"}
    finally:
        await room.close()


async def test_a_signed_spec_that_completes_to_another_plan_is_refused(room):
    requests = []
    room.network.hook = lambda p, a, w, x: requests.append(x) or x if (a, w) == ("commit", "request") else x
    await train(room, SPECS["logistic"])
    request = decode_statement(requests[0].request.payload, JobRequest)
    changed = msgspec.structs.replace(request, job="0" * 32, plan_digest=bytes(32))
    signed = room.keys["ana"].identity().sign(changed, "ana")
    with pytest.raises(ProtocolError, match="another plan"):
        await room.nodes["north"].commit(m.CommitRequest(request=signed, recipient_key=requests[0].recipient_key))


async def test_two_parties_need_the_consent_of_both(tmp_path, tables):
    del tables["west"]
    policy = {
        "analysts": ["*"],
        "train": True,
        "tables": {"cohort": {"allow_all": True}, "clicks": {"allow_all": True}},
    }
    room = MemoryRoom(tmp_path, tables, policies={"south": policy})
    try:
        with pytest.raises(PolicyDenied) as caught:
            await train(room, SPECS["logistic"])
        assert caught.value.fields["rule"] == "two_party"
    finally:
        await room.close()
