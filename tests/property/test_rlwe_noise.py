"""The noise that the reference measures with the secret key, against the bound that each ciphertext states."""

import numpy as np
import pytest

from mpc.entropy import FixedEntropy
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.params.rlwe import RLWE_SETS
from mpc.schemes.rlwe import public, secret
from mpc.schemes.rlwe.noise import bounds, flooded_noise, flooding_width, product_noise
from mpc.schemes.rlwe.wire import parse, wire_format
from tests.property.rlwe_reference import Reference, product


class Bench:
    """A key pair, our side of it and the reference's."""

    def __init__(self, name):
        self.parameters = parameter_set(name)
        self.public_key, key = secret.generate(self.parameters, FixedEntropy(name.encode()))
        self.material = key.material()
        self.reference = Reference(self.parameters)
        self.ternary = self.reference.secret(self.material)
        self.bounds = bounds(self.parameters)

    def rows(self, seed, count=1):
        t = self.parameters.plain_modulus
        return np.random.default_rng(seed).integers(0, t, (count, self.parameters.slots), dtype=np.uint64)

    def public(self, rows):
        return public.encryptor(self.public_key).encrypt(rows)

    def symmetric(self, rows):
        return secret.symmetric_encryptor(SecretKey(self.parameters.id, self.material)).encrypt(rows)

    def open(self, ciphertexts):
        return secret.decryptor(SecretKey(self.parameters.id, self.material)).decrypt(ciphertexts)

    def check(self, ciphertext, message):
        """The reference opens it, and its noise is below what it states and above one."""
        stated = parse(ciphertext, wire_format(self.parameters)).noise
        message = [int(m) for m in message]
        measured = self.reference.noise(ciphertext, self.ternary, message)

        assert self.reference.decrypt(ciphertext, self.ternary) == message
        assert 1 <= measured <= stated <= self.bounds.limit
        return measured, stated


@pytest.fixture(scope="module", params=["rlwe-2048-t30", "rlwe-4096-t60", "rlwe-4096-p60"])
def bench(request):
    return Bench(request.param)


def test_fresh_noise_is_below_its_bound_and_not_absurdly_so(bench):
    rows = bench.rows(1)
    measured, stated = bench.check(bench.public(rows)[0], rows[0])
    assert stated == bench.bounds.fresh_public
    assert measured > stated / 10

    measured, stated = bench.check(bench.symmetric(rows)[0], rows[0])
    assert stated == bench.bounds.fresh_symmetric == 22
    assert measured >= 8


def test_the_noise_of_sums_is_below_the_sum_of_bounds(bench):
    rows = bench.rows(2)
    total = public.adder(bench.parameters).start(1)
    fresh, seeded = bench.public(rows), bench.symmetric(rows)
    for _ in range(20):
        total.add(fresh)
    total.add(seeded)
    message = rows[0].astype(object) * 21 % bench.parameters.plain_modulus
    measured, stated = bench.check(total.finish()[0], message)

    assert 20 * bench.bounds.fresh_public + 22 <= stated <= (20 * bench.bounds.fresh_public + 22) * 1.003
    assert measured > stated / 10


@pytest.mark.parametrize(
    ("name", "bound", "terms", "bits"),
    [("rlwe-8192-t60", 1, None, 40), ("rlwe-4096-t26", 127, None, 40), ("rlwe-4096-t22", 1, 64, 40)],
)
def test_the_noise_of_products_and_of_flooding_is_below_its_bound(name, bound, terms, bits):
    bench = Bench(name)
    n, t, random = bench.parameters.slots, bench.parameters.plain_modulus, np.random.default_rng(5)
    rows = bench.rows(3)
    small = random.integers(-bound, bound + 1, n)
    if terms is not None:
        small[random.permutation(n)[terms:]] = 0
    factor = (small % t).astype(np.uint64)[np.newaxis]
    message = [x % t for x in product([int(m) for m in rows[0]], small.tolist())]
    evaluator = public.evaluator(bench.parameters)
    fresh = bench.symmetric(rows)
    product_ = evaluator.multiply_plain(fresh, factor, coefficient_bound=bound, terms=terms)
    _, stated = bench.check(product_[0], message)
    predicted = product_noise(bench.parameters, 22, bound, terms)
    assert predicted <= stated <= predicted * 1.003

    again = evaluator.rerandomise(product_, bench.public_key)
    bench.check(again[0], message)

    cover = np.zeros_like(rows)
    cover[0, 1:] = bench.rows(4)[0, 1:]
    flooded = evaluator.flood(product_, bench.public_key, flooding_bits=bits, cover=cover)
    shown = [(m + int(c)) % t for m, c in zip(message, cover[0], strict=True)]
    width = flooding_width(stated, bits)
    measured, after = bench.check(flooded[0], shown)
    assert measured > 2 ** (width - 2)
    assert after >= flooded_noise(bench.parameters, predicted, width)
    assert [int(x) for x in bench.open(flooded)[0]] == shown


@pytest.mark.parametrize("parameters", RLWE_SETS, ids=lambda p: p.id)
def test_a_set_states_the_additions_that_its_bounds_allow(parameters):
    assert parameters.max_additions == min(1 << 20, bounds(parameters).max_additions)


def test_scoring_has_room_for_forty_bits():
    """128 dimensions of 9-bit factors at t = 2^26, and of 13-bit factors at t = 2^22, with two primes at N = 4096."""
    for name, bits in (("rlwe-4096-t26", 9), ("rlwe-4096-t22", 13)):
        parameters = parameter_set(name)
        noise = 128 * product_noise(parameters, bounds(parameters).fresh_symmetric, 1 << bits - 1)
        width = flooding_width(noise, 40)
        assert flooded_noise(parameters, noise, width) <= bounds(parameters).limit


def test_matching_has_room_for_forty_bits():
    parameters = parameter_set("rlwe-8192-t60")
    noise = product_noise(parameters, bounds(parameters).fresh_public, 1)
    assert flooded_noise(parameters, noise, flooding_width(noise, 40)) <= bounds(parameters).limit
