"""Fitted models: digests, evidence, files; what EXPLAIN says of a training."""

import inspect
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from mpc.errors import SourceError
from mpc.learn import (
    ArrayRows,
    Ease,
    Holdout,
    ImplicitAls,
    LogisticRegression,
    disclosures,
    forecast,
    load_model,
    program,
    safetensors,
)
from mpc.learn.forecast import gram_sensitivity
from mpc.primitives import Checkpoint, Sum
from tests.unit.learn.learn_rooms import patients, record, room, shops, train

ROWS = shops()
CATALOGUE = tuple(range(3, 3 + 7 * 40, 7))
EASE = Ease("ratings", "user", "item", 10.0, 3, items=CATALOGUE, minimum_parties=1)


def test_the_digest_survives_the_last_bits_and_shows_another_model():
    model = train(EASE, room(ROWS, "user", "2"))
    noisy = type(model)(model.vocabulary, model.weights * (1 + 1e-13), model.users, 10.0)
    other = type(model)(model.vocabulary, model.weights * 1.01, model.users, 10.0)
    fewer = type(model)(model.vocabulary, model.weights, model.users + 1, 10.0)

    for one in (noisy, other, fewer):
        one.with_evidence(model.evidence)
    assert noisy.digest() == model.digest()
    assert noisy.bits() != model.bits()
    assert len({model.digest(), other.digest(), fewer.digest()}) == 3


def test_the_evidence_is_that_of_what_was_opened():
    rooms = room(ROWS, "user", "2")
    model = train(EASE, rooms)
    another = dict(ROWS)
    another["item"] = np.where(np.arange(len(ROWS["item"])) == 5, CATALOGUE[-1], ROWS["item"])

    assert train(EASE, rooms).evidence == model.evidence != bytes(32)
    assert train(EASE, room(another, "user", "2")).evidence != model.evidence
    assert model.with_evidence(bytes(32)).digest() != train(EASE, rooms).digest()


def test_a_resumed_run_carries_the_evidence_on():
    rooms = room(ROWS, "user", "2")
    spec = ImplicitAls("r", "user", "item", 3, iterations=4, items=CATALOGUE, minimum_parties=1, solver="normal")
    results, steps = record([program(spec, d, parties=2) for d in rooms])
    state = [s.state for s in steps[0] if isinstance(s, Checkpoint)][1]
    again, _ = record([program(spec, d, parties=2, checkpoint=state) for d in rooms])

    assert again[0].evidence == results[0].evidence


def test_checkpoints_are_plain_arrays(tmp_path):
    rooms = room(patients(), "patient", "2")
    spec = LogisticRegression("t", "back", ("age",), rounds=3)
    _, steps = record([program(spec, d, parties=2) for d in rooms])

    for state in (s.state for s in steps[0] if isinstance(s, Checkpoint)):
        np.savez(tmp_path / "state.npz", allow_pickle=False, **state)
        with np.load(tmp_path / "state.npz", allow_pickle=False) as back:
            assert all(np.array_equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("damage", ["missing", "kind", "format", "arrays", "json"])
def test_a_damaged_folder_is_refused(tmp_path, damage):
    train(EASE, room(ROWS, "user", "2")).save(tmp_path)
    header = json.loads((tmp_path / "model.json").read_text())
    if damage == "missing":
        (tmp_path / "arrays.npz").unlink()
    elif damage == "arrays":
        (tmp_path / "arrays.npz").write_bytes(b"PK\x03\x04 not a zip")
    elif damage == "json":
        (tmp_path / "model.json").write_text("{")
    else:
        header[damage] = "unheard of"
        (tmp_path / "model.json").write_text(json.dumps(header))

    with pytest.raises(SourceError):
        load_model(tmp_path)


def test_safetensors_hold_the_same_numbers():
    named = {"user": ROWS["user"], "item": np.array([f"film {i}" for i in ROWS["item"]])}
    spec = Ease("r", "user", "item", 10.0, 3, items=tuple(np.unique(named["item"]).tolist()), minimum_parties=1)
    model = train(spec, [ArrayRows(named)])
    data = safetensors(model)

    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    weights = header["weights"]
    start, stop = weights["data_offsets"]
    assert length % 8 == 0
    assert np.array_equal(np.frombuffer(body[start:stop], "<f8").reshape(weights["shape"]), model.weights)
    assert header["users"]["dtype"] == "I64"
    assert json.loads(header["__metadata__"]["items"]) == model.items.tolist()
    assert max(t["data_offsets"][1] for n, t in header.items() if n != "__metadata__") == len(body)


SPECS = (
    EASE,
    ImplicitAls("r", "user", "item", 3, iterations=4, items=CATALOGUE, solver="blocks", block=2),
    ImplicitAls("r", "user", "item", 3, iterations=4, items=CATALOGUE, solver="gradient"),
)


@pytest.mark.parametrize("spec", SPECS, ids=["ease", "blocks", "gradient"])
def test_the_forecast_bounds_what_is_opened(spec):
    _, steps = record([program(spec, d, parties=2) for d in room(ROWS, "user", "2")])
    lengths = [sum(s.length for s in x.header.segments) for x in steps[0] if isinstance(x, Sum)]
    support, rounds = forecast(spec)

    assert lengths[0] <= support.values
    assert len(lengths) == 1 + rounds.rounds
    assert max(lengths[1:]) <= rounds.values
    widest = max(s.bound for x in steps[0] if isinstance(x, Sum) for s in x.header.segments[:2])
    assert widest.bit_length() - 1 <= max(support.bits, rounds.bits)


def test_the_forecast_of_a_regression_is_its_width():
    spec = LogisticRegression("t", "back", tuple(f"x{i}" for i in range(139)))

    assert forecast(spec)[1].values == 10_011


def test_the_disclosures_name_what_two_parties_and_rare_items_mean():
    two, three = disclosures(EASE, 2), disclosures(EASE, 3)

    assert any("subtract" in line for line in two)
    assert not any("subtract" in line for line in three)
    assert any("rare ones included" in line for line in three)
    held = LogisticRegression("t", "back", ("age",), holdout=Holdout(5, columns=("patient",)))
    assert any("held-out" in line for line in disclosures(held, 3))


def test_the_example_of_the_page_runs():
    text = (Path(inspect.getfile(gram_sensitivity)).parent / "README.md").read_text()
    example = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    rng = np.random.default_rng(0)
    films = np.array(["alien", "brazil", "casablanca"])
    rooms = [ArrayRows({"user": np.arange(40) + 40 * p, "item": rng.choice(films, 40)}) for p in range(2)]
    found = {"rooms": rooms}

    exec(example, found)

    assert len(found["models"]) == 2
    assert found["models"][0].bits() == found["models"][1].bits()


def test_the_cap_on_items_bounds_one_users_change():
    assert gram_sensitivity(EASE) is None
    capped = Ease("r", "user", "item", items_per_user=10)
    assert gram_sensitivity(capped) == pytest.approx(55**0.5)
