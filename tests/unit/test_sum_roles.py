"""The three roles of a sum in one process, on every additive scheme, against the ideal functionality."""

import contextlib
import secrets

import numpy as np
import pytest

from mpc.entropy import SystemEntropy
from mpc.errors import IntegrityError, ParameterError, ProtocolError, RangeError
from mpc.keys.secret import MaskKey
from mpc.packing.layout import VectorLayout
from mpc.params import parameter_set
from mpc.parties import PartyId
from mpc.primitives import Recipient, Segment, Sum, SumHeader
from mpc.sum.ideal import ideal_totals
from mpc.sum.messages import Receipt, ciphertext_digest, ciphertext_list_digest
from mpc.testing.sums import Round, random_sum

SETS = ["insecure-clear-4096-t62", "bfv-4096-t40", "bfv-8192-t60"]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("parties", [2, 3, 5])
def test_the_opened_total_is_the_ideal_one(name, parties):
    requests = random_sum(parties, [("a", 100, 1 << 30), ("b", 7, 1 << 100), ("c", 5000, 1), ("d", 0, 5)])
    round_ = Round.make(parameter_set(name), requests)

    totals = round_.run()

    expected = ideal_totals(requests)
    assert {k: v.tolist() for k, v in totals.items()} == {k: v.tolist() for k, v in expected.items()}


def test_extreme_values_at_the_bound_are_exact():
    bound = 1 << 126
    header = SumHeader("x", Recipient.ANALYST, (Segment("v", 4, bound), Segment("w", 2, 0)))
    values = np.array([bound, -bound, bound - 1, 0], dtype=object)
    requests = [Sum.of(header.label, {"v": values, "w": np.zeros(2, np.int64)}, {"v": bound, "w": 0}) for _ in range(3)]

    totals = Round.make(parameter_set("bfv-4096-t40"), requests).run()

    assert totals["v"].tolist() == [3 * bound, -3 * bound, 3 * bound - 3, 0]


def test_a_value_beyond_its_bound_is_refused_before_encryption():
    requests = [Sum.of("x", {"v": np.array([6])}, 5), Sum.of("x", {"v": np.array([1])}, 5)]
    with pytest.raises(RangeError) as caught:
        Round.make(parameter_set("bfv-4096-t40"), requests).run()
    assert caught.value.fields == {"segment": "v"}


def test_a_party_alone_has_no_mask_and_is_refused():
    requests = [Sum.of("x", {"v": np.array([1])}, 5)]
    with pytest.raises(ParameterError):
        Round.make(parameter_set("bfv-4096-t40"), requests).run()


@pytest.fixture
def wide_round():
    requests = random_sum(3, [("a", 9000, 1 << 20), ("b", 600, 1 << 90)])
    return Round.make(parameter_set("bfv-4096-t40"), requests)


def tampered(round_, change):
    contributions = round_.contributions()
    change(contributions)
    return round_.open(round_.add(contributions))


def test_swapped_ciphertexts_of_one_party_do_not_open(wide_round):
    def swap(c):
        c["p1"][0], c["p1"][1] = c["p1"][1], c["p1"][0]

    with pytest.raises(IntegrityError):
        tampered(wide_round, swap)


def test_ciphertexts_swapped_alike_for_all_parties_do_not_open(wide_round):
    def swap(c):
        for party in c:
            c[party][0], c[party][1] = c[party][1], c[party][0]

    with pytest.raises(IntegrityError):
        tampered(wide_round, swap)


def test_a_contribution_counted_twice_does_not_open(wide_round):
    def duplicate(c):
        c["p2"] = list(c["p1"])

    with pytest.raises(IntegrityError):
        tampered(wide_round, duplicate)


def test_sums_with_a_ciphertext_missing_do_not_open(wide_round):
    summed = wide_round.add(wide_round.contributions())
    with pytest.raises(IntegrityError):
        wide_round.open(summed[:-1])


def test_a_sum_over_fewer_parties_does_not_open(wide_round):
    contributions = wide_round.contributions()
    del contributions["p2"]
    with pytest.raises(IntegrityError):
        wide_round.open(wide_round.add(contributions, check=False))


@pytest.mark.parametrize("field", ["label", "context", "bound", "key", "mask_key", "request", "round", "attempt"])
def test_any_difference_in_the_transcript_gives_noise(field):
    requests = random_sum(3, [("a", 4000, 1 << 20)])
    round_ = Round.make(parameter_set("insecure-clear-4096-t62"), requests)
    contributions = round_.contributions(equivocate=("p1", field))

    summed = round_.add(contributions)

    with pytest.raises(IntegrityError):
        round_.open(summed)
    opened = round_.opened_payload(summed)
    honest = ideal_totals(requests)["a"].tolist()
    assert sum(a == b for a, b in zip(opened, honest, strict=False)) <= 1


def test_the_aggregator_compares_with_the_signed_lists(wide_round):
    aggregator, contributions = wide_round.aggregator(), wide_round.contributions()
    for start in range(0, wide_round.layout.ciphertexts, 2):
        aggregator.add({p: c[start : start + 2] for p, c in contributions.items()})
    receipts = {
        PartyId(p): Receipt(
            room="r", job="j", attempt=1, round=1, party=p, request_digest=b"",
            ciphertexts=wide_round.layout.ciphertexts, list_digest=secrets.token_bytes(32),
        )
        for p in contributions
    }  # fmt: skip
    with pytest.raises(IntegrityError):
        aggregator.check(receipts)


@pytest.mark.parametrize("told", ["fewer", "all", "none"])
def test_the_aggregator_misses_what_a_party_left_out_even_under_a_signed_list_of_the_rest(wide_round, told):
    aggregator, contributions = wide_round.aggregator(), wide_round.contributions()
    aggregator.add({p: c[:1] for p, c in contributions.items()})
    number = 1 if told == "fewer" else wide_round.layout.ciphertexts
    receipts = {
        PartyId(p): Receipt(
            room="r", job="j", attempt=1, round=1, party=p, request_digest=b"", ciphertexts=number,
            list_digest=ciphertext_list_digest([ciphertext_digest(c[0])]),
        )
        for p, c in contributions.items()
    }  # fmt: skip
    with pytest.raises(IntegrityError, match="incomplete"):
        aggregator.check({} if told == "none" else receipts)


@pytest.mark.parametrize("more", [0, 1, -1])
def test_the_aggregator_believes_no_other_number_than_it_counted(wide_round, more):
    aggregator, contributions = wide_round.aggregator(), wide_round.contributions()
    aggregator.add(contributions)
    receipts = {
        PartyId(p): Receipt(
            room="r", job="j", attempt=1, round=1, party=p, request_digest=b"", ciphertexts=len(c) + more,
            list_digest=ciphertext_list_digest([ciphertext_digest(one) for one in c]),
        )
        for p, c in contributions.items()
    }  # fmt: skip
    with contextlib.nullcontext() if not more else pytest.raises(IntegrityError, match="incomplete"):
        aggregator.check(receipts)


def test_the_aggregator_refuses_another_set_of_parties(wide_round):
    contributions = wide_round.contributions()
    contributions.pop("p0")
    with pytest.raises(ProtocolError):
        wide_round.aggregator().add(contributions)


def test_mask_keys_refuse_points_of_low_order():
    low_order = bytes(32)
    with pytest.raises(ProtocolError):
        MaskKey().pair_key(low_order, transcript=bytes(32), info=b"")


def test_a_layout_never_lets_a_slot_wrap():
    for name in SETS:
        parameters = parameter_set(name)
        for parties in (2, 3, 17, 64):
            layout = VectorLayout.compile([Segment("v", 10, 1 << 60)], parameters, parties)
            assert parties * ((1 << layout.width_bits) - 1) < parameters.plain_modulus
            limbs = layout.segments[0].limbs
            assert 1 << (layout.width_bits * limbs) > 2 * parties * (1 << 60)


def test_system_entropy_is_used_once_per_key():
    assert SystemEntropy().token(32) != SystemEntropy().token(32)
