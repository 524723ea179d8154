"""What a training opens does not depend on how the other parties' rows are divided among them."""

import numpy as np
import pytest

from mpc.learn import Als, ArrayRows, Ease, ImplicitAls, KMeans, LinearRegression, LogisticRegression, Numeric, program
from mpc.learn.splits import shard
from mpc.primitives import Checkpoint, Progress, Sum, ideal_totals
from tests.unit.learn.learn_rooms import patients, shops

SHOPS = shops(users=90)
PATIENTS = patients(1200)
CATALOGUE = tuple(range(3, 3 + 7 * 40, 7))
FACTORS = {"items": CATALOGUE, "minimum_parties": 1, "minimum_users": 2, "iterations": 3, "solver": "normal"}


def opened(spec, columns, key, salt):
    """Everything that party 0 sees: headers, opened totals, progress, and its own checkpoints.

    Party 0 holds the same rows whatever the salt; the rest goes to parties 1 and 2 by it.
    """
    fixed = shard(columns[key], 3) == 0
    owner = np.where(fixed, 0, 1 + shard(columns[key] + 1000 * salt, 2))
    rooms = [ArrayRows({n: v[owner == p] for n, v in columns.items()}) for p in range(3)]
    programs = [program(spec, data, parties=3) for data in rooms]
    replies, view = [None] * 3, []
    while True:
        try:
            asked = [p.send(r) for p, r in zip(programs, replies, strict=True)]
        except StopIteration:
            return view
        replies = [None] * 3
        if isinstance(asked[0], Sum):
            totals = ideal_totals(asked)
            replies = [totals] * 3
            view.append((asked[0].header, totals))
        elif isinstance(asked[0], Checkpoint):
            view.append(("checkpoint", asked[0].state))
        else:
            assert isinstance(asked[0], Progress)


@pytest.mark.parametrize(
    ("spec", "columns", "key"),
    [
        (Ease("r", "user", "item", 10.0, 2, items=CATALOGUE, minimum_parties=1), SHOPS, "user"),
        (ImplicitAls("r", "user", "item", 4, **FACTORS), SHOPS, "user"),
        (KMeans("t", ("age", "visits"), 3), PATIENTS, "patient"),
        (LogisticRegression("t", "back", ("age", "visits")), PATIENTS, "patient"),
        (LinearRegression("t", "cost", ("age", "visits")), PATIENTS, "patient"),
    ],
    ids=["ease", "ials", "k-means", "logistic", "linear"],
)
def test_bounds_in_headers_tell_the_coordinator_no_opened_total(spec, columns, key):
    headers = [what for what, _ in opened(spec, columns, key, 0) if what != "checkpoint"]

    for header in headers[1:]:
        assert all(s.bound & (s.bound - 1) == 0 for s in header.segments if s.name not in {"rows", "holders"})


def test_ease_opens_exactly_the_same_whatever_the_division():
    spec = Ease("r", "user", "item", 10.0, 2, items=CATALOGUE, minimum_parties=1)
    views = [opened(spec, SHOPS, "user", salt) for salt in range(4)]

    for view in views[1:]:
        assert len(view) == len(views[0])
        for (what, numbers), (same, expected) in zip(view, views[0], strict=True):
            assert what == same
            assert all(np.array_equal(numbers[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("spec", "columns", "key"),
    [
        (
            Als("r", "user", "item", 4, **FACTORS, rating="rating", rating_range=(0.5, 5.0), scale_bits=24),
            SHOPS,
            "user",
        ),
        (ImplicitAls("r", "user", "item", 4, **FACTORS, scale_bits=24), SHOPS, "user"),
        (
            LogisticRegression("t", "back", (Numeric("age", minimum=0, maximum=120), Numeric("visits"))),
            PATIENTS,
            "patient",
        ),
    ],
    ids=["als", "ials", "logistic"],
)
def test_real_statistics_differ_by_rounding_only(spec, columns, key):
    views = [opened(spec, columns, key, salt) for salt in range(3)]

    for view in views[1:]:
        assert [w for w, _ in view] == [w for w, _ in views[0]]
        for (what, numbers), (_, expected) in zip(view, views[0], strict=True):
            if what == "checkpoint":
                continue
            for segment in what.segments:
                gap = np.abs(numbers[segment.name] - expected[segment.name]).max(initial=0)
                # Each party rounds once, and rounds feed on one another's; the step is 2^-24 and finer.
                assert gap <= max(64, segment.bound >> 24)
