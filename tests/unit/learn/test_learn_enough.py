"""An evaluation of too few people opens their number and nothing else."""

import numpy as np
import pytest

from mpc.errors import PlanError
from mpc.learn import Als, Ease, Holdout, LinearRegression, evaluate, program
from mpc.primitives import Sum, ideal_totals, run_ideal
from tests.unit.learn.learn_rooms import patients, room, shops

SHOPS = shops(users=120)
ITEMS = tuple(np.unique(SHOPS["item"]).tolist())
SHOP = {"items": ITEMS, "minimum_parties": 1, "minimum_users": 8}
FEW = Holdout(4000, seed=1)
SPECS = {
    "ranking": Ease("r", "user", "item", 20.0, **SHOP, holdout=FEW),
    "ratings": Als("r", "user", "item", 2, **SHOP, rating="rating", rating_range=(0.5, 5.0), iterations=1, holdout=FEW),
    "rows": LinearRegression("t", "cost", ("age", "visits"), holdout=Holdout(800, columns=("patient",))),
}


@pytest.mark.parametrize("name", SPECS)
def test_too_few_held_out_open_their_number_only(name):
    columns, key = (patients(900), "patient") if name == "rows" else (SHOPS, "user")
    rooms = room(columns, key, "3")
    model = run_ideal([program(SPECS[name], data, parties=3) for data in rooms])[0]
    parties = [evaluate(model, SPECS[name], data) for data in rooms]
    asked = [next(p) for p in parties]

    assert all(isinstance(a, Sum) for a in asked)
    assert [s.name for s in asked[0].header.segments] == ["count"]
    totals = ideal_totals(asked)
    assert 0 <= int(totals["count"][0]) < 8
    for party in parties:
        with pytest.raises(PlanError, match="held out"):
            party.send(totals)
