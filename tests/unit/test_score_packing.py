"""The choice of a packing: predictions that hold, and choices that follow them."""

import numpy as np
import pytest

from mpc.errors import ParameterError
from mpc.score.calibration import measure_costs
from mpc.score.holder import MatrixHolder
from mpc.score.packing import DEFAULT_COSTS, ScoringRequest, UnitCosts, choose_packing, packing_costs
from mpc.score.querier import Querier


def request(**changes):
    fields = {"catalogue": "c", "rows": 10_000, "dimensions": 128, "bandwidth_bits_s": 1e8}
    return ScoringRequest(**(fields | changes))


def width(**changes):
    return choose_packing(request(**changes)).spec.dimensions_per_ciphertext


def test_the_choice_is_the_cheapest_of_all_that_fit():
    costs = packing_costs(request())

    assert costs[0] == choose_packing(request())
    assert [c.seconds for c in costs] == sorted(c.seconds for c in costs)
    assert {c.spec.dimensions_per_ciphertext for c in costs} == {1, 2, 4, 8, 16, 32, 64, 128}


def test_small_catalogues_share_ciphertexts_and_large_ones_do_not():
    assert width(rows=1000) > width(rows=100_000) > width(rows=100_000_000) == 1


def test_a_thin_link_buys_upload_with_work():
    thin, thick = (choose_packing(request(rows=4096, bandwidth_bits_s=b)) for b in (1e6, 1e13))

    assert thin.upload_bytes + thin.reply_bytes < thick.upload_bytes + thick.reply_bytes
    assert thin.holder_s >= thick.holder_s


@pytest.mark.parametrize("dimensions_per_ciphertext", [1, 4, 16])
def test_predicted_bytes_memory_and_precision_are_those_of_a_real_scoring(dimensions_per_ciphertext):
    asked = request(rows=3000, dimensions=16, queries=2)
    costs = {c.spec.dimensions_per_ciphertext: c for c in packing_costs(asked)}
    cost = costs[dimensions_per_ciphertext]
    plan = cost.spec.compile()
    items = np.random.default_rng(0).normal(size=(3000, 16))
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    holder = MatrixHolder(plan, lambda start, stop: items[start:stop])
    sent = Querier(plan).ask(items[:2])
    reply = holder.answer(sent.messages[0], charge=lambda _: None).result
    errors = Querier(plan).receive(sent.state, reply).result.values - items[:2] @ items.T

    assert (len(sent.messages[0]), len(reply)) == (cost.upload_bytes, cost.reply_bytes)
    assert holder.memory_bytes >= cost.memory_bytes
    assert errors.std() == pytest.approx(cost.typical_error, rel=0.2)


def test_unit_costs_are_measured_on_this_machine():
    measured = measure_costs()
    for name in UnitCosts.__dataclass_fields__:
        assert 0.1 < getattr(measured, name) / getattr(DEFAULT_COSTS, name) < 100


@pytest.mark.parametrize("change", [{"bandwidth_bits_s": 0.0}, {"queries": 0}, {"rows": 0}, {"dimensions": 0}])
def test_requests_without_sense_are_refused(change):
    with pytest.raises(ParameterError):
        choose_packing(request(**change))
