"""Noise on item statistics: how much arrives, what it costs, and what it must not do."""

import math
from fractions import Fraction

import numpy as np
import pytest

from mpc.errors import PlanError
from mpc.learn import ArrayRows, Ease, Holdout, Noise, disclosures, program
from mpc.learn.ease import gram_block, privacy_of
from mpc.learn.interactions import load
from mpc.learn.noise import NoiseMaker, Release, epsilon_of, privacy_loss, share_variance
from mpc.primitives import Checkpoint, Sum, ideal_totals
from mpc.testing.statistics import chi_square_critical
from tests.unit.learn.learn_rooms import record, room, shops

SHOPS = shops(users=300, items=60, seed=4)
CATALOGUE = tuple(np.unique(SHOPS["item"]).tolist())


def spec(noise=None, **changes):
    fields = {"items": CATALOGUE, "minimum_parties": 1, "items_per_user": 12} | changes
    return Ease("r", "user", "item", 50.0, 1, noise=noise, **fields)


def opened(told, rooms, **more):
    """The opened totals by label, and the models."""
    models, steps = record([program(told, data, parties=len(rooms), **more) for data in rooms])
    sums = [[s for s in own if isinstance(s, Sum)] for own in steps]
    return {asked[0].header.label: ideal_totals(asked) for asked in zip(*sums, strict=True)}, models


def exact_cells(told):
    local = load(told, ArrayRows(SHOPS), implicit=True)
    return local.train.renumbered(local.numbered(local.items), len(CATALOGUE))


@pytest.mark.parametrize(("parties", "missing"), [(3, 1), (3, 0), (2, 1), (8, 3)])
def test_the_total_carries_the_declared_variance_of_those_counted_on(parties, missing):
    told = spec(Noise(4.0, missing=missing))
    totals, _ = opened(told, room(SHOPS, "user", str(parties)))

    width = len(CATALOGUE)
    errors = totals["ease/gram/0"]["gram"] - gram_block(exact_cells(told), 0, width)
    expected = parties * float(share_variance(told.noise, parties))
    assert expected * (parties - missing) / parties >= 16.0
    # A sum of n squared normals over the variance is chi-square with n degrees; two-sided at 1e-6.
    statistic, n = float(np.square(errors.astype(float)).sum()) / expected, len(errors)
    assert statistic <= chi_square_critical(n)
    assert statistic >= n - 5.0 * math.sqrt(2.0 * n)


def test_without_noise_the_sums_are_exact():
    totals, models = opened(spec(), room(SHOPS, "user", "3"))

    assert np.array_equal(totals["ease/gram/0"]["gram"], gram_block(exact_cells(spec()), 0, len(CATALOGUE)))
    assert models[0].privacy is None


def test_the_support_carries_noise_too():
    plain, _ = opened(spec(), room(SHOPS, "user", "3"))
    noisy, _ = opened(spec(Noise(4.0)), room(SHOPS, "user", "3"))

    changed = noisy["ease/support"]["users"] - plain["ease/support"]["users"]
    assert 8.0 < float(np.square(changed.astype(float)).mean()) < 60.0
    assert "holders" not in noisy["ease/support"]


def test_two_jobs_have_independent_noise():
    one, other = (opened(spec(Noise(4.0)), room(SHOPS, "user", "3"))[0]["ease/gram/0"]["gram"] for _ in range(2))
    gap = (one - other).astype(float)

    # Each carries the variance 3 * 8; their difference twice that.
    n = len(gap)
    assert abs(float(np.square(gap).sum()) / 48.0 - n) < 5.0 * math.sqrt(2.0 * n)


def test_a_resumed_job_adds_the_same_noise():
    told, rooms = spec(Noise(4.0), block_values=1 << 10), room(SHOPS, "user", "3")
    models, steps = record([program(told, data, parties=3) for data in rooms])
    checkpoints = [[s.state for s in own if isinstance(s, Checkpoint)] for own in steps]

    assert len(checkpoints[0]) > 2
    for number in range(len(checkpoints[0])):
        resumed, _ = record(
            [program(told, d, parties=3, checkpoint=c[number]) for d, c in zip(rooms, checkpoints, strict=True)]
        )
        assert resumed[0].bits() == models[0].bits()


def test_numbers_that_changed_get_independent_noise():
    maker = NoiseMaker(bytes(32), Fraction(16))
    values = np.arange(4000)
    first = maker.add("label", {"gram": values})["gram"]
    again = maker.add("label", {"gram": values})["gram"]
    changed = maker.add("label", {"gram": values + (values == 7)})["gram"]

    assert np.array_equal(first, again)
    assert float(np.square((changed - first).astype(float)).mean()) > 20.0


@pytest.mark.parametrize(("label", "name"), [("other", "gram"), ("label", "users")])
def test_equal_numbers_under_another_name_get_independent_noise(label, name):
    maker = NoiseMaker(bytes(32), Fraction(16))
    values = np.arange(4000)
    gap = maker.add("label", {"gram": values})["gram"] - maker.add(label, {name: values})[name]

    assert float(np.square(gap.astype(float)).mean()) > 20.0


def test_a_share_too_small_for_the_theorem_is_refused():
    assert share_variance(Noise(1.0), 5) == Fraction(1, 4)
    with pytest.raises(PlanError, match="below 1/2"):
        share_variance(Noise(1.0), 7)


def test_nobody_is_left_to_count_on():
    with pytest.raises(PlanError, match="no party is left"):
        opened(spec(Noise(4.0, missing=3)), room(SHOPS, "user", "3"))


@pytest.mark.parametrize("wrong", [{"items_per_user": None}, {"minimum_parties": 2}])
def test_noise_needs_a_limit_per_user_and_no_count_of_holders(wrong):
    with pytest.raises(PlanError):
        spec(Noise(4.0), **wrong)


def test_noise_needs_a_public_catalogue():
    with pytest.raises(PlanError, match="public catalogue"):
        opened(spec(Noise(4.0), items=None), room(SHOPS, "user", "3"))


def test_one_user_moves_the_statistics_by_no_more_than_the_declared_sensitivity():
    told = spec(items_per_user=5)
    rows = load(told, ArrayRows(SHOPS), implicit=True).train
    heaviest = np.bincount(SHOPS["user"]).argmax()
    without = {n: v[SHOPS["user"] != heaviest] for n, v in SHOPS.items()}

    def cells(columns):
        local = load(told, ArrayRows(columns), implicit=True)
        train = local.train.renumbered(np.searchsorted(CATALOGUE, local.items.values), len(CATALOGUE))
        return gram_block(train, 0, len(CATALOGUE)), np.bincount(train.columns, minlength=len(CATALOGUE))

    gram, support = (np.square(a - b).sum() for a, b in zip(cells(SHOPS), cells(without), strict=True))
    assert int(rows.counts.max()) == 5
    assert gram == 15
    assert support == 5


def test_the_accounting_of_one_gaussian():
    loss = privacy_loss(Noise(6.0, missing=2), (Release(statistic="a", squared_sensitivity=9, values=10),), 3)

    assert loss.rho == pytest.approx(9 / 72)
    assert loss.epsilon == epsilon_of(9 / 72, 1e-6)


def test_sums_of_several_are_a_little_worse_and_never_better():
    release = (Release(statistic="a", squared_sensitivity=9, values=1 << 20),)
    assert privacy_loss(Noise(2.0, missing=0), release, 8).rho > 9 / 8
    assert privacy_loss(Noise(40.0, missing=0), release, 8).rho == pytest.approx(9 / 3200, rel=1e-12)


@pytest.mark.parametrize("rho", [1e-4, 0.01, 0.5, 3.0])
def test_epsilon_is_at_most_the_simple_conversion_and_is_the_best_of_its_formula(rho):
    delta = 1e-6
    orders = 1.0 + np.exp(np.linspace(-5, 12, 200_001))
    excess = math.log(1 / delta) + (orders - 1) * np.log1p(-1 / orders) - np.log(orders)

    assert epsilon_of(rho, delta) <= rho + 2 * math.sqrt(rho * math.log(1 / delta))
    assert epsilon_of(rho, delta) == pytest.approx(float((orders * rho + excess / (orders - 1)).min()), rel=1e-6)


def test_the_loss_is_told_where_it_is_asked_for():
    told = spec(Noise(4.0), holdout=Holdout(5))
    loss = privacy_of(told, 3)
    _, models = opened(told, room(SHOPS, "user", "3"))
    sentences = " ".join(disclosures(told, 3))

    assert loss.rho == pytest.approx((13 + 78) / 32)
    assert f"{loss.rho:.4g}-zCDP" in models[0].explain()
    assert f"{loss.rho:.4g}-zCDP" in sentences
    assert "without noise" in sentences


def test_a_model_with_noise_is_saved_and_loaded(tmp_path):
    _, models = opened(spec(Noise(4.0)), room(SHOPS, "user", "3"))
    models[0].save(tmp_path)

    assert type(models[0]).restore(models[0].arrays(), models[0].description()).privacy == models[0].privacy
