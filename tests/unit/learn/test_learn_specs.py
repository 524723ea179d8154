"""Specs: what a modeller may say, and what the dictionary fills in."""

import json
import tomllib

import numpy as np
import pytest
import tomli_w

from mpc.errors import PlanError
from mpc.keys.dictionary import Column, Table
from mpc.learn import (
    Als,
    ArraySpec,
    Category,
    Ease,
    FederatedAverage,
    GradientFactorization,
    Holdout,
    ImplicitAls,
    KMeans,
    LinearRegression,
    LogisticRegression,
    Numeric,
    Pca,
    PoissonRegression,
    columns_of,
    complete,
    kind_of,
    spec_from_mapping,
    to_mapping,
)

EVERY = (
    Ease("ratings", "user", "item", 250.0, 7, items=("a", "b"), holdout=Holdout(5, 3)),
    Als("ratings", "user", "item", rating="stars", rating_range=(0.5, 5.0), solver="blocks", block=4),
    ImplicitAls("ratings", "user", "item", 64, unobserved=0.1),
    GradientFactorization("ratings", "user", "item", rating="stars", optimizer="momentum"),
    LinearRegression("stays", "cost", ("age", Category("ward", levels=("a", "b"))), 1.0),
    LogisticRegression("stays", "back", (Numeric("age", "log1p", 0, 120), Category("kind", levels=(1, 2))), 0.5),
    PoissonRegression("stays", "calls", ("age",)),
    KMeans("stays", ("age", "cost"), 4),
    Pca("stays", ("age", "cost"), 1, standardize=False),
    FederatedAverage(table="stays", trainer="net", arrays=(ArraySpec("w", (2, 3), 8.0),)),
)


@pytest.mark.parametrize("spec", EVERY, ids=kind_of)
def test_a_spec_survives_json_and_toml(spec):
    mapping = to_mapping(spec)

    assert mapping["kind"] == kind_of(spec)
    assert spec_from_mapping(json.loads(json.dumps(mapping))) == spec
    assert spec_from_mapping(tomllib.loads(tomli_w.dumps(mapping))) == spec


@pytest.mark.parametrize(
    "mapping",
    [
        {"kind": "ease", "table": "r", "user": "u"},
        {"kind": "ease", "table": "r", "user": "u", "item": "i", "lambda": 3},
        {"kind": "oracle", "table": "r"},
        {"kind": "ease", "table": "r", "user": "u", "item": "i", "regularization": "much"},
        {"kind": "ease", "table": "r", "user": "u", "item": "i", "regularization": -1.0},
        {"kind": "ease", "table": "r", "user": "u", "item": "i", "items": ["a", "a"]},
        {"kind": "ease", "table": "r", "user": "u", "item": "i", "items": ["a", 1]},
        {"kind": "ease", "table": "r", "user": "u", "item": "i", "items": []},
        {"kind": "ease", "table": "r", "user": "u", "item": "i", "minimum_rating": 4.0},
        {"kind": "als", "table": "r", "user": "u", "item": "i"},
        {"kind": "als", "table": "r", "user": "u", "item": "i", "rating": "r", "rating_range": [5, 1]},
        {"kind": "als", "table": "r", "user": "u", "item": "i", "rating": "r", "minimum_rating": 4.0},
        {"kind": "logistic_regression", "table": "t", "target": "y", "features": []},
        {"kind": "logistic_regression", "table": "t", "target": "y", "features": ["y"]},
        {"kind": "logistic_regression", "table": "t", "target": "y", "features": ["a", "a"]},
        {"kind": "logistic_regression", "table": "t", "target": "y", "features": ["a"], "holdout": {"buckets": 5}},
        {"kind": "linear_regression", "table": "t", "target": "y", "features": ["a"], "regularization": float("nan")},
        {"kind": "federated_average", "table": "t", "trainer": "x", "arrays": []},
    ],
)  # fmt: skip
def test_an_impossible_spec_is_refused(mapping):
    with pytest.raises(PlanError):
        spec_from_mapping(mapping)


def test_the_columns_that_a_program_reads():
    assert columns_of(EVERY[1]) == ("item", "stars", "user")
    held = LogisticRegression("stays", "back", ("age",), holdout=Holdout(5, columns=("patient",)))
    assert columns_of(held) == ("age", "back", "patient")


def table(**changes) -> Table:
    columns = (
        Column(name="user", type="BIGINT"),
        Column(name="item", type="VARCHAR", discoverable=True, capacity=128),
        Column(name="shelf", type="VARCHAR", domain=("low", "top")),
        Column(name="stars", type="DECIMAL(2,1)", scale=1, minimum=0, maximum=5),
        Column(name="age", type="INTEGER", minimum=0, maximum=120),
        Column(name="note", type="VARCHAR"),
        Column(name="smoker", type="BOOLEAN"),
        Column(name="day", type="DATE"),
    )
    fields = {"name": "ratings", "columns": columns, "parties": ("a", "b"), "local_keys": ("user",)}
    return Table(**(fields | changes))


def test_the_dictionary_completes_a_recommender():
    discovered = complete(Ease("ratings", "user", "item"), table())
    declared = complete(Als("ratings", "user", "shelf", rating="stars"), table())

    assert (discovered.items, discovered.capacity) == (None, 128)
    assert complete(Ease("ratings", "user", "item"), table(rows_at_most=500)).users_at_most == 500
    assert (declared.items, declared.rating_range) == (("low", "top"), (0.0, 5.0))


def test_the_dictionary_completes_features():
    spec = LogisticRegression("ratings", "smoker", ("age", "shelf", Category("item"), Numeric("stars", minimum=1)))
    age, shelf, item, stars = complete(spec, table()).features

    assert age == Numeric("age", "none", 0.0, 120.0)
    assert shelf == Category("shelf", levels=("low", "top"))
    assert item == Category("item", capacity=128)
    assert (stars.minimum, stars.maximum) == (1.0, 5.0)


def test_the_dictionary_completes_targets():
    linear = complete(LinearRegression("ratings", "age", ("stars",)), table())
    counts = complete(PoissonRegression("ratings", "age", ("stars",)), table())

    assert (linear.target_minimum, linear.target_maximum) == (0.0, 120.0)
    assert counts.target_maximum == 120.0


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        (Ease("ratings", "user", "item"), {"local_keys": ()}),
        (Ease("ratings", "user", "note"), {}),
        (Ease("ratings", "user", "nowhere"), {}),
        (LogisticRegression("ratings", "smoker", ("day",)), {}),
        (LogisticRegression("ratings", "smoker", (Category("note"),)), {}),
        (Als("ratings", "user", "shelf", rating="user"), {}),
    ],
)
def test_what_the_dictionary_cannot_protect_is_refused(spec, changes):
    with pytest.raises(PlanError):
        complete(spec, table(**changes))


def test_equal_meanings_complete_to_one_plan():
    whole = Als("ratings", "user", "shelf", regularization=1, rating="stars", rating_range=(0, 5), items=["low", "top"])
    real = Als("ratings", "user", "shelf", regularization=1.0, rating="stars", rating_range=(0.0, 5.0))

    assert json.dumps(to_mapping(complete(whole, table()))) == json.dumps(to_mapping(complete(real, table())))
    assert complete(complete(real, table()), table()) == complete(real, table())


def test_specs_are_frozen():
    with pytest.raises(AttributeError):
        EVERY[0].regularization = 1.0
    assert hash(EVERY[0]) == hash(spec_from_mapping(to_mapping(EVERY[0])))
    assert np.isfinite(EVERY[0].regularization)
