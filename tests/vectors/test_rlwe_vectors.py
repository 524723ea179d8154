"""Frozen answers of `rlwe`: a change of any sampled or written bit shows here.

`python -m tests.vectors.test_rlwe_vectors` prints the answers anew, for a deliberate change of the format.
"""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest

from mpc.entropy import FixedEntropy
from mpc.errors import WireError
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.params.rlwe import RLWE_SETS
from mpc.schemes.rlwe import public, secret
from mpc.schemes.rlwe.blocks import Execution
from mpc.schemes.rlwe.kernels.host import host_has_ifma
from mpc.schemes.rlwe.noise import bounds
from mpc.schemes.rlwe.ring import Arithmetic
from mpc.schemes.rlwe.wire import encode_noise
from tests.property.rlwe_reference import Reference

_PATH = Path(__file__).parent / "rlwe_known_answers.json"
_FILE = json.loads(_PATH.read_text()) if _PATH.exists() else {"answers": [], "bad": []}


def digest(parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()


def rows(parameters, count):
    """Slot i of row r is SHA-256(set, r, i // 4)'s word i % 4 modulo t, little-endian."""
    words = b"".join(
        hashlib.sha256(f"{parameters.id} {r} {i}".encode()).digest()
        for r in range(count)
        for i in range(parameters.slots // 4)
    )
    whole = np.frombuffer(words, dtype="<u8").reshape(count, -1)
    return whole % np.uint64(parameters.plain_modulus)


def reference_ciphertext(parameters, material):
    """A seeded ciphertext of row 0 by the textbook code; noise and seed from Python's generator: nothing is secret."""
    source, reference = random.Random(str(parameters.id)), Reference(parameters)
    noise = [source.randrange(-21, 22) for _ in range(parameters.slots)]
    message = [int(m) for m in rows(parameters, 1)[0]]
    code = encode_noise(bounds(parameters).fresh_symmetric)
    return reference.encrypt(message, reference.secret(material), noise, source.randbytes(32), code=code, index=3)


def answer(parameters, arithmetic):
    """Digests of everything that the scheme makes from fixed entropy."""
    execution, entropy = Execution(arithmetic=arithmetic, threads=1), FixedEntropy(parameters.id.encode())
    public_key, key = secret.generate(parameters, entropy)
    material, message = key.material(), rows(parameters, 9)
    fresh = public.encryptor(public_key, execution=execution, entropy=entropy).encrypt(message)
    seeded = secret.symmetric_encryptor(key, execution=execution, entropy=entropy).encrypt(message)
    total = public.adder(parameters, execution=execution).start(9)
    for batch in (fresh, seeded, fresh):
        total.add(batch)
    evaluator = public.evaluator(parameters, execution=execution, entropy=entropy)
    factor = np.zeros((9, parameters.slots), dtype=np.uint64)
    factor[:, [1, 7]] = 1, parameters.plain_modulus - 1
    product = evaluator.multiply_plain(seeded, factor, coefficient_bound=1, terms=2)
    covered = (
        evaluator.flood(product, public_key, flooding_bits=8, cover=message)
        if bounds(parameters).limit > 1 << 20
        else evaluator.rerandomise(product, public_key)
    )
    derived, _ = secret.derive(parameters, material, b"round 7")
    opened = secret.decryptor(key, execution=execution).decrypt([*total.finish(), *covered])
    return {
        "parameter_set": parameters.id,
        "material": material.hex(),
        "public_key": digest([public_key.data]),
        "derived_public_key": digest([derived.data]),
        "public": digest(fresh),
        "seeded": digest(seeded),
        "sum": digest(total.finish()),
        "product": digest(product),
        "covered": digest(covered),
        "opened": digest([opened.tobytes()]),
        "reference_seeded": digest([reference_ciphertext(parameters, material)]),
    }


BAD = [
    ("another magic", "PUBLIC", 0, "58", 1),
    ("another version", "PUBLIC", 4, "02", 1),
    ("a public key", "PUBLIC", 5, "01", 1),
    ("an unknown kind", "PUBLIC", 5, "06", 1),
    ("a seeded ciphertext of a whole one's length", "PUBLIC", 5, "03", 1),
    ("another parameter set", "PUBLIC", 6, "1f00", 1),
    ("an unknown parameter set", "PUBLIC", 6, "ffff", 1),
    ("a fresh ciphertext with a sum's noise", "PUBLIC", 8, "ff0f", 1),
    ("a sum with no noise", "SUM", 8, "0000", 1),
    ("a sum with more noise than decrypts", "SUM", 8, "0113", 1),
    ("reserved bytes in use", "PUBLIC", 10, "01", 1),
    ("an index on a whole ciphertext", "PUBLIC", 12, "01", 1),
    ("an index out of range", "SEEDED", 12, "00000080", 1),
    ("the first residue is 2^50 - 1", "PUBLIC", 16, "ff", 200),
    ("the last column is all ones", "PUBLIC", 25608, "ff", 8),
    ("a seeded residue is not below the prime", "SEEDED", 48, "ff", 200),
    ("c1 is zero", "PUBLIC", 16 + 12800, "00", 12800),
]


@pytest.mark.parametrize("arithmetic", list(Arithmetic))
@pytest.mark.parametrize("known", _FILE["answers"], ids=lambda a: a["parameter_set"])
def test_the_scheme_gives_the_frozen_answers(known, arithmetic):
    if arithmetic is Arithmetic.IFMA and not host_has_ifma():
        pytest.skip("this processor has no AVX-512 IFMA")
    assert answer(parameter_set(known["parameter_set"]), arithmetic) == known


def test_every_set_has_an_answer():
    assert [a["parameter_set"] for a in _FILE["answers"]] == [p.id for p in RLWE_SETS]


@pytest.mark.parametrize("known", _FILE["answers"], ids=lambda a: a["parameter_set"])
def test_the_textbook_ciphertext_opens(known):
    parameters, material = parameter_set(known["parameter_set"]), bytes.fromhex(known["material"])
    data = reference_ciphertext(parameters, material)

    assert digest([data]) == known["reference_seeded"]
    assert np.array_equal(secret.decryptor(SecretKey(parameters.id, material)).decrypt([data]), rows(parameters, 1))


@pytest.mark.parametrize("bad", _FILE["bad"], ids=lambda b: b["comment"])
def test_bad_ciphertexts_are_refused(bad):
    parameters = parameter_set("rlwe-2048-t30")
    public_key, key = secret.generate(parameters, FixedEntropy(b"bad"))
    message = rows(parameters, 1)
    good = {"PUBLIC": public.encryptor(public_key).encrypt(message)[0]}
    good["SEEDED"] = secret.symmetric_encryptor(key).encrypt(message)[0]
    total = public.adder(parameters).start(1)
    total.add([good["PUBLIC"]])
    good["SUM"] = total.finish()[0]
    data, change = bytearray(good[bad["kind"]]), bytes.fromhex(bad["bytes"]) * bad["times"]
    data[bad["offset"] : bad["offset"] + len(change)] = change
    assert len(data) == len(good[bad["kind"]])
    assert bytes(data) != good[bad["kind"]]

    with pytest.raises(WireError):
        public.adder(parameters).start(1).add([bytes(data)])
    with pytest.raises(WireError):
        secret.decryptor(key).decrypt([bytes(data)])


if __name__ == "__main__":
    notes = "all entropy from FixedEntropy(set name); rows from SHA-256; SHA-256 over concatenated bytes; see the test"
    bad = [dict(zip(("comment", "kind", "offset", "bytes", "times"), b, strict=True)) for b in BAD]
    answers = [answer(p, Arithmetic.PORTABLE) for p in RLWE_SETS]
    _PATH.write_text(json.dumps({"scheme": "rlwe", "notes": notes, "answers": answers, "bad": bad}, indent=1) + "\n")
