"""What is particular to `clear`: it hides nothing, says so, and still keeps keys apart."""

import random

import numpy as np
import pytest

from mpc.entropy import SystemEntropy
from mpc.errors import ParameterError, WireError
from mpc.params import parameter_set
from mpc.schemes.clear import public, secret
from mpc.schemes.clear.wire import split
from mpc.testing.mutations import mutate

CLEAR = parameter_set("insecure-clear-4096-t62")


def _row(value):
    return np.full((1, CLEAR.slots), value, dtype=np.uint64)


def test_its_classes_and_its_set_are_named_insecure():
    public_key, key = secret.generate(CLEAR, SystemEntropy())
    parts = [public.encryptor(public_key), public.adder(CLEAR), secret.decryptor(key), secret.symmetric_encryptor(key)]

    assert CLEAR.insecure
    assert CLEAR.id.startswith("insecure-")
    assert all(type(part).__name__.startswith("Insecure") for part in parts)


def test_a_ciphertext_is_the_plaintext_behind_sixteen_bytes():
    public_key, _ = secret.generate(CLEAR, SystemEntropy())
    (data,) = public.encryptor(public_key).encrypt(_row(5))

    assert data[8:16] == public_key.data[8:]
    assert data[16:] == (5).to_bytes(8, "little") * CLEAR.slots


def test_two_keys_have_different_numbers_and_are_not_mixed():
    pairs = [secret.generate(CLEAR, SystemEntropy()) for _ in range(2)]
    batches = [public.encryptor(public_key).encrypt(_row(1)) for public_key, _ in pairs]
    total = public.adder(CLEAR).start(1)
    total.add(batches[0])

    with pytest.raises(WireError):
        total.add(batches[1])
    with pytest.raises(WireError):
        secret.decryptor(pairs[1][1]).decrypt(batches[0])
    assert total.finish() == batches[0]


def test_a_sum_ends_once_and_not_before_it_began():
    total = public.adder(CLEAR).start(1)
    with pytest.raises(ParameterError):
        total.finish()
    total.add(public.encryptor(secret.generate(CLEAR, SystemEntropy())[0]).encrypt(_row(1)))
    total.finish()

    with pytest.raises(ParameterError):
        total.finish()
    with pytest.raises(ParameterError):
        total.add([])


def _campaign(cases, seed):
    source, accepted = random.Random(seed), 0
    public_key, _ = secret.generate(CLEAR, SystemEntropy())
    (good,) = public.encryptor(public_key).encrypt(_row(1))
    for case in range(cases):
        try:
            if case % 4:
                _, row = split(mutate(good, source), CLEAR)
                assert row.shape == (CLEAR.slots,)
                assert int(row.max()) < CLEAR.plain_modulus
            else:
                assert len(public.validate_public_key(CLEAR, mutate(public_key.data, source)).data) == 16
        except WireError:
            continue
        accepted += 1
    return accepted


def test_mutated_messages_are_refused_or_well_formed():
    assert 0 < _campaign(5_000, 3) < 5_000


@pytest.mark.fuzz
def test_a_hundred_thousand_mutated_messages_are_refused_or_well_formed():
    assert 0 < _campaign(100_000, 4) < 100_000
