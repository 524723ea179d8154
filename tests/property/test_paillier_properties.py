"""Properties of Paillier's packing, tables and sums, and a fuzz campaign against its parser."""

import random

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpc.entropy import SystemEntropy
from mpc.errors import MpcError, ParameterError, WireError
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes.paillier import public, secret
from mpc.schemes.paillier.comb import Comb, CombShape, cheapest_shape
from mpc.schemes.paillier.wire import pack_slots, unpack_ciphertexts, unpack_key, unpack_slots
from mpc.testing.mutations import mutate

SET = parameter_set("paillier-3072-s64")
words = st.integers(0, (1 << 64) - 1)


@pytest.fixture(scope="module")
def pair():
    return secret.generate(SET, SystemEntropy())


@given(row=st.lists(words, min_size=47, max_size=47))
def test_slots_return_from_one_integer(row):
    packed = pack_slots(np.array(row, dtype=np.uint64))

    assert packed == sum(value << 64 * j for j, value in enumerate(row))
    assert unpack_slots(packed, 47).tolist() == row


@given(
    modulus=st.integers(3, 1 << 200).filter(lambda m: m % 2),
    base=st.integers(1, 1 << 200),
    exponent=st.binary(min_size=12, max_size=12),
    teeth=st.sampled_from([1, 2, 3, 4, 6, 8]),
    blocks=st.sampled_from([1, 2, 4]),
)
def test_a_comb_agrees_with_plain_powers(modulus, base, exponent, teeth, blocks):
    assume(96 % (teeth * blocks) == 0)
    comb = Comb(mpz(base) % modulus, mpz(modulus), CombShape(bits=96, teeth=teeth, blocks=blocks))

    assert comb.power(exponent) == gmpy2.powmod(base, int.from_bytes(exponent, "little"), modulus)


def test_a_comb_refuses_shapes_and_exponents_that_do_not_fit():
    with pytest.raises(ParameterError):
        CombShape(bits=96, teeth=5, blocks=2)
    with pytest.raises(ParameterError):
        Comb(mpz(3), mpz(101), CombShape(bits=96, teeth=4, blocks=2)).power(bytes(11))


@given(count=st.integers(1, 10_000))
def test_the_cheapest_comb_is_cheaper_than_every_other_and_than_none(count):
    shape = cheapest_shape(1536, count)
    others = [CombShape(bits=1536, teeth=teeth, blocks=8) for teeth in (4, 6, 8, 12)]

    assert shape.cost(count) == min(other.cost(count) for other in others)
    assert count == 1 or shape.cost(count) < 1.1 * 1536 * count


@settings(max_examples=10, deadline=None)
@given(data=st.data(), contributions=st.integers(1, 5))
def test_sums_open_to_the_sums_of_slots(pair, data, contributions):
    bound = (1 << 64) // contributions - 1
    rows = [
        np.array(data.draw(st.lists(st.integers(0, bound), min_size=47, max_size=47)), dtype=np.uint64).reshape(1, 47)
        for _ in range(contributions)
    ]
    encryptor, total = public.encryptor(pair[0]), public.adder(SET, pair[0]).start(1)
    for row in rows:
        total.add(encryptor.encrypt(row))
    opened = secret.decryptor(SecretKey(SET.id, pair[1].material())).decrypt(total.finish())

    assert np.array_equal(opened, np.sum(rows, axis=0, dtype=np.uint64))


def _campaign(pair, cases, seed):
    source, accepted, opened = random.Random(seed), 0, 0
    modulus = unpack_key(pair[0].data, SET)
    good = public.encryptor(pair[0]).encrypt(np.ones((1, SET.slots), dtype=np.uint64))[0]
    decryptor = secret.decryptor(SecretKey(SET.id, pair[1].material()))
    for _ in range(cases):
        message = mutate(good, source)
        try:
            (number,) = unpack_ciphertexts([message], SET, modulus)
        except WireError:
            continue
        accepted += 1
        assert 0 < number < modulus.squared
        assert gmpy2.gcd(number, modulus.n) == 1
        if opened < 50:
            opened += 1
            try:
                assert decryptor.decrypt([message]).shape == (1, SET.slots)
            except MpcError:
                continue
    return accepted


def _key_campaign(pair, cases, seed):
    source, accepted = random.Random(seed), 0
    for _ in range(cases):
        message = mutate(pair[0].data, source)
        try:
            n = unpack_key(message, SET).n
        except WireError:
            continue
        accepted += 1
        assert n.bit_length() == 3072
        assert n % 4 == 1
        assert not gmpy2.is_prime(n)
    return accepted


def test_mutated_ciphertexts_are_refused_or_well_formed(pair):
    assert 0 < _campaign(pair, 5_000, 5) < 5_000


def test_mutated_keys_are_refused_or_well_formed(pair):
    assert _key_campaign(pair, 1_000, 6) < 1_000


@pytest.mark.fuzz
def test_a_hundred_thousand_mutated_ciphertexts_are_refused_or_well_formed(pair):
    assert 0 < _campaign(pair, 100_000, 7) < 100_000


@pytest.mark.fuzz
def test_a_hundred_thousand_mutated_keys_are_refused_or_well_formed(pair):
    assert _key_campaign(pair, 100_000, 8) < 100_000
