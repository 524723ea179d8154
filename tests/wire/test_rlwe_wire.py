"""The wire format against its description, and against mutated messages."""

import random
import time

import numpy as np
import pytest

from mpc.entropy import FixedEntropy, SystemEntropy
from mpc.errors import WireError
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes.rlwe import public, secret
from mpc.schemes.rlwe.noise import bounds
from mpc.schemes.rlwe.wire import encode_noise
from mpc.testing.mutations import header_flips, mutate, wrong_lengths
from tests.property.rlwe_reference import HEADER, PUBLIC, PUBLIC_KEY, RESULT, SEEDED, SUM, Reference

SMALL = parameter_set("rlwe-2048-t30")


class Messages:
    """One message of each kind under one key."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.public_key, key = secret.generate(parameters, FixedEntropy(b"wire"))
        self.material = key.material()
        self.rows = np.random.default_rng(1).integers(
            0, parameters.plain_modulus, (1, parameters.slots), dtype=np.uint64
        )
        fresh = public.encryptor(self.public_key).encrypt(self.rows)
        seeded = secret.symmetric_encryptor(self.key()).encrypt(self.rows)
        total = public.adder(parameters).start(1)
        total.add(fresh)
        total.add(seeded)
        result = public.evaluator(parameters).rerandomise(fresh, self.public_key)
        self.by_kind = {PUBLIC: fresh[0], SEEDED: seeded[0], SUM: total.finish()[0], RESULT: result[0]}

    def key(self):
        return SecretKey(self.parameters.id, self.material)


@pytest.fixture(scope="module")
def messages():
    return Messages(SMALL)


def test_headers_are_as_described(messages):
    limits = bounds(SMALL)
    for kind, data in messages.by_kind.items():
        magic, version, number, set_number, noise, zero, index = HEADER.unpack_from(data)
        assert (magic, version, number, set_number, zero, index) == (b"RLWE", 1, kind, 30, 0, 0)
        if kind in (PUBLIC, SEEDED):
            assert noise == encode_noise(limits.fresh_public if kind == PUBLIC else limits.fresh_symmetric)
    assert HEADER.unpack_from(messages.public_key.data) == (b"RLWE", 1, PUBLIC_KEY, 30, 0, 0, 0)


def test_the_reference_reads_every_kind(messages):
    reference = Reference(SMALL)
    ternary = reference.secret(messages.material)
    for kind, data in messages.by_kind.items():
        factor = 2 if kind == SUM else 1
        expected = [int(m) * factor % SMALL.plain_modulus for m in messages.rows[0]]
        assert reference.decrypt(data, ternary) == expected

    phase = reference.phase(messages.public_key.data, ternary)
    assert max(min(x, reference.q - x) for x in phase) <= 21


@pytest.mark.parametrize("index", [0, 5, (1 << 31) - 1])
def test_we_read_what_the_reference_writes(messages, index):
    reference = Reference(SMALL)
    source = random.Random(index)
    message = [source.randrange(SMALL.plain_modulus) for _ in range(SMALL.slots)]
    noise = [source.randrange(-21, 22) for _ in message]
    data = reference.encrypt(
        message, reference.secret(messages.material), noise, source.randbytes(32), code=encode_noise(22), index=index
    )

    assert secret.decryptor(messages.key()).decrypt([data]).tolist() == [message]


@pytest.mark.parametrize("kind", [PUBLIC, SEEDED, SUM, RESULT])
def test_headers_have_one_reading(messages, kind):
    """Any other bit in the fixed fields, any other length: refused by adder and key holder alike."""
    good = messages.by_kind[kind]
    decryptor = secret.decryptor(messages.key())
    fixed = [m for m in header_flips(good, header_bytes=8) if m[5] not in messages.by_kind or m[5] == kind]
    zero = [good[:at] + b"\x01" + good[at + 1 :] for at in (10, 11)]
    index = [] if kind == SEEDED else [good[:12] + b"\x01" + good[13:]]
    far = [good[:15] + b"\x80" + good[16:]]
    for bad in (*fixed, *zero, *index, *far, *wrong_lengths(good)):
        for reader in (decryptor.decrypt, public.adder(SMALL).start(1).add):
            with pytest.raises(WireError):
                reader([bad])


@pytest.mark.parametrize("kind", [PUBLIC, SEEDED])
def test_fresh_ciphertexts_state_the_noise_of_their_kind(messages, kind):
    good = messages.by_kind[kind]
    for code in (0, 1, encode_noise(22) + 1, 0xFFFF):
        with pytest.raises(WireError, match="noise"):
            secret.decryptor(messages.key()).decrypt([good[:8] + code.to_bytes(2, "little") + good[10:]])


@pytest.mark.parametrize("kind", [SUM, RESULT])
def test_sums_state_a_noise_that_decrypts(messages, kind):
    good = messages.by_kind[kind]
    largest = encode_noise(bounds(SMALL).limit)
    for code, accepted in ((0, False), (1, True), (largest, True), (largest + 1, False), (0xFFFF, False)):
        data = good[:8] + code.to_bytes(2, "little") + good[10:]
        if accepted:
            secret.decryptor(messages.key()).decrypt([data])
            continue
        with pytest.raises(WireError, match="noise"):
            secret.decryptor(messages.key()).decrypt([data])


@pytest.mark.parametrize("data", [None, 5, "RLWE", bytearray(25616), memoryview(bytes(16)), [1, 2]])
def test_other_types_are_refused(messages, data):
    with pytest.raises(WireError):
        public.adder(SMALL).start(1).add([data])
    with pytest.raises(WireError):
        public.validate_public_key(SMALL, data)


def test_hostile_keys_are_refused(messages):
    good = messages.public_key.data
    zero, ones = good[:48] + bytes(len(good) - 48), good[:48] + b"\xff" * (len(good) - 48)
    for bad in (zero, ones, good[:8] + b"\x01" + good[9:], *messages.by_kind.values(), *wrong_lengths(good)):
        with pytest.raises(WireError):
            public.validate_public_key(SMALL, bad)


def campaign(parameters, count, seed):
    """Mutated messages end in a WireError or in a plaintext of the right shape, in bounded time."""
    messages = Messages(parameters)
    decryptor = secret.decryptor(messages.key())
    source = random.Random(seed)
    kinds = [*messages.by_kind.values(), messages.public_key.data]
    refused = opened = 0
    for _ in range(count):
        good = source.choice(kinds)
        bad = mutate(good, source)
        began = time.monotonic()
        try:
            if good is messages.public_key.data:
                public.validate_public_key(parameters, bad)
            elif source.random() < 0.5:
                total = public.adder(parameters).start(1)
                total.add([bad])
                assert len(total.finish()[0]) == parameters.ciphertext_bytes
            else:
                assert decryptor.decrypt([bad]).shape == (1, parameters.slots)
            opened += 1
        except WireError:
            refused += 1
        assert time.monotonic() - began < 10
    assert refused > count // 10
    assert opened > count // 100


def test_mutated_messages_are_refused_or_open():
    campaign(SMALL, 3000, 7)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", ["rlwe-2048-t30", "rlwe-4096-t60", "rlwe-8192-t60"])
def test_a_hundred_thousand_mutated_messages_are_refused_or_open(name):
    campaign(parameter_set(name), 100_000 if name == "rlwe-2048-t30" else 10_000, 11)


@pytest.mark.fuzz
def test_uniform_bytes_behind_a_good_header_are_refused_or_open():
    """50 uniform bits are below the prime almost always: what parses must open to something and nothing else."""
    messages = Messages(SMALL)
    decryptor, source = secret.decryptor(messages.key()), random.Random(3)
    for good in messages.by_kind.values():
        for _ in range(500):
            bad = good[:16] + source.randbytes(len(good) - 16)
            try:
                assert decryptor.decrypt([bad]).shape == (1, SMALL.slots)
            except WireError:
                continue


def test_two_keys_of_the_system_differ():
    first, second = (secret.generate(SMALL, SystemEntropy())[0] for _ in range(2))
    assert first.digest != second.digest
