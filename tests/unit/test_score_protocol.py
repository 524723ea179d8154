"""Scoring: the two roles against the ideal functionality, the limits of a spec, and both arithmetics bit for bit."""

import math
import subprocess
import sys

import numpy as np
import pytest

from mpc.entropy import FixedEntropy
from mpc.errors import KeyAccessError, ParameterError, ProtocolError, RangeError, ResourceExhausted, WireError
from mpc.schemes.rlwe.blocks import Execution
from mpc.schemes.rlwe.kernels.host import host_has_ifma
from mpc.schemes.rlwe.matrix import EncodedMatrix
from mpc.schemes.rlwe.noise import bounds
from mpc.schemes.rlwe.ring import Arithmetic
from mpc.score.encoding import item_integers, item_polynomials, query_integers
from mpc.score.holder import MatrixHolder, holder_memory
from mpc.score.ideal import ideal_scores
from mpc.score.querier import Querier
from mpc.score.spec import Measure, ScoreSpec, finest_spec

free = {"charge": lambda _: None}


def normal(rows, dimensions, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dimensions))


def holder_of(plan, items, **options):
    return MatrixHolder(plan, lambda start, stop: items[start:stop], **options)


def run(plan, queries, items, **options):
    sent = Querier(plan).ask(queries)
    reply = holder_of(plan, items, **options).answer(sent.messages[0], **free).result
    return Querier(plan).receive(sent.state, reply).result


SHAPES = [
    (1, 1, 1, 1),
    (3, 2, 1, 2),
    (4096, 3, 1, 1),
    (4097, 5, 1, 1),
    (9000, 13, 8, 3),
    (700, 7, 8, 1),
    (2049, 16, 2, 2),
    (300, 128, 128, 2),
    (5000, 100, 16, 1),
]


@pytest.mark.parametrize("measure", list(Measure))
@pytest.mark.parametrize(("rows", "dimensions", "width", "queries"), SHAPES)
def test_scores_equal_the_ideal_ones_and_are_within_the_stated_error(rows, dimensions, width, queries, measure):
    items, asked = normal(rows, dimensions), normal(queries, dimensions, 1)
    plan = finest_spec(
        catalogue="c",
        rows=rows,
        dimensions=dimensions,
        measure=measure,
        query_norm=float(np.linalg.norm(asked, axis=1).max()),
        item_norm=float(np.linalg.norm(items, axis=1).max()),
        dimensions_per_ciphertext=width,
    ).compile()
    scores = run(plan, asked, items)
    if measure is Measure.COSINE:
        asked, items = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (asked, items))

    assert plan.product.flooding_bits >= 40
    assert np.array_equal(scores.integers, ideal_scores(plan, asked, items))
    assert np.abs(scores.values - asked @ items.T).max() <= plan.worst_error


@pytest.mark.parametrize("dimensions", [64, 128, 256])
@pytest.mark.parametrize("name", ["rlwe-4096-t22", "rlwe-4096-t26"])
def test_extreme_vectors_at_the_declared_norms_are_exact(dimensions, name):
    """All coordinates as large as they may be, with both signs: the largest noise and the largest scores."""
    spec = finest_spec(catalogue="c", rows=4096, dimensions=dimensions, parameter_sets=(name,))
    plan = spec.compile()
    corner = np.full((4096, dimensions), 1 / math.sqrt(dimensions))
    corner[1::2] *= -1
    scores = run(plan, corner[:1], corner)

    assert np.array_equal(scores.integers, ideal_scores(plan, corner[:1], corner))
    assert 2 * np.abs(scores.integers).max() < plan.parameters.plain_modulus
    assert plan.product.flooding_bits >= 40
    assert plan.product.reply_noise <= bounds(plan.parameters).limit


def test_normalisation_happens_at_both_sides():
    plan = finest_spec(catalogue="c", rows=50, dimensions=6).compile()
    items, asked = normal(50, 6), normal(1, 6, 1)
    one, other = run(plan, asked, items), run(plan, 1e6 * asked, 1e-6 * items)

    assert np.array_equal(one.integers, other.integers)


def test_a_zero_item_scores_zero_and_a_zero_query_has_no_direction():
    plan = finest_spec(catalogue="c", rows=3, dimensions=4).compile()
    items = normal(3, 4)
    items[1] = 0

    assert run(plan, normal(1, 4, 1), items).integers[0, 1] == 0
    with pytest.raises(RangeError):
        Querier(plan).ask(np.zeros((1, 4)))


def test_the_best_k_are_those_of_a_full_sort_with_ties_by_row():
    plan = finest_spec(catalogue="c", rows=400, dimensions=3).compile()
    items = np.round(normal(400, 3), 0) + 0.0
    scores = run(plan, normal(2, 3, 1), items)
    want = np.argsort(-scores.integers, axis=1, kind="stable")
    for k in (1, 7, 399, 400):
        rows, values = scores.top(k)

        assert np.array_equal(rows, want[:, :k])
        assert np.array_equal(values, np.take_along_axis(scores.values, rows, axis=1))
    with pytest.raises(ParameterError):
        scores.top(401)


@pytest.mark.skipif(not host_has_ifma(), reason="this processor has one arithmetic")
def test_both_arithmetics_and_any_number_of_threads_give_the_same_bytes():
    plan = finest_spec(catalogue="c", rows=4500, dimensions=33, dimensions_per_ciphertext=4).compile()
    items, asked = normal(4500, 33), normal(2, 33, 1)
    messages, replies = set(), set()
    for arithmetic in Arithmetic:
        for threads in (1, 3):
            execution = Execution(arithmetic=arithmetic, threads=threads)
            sent = Querier(plan, execution=execution).ask(asked, entropy=FixedEntropy(b"q"))
            holder = holder_of(plan, items, execution=execution)
            messages.add(sent.messages[0])
            replies.add(holder.answer(sent.messages[0], entropy=FixedEntropy(b"h"), **free).result)
            scores = Querier(plan, execution=execution).receive(sent.state, replies.copy().pop()).result
            assert np.array_equal(scores.integers, ideal_scores(plan, asked, items))

    assert len(messages) == len(replies) == 1


def test_a_batch_larger_than_the_workspace_is_answered_in_parts(monkeypatch):
    monkeypatch.setattr("mpc.score.holder._QUERY_MEMORY", 1)
    monkeypatch.setattr("mpc.score.holder._ROWS_AT_ONCE", 4)
    plan = finest_spec(catalogue="c", rows=1500, dimensions=9, dimensions_per_ciphertext=16).compile()
    items, asked = normal(1500, 9), normal(5, 9, 1)

    assert plan.matrix_rows == 6
    assert np.array_equal(run(plan, asked, items).integers, ideal_scores(plan, asked, items))


def test_messages_have_the_sizes_that_were_predicted():
    plan = finest_spec(catalogue="c", rows=5000, dimensions=20, dimensions_per_ciphertext=4).compile()
    sent = Querier(plan).ask(normal(3, 20))
    reply = holder_of(plan, normal(5000, 20)).answer(sent.messages[0], **free).result

    assert (len(sent.messages[0]), len(reply)) == (plan.shape.query_bytes(3), plan.shape.reply_bytes(3))


def test_memory_is_stated_and_its_limit_is_kept_before_anything_is_read():
    plan = finest_spec(catalogue="c", rows=9000, dimensions=12).compile()
    stated = holder_memory(plan)

    assert stated == pytest.approx(12.5 * 3 * 4096 * 12, rel=1e-3)
    assert holder_of(plan, normal(9000, 12)).memory_bytes > stated
    with pytest.raises(ResourceExhausted):
        MatrixHolder(plan, lambda *_: pytest.fail("read"), memory_limit=stated - 1)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 0},
        {"dimensions": 0},
        {"dimensions_per_ciphertext": 3},
        {"dimensions_per_ciphertext": 16},
        {"flooding_bits": 39},
        {"flooding_bits": 70},
        {"query_norm": 2.0},
        {"item_norm": float("nan"), "measure": Measure.INNER_PRODUCT},
        {"parameter_set": "bfv-4096-t40"},
        {"parameter_set": "rlwe-4096-t60"},
        {"parameter_set": "rlwe-4096-p60"},
        {"parameter_set": "rlwe-2048-t30"},
        {"query_scale_bits": -33},
        {"query_scale_bits": 53},
        *({"measure": Measure.INNER_PRODUCT, "query_norm": norm} for norm in (0.0, -1.0, 1e-300, 1e300, 1.7e308)),
    ],
)
def test_impossible_specs_are_refused(change):
    fields = {"catalogue": "c", "rows": 9, "dimensions": 8, "query_scale_bits": 7, "item_scale_bits": 7} | change
    with pytest.raises(ParameterError):
        ScoreSpec(**fields).compile()


@pytest.mark.parametrize("norm", [0.0, -1.0, math.nan, math.inf, 1e-300, 1e300, 1.7e308])
@pytest.mark.parametrize("which", ["query_norm", "item_norm"])
def test_no_spec_is_found_for_norms_that_make_no_sense(which, norm):
    with pytest.raises(ParameterError, match="norm"):
        finest_spec(catalogue="c", rows=9, dimensions=8, measure=Measure.INNER_PRODUCT, **{which: norm})


@pytest.mark.parametrize(
    ("query_norm", "item_norm"), [(1024.0, 2.0**-10), (2.0**-10, 1024.0), (2.0**20, 2.0**-20), (1e-6, 1e-6)]
)
def test_unequal_norms_cost_no_precision(query_norm, item_norm):
    """The error in units of the largest score is that of two norms of 1, whatever the norms are."""
    common = {"catalogue": "c", "rows": 500, "dimensions": 16, "measure": Measure.INNER_PRODUCT}
    plain, plan = (
        finest_spec(**common).compile(),
        finest_spec(query_norm=query_norm, item_norm=item_norm, **common).compile(),
    )
    largest = plan.spec.query_norm * plan.spec.item_norm
    items, query = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (normal(500, 16), normal(1, 16, seed=5)))
    items, query = item_norm * items, query_norm * query
    errors = np.abs(ideal_scores(plan, query, items) / plan.scale - query @ items.T)

    assert plan.typical_error / largest == pytest.approx(plain.typical_error)
    assert plan.product.flooding_bits == pytest.approx(plain.product.flooding_bits)
    assert errors.max() < plan.worst_error < 0.01 * largest


def test_a_spec_whose_scores_could_leave_the_modulus_is_a_range_error():
    fitting = ScoreSpec(catalogue="c", rows=9, dimensions=4, query_scale_bits=10, item_scale_bits=10)
    fitting.compile()
    with pytest.raises(RangeError):
        ScoreSpec(catalogue="c", rows=9, dimensions=4, query_scale_bits=10, item_scale_bits=11).compile()


def test_flooding_that_does_not_fit_is_refused_not_reduced():
    wide = {"catalogue": "c", "rows": 4096, "dimensions": 256, "parameter_set": "rlwe-4096-t26"}
    ScoreSpec(query_scale_bits=12, item_scale_bits=11, **wide).compile()
    with pytest.raises(ParameterError):
        ScoreSpec(query_scale_bits=12, item_scale_bits=12, **wide).compile()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.1, -7.0])
def test_values_out_of_range_are_refused_before_anything_is_sent(bad):
    spec = finest_spec(catalogue="c", rows=3, dimensions=4, measure=Measure.INNER_PRODUCT)
    plan = spec.compile()
    vector = np.zeros((1, 4))
    vector[0, 2] = bad
    for refuse in (query_integers, item_integers):
        with pytest.raises(RangeError) as caught:
            refuse(plan, vector)
        assert str(bad) not in caught.value.public
    items = np.zeros((3, 4))
    items[2] = vector
    with pytest.raises(RangeError):
        holder_of(plan, items)


def test_a_vector_of_fitting_coordinates_but_too_large_a_norm_is_refused():
    plan = finest_spec(catalogue="c", rows=3, dimensions=4, measure=Measure.INNER_PRODUCT).compile()
    with pytest.raises(RangeError):
        query_integers(plan, np.full((1, 4), 0.6))
    query_integers(plan, np.full((1, 4), 0.5))


def test_an_encoded_matrix_checks_the_magnitude_it_was_planned_for():
    plan = finest_spec(catalogue="c", rows=3, dimensions=4).compile()
    polynomials = item_polynomials(plan, item_integers(plan, normal(3, 4)))
    magnitude = int(np.abs(polynomials).sum())
    options = {"rows": 1, "terms": 4, "polynomials": lambda _: polynomials}
    EncodedMatrix(plan.parameters, magnitude=magnitude, **options)
    with pytest.raises(RangeError):
        EncodedMatrix(plan.parameters, magnitude=magnitude - 1, **options)
    with pytest.raises(RangeError):
        EncodedMatrix(plan.parameters, rows=1, terms=1, polynomials=lambda _: np.full((1, 4096), 1 << 62), magnitude=9)


def test_the_key_of_a_query_opens_one_reply_and_is_destroyed():
    plan = finest_spec(catalogue="c", rows=3, dimensions=4).compile()
    sent = Querier(plan).ask(normal(1, 4))
    reply = holder_of(plan, normal(3, 4)).answer(sent.messages[0], **free).result
    Querier(plan).receive(sent.state, reply)
    with pytest.raises(KeyAccessError):
        Querier(plan).receive(sent.state, reply)
    with pytest.raises(KeyAccessError):
        sent.state.key.material()


def test_every_query_has_a_key_of_its_own():
    plan = finest_spec(catalogue="c", rows=3, dimensions=4).compile()
    one, other = Querier(plan).ask(normal(1, 4)), Querier(plan).ask(normal(1, 4))

    assert one.state.key != other.state.key
    assert "<secret>" in repr(one.state.key)
    assert one.messages[0] != other.messages[0]


def test_a_reply_to_another_query_is_refused_and_the_key_is_used_up():
    plan = finest_spec(catalogue="c", rows=3, dimensions=4).compile()
    holder = holder_of(plan, normal(3, 4))
    one, other = Querier(plan).ask(normal(1, 4)), Querier(plan).ask(normal(1, 4))
    reply = holder.answer(other.messages[0], **free).result
    with pytest.raises(ProtocolError):
        Querier(plan).receive(one.state, reply)
    with pytest.raises(KeyAccessError):
        Querier(plan).receive(one.state, holder.answer(one.messages[0], **free).result)


def test_a_reply_under_another_key_is_noise_and_noise_is_refused():
    plan = finest_spec(catalogue="c", rows=4096, dimensions=4, parameter_sets=("rlwe-4096-t26",)).compile()
    holder = holder_of(plan, normal(4096, 4))
    one, other = Querier(plan).ask(normal(1, 4)), Querier(plan).ask(normal(1, 4))
    reply = holder.answer(other.messages[0], **free).result
    with pytest.raises(ProtocolError):
        Querier(plan).receive(one.state, reply[:12] + one.state.name + reply[28:])


def test_sides_that_mean_different_scorings_refuse_each_other():
    specs = [finest_spec(catalogue=name, rows=3, dimensions=4) for name in ("a", "b")]
    one, other = (spec.compile() for spec in specs)
    sent = Querier(one).ask(normal(1, 4))
    with pytest.raises(WireError):
        holder_of(other, normal(3, 4)).answer(sent.messages[0], **free)


def test_a_refused_charge_ends_the_answer_and_a_bad_message_is_not_charged():
    plan = finest_spec(catalogue="c", rows=3, dimensions=4).compile()
    holder = holder_of(plan, normal(3, 4))
    message = Querier(plan).ask(normal(2, 4)).messages[0]
    charged = []

    def refuse(queries):
        raise RangeError("no")

    with pytest.raises(RangeError):
        holder.answer(message, charge=refuse)
    with pytest.raises(WireError):
        holder.answer(message[:-1], charge=charged.append)
    with pytest.raises(WireError):
        holder.answer(message[:-8] + b"\xff" * 8, charge=charged.append)
    holder.answer(message, charge=charged.append)

    assert charged == [2]


def test_a_malicious_client_needs_more_than_one_query_and_fewer_than_honest_ones():
    plan = finest_spec(catalogue="c", rows=10, dimensions=128).compile()

    assert 1 < plan.malicious_queries < 128
    assert plan.product.readable_bits < math.log2(plan.parameters.plain_modulus) + 2


def test_warming_up_needs_no_secret_and_leaves_nothing_to_compile():
    code = (
        "import sys, time; from mpc.score.warm import warm_up; warm_up()\n"
        "assert 'mpc.keys.secret' not in sys.modules\n"
        "start = time.thread_time(); warm_up(); assert time.thread_time() - start < 1\n"
        "from mpc.schemes.rlwe import secret\n"  # after the kernels: the order of imports does not matter
        "from mpc.entropy import SystemEntropy; from mpc.params import parameter_set\n"
        "secret.generate(parameter_set('rlwe-4096-t26'), SystemEntropy())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_holders_sides_load_no_secret():
    modules = ("holder", "packing", "budget", "catalogue", "spec", "messages", "real_holder", "real_spec", "warm")
    code = "import sys; " + "".join(f"import mpc.score.{m}; " for m in modules)
    subprocess.run([sys.executable, "-c", code + "assert 'mpc.keys.secret' not in sys.modules"], check=True)
