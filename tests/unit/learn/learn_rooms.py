"""Generated data, divided among parties, and runs of programs over the trusted adder."""

import numpy as np

from mpc.learn import ArrayRows
from mpc.learn.splits import shard, splitmix64
from mpc.primitives import Checkpoint, Progress, Sum, ideal_totals, run_ideal

DIVISIONS = ("2", "3", "8", "80/15/5")


def owner(keys: np.ndarray, division: str) -> tuple[np.ndarray, int]:
    """Party of each key: by hash over 2, 3 or 8 parties, or 80/15/5 %."""
    if division == "80/15/5":
        share = splitmix64(keys.astype(np.int64).view(np.uint64)) % np.uint64(100)
        return np.searchsorted([80, 95], share.astype(np.int64), side="right"), 3
    return shard(keys, int(division)), int(division)


def room(columns: dict[str, np.ndarray], key: str, division: str) -> list[ArrayRows]:
    """Each party's rows."""
    owners, parties = owner(columns[key], division)
    return [ArrayRows({n: v[owners == p] for n, v in columns.items()}) for p in range(parties)]


def train(spec, rooms, **more):
    """The model that every party obtains; they must agree to the bit."""
    from mpc.learn import program

    models = run_ideal([program(spec, data, parties=len(rooms), **more) for data in rooms])
    assert len({m.bits() for m in models}) == 1
    return models[0]


def equal(one, two) -> bool:
    """Whether two models are equal to the last bit, however they came about."""
    numbers = one.numbers(), two.numbers()
    return (
        one.description() == two.description()
        and numbers[0].keys() == numbers[1].keys()
        and all(np.array_equal(numbers[0][name], numbers[1][name]) for name in numbers[0])
    )


def record(programs):
    """Run like `run_ideal`, and return what was asked: (results, steps of every party)."""
    replies = [None] * len(programs)
    steps = [[] for _ in programs]
    results = []
    while True:
        asked = []
        for program, reply in zip(programs, replies, strict=True):
            try:
                asked.append(program.send(reply))
            except StopIteration as stop:
                results.append(stop.value)
        if results:
            return results, steps
        for own, step in zip(steps, asked, strict=True):
            own.append(step)
        kinds = {type(step) for step in asked}
        assert len(kinds) == 1
        if kinds == {Sum}:
            assert all(step.header == asked[0].header for step in asked)
            replies = [ideal_totals(asked)] * len(programs)
        else:
            assert kinds <= {Checkpoint, Progress}
            replies = [None] * len(programs)


def shops(users: int = 60, items: int = 40, seed: int = 1) -> dict[str, np.ndarray]:
    """Ratings with structure: popular items, tastes in three dimensions."""
    rng = np.random.default_rng(seed)
    taste, trait = rng.normal(size=(users, 3)), rng.normal(size=(items, 3))
    popular = 1.0 / np.arange(1, items + 1) ** 0.7
    chance = np.clip(popular[None, :] * 0.9 + 0.15 * (taste @ trait.T > 1.0), 0.0, 0.95)
    user, item = np.nonzero(rng.random((users, items)) < chance)
    rating = 3.5 + 0.7 * (taste @ trait.T)[user, item] + 0.3 * rng.normal(size=len(user))
    rating = np.clip(np.round(2.0 * rating) / 2.0, 0.5, 5.0)
    return {"user": user.astype(np.int64), "item": item.astype(np.int64) * 7 + 3, "rating": rating}


def patients(rows: int = 3000, seed: int = 2) -> dict[str, np.ndarray]:
    """Rows of a risk model: two numbers, two levels, a 0/1 outcome and a count."""
    rng = np.random.default_rng(seed)
    age = rng.normal(60.0, 12.0, rows).clip(18, 99).round()
    visits = rng.poisson(1.5, rows).astype(np.float64)
    ward = rng.choice(["east", "north", "south", "west"], rows, p=[0.3, 0.4, 0.2, 0.1])
    drug = rng.choice(["no", "steady", "up"], rows)
    effect = {"east": 0.1, "north": 0.0, "south": -0.6, "west": 0.7}
    eta = -2.0 + 0.03 * (age - 60) + 0.5 * np.log1p(visits) + np.array([effect[w] for w in ward]) + 0.4 * (drug == "up")
    return {
        "patient": np.arange(rows, dtype=np.int64),
        "age": age,
        "visits": visits,
        "ward": ward,
        "drug": drug,
        "back": (rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))).astype(np.int64),
        "cost": 100.0 + 3.0 * age + 40.0 * (drug == "up") + rng.normal(0, 20, rows),
        "calls": rng.poisson(np.exp(0.3 + 0.01 * (age - 60) + 0.2 * (drug == "up"))).astype(np.float64),
    }
