"""The discrete Gaussian against its exact probabilities: chi-square at alpha = 1e-6 per test, fixed streams."""

import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest

from mpc.errors import ParameterError
from mpc.learn.discrete_gaussian import DiscreteGaussian
from mpc.testing.statistics import chi_square_critical

COUNT = 1 << 19


def key(label):
    return hashlib.sha256(f"discrete gaussian {label}".encode()).digest()


def probabilities(variance, reach):
    weights = [math.exp(-(x * x) / (2.0 * float(variance))) for x in range(-reach, reach + 1)]
    return np.array(weights) / math.fsum(weights)


@pytest.mark.parametrize(
    "variance", [Fraction(1, 4), Fraction(1), Fraction(45, 16), Fraction(81, 4), Fraction(1000), Fraction(1 << 14)]
)
def test_every_value_is_as_likely_as_it_should_be(variance):
    reach = math.ceil(30 * math.sqrt(variance))
    expected = probabilities(variance, reach) * COUNT

    draws = DiscreteGaussian(key(variance), variance).draw(COUNT)

    assert int(np.abs(draws).max()) <= reach
    observed = np.bincount(draws + reach, minlength=2 * reach + 1).astype(float)
    middle = expected >= 10.0
    observed, expected = (np.append(a[middle], a[~middle].sum()) for a in (observed, expected))
    assert float(((observed - expected) ** 2 / np.maximum(expected, 1.0)).sum()) <= chi_square_critical(
        max(31, len(observed) - 1)
    )


def test_draws_of_one_key_do_not_depend_on_each_other():
    draws = DiscreteGaussian(key("pairs"), Fraction(4)).draw(COUNT).astype(float)

    # Under independence a product's mean is normal with deviation variance / sqrt(n): 4.9 deviations are 1e-6.
    for lag in (1, 2, 64, 1 << 17):
        assert abs(float((draws[lag:] * draws[:-lag]).mean())) < 4.9 * 4.0 / math.sqrt(COUNT - lag)


def test_equal_keys_give_equal_draws_and_others_do_not():
    one, same, other = (DiscreteGaussian(key(k), Fraction(4)).draw(1000) for k in ("a", "a", "b"))

    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("variance", [Fraction(0), Fraction(1, 3), Fraction((1 << 20) + 1)])
def test_other_variances_are_refused(variance):
    with pytest.raises(ParameterError):
        DiscreteGaussian(key("x"), variance)
