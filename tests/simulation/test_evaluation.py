"""Evaluation jobs over the in-memory transport: judged like trainings, bound to the kept model, refused when bent."""

import json

import pytest

from mpc.client.jobs import PreparedJob
from mpc.client.training import evaluation_set
from mpc.errors import MpcError, PlanError, PolicyDenied, ProtocolError
from mpc.learn import ArrayRows, Ease, Holdout, complete, evaluate, to_mapping
from mpc.learn.digest import evaluation_digest, training_digest
from mpc.policy.rules import open_policy
from mpc.primitives import run_ideal
from mpc.wire.job import JobKind
from servers.party.models import TrainedModels
from tests.simulation.memory_room import MemoryRoom
from tests.simulation.test_training import PARTIES, clicks, train

SPEC = Ease("clicks", "user", "item", regularization=20.0, minimum_users=3, holdout=Holdout(4))


@pytest.fixture
def tables():
    return {p: {"clicks": clicks(1000 * k, 10 + k)} for k, p in enumerate(PARTIES)}


@pytest.fixture
async def room(tmp_path, tables):
    room = MemoryRoom(tmp_path, tables)
    yield room
    await room.close()


def rows(tables):
    return [ArrayRows({n: t["clicks"][n].to_numpy() for n in t["clicks"].column_names}) for t in tables.values()]


@pytest.mark.parametrize("holdout", [Holdout(4), Holdout(3, seed=9)])
async def test_the_encrypted_measures_are_the_ideal_ones(room, tables, holdout):
    model = (await train(room, SPEC)).model
    spec = Ease("clicks", "user", "item", regularization=20.0, minimum_users=3, holdout=holdout)

    found = await room.analyst.evaluate(model.digest(), spec)

    ideal = run_ideal([evaluate(model, spec, data) for data in rows(tables)])[0]
    assert found.quality["users"] == ideal.users
    assert found.quality["ndcg"] == {"100": ideal.ndcg[100]}
    assert found.report.ciphertexts == 0


async def test_a_policy_without_training_refuses_evaluations_too(tmp_path, tables):
    closed = open_policy(("clicks",)) | {"train": False}
    room = MemoryRoom(tmp_path, tables, policies={"west": closed})
    try:
        with pytest.raises(PolicyDenied) as caught:
            await room.analyst.evaluate("0" * 64, SPEC)
        assert caught.value.fields["rule"] == "train"
        assert caught.value.fields["party"] == "west"
    finally:
        await room.close()


async def test_a_model_that_one_party_forgot_is_not_measured(room, tmp_path):
    model = (await train(room, SPEC)).model
    TrainedModels(tmp_path / "west" / "state" / "models", 1).keep(model, SPEC)
    for number in range(2):
        other = type(model)(model.vocabulary, model.weights, model.users + number + 1, model.regularization)
        TrainedModels(tmp_path / "west" / "state" / "models", 1).keep(other, SPEC)

    with pytest.raises(PlanError, match="holds no model"):
        await room.analyst.evaluate(model.digest(), SPEC)


async def test_another_table_s_rows_or_thresholds_are_not_measured_with(room):
    model = (await train(room, SPEC)).model
    bent = Ease("clicks", "user", "item", regularization=20.0, minimum_users=2, holdout=Holdout(4))

    with pytest.raises(PlanError, match="another spec"):
        await room.analyst.evaluate(model.digest(), bent)


BODIES = {
    "no model": lambda spec: {"spec": spec},
    "empty model": lambda spec: {"model": "", "spec": spec},
    "a path": lambda spec: {"model": "../../keys", "spec": spec},
    "a number": lambda spec: {"model": 7, "spec": spec},
    "more": lambda spec: {"model": "0" * 64, "spec": spec, "code": "import os"},
    "a list": lambda spec: [spec],
    "no spec": lambda spec: {"model": "0" * 64, "spec": []},
    "nesting": lambda spec: "[" * 100_000,
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("kind", [JobKind.EVALUATE, JobKind.TRAIN])
async def test_bent_bodies_are_refused_by_name(room, name, kind):
    table = room.manifest.dictionary.table("clicks")
    completed = complete(SPEC, table)
    body = BODIES[name](to_mapping(SPEC))
    text = body if isinstance(body, str) else json.dumps(body)
    digest = evaluation_digest("../../keys" if name == "a path" else "", completed)
    job = PreparedJob.sign(
        manifest=room.manifest,
        name="ana",
        identity=room.keys["ana"].identity(),
        clock=room.clock,
        keys=await room.analyst.keys.take(evaluation_set(completed, 3, None)),
        kind=kind,
        body=text,
        plan_digest=digest if kind is JobKind.EVALUATE else training_digest(completed),
        participants=table.parties,
        timeout_s=60,
    )

    with pytest.raises(MpcError) as caught:
        await job.run(room.analyst.peer, lambda number, notes: None)
    assert isinstance(caught.value, PlanError | ProtocolError)
