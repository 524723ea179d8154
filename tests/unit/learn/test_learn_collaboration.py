"""The reason to take part: what each party reaches alone, beside what all reach together; also on skewed divisions."""

import numpy as np
import pytest

from mpc.learn import Als, ArrayRows, Category, Ease, Holdout, LogisticRegression, Numeric, evaluate
from mpc.learn.design import load_rows
from mpc.primitives import run_ideal
from tests.unit.learn.learn_datasets import LEVELS, NUMBERS, movielens, readmission, retail
from tests.unit.learn.learn_rooms import room, shops, train


def together(spec, rooms):
    model = train(spec, rooms)
    return run_ideal([evaluate(model, spec, data) for data in rooms])[0]


def alone(spec, rooms, size, value):
    """Mean over the parties of what each reaches by itself, weighted by its held-out users or rows."""
    found = [run_ideal([evaluate(train(spec, [data]), spec, data)])[0] for data in rooms]
    weights = np.array([getattr(q, size) for q in found], dtype=float)
    return float(np.average([value(q) for q in found], weights=weights))


def catalogue(rows) -> tuple[int, ...]:
    return tuple(np.unique(rows["item"]).tolist())


def test_generated_shops_gain_by_training_together():
    rows = shops(users=240, items=60, seed=9)
    spec = Ease("r", "user", "item", 20.0, 1, items=catalogue(rows), minimum_parties=1, holdout=Holdout(4))
    rooms = room(rows, "user", "8")

    assert together(spec, rooms).ndcg[100] > 1.02 * alone(spec, rooms, "users", lambda q: q.ndcg[100])


@pytest.mark.slow
@pytest.mark.parametrize(("parties", "expected"), [(3, 0.3041), (5, 0.2736)])
def test_movielens_ease_alone(parties, expected):
    rows = movielens()
    spec = Ease(
        "r", "user", "item", 200.0, 1, rating="rating", minimum_rating=4.0, minimum_items=5, minimum_parties=1,
        items=catalogue(rows), holdout=Holdout(5),
    )  # fmt: skip

    assert alone(spec, room(rows, "user", str(parties)), "users", lambda q: q.ndcg[100]) == pytest.approx(
        expected, abs=0.003
    )


@pytest.mark.slow
@pytest.mark.parametrize(("parties", "expected"), [(3, 0.8729), (5, 0.8920)])
def test_movielens_als_alone(parties, expected):
    rows = movielens()
    spec = Als(
        "r", "user", "item", 16, 0.18, 1, rating="rating", rating_range=(0.5, 5.0), minimum_parties=1,
        items=catalogue(rows), holdout=Holdout(10), solver="normal",
    )  # fmt: skip
    found = alone(spec, room(rows, "user", str(parties)), "ratings", lambda q: q.rmse**2) ** 0.5

    assert found == pytest.approx(expected, abs=0.003)


@pytest.mark.slow
def test_retail_by_country_gains_most_for_the_small_party():
    rows = retail()
    _, first, inverse = np.unique(rows["user"], return_index=True, return_inverse=True)
    abroad = (rows["country"] != "United Kingdom")[first][inverse]
    rooms = [ArrayRows({n: rows[n][abroad == p] for n in ("user", "item")}) for p in (False, True)]
    spec = Ease("s", "user", "item", 300.0, 5, minimum_parties=1, items=catalogue(rows), holdout=Holdout(5))
    model = train(spec, rooms)

    for data, least in zip(rooms, (0.99, 1.1), strict=True):
        shared = run_ideal([evaluate(model, spec, data)])[0]
        own = run_ideal([evaluate(train(spec, [data]), spec, data)])[0]
        assert shared.ndcg[100] > least * own.ndcg[100]


@pytest.mark.slow
@pytest.mark.parametrize("division", ["3", "specialty"])
def test_readmission_gains_by_training_together(division):
    rows = readmission()
    held = Holdout(5, columns=("patient_nbr",))
    numbers = [Numeric(n, "log1p" if n.startswith("number_") else "none", 0, 1000) for n in NUMBERS]
    levels = [
        Category(n, levels=tuple(np.unique(rows[n]).tolist()), minimum_rows=200, minimum_parties=1) for n in LEVELS
    ]
    spec = LogisticRegression("e", "readmitted", (*numbers, *levels), 1.0, holdout=held, rounds=10)
    if division == "specialty":
        home = np.searchsorted(["G", "R"], rows["medical_specialty"], side="right")
        rooms = [ArrayRows({n: v[home == p] for n, v in rows.items()}) for p in range(3)]
    else:
        rooms = room(rows, "patient_nbr", division)

    metrics = pytest.importorskip("sklearn.metrics")
    everyone = load_rows(spec.features, "readmitted", held, ArrayRows(rows), held_out=True)
    shared = metrics.roc_auc_score(everyone.target, train(spec, rooms).predict_local(everyone))
    own = [metrics.roc_auc_score(everyone.target, train(spec, [d]).predict_local(everyone)) for d in rooms]
    assert shared > max(own) + 0.002
    assert shared == pytest.approx(0.679, abs=0.002)
    assert np.mean(own) == pytest.approx(0.6715, abs=0.004) or division == "specialty"
