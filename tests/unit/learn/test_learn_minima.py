"""Whatever few rows or few parties have stays with them: every minimum alone, with its default."""

import numpy as np
import pytest

from mpc.errors import PlanError, RangeError
from mpc.learn import ArrayRows, ArraySpec, Category, Ease, FederatedAverage, LogisticRegression, Numeric, program
from mpc.learn.vocabulary import agree
from mpc.primitives import run_ideal
from tests.unit.learn.learn_rooms import patients, room, train

ROWS = patients()
WARDS = ("east", "north", "south", "west")


def model_of(rooms, **changes):
    features = (Numeric("age", minimum=0, maximum=120), Category("ward", levels=WARDS, reference="north", **changes))
    return train(LogisticRegression("stays", "back", features), rooms)


@pytest.mark.parametrize(("west", "enters"), [(19, False), (20, True)])
def test_a_level_enters_from_twenty_rows_on(west, enters):
    rows = {n: v.copy() for n, v in ROWS.items()}
    rows["ward"][rows["ward"] == "west"] = "east"
    rows["ward"][:west] = "west"

    assert ("ward=west" in model_of(room(rows, "patient", "3")).names) is enters


@pytest.mark.parametrize(("holders", "enters"), [(1, False), (2, True)])
def test_a_declared_level_enters_from_two_parties_on(holders, enters):
    own = [{n: v[part::3].copy() for n, v in ROWS.items()} for part in range(3)]
    for party, rows in enumerate(own):
        if party >= holders:
            rows["ward"][rows["ward"] == "west"] = "east"
    rooms = [ArrayRows(rows) for rows in own]

    assert ("ward=west" in model_of(rooms).names) is enters
    assert "ward=west" in model_of(rooms, minimum_parties=1).names


def test_a_discovered_value_of_one_party_is_left_out_of_the_vocabulary():
    def discovery(_label, _local, *, capacity):
        return {"both": 2, "one": 1, "all": 3}
        yield

    asked = {"capacity": 8, "discovery": discovery}
    parts = [agree("items", None, np.array(["both"]), minimum_parties=2, **asked)]

    assert run_ideal(parts)[0].values.tolist() == ["all", "both"]
    with pytest.raises(PlanError, match="enough parties"):
        run_ideal([agree("items", None, np.array(["both"]), minimum_parties=4, **asked)])


@pytest.mark.parametrize(("minimum", "enters"), [(4, True), (5, True), (6, False)])
def test_an_item_enters_from_its_users_on(minimum, enters):
    users = np.arange(40)
    rows = {"user": users, "item": np.where(users < 5, 7, 8)}
    spec = Ease("r", "user", "item", 10.0, minimum, items=(7, 8), minimum_parties=1)

    assert (7 in train(spec, room(rows, "user", "2")).items) is enters


@pytest.mark.parametrize("weight", [-1, 11])
def test_a_weight_beyond_its_bound_is_not_averaged(weight):
    spec = FederatedAverage(
        table="t", trainer="mine", arrays=(ArraySpec("w", (2,), 4.0),), columns=("age",), rounds=1, weight_at_most=10
    )

    def parts(own):
        made = {"mine": lambda *_: ({"w": np.ones(2)}, own)}
        return [program(spec, ArrayRows(ROWS), parties=2, trainers=made) for _ in range(2)]

    assert run_ideal(parts(10))[0].weight == 20
    with pytest.raises(RangeError):
        run_ideal(parts(weight))
