"""Samplers on fixed streams: chi-square at alpha = 1e-6 per test, and digests that pin every bit.

The streams are fixed, so a passing test passes always; the critical value comes from `mpc.testing.statistics`.
"""

import hashlib
import math

import numpy as np
import pytest

from mpc.entropy import Keystream
from mpc.params import parameter_set
from mpc.schemes.rlwe.kernels import sampling
from mpc.schemes.rlwe.ring import Arithmetic, error_words, ring
from mpc.testing.statistics import chi_square_critical, uniform

Q = 1125845146009601
ROWS = 1 << 15


def words(label, count):
    out = np.empty(count + count % 2, dtype=np.uint64)
    Keystream(hashlib.sha256(b"rlwe samplers " + label).digest()).fill(0, out)
    return out[:count]


def signed(block, q=Q):
    flat = block.reshape(-1).astype(np.int64)
    return np.where(flat > q // 2, flat - q, flat)


def accept(observed, expected):
    statistic = float(np.sum((observed - expected) ** 2 / expected))
    assert statistic <= chi_square_critical(max(31, len(observed) - 1))


@pytest.fixture(scope="module")
def error():
    out = np.empty((ROWS, 8), dtype=np.uint64)
    sampling.errors(words(b"errors", error_words(out.size)), np.uint64(Q), out)
    return signed(out)


def binomial(value):
    return math.comb(42, 21 + value) / 2**42


def test_errors_are_centred_binomial(error):
    inner = range(-14, 15)
    observed = [np.count_nonzero(error == v) for v in inner] + [np.count_nonzero(np.abs(error) > 14)]
    expected = [error.size * binomial(v) for v in inner]
    accept(np.array(observed), np.array([*expected, error.size - sum(expected)]))
    assert np.abs(error).max() <= 21


def test_the_three_errors_of_two_words_are_uncorrelated(error):
    """Numbers i, T + i and 2 T + i share words but no bits."""
    third = (error.size + 2) // 3
    parts = [error[:third], error[third : 2 * third], error[2 * third :]]
    m = len(parts[2])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        correlation = np.mean(parts[i][:m] * parts[j][:m]) / 10.5
        assert abs(correlation) * math.sqrt(m) < 4.9  # two-sided normal quantile at 1e-6
        pairs = np.sign(parts[i][:m]) * 3 + np.sign(parts[j][:m])
        zero = binomial(0)
        law = {0: zero, 1: (1 - zero) / 2, -1: (1 - zero) / 2}
        cells = [(a, b) for a in law for b in law]
        observed = np.array([np.count_nonzero(pairs == 3 * a + b) for a, b in cells])
        accept(observed, np.array([m * law[a] * law[b] for a, b in cells]))


def test_ternary_digits_and_their_groups_of_four_are_uniform():
    out = np.empty((ROWS, 8), dtype=np.uint64)
    sampling.ternary(words(b"ternary", out.size // 4), np.uint64(Q), out)
    digits = signed(out).reshape(4, -1) + 1
    observed = np.bincount(np.array([27, 9, 3, 1]) @ digits, minlength=81)
    accept(observed, np.full(81, digits.shape[1] / 81))


def test_key_digits_are_uniform():
    out = np.zeros((1 << 17, 8), dtype=np.uint64)
    sampling.key_secret(words(b"key", len(out)), np.uint64(Q), out, 0)
    digits = signed(out[:, 0]) + 1
    accept(np.bincount(digits[::2] * 3 + digits[1::2], minlength=9), np.full(9, len(out) / 18))


@pytest.mark.parametrize("q", [1125845146009601, 1105800176517121])
def test_uniform_residues_are_uniform(q):
    out = np.empty((1 << 14, 8), dtype=np.uint64)
    source = words(b"uniform", 8 * (1 << 15)).reshape(8, -1)
    assert sampling.uniform_lanes(source, np.uint64(q), out)
    assert uniform(out.reshape(-1), q)
    assert uniform(out.reshape(-1) % np.uint64(1009), 1009)


def test_flooding_noise_is_uniform():
    constants = ring(parameter_set("rlwe-4096-t26").id, Arithmetic.PORTABLE)
    out = np.empty((1 << 14, 8), dtype=np.uint64)
    sampling.flooding(words(b"flooding", 2 * out.size), 40, constants.scale[0], out)
    values = signed(out, constants.moduli[0])
    assert values.min() >= -(1 << 40)
    assert values.max() < 1 << 40
    assert uniform((values + (1 << 40)).astype(np.uint64), 1 << 41)


PINNED = {
    "errors": "9b3d842b9cc9b5043a5de9068ffaec7fd2b7ddedeb5669a096244215321f541b",
    "ternary": "33ed6f06f53d0ccf0352a7b59006d2c662fcd3a5817add55ca192007ba8966e4",
    "key": "f2ae0f2e12afee4347a1061446a3bf0d979919f91b3a5556c49e282d18f24f84",
    "uniform": "1619b3f7df34b1cfd42ad767fb92e56ea8ec6cc4f9ac14d95dd7a320211c7e75",
    "flooding": "5ca16a037f8d3eaec3f2920fbc2a3742527f2928ceef932cf34208bdb8889dfc",
}


def draw(name):
    """One small block of each sampler from a fixed stream."""
    constants = ring(parameter_set("rlwe-4096-t26").id, Arithmetic.PORTABLE)
    out, q = np.zeros((256, 8), dtype=np.uint64), np.uint64(Q)
    match name:
        case "errors":
            sampling.errors(words(b"pin", error_words(out.size)), q, out)
        case "ternary":
            sampling.ternary(words(b"pin", out.size // 4), q, out)
        case "key":
            sampling.key_secret(words(b"pin", 256), q, out, 2)
        case "uniform":
            assert sampling.uniform_lanes(words(b"pin", 8 * 300).reshape(8, 300), q, out)
        case "flooding":
            sampling.flooding(words(b"pin", 2 * out.size), 73, constants.scale[1], out)
    return hashlib.sha256(out.tobytes()).hexdigest()


@pytest.mark.parametrize("name", PINNED)
def test_samplers_give_the_pinned_bits(name):
    assert draw(name) == PINNED[name]
