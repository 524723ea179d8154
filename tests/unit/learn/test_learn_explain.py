"""EXPLAIN of trainings: the numbers are those of the sums that run, and nothing that is opened goes unsaid."""

import pytest

from mpc.learn import (
    Als,
    ArrayRows,
    ArraySpec,
    Ease,
    FederatedAverage,
    Holdout,
    ImplicitAls,
    KMeans,
    LinearRegression,
    LogisticRegression,
    Noise,
    evaluate,
    explain_training,
    program,
    spec_from_mapping,
)
from mpc.primitives import Sum
from tests.unit.learn.learn_rooms import patients, record, room, shops

SHOPS = shops()
ITEMS = tuple(sorted(set(SHOPS["item"].tolist())))
SHOP = {"items": ITEMS, "minimum_parties": 1, "minimum_users": 1}
SPECS = {
    "ease": Ease("r", "user", "item", **SHOP),
    "als": Als("r", "user", "item", 4, **SHOP, rating="rating", rating_range=(0.5, 5.0), iterations=3, solver="blocks"),
    "ials": ImplicitAls("r", "user", "item", 4, **SHOP, iterations=3, solver="normal"),
    "logistic": LogisticRegression("t", "back", ("age", "visits")),
    "linear": LinearRegression("t", "cost", ("age", "visits")),
    "k-means": KMeans("t", ("age", "visits"), 3, iterations=4),
}


@pytest.mark.parametrize("name", SPECS)
def test_no_sum_is_longer_or_wider_than_explained(name):
    spec = SPECS[name]
    columns, key = (SHOPS, "user") if hasattr(spec, "item") else (patients(600), "patient")
    rooms = room(columns, key, "3")
    _, steps = record([program(spec, data, parties=3) for data in rooms])
    asked = [s.header for s in steps[0] if isinstance(s, Sum)]

    told = explain_training(spec, ("a", "b", "c"))

    assert sum(line.rounds for line in told.sums) >= len(asked)
    assert max(line.values for line in told.sums) >= max(sum(s.length for s in h.segments) for h in asked)
    widest = max(s.bound.bit_length() for h in asked for s in h.segments)
    assert max(line.bits for line in told.sums) + 1 >= widest
    assert told.bytes_per_party >= sum(line.upload_bytes for line in told.sums)
    assert told.text().count("\n") > 8


def test_an_evaluation_is_one_of_the_sums():
    spec = Ease("r", "user", "item", **SHOP, holdout=Holdout(5))
    rooms = [ArrayRows(SHOPS)]
    model = record([program(spec, d, parties=1) for d in rooms])[0][0]
    _, steps = record([evaluate(model, spec, d) for d in rooms])
    measured = explain_training(spec, ("a", "b")).sums[-1]

    headers = [s.header for s in steps[0] if isinstance(s, Sum)]
    header = headers[-1]
    assert measured.rounds == len(headers)
    assert measured.values >= sum(s.length for s in header.segments)
    assert 1 << measured.bits >= max(s.bound for s in header.segments) // 2


def test_two_parties_are_told_what_each_will_know():
    two, three = (explain_training(SPECS["ease"], p).text() for p in (("a", "b"), ("a", "b", "c")))

    assert "every owner's policy must say two_party = true" in two
    assert "subtract its own part" in two
    assert "two_party" not in three


def test_thresholds_and_noise_are_in_the_text():
    mapping = {
        "kind": "ease", "table": "r", "user": "user", "item": "item", "items": [1, 2, 3], "minimum_parties": 1,
        "minimum_users": 7, "items_per_user": 10, "noise": {"deviation": 9.0},
    }  # fmt: skip
    text = explain_training(spec_from_mapping(mapping), ("a", "b", "c")).text()

    assert "an item, from 7 users and 1 party on" in text
    assert "of a user, at most 10 rows" in text
    assert "zCDP" in text
    assert spec_from_mapping(mapping).noise == Noise(9.0)


def test_an_owners_function_needs_its_policy():
    arrays = (ArraySpec("w", (2,), 1.0),)
    told = explain_training(FederatedAverage(table="t", trainer="risk", arrays=arrays, columns=("age",)), ("a", "b"))

    assert told.columns == ("age",)
    assert any("trainers.risk" in note for note in told.notes)


def test_the_scheme_is_as_asked():
    assert explain_training(SPECS["ease"], ("a", "b", "c"), scheme="clear").scheme == "clear"
