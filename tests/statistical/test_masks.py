"""Masks: uniform, gone in the sum, and unrelated wherever two transcripts differ in anything.

Seeds are fixed, so nothing here is flaky; each check's critical value is that of a false-positive rate of 1e-6.
"""

import hashlib
import itertools
import math

import numpy as np
import pytest

from mpc.entropy import Keystream, uniform_below
from mpc.packing.layout import CHECK_SLOTS
from mpc.packing.limbs import to_limbs
from mpc.params import parameter_set
from mpc.sum.masks import PairwiseMasks
from mpc.testing.statistics import ALPHA, chi_square_critical, same_distribution, uniform
from mpc.testing.sums import Round, random_sum

SAMPLES = 1 << 17
CORRELATION = 5.0
"""Standard deviations: exceeded with probability 5.7e-7 by a normal variable, on either side."""


def key(*names):
    return hashlib.sha256("/".join(map(str, names)).encode()).digest()


def names(count):
    return [f"p{i:02}" for i in range(count)]


def all_masks(count, label="keys"):
    """Every party's masks, from one key per pair."""
    parties = names(count)
    return {
        me: PairwiseMasks.derive(me, {p: key(label, *sorted((me, p))) for p in parties if p != me}) for me in parties
    }


def mask_of(masks, count, *, width, limbs=1, first=0):
    return masks.mask_values(np.zeros((count, limbs), dtype=np.uint64), first, width)


# ---- uniformity ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [8, 24, 28, 38, 58, 62])
@pytest.mark.parametrize("peers", [1, 4])
def test_masks_are_uniform(width, peers):
    masks = all_masks(peers + 1)
    for party in (min(masks), max(masks)):
        assert uniform(mask_of(masks[party], SAMPLES, width=width).reshape(-1), 1 << width)


@pytest.mark.parametrize("width", [28, 58])
def test_masks_are_uniform_in_their_low_bits_too(width):
    """Equal bins look at high bits; a bias modulo a small number would hide from them."""
    drawn = mask_of(all_masks(3)["p00"], SAMPLES, width=width).reshape(-1)
    for divisor in (2, 3, 64, 251):
        counts = np.bincount((drawn % np.uint64(divisor)).astype(np.int64), minlength=divisor)
        statistic = float(np.sum((counts - SAMPLES / divisor) ** 2) / (SAMPLES / divisor))

        assert statistic <= chi_square_critical(max(divisor - 1, 31))


def test_every_limb_of_a_whole_value_mask_is_uniform():
    drawn = mask_of(all_masks(3)["p01"], SAMPLES // 4, width=28, limbs=4)
    for j in range(4):
        assert uniform(drawn[:, j], 1 << 28)


def test_masked_constants_are_uniform_and_look_alike_whatever_the_constant():
    masks = all_masks(2)["p00"]
    zero, large = (
        masks.mask_values(to_limbs(np.full(SAMPLES // 2, value), 28, 2), start, 28)
        for value, start in ((0, 0), ((1 << 40) + 12345, 1 << 30))
    )
    for j in range(2):
        assert uniform(large[:, j], 1 << 28)
        assert same_distribution(zero[:, j].astype(np.int64), large[:, j].astype(np.int64))


def test_masked_check_slots_are_uniform():
    masks = all_masks(3)["p00"]
    checks = np.tile(np.array([[1, 0]], dtype=np.uint64), (SAMPLES // 2, 1))
    hidden = masks.mask_checks(checks, 0, 28)

    assert all(uniform(hidden[:, j], 1 << 28) for j in range(CHECK_SLOTS))


@pytest.mark.parametrize("modulus", [3, 1000, (1 << 40) + 15, (1 << 63) + 1, 3 << 62])
def test_residues_of_any_modulus_are_uniform(modulus):
    drawn = uniform_below(Keystream(key("residues", modulus)), SAMPLES, modulus)
    bins = min(modulus, 64)
    counts = np.bincount((drawn // np.uint64(-(-modulus // bins))).astype(np.int64), minlength=bins)
    share = np.array([min(modulus, (i + 1) * -(-modulus // bins)) - i * -(-modulus // bins) for i in range(bins)])
    expected = SAMPLES * share.astype(np.float64) / modulus

    assert float(np.sum((counts - expected) ** 2 / expected)) <= chi_square_critical(max(bins - 1, 31))


def test_the_detector_sees_the_bias_of_a_reduced_word():
    """What rejection avoids: a word modulo 3 * 2^62 falls into its lowest third twice as often."""
    biased = Keystream(key("biased")).words(0, SAMPLES) % np.uint64(3 << 62)

    assert not uniform(biased, 3 << 62)


# ---- cancellation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(2, 17))
@pytest.mark.parametrize(("width", "limbs"), [(8, 1), (24, 5), (28, 1), (38, 3), (58, 2), (62, 1)])
def test_masks_are_gone_in_the_sum_for_every_number_of_parties(count, width, limbs):
    modulus = 1 << (width * limbs)
    masks = all_masks(count)
    length, first = 97, 11
    values = [[(i * j * 0x9E3779B97F4A7C15F39CC0605CEDC835) % modulus for j in range(length)] for i in range(count)]
    total = [0] * length
    for party, own in zip(masks.values(), values, strict=True):
        array = np.array(own, dtype=object)
        masked = party.mask_values(to_limbs(array, width, limbs), first, width)
        assert int(masked.max()) < 1 << width
        total = [
            t + sum(int(w) << (j * width) for j, w in enumerate(row)) for t, row in zip(total, masked, strict=True)
        ]

    assert [t % modulus for t in total] == [sum(column) % modulus for column in zip(*values, strict=True)]


@pytest.mark.parametrize("count", [2, 3, 8])
def test_nothing_is_gone_while_one_party_is_missing(count):
    masks = list(all_masks(count + 1).values())[:-1]
    total = np.zeros(SAMPLES // 4, dtype=np.uint64)
    for party in masks:
        total += mask_of(party, total.size, width=28).reshape(-1)

    assert uniform(total & np.uint64((1 << 28) - 1), 1 << 28)


@pytest.mark.parametrize("count", [2, 5, 16])
def test_masks_of_check_slots_are_gone_in_the_sum(count):
    total = np.zeros((40, CHECK_SLOTS), dtype=np.uint64)
    for party in all_masks(count).values():
        total += party.mask_checks(np.ones((40, CHECK_SLOTS), dtype=np.uint64), 3, 28)

    assert np.all(total & np.uint64((1 << 28) - 1) == count)


def test_a_vector_may_be_masked_in_any_stretches():
    party = all_masks(3)["p01"]
    whole = mask_of(party, 300, width=28, limbs=3)
    pieces = [mask_of(party, stop - start, width=28, limbs=3, first=3 * start)
              for start, stop in itertools.pairwise((0, 1, 50, 51, 299, 300))]  # fmt: skip

    assert np.array_equal(whole, np.concatenate(pieces))


# ---- independence ----------------------------------------------------------------------------------------------


def correlation(one, other):
    """In standard deviations of the correlation of independent samples."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    return abs(float((a * b).sum())) / math.sqrt(a.size)


def agreements(one, other):
    return int((one == other).sum())


def unrelated(one, other, width):
    expected = one.size / (1 << width)
    return correlation(one, other) < CORRELATION and agreements(one, other) <= expected + 6 * math.sqrt(expected) + 2


FIELDS = ["label", "context", "bound", "key", "mask_key", "request", "round", "attempt"]


def drawn_under(round_, changed):
    bound = round_.transcript(changed=changed)
    return mask_of(round_.masks("p1", bound), SAMPLES // 8, width=28).reshape(-1)


@pytest.fixture(scope="module")
def round_():
    return Round.make(parameter_set("insecure-clear-4096-t62"), random_sum(3, [("v", 10, 1 << 20)]))


@pytest.mark.parametrize("field", FIELDS)
def test_a_change_of_any_one_field_of_the_transcript_gives_unrelated_masks(round_, field):
    assert round_.transcript(changed=field) != round_.transcript()
    assert unrelated(drawn_under(round_, ""), drawn_under(round_, field), 28)


def test_changes_of_different_fields_are_unrelated_to_one_another(round_):
    drawn = [drawn_under(round_, field) for field in FIELDS]

    assert all(unrelated(a, b, 28) for a, b in itertools.combinations(drawn, 2))


def test_the_same_transcript_gives_the_same_masks(round_):
    assert not unrelated(drawn_under(round_, ""), drawn_under(round_, ""), 28)


def test_two_jobs_have_unrelated_masks_at_every_party():
    one, other = all_masks(4, "job-1"), all_masks(4, "job-2")
    for party in one:
        a, b = (mask_of(m[party], SAMPLES, width=62).reshape(-1) for m in (one, other))
        assert correlation(a, b) < CORRELATION
        assert agreements(a, b) == 0


def test_neighbouring_words_values_and_checks_are_unrelated():
    party = all_masks(2)["p00"]
    words = mask_of(party, SAMPLES, width=62).reshape(-1)
    checks = party.mask_checks(np.zeros((SAMPLES // 2, 2), dtype=np.uint64), 0, 62).reshape(-1)

    for lag in (1, 2, 3, 4096):
        assert correlation(words[:-lag], words[lag:]) < CORRELATION
    assert correlation(words, checks) < CORRELATION
    assert np.unique(np.concatenate([words, checks])).size == 2 * SAMPLES


def test_the_level_of_these_tests_is_the_stated_one():
    tail = math.erfc(CORRELATION / math.sqrt(2))

    assert tail < ALPHA
