"""EXPLAIN says what runs, what it costs and who learns what; the cost model chooses by all three of its parts."""

import json

import pytest

from mpc.errors import ParameterError, RangeError
from mpc.packing import VectorLayout
from mpc.params import PARAMETER_SETS, ParameterSet, SchemeId, SecurityLevel, SetId
from mpc.plan import CostModel, Line, choose_parameters, explain
from mpc.plan.cost import SumShape, choose_for_sums, cost_of
from mpc.primitives import Segment


def parameters(name, scheme, slots, bits, size, *, number):
    return ParameterSet(
        id=SetId(name),
        wire_id=number,
        scheme=scheme,
        security=SecurityLevel.CLASSICAL_128,
        slots=slots,
        plain_modulus=1 << bits,
        public_key_bytes=size,
        ciphertext_bytes=size,
        symmetric_ciphertext_bytes=size,
        max_additions=1000,
    )


SMALL = parameters("small", SchemeId.PAILLIER, 40, 74, 768, number=60001)
LARGE = parameters("large", SchemeId.BFV, 4096, 40, 73_000, number=60002)
SETS = (SMALL, LARGE)


def chosen(count, bound, **options):
    return choose_parameters((Segment("s", count, bound),), 3, sets=SETS, **options)


def test_a_handful_of_totals_on_a_thin_line_takes_the_small_ciphertext():
    assert chosen(8, 1 << 40, model=CostModel(line=Line(megabits_per_s=1.0))).parameters is SMALL


def test_a_long_vector_takes_the_lattice():
    assert chosen(100_000, 1 << 40).parameters is LARGE


def test_the_caller_may_choose_a_scheme_or_a_set():
    assert chosen(8, 9, scheme="bfv").parameters is LARGE
    assert chosen(8, 9, scheme="small").parameters is SMALL
    with pytest.raises(ParameterError):
        chosen(8, 9, scheme="nothing")


def test_a_set_that_hides_nothing_is_taken_only_by_name():
    segments = (Segment("s", 10, 9),)

    assert not choose_parameters(segments, 3).parameters.insecure
    assert choose_parameters(segments, 3, scheme="clear").parameters.insecure


def test_a_bound_that_no_set_carries_is_an_error():
    with pytest.raises((ParameterError, RangeError)):
        chosen(8, 1 << 300)


def test_bytes_and_ciphertexts_are_those_of_the_layout():
    segments = (Segment("a", 5000, 1 << 20), Segment("b", 700, 1 << 90))
    for one in PARAMETER_SETS.values():
        if one.scheme is SchemeId.PAILLIER:
            continue
        cost = cost_of(segments, 3, one)
        layout = VectorLayout.compile(segments, one, 3)

        assert cost.ciphertexts == layout.ciphertexts
        assert cost.upload_bytes == layout.upload_bytes()
        assert cost.slots == layout.payload_slots


def test_the_prediction_grows_with_values_bits_and_parties():
    base = cost_of((Segment("s", 20_000, 1 << 30),), 3, LARGE).seconds

    assert cost_of((Segment("s", 40_000, 1 << 30),), 3, LARGE).seconds > base
    assert cost_of((Segment("s", 20_000, 1 << 70),), 3, LARGE).seconds > base
    assert cost_of((Segment("s", 20_000, 1 << 30),), 9, LARGE).seconds > base
    assert cost_of((Segment("s", 20_000, 1 << 30),), 3, LARGE, CostModel(line=Line(megabits_per_s=10.0))).seconds > base


def test_a_delay_is_paid_once_per_message_that_waits():
    segments = (Segment("s", 10, 9),)
    near, far = CostModel(), CostModel(line=Line(latency_s=0.05))
    more = cost_of(segments, 3, LARGE, far).seconds - cost_of(segments, 3, LARGE, near).seconds

    assert more == pytest.approx(0.1 * far.sum_round_trips)
    assert far.fixed_s - near.fixed_s == pytest.approx(0.1 * far.job_round_trips)


def test_members_of_a_group_upload_seeded_ciphertexts_where_the_scheme_has_them():
    segments = (Segment("s", 5000, 1 << 20),)
    for name, halves in (("rlwe-4096-t60", True), ("bfv-4096-t40", False)):
        one = PARAMETER_SETS[SetId(name)]
        alone, group = cost_of(segments, 3, one), cost_of(segments, 3, one, group=True)

        assert group.upload_bytes == group.ciphertexts * (
            one.symmetric_ciphertext_bytes if halves else one.ciphertext_bytes
        )
        assert (group.key_bytes == 0) is halves
        assert alone.key_bytes == one.public_key_bytes


def test_one_set_serves_all_sums_of_a_job():
    sums = [SumShape(segments=(Segment("d", 9000, 1 << 40),), group=True), SumShape(segments=(Segment("s", 4, 9),))]

    costs = choose_for_sums(sums, 3)

    assert len({c.parameters.id for c in costs}) == 1
    others = [choose_for_sums(sums, 3, scheme=s.id) for s in PARAMETER_SETS.values() if s.scheme is SchemeId.RLWE]
    assert sum(c.seconds for c in costs) == min(sum(c.seconds for c in other) for other in others)


def said(sales, sql, **options):
    return {(d.who, d.what) for d in explain(sales.plan(sql), **options).disclosures}


TWO = "with two parties, each learns the other's total"


def test_two_parties_are_told_that_a_total_gives_the_other_away(sales):
    sql = "SELECT SUM(q) FROM sales"

    assert any(TWO in what for _, what in said(sales, sql, participants=["a", "b"]))
    assert any(TWO in what for _, what in said(sales, sql, participants=["a", "b"], analyst_is_party=True))
    assert not any(TWO in what for _, what in said(sales, sql))
    assert any("without its own share" in what for _, what in said(sales, sql, analyst_is_party=True))


def test_one_party_is_told_that_it_stands_alone(sales):
    assert any("of a alone" in what for _, what in said(sales, "SELECT SUM(q) FROM sales", participants=["a"]))


def test_discovery_shows_the_union_to_every_party(sales):
    found = said(sales, "SELECT country, COUNT(*) FROM sales GROUP BY country")

    assert any(who == "every party" and "union of the values of country" in what for who, what in found)
    assert not any("union" in what for _, what in said(sales, "SELECT region, COUNT(*) FROM sales GROUP BY region"))


@pytest.mark.parametrize("clause", ["HAVING COUNT(*) > 3", "LIMIT 2", "OFFSET 1"])
def test_the_analyst_learns_the_groups_that_the_answer_leaves_out(sales, clause):
    sql = f"SELECT region, COUNT(*) FROM sales GROUP BY region {clause}"

    assert any("also of the groups" in what for _, what in said(sales, sql))


def test_null_keys_of_a_subquery_are_listed(sales):
    sql = "SELECT AVG(n) FROM (SELECT customer, COUNT(*) AS n FROM sales GROUP BY customer)"

    assert ("the analyst", "the number of parties that hold rows without customer") in said(sales, sql)


def test_hidden_statistics_are_listed(sales):
    report = explain(sales.plan("SELECT region, SUM(q), AVG(d) FROM sales GROUP BY region"))
    hidden = {s.what for s in report.statistics if s.hidden}

    assert hidden == {"number of values of q", "number of values of d", "sum over d", "number of rows"}
    assert any("hidden statistics" in n for n in report.notes)


def test_steps_slots_bytes_and_seconds_are_there(sales):
    report = explain(sales.plan("SELECT country, SUM(q) AS s FROM sales GROUP BY country ORDER BY s LIMIT 3"))
    steps = [s.step for s in report.steps]

    assert steps == ["local", "sum discover", "sum value", "finish"]
    for step in report.steps[1:3]:
        assert step.values > 0
        assert step.slots >= step.values
        assert step.ciphertexts > 0
        assert step.upload_bytes > 0
        assert step.seconds > 0
    assert report.steps[1].recipient == "all parties (group key)"
    assert report.bytes_per_party == sum(s.upload_bytes for s in report.steps)
    assert "ORDER BY, LIMIT" in report.steps[3].what


def test_it_renders_as_text_and_as_json(sales):
    report = explain(sales.plan("SELECT MEDIAN(small) FROM sales"), scheme="bfv")
    text = report.text()

    assert json.loads(report.to_json())["parameter_set"].startswith("bfv")
    assert "as asked" in text
    assert "buckets of width" in text
    assert all(s.what in text for s in report.statistics)
    assert len(report.local_sql) == 3


def test_the_expected_number_of_groups_changes_the_prediction_alone(sales):
    plan = sales.plan("SELECT country, SUM(q) FROM sales GROUP BY country")
    few, many = explain(plan, expected_groups=2), explain(plan, expected_groups=64)

    assert few.steps[2].values < many.steps[2].values
    assert few.digest == many.digest
