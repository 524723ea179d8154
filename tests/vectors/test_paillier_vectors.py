"""Frozen answers of `paillier`, made with Python's own integers, and bytes that must be refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from mpc.entropy import FixedEntropy
from mpc.errors import WireError
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes.paillier import public, secret

_FILE = json.loads((Path(__file__).parent / "paillier_known_answers.json").read_text())
SET = parameter_set(_FILE["parameter_set"])


@pytest.fixture(scope="module")
def pair():
    return secret.generate(SET, FixedEntropy(_FILE["key_seed"].encode()))


def test_a_key_follows_from_its_entropy(pair):
    assert pair[0].data.hex() == _FILE["public_key"]
    assert pair[0].digest.hex() == _FILE["public_key_digest"]


@pytest.mark.parametrize("vector", _FILE["answers"], ids=lambda v: v["comment"])
def test_paillier_opens_the_frozen_ciphertexts(pair, vector):
    data = bytes.fromhex(vector["ciphertext"])
    n = int.from_bytes(bytes.fromhex(_FILE["public_key"])[8:], "little")
    packed = sum(value << 64 * j for j, value in enumerate(vector["slots"]))
    textbook = (1 + packed * n) * pow(int(vector["r"], 16), n, n * n) % (n * n)
    opened = secret.decryptor(SecretKey(SET.id, pair[1].material())).decrypt([data])

    assert data[8:] == textbook.to_bytes(768, "little")
    assert np.array_equal(opened, np.array([vector["slots"]], dtype=np.uint64))


@pytest.mark.parametrize("vector", _FILE["bad_keys"], ids=lambda v: v["comment"])
def test_bad_keys_are_refused(vector):
    with pytest.raises(WireError):
        public.validate_public_key(SET, bytes.fromhex(vector["bytes"]))


@pytest.mark.parametrize("vector", _FILE["bad_ciphertexts"], ids=lambda v: v["comment"])
def test_bad_ciphertexts_are_refused(pair, vector):
    data = bytes.fromhex(vector["bytes"])

    with pytest.raises(WireError):
        public.adder(SET, pair[0]).start(1).add([data])
    with pytest.raises(WireError):
        secret.decryptor(SecretKey(SET.id, pair[1].material())).decrypt([data])
