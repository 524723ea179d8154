"""Real-valued scoring under ckks: the roles against doubles, limits, keys."""

import math

import numpy as np
import pytest

from mpc.errors import KeyAccessError, ParameterError, ProtocolError, RangeError, ResourceExhausted, WireError
from mpc.score.real_holder import RealMatrixHolder
from mpc.score.real_querier import RealQuerier
from mpc.score.real_spec import RealScoreSpec, finest_real_spec
from mpc.score.spec import Measure, finest_spec

free = {"charge": lambda _: None}


def normal(rows, dimensions, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dimensions))


def holder_of(plan, items, **options):
    return RealMatrixHolder(plan, lambda start, stop: items[start:stop], **options)


@pytest.mark.parametrize("measure", list(Measure))
@pytest.mark.parametrize(("rows", "dimensions", "queries"), [(1, 1, 1), (4097, 6, 2), (50, 40, 1)])
def test_scores_are_within_the_stated_error(rows, dimensions, queries, measure):
    items, asked = normal(rows, dimensions), normal(queries, dimensions, 1)
    plan = finest_real_spec(
        catalogue="c",
        rows=rows,
        dimensions=dimensions,
        measure=measure,
        query_norm=float(np.linalg.norm(asked, axis=1).max()),
        item_norm=float(np.linalg.norm(items, axis=1).max()),
    ).compile()
    sent = RealQuerier(plan).ask(asked)
    reply = holder_of(plan, items).answer(sent.messages[0], **free).result
    scores = RealQuerier(plan).receive(sent.state, reply).result
    if measure is Measure.COSINE:
        asked, items = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (asked, items))

    assert scores.steps.shape == (queries, rows)
    assert np.abs(scores.values - asked @ items.T).max() <= plan.worst_error
    assert plan.chain.flooding_bits >= 40
    assert (len(sent.messages[0]), len(reply)) == (plan.shape.query_bytes(queries), plan.shape.reply_bytes(queries))


def test_real_scores_are_much_finer_than_fixed_point_ones():
    fields = {"catalogue": "c", "rows": 4096, "dimensions": 128}

    assert 1000 * finest_real_spec(**fields).compile().worst_error < finest_spec(**fields).compile().worst_error


@pytest.mark.parametrize(
    "change",
    [
        {"query_scale_bits": 40, "item_scale_bits": 40},
        {"grid_bits": 60},
        {"query_scale_bits": 110},
        {"rows": 0},
        {"dimensions": 0},
        {"query_norm": 2.0},
        {"item_norm": float("inf"), "measure": Measure.INNER_PRODUCT},
        {"parameter_set": "rlwe-4096-t22"},
        {"flooding_bits": 39},
        {"item_scale_bits": 0},
        {"grid_bits": -(10**9)},
        {"flooding_bits": 10**6},
        {"query_scale_bits": 10**6},
        *({"query_norm": norm, "measure": Measure.INNER_PRODUCT} for norm in (0.0, -1.0, 1e-300, 1e300)),
    ],
)
def test_specs_without_room_are_refused(change):
    fields = {"catalogue": "c", "rows": 9, "dimensions": 8, "query_scale_bits": 100, "grid_bits": 16}
    RealScoreSpec(**fields).compile()
    with pytest.raises(ParameterError):
        RealScoreSpec(**(fields | change)).compile()


@pytest.mark.parametrize("norm", [0.0, -1.0, math.nan, math.inf, 1e-300, 1e300, 1.7e308])
@pytest.mark.parametrize("which", ["query_norm", "item_norm"])
def test_no_real_spec_is_found_for_norms_that_make_no_sense(which, norm):
    with pytest.raises(ParameterError, match="norm"):
        finest_real_spec(catalogue="c", rows=9, dimensions=8, measure=Measure.INNER_PRODUCT, **{which: norm})


@pytest.mark.parametrize(("query_norm", "item_norm"), [(2.0**20, 2.0**-20), (2.0**-20, 2.0**20)])
def test_unequal_norms_cost_no_precision_in_real_scores(query_norm, item_norm):
    common = {"catalogue": "c", "rows": 9, "dimensions": 8, "measure": Measure.INNER_PRODUCT}
    plan = finest_real_spec(query_norm=query_norm, item_norm=item_norm, **common).compile()

    assert plan.worst_error == pytest.approx(finest_real_spec(**common).compile().worst_error, rel=0.01)


def test_vectors_out_of_range_memory_and_charges_are_as_in_fixed_point():
    plan = finest_real_spec(catalogue="c", rows=5, dimensions=3, measure=Measure.INNER_PRODUCT).compile()
    with pytest.raises(RangeError):
        RealQuerier(plan).ask(np.full((1, 3), 0.9))
    with pytest.raises(RangeError):
        holder_of(plan, np.full((5, 3), 0.9))
    with pytest.raises(ResourceExhausted):
        holder_of(plan, np.zeros((5, 3)), memory_limit=plan.memory_bytes - 1)
    holder = holder_of(plan, np.full((5, 3), 0.3))
    sent = RealQuerier(plan).ask(np.full((2, 3), 0.1))
    charged = []
    with pytest.raises(WireError):
        holder.answer(sent.messages[0][:-1], charge=charged.append)
    with pytest.raises(WireError):
        holder.answer(sent.messages[0][:-80] + b"\xff" * 80, charge=charged.append)
    reply = holder.answer(sent.messages[0], charge=charged.append).result

    assert charged == [2]
    with pytest.raises(ProtocolError):
        RealQuerier(plan).receive(RealQuerier(plan).ask(np.full((2, 3), 0.1)).state, reply)
    RealQuerier(plan).receive(sent.state, reply)
    with pytest.raises(KeyAccessError):
        RealQuerier(plan).receive(sent.state, reply)
