"""Training through processes: the client, the command line, a killed party and a resumed job."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mpc.client import LocalRoom
from mpc.errors import JobCancelled, PlanError, ProtocolError, TransportError
from mpc.learn import Ease, Holdout, LogisticRegression

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("training")]

PARTIES = ("north", "south", "west")
SPEC = LogisticRegression(table="cohort", target="y", features=("x0", "x1"), regularization=1.0)
EASE = {"kind": "ease", "table": "clicks", "user": "user", "item": "item", "regularization": 20.0, "minimum_users": 3}


def cohort(seed, rows=2000):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    y = rng.random(rows) < 1 / (1 + np.exp(-(x @ [1.0, -0.7] + 0.2)))
    return pa.table({"x0": x[:, 0], "x1": x[:, 1], "y": y.astype(np.int64)})


def clicks(first, seed):
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 31)
    pairs = [
        (first + u, f"i{i:02d}") for u in range(60) for i in rng.choice(30, 9, replace=False, p=weights / weights.sum())
    ]
    user, item = zip(*pairs, strict=True)
    return pa.table({"user": user, "item": item})


@pytest.fixture(scope="module")
def room():
    with LocalRoom({p: {"cohort": cohort(k), "clicks": clicks(1000 * k, k)} for k, p in enumerate(PARTIES)}) as room:
        yield room


def test_a_trained_model_and_its_report(room):
    steps = []
    run = room.client().train(SPEC, on_step=steps.append)

    assert set(run.model.coefficients) >= {"x0", "x1"}
    assert steps
    assert steps == run.steps
    assert run.report.participants == PARTIES
    assert run.report.ciphertexts == 0


def test_encrypted_and_clear_training_give_the_same_bits(room):
    client = room.client()

    assert client.train(EASE).model.digest() == client.train(EASE, scheme="clear").model.digest()


@pytest.mark.parametrize(("victim", "step"), [("south", 2), ("north", 1), ("coordinator", 2), ("coordinator", 3)])
def test_a_member_killed_in_mid_training_and_a_resumed_job(room, victim, step):
    client = room.client()
    expected = client.train(SPEC).model.bits()

    def kill(told):
        if told.step == step:
            room.process(victim).send_signal(signal.SIGKILL)

    run = client.train(SPEC, on_step=kill)
    with pytest.raises((TransportError, ProtocolError)):
        run.wait()
    room.restart(victim)

    resumed = client.train(SPEC, resume=run.job, attempt=2)

    assert resumed.model.bits() == expected


def test_a_cancelled_training_ends(room):
    run = room.client().train(Ease("clicks", "user", "item", regularization=20.0, minimum_users=3))
    run.cancel()

    with pytest.raises(JobCancelled):
        run.wait(30)


def shell(room, tmp_path, *words):
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")}
    command = [sys.executable, "-m", "mpc.client.cli", *words]
    if words[0] == "train" or words[:2] == ("model", "evaluate"):
        command += ["--room", str(room.folder / "analyst")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=180, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_line_trains_lists_recommends_and_exports(room, tmp_path):
    spec = tmp_path / "shop.json"
    spec.write_text(json.dumps(EASE | {"holdout": {"buckets": 4}}))

    plan = shell(room, tmp_path, "train", str(spec), "--explain")["plan"]
    trained = shell(room, tmp_path, "train", str(spec))
    assert trained["model"] == "shop"
    assert [[d["who"], d["learned"]] for d in trained["report"]["disclosure"]] == plan["disclosures"]
    assert shell(room, tmp_path, "model", "evaluate", "shop")["quality"] == trained["quality"]
    other = shell(room, tmp_path, "model", "evaluate", "shop", "--buckets", "3", "--seed", "7")["quality"]
    assert other["users"] > 0
    assert [m["name"] for m in shell(room, tmp_path, "model", "list")["models"]] == ["shop"]
    assert shell(room, tmp_path, "model", "show", "shop")["kind"] == "ease"
    found = shell(room, tmp_path, "model", "recommend", "shop", "i00", "i03", "-k", "3")["recommendations"]
    assert len(found) == 3
    assert not {"i00", "i03"} & {r["item"] for r in found}
    for ending in ("npz", "safetensors"):
        exported = shell(room, tmp_path, "model", "export", "shop", "-o", str(tmp_path / f"shop.{ending}"))
        assert json.loads(Path(exported["description"]).read_text())["kind"] == "ease"
    with np.load(tmp_path / "shop.npz", allow_pickle=False) as arrays:
        assert arrays["weights"].shape[0] == len(arrays["items"])


def test_a_kept_model_is_measured_again(room):
    client = room.client()
    told = EASE | {"holdout": {"buckets": 4}}
    run = client.train(told)

    again = client.evaluate(run.model, told)
    other = client.evaluate(run.model.digest(), told, holdout=Holdout(4, seed=5))

    assert again.quality == run.quality
    assert other.quality != run.quality
    with pytest.raises(PlanError, match="another spec"):
        client.evaluate(run.model, told | {"regularization": 21.0})
    with pytest.raises(PlanError, match="holds no model"):
        client.evaluate("0" * 64, told)


def test_a_party_measures_what_it_reaches_alone(room, tmp_path):
    spec = tmp_path / "shop.json"
    spec.write_text(json.dumps(EASE | {"holdout": {"buckets": 4}}))

    together = room.client().train(EASE | {"holdout": {"buckets": 4}}).quality
    found = shell(room, tmp_path, "party", "alone", str(spec), "--folder", str(room.folder / "north"))

    assert found["party"] == "north"
    assert 0 < found["quality"]["users"] < together["users"]
    assert 0.0 < found["quality"]["ndcg"]["100"] <= 1.0
