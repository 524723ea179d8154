"""However rows fall to parties, a training opens the totals of the pooled rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.learn import ArrayRows, Ease, LinearRegression, Numeric, program
from mpc.learn.symmetric import pack_symmetric, unpack_symmetric
from mpc.primitives import Checkpoint, run_ideal
from tests.unit.learn.learn_rooms import record

PAIRS = st.lists(st.tuples(st.integers(0, 11), st.integers(-3, 9)), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.lists(st.integers(0, 3), min_size=12, max_size=12), st.integers(1, 3))
def test_the_opened_gram_matrix_is_that_of_the_pooled_pairs(pairs, owners, minimum):
    user, item = np.array(pairs).T
    owner = np.array(owners)[user]
    spec = Ease("t", "user", "item", 1.0, minimum, minimum_parties=1, items=tuple(range(-3, 10)))
    rooms = [ArrayRows({"user": user[owner == p], "item": item[owner == p]}) for p in range(4)]
    x = np.zeros((12, 13))
    x[user, item + 3] = 1.0
    kept = x.sum(axis=0) >= minimum
    if not kept.any():
        return

    results, steps = record([program(spec, data, parties=4) for data in rooms])

    gram = x[:, kept].T @ x[:, kept]
    opened = [s for s in steps[0] if isinstance(s, Checkpoint)][-1].state["gram"]
    assert np.array_equal(results[0].items, np.arange(-3, 10)[kept])
    assert np.array_equal(opened, gram[np.triu_indices(len(gram))])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_least_squares_is_that_of_the_pooled_rows(seed, parties):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(80, 2)) * [1.0, 50.0] + [0.0, 300.0]
    y = 4.0 + x @ [2.0, -0.1] + rng.normal(size=80)
    owner = rng.integers(0, parties, 80)
    features = (Numeric("a", minimum=-100, maximum=100), Numeric("b", minimum=-1000, maximum=1000))
    spec = LinearRegression("t", "y", features, target_minimum=-1000, target_maximum=1000)
    columns = {"a": x[:, 0], "b": x[:, 1], "y": y}
    rooms = [ArrayRows({n: v[owner == p] for n, v in columns.items()}) for p in range(parties)]

    model = run_ideal([program(spec, data, parties=parties) for data in rooms])[0]

    expected = np.linalg.lstsq(np.column_stack([np.ones(80), x]), y, rcond=None)[0]
    assert np.allclose([model.intercept, *model.coefficients.values()], expected, rtol=1e-6, atol=1e-6)


@given(st.integers(1, 9), st.integers(0, 4))
def test_a_packed_symmetric_matrix_unpacks(width, count):
    rng = np.random.default_rng(width)
    half = rng.normal(size=(count, width, width))
    matrices = half + half.transpose(0, 2, 1)

    assert np.array_equal(unpack_symmetric(pack_symmetric(matrices), width), matrices)
