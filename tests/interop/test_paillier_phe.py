"""`paillier` against phe: each opens what the other encrypts and adds, under either's arithmetic."""

import numpy as np
import pytest
from phe import paillier

from mpc.entropy import FixedEntropy
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes.paillier import public, secret

SET = parameter_set("paillier-3072-s64")
HEADER = b"SRHE\x01\x02\x14\x00"


@pytest.fixture(scope="module")
def pair():
    return secret.generate(SET, FixedEntropy(b"interoperation with phe"))


@pytest.fixture(scope="module")
def theirs(pair):
    """phe's key from the primes, without our code."""
    material = pair[1].material()
    p, q = (int.from_bytes(half, "little") for half in (material[:192], material[192:]))
    return paillier.PaillierPrivateKey(paillier.PaillierPublicKey(p * q), p, q)


@pytest.fixture
def rows():
    return np.random.default_rng(11).integers(0, 1 << 62, (3, SET.slots), dtype=np.uint64)


def _packed(row):
    return sum(int(value) << 64 * j for j, value in enumerate(row))


def _number(data):
    assert data[:8] == HEADER
    return int.from_bytes(data[8:], "little")


def _decryptor(pair):
    return secret.decryptor(SecretKey(SET.id, pair[1].material()))


def test_our_public_key_is_phes_modulus(pair, theirs):
    assert int.from_bytes(pair[0].data[8:], "little") == theirs.public_key.n


def test_phe_opens_what_we_encrypt_and_add(pair, theirs, rows):
    batches = [public.encryptor(pair[0]).encrypt(rows), secret.symmetric_encryptor(pair[1]).encrypt(rows)]
    total = public.adder(SET, pair[0]).start(3)
    for batch in batches:
        total.add(batch)

    assert [theirs.raw_decrypt(_number(c)) for c in batches[0]] == [_packed(row) for row in rows]
    assert [theirs.raw_decrypt(_number(c)) for c in batches[1]] == [_packed(row) for row in rows]
    assert [theirs.raw_decrypt(_number(c)) for c in total.finish()] == [2 * _packed(row) for row in rows]


def test_phes_encrypted_number_opens_our_ciphertext(pair, theirs):
    row = np.zeros((1, SET.slots), dtype=np.uint64)
    row[0, 0] = 12345
    number = paillier.EncryptedNumber(theirs.public_key, _number(public.encryptor(pair[0]).encrypt(row)[0]), 0)

    assert theirs.decrypt(number) == 12345


def test_we_open_what_phe_encrypts_and_adds(pair, theirs, rows):
    raw = [theirs.public_key.raw_encrypt(_packed(row)) for row in rows]
    both = paillier.EncryptedNumber(theirs.public_key, raw[0], 0) + paillier.EncryptedNumber(
        theirs.public_key, raw[1], 0
    )
    data = [HEADER + c.to_bytes(768, "little") for c in (*raw, both.ciphertext(be_secure=True))]
    opened = _decryptor(pair).decrypt(data)

    assert np.array_equal(opened[:3], rows)
    assert np.array_equal(opened[3], rows[0] + rows[1])


def test_sums_of_both_mix(pair, theirs, rows):
    total = public.adder(SET, pair[0]).start(1)
    total.add([HEADER + theirs.public_key.raw_encrypt(_packed(rows[0])).to_bytes(768, "little")])
    total.add(public.encryptor(pair[0]).encrypt(rows[1:2]))

    assert np.array_equal(_decryptor(pair).decrypt(total.finish()), rows[:1] + rows[1:2])
