"""Frozen answers of `bfv`, made by a textbook implementation on Python integers.

The reference shares no code with the product: polynomials modulo the whole q as lists of integers, products by
Kronecker substitution, bytes by `int.to_bytes`.
"""

import hashlib
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest

from mpc.entropy import FixedEntropy, Keystream, uniform_below
from mpc.errors import WireError
from mpc.params import parameter_set
from mpc.schemes import public, secret

_FILE = json.loads((Path(__file__).parent / "bfv_known_answers.json").read_text())


def multiply(a, b, q, degree):
    """a b modulo X^N + 1 and q, by packing the coefficients into two large integers."""
    width = (2 * q.bit_length() + degree.bit_length()) // 8 + 1
    packed = [int.from_bytes(b"".join(c.to_bytes(width, "little") for c in poly), "little") for poly in (a, b)]
    product = (packed[0] * packed[1]).to_bytes(2 * degree * width, "little")
    c = [int.from_bytes(product[i * width : (i + 1) * width], "little") for i in range(2 * degree)]
    return [(c[i] - c[i + degree]) % q for i in range(degree)]


def ternary(material):
    """Signed coefficients of a packed secret: two bits each, 0, 1 and 2 for -1."""
    return [(0, 1, -1)[byte >> shift & 3] for byte in material for shift in (0, 2, 4, 6)]


def compose(residues, moduli):
    """Integers modulo the product from their residues."""
    q = math.prod(moduli)
    weights = [q // p * pow(q // p, -1, p) for p in moduli]
    return [sum(int(r) * w for r, w in zip(column, weights, strict=True)) % q for column in zip(*residues, strict=True)]


def seeded(label, count, modulus):
    return uniform_below(Keystream(hashlib.sha256(label.encode()).digest()), count, modulus).tolist()


def errors(label, degree):
    """Centred binomial, 42 coins."""
    words = Keystream(hashlib.sha256(label.encode()).digest()).words(0, degree).tolist()
    return [(w & (1 << 21) - 1).bit_count() - (w >> 21 & (1 << 21) - 1).bit_count() for w in words]


def reference_ciphertext(parameters, secret_coefficients, plaintext, label):
    """c1 uniform, c0 = round(q m / t) + e - c1 s."""
    moduli, degree, t = parameters.lattice.moduli, parameters.lattice.degree, parameters.plain_modulus
    q = math.prod(moduli)
    c1 = compose([seeded(f"{label} uniform {p}", degree, p) for p in moduli], moduli)
    product = multiply(c1, [s % q for s in secret_coefficients], q, degree)
    scaled = [(2 * q * m + t) // (2 * t) for m in plaintext]
    c0 = [(x + e - y) % q for x, e, y in zip(scaled, errors(f"{label} error", degree), product, strict=True)]
    return c0, c1


def reference_bytes(parameters, polynomials):
    """The wire format, written from its description."""
    parts = [struct.pack("<4sBBH", b"SRHE", 1, 2, parameters.wire_id)]
    for polynomial in polynomials:
        for p in parameters.lattice.moduli:
            width = (p.bit_length() + 7) // 8
            parts += [(c % p).to_bytes(width, "little") for c in polynomial]
    return b"".join(parts)


def reference_open(parameters, secret_coefficients, data):
    """round(t (c0 + c1 s) / q) modulo t, and the largest |c0 + c1 s - q m / t|."""
    moduli, degree, t = parameters.lattice.moduli, parameters.lattice.degree, parameters.plain_modulus
    q, at, polynomials = math.prod(moduli), 8, []
    for _ in range(2):
        residues = []
        for p in moduli:
            width = (p.bit_length() + 7) // 8
            residues.append(
                [int.from_bytes(data[at + i * width : at + (i + 1) * width], "little") for i in range(degree)]
            )
            at += width * degree
        polynomials.append(compose(residues, moduli))
    product = multiply(polynomials[1], [s % q for s in secret_coefficients], q, degree)
    phase = [(x + y) % q for x, y in zip(polynomials[0], product, strict=True)]
    rounded = [(2 * t * x + q) // (2 * q) for x in phase]
    noise = max(abs(t * x - q * m) for x, m in zip(phase, rounded, strict=True))
    return [m % t for m in rounded], noise / t


@pytest.mark.parametrize("vector", _FILE["answers"], ids=lambda v: v["parameter_set"])
def test_bfv_opens_what_the_textbook_encrypts(vector):
    parameters = parameter_set(vector["parameter_set"])
    _, key = secret.generate(parameters, FixedEntropy(vector["label"].encode()))
    plaintext = seeded(f"{vector['label']} plaintext", parameters.slots, parameters.plain_modulus)
    coefficients = ternary(key.material())
    data = reference_bytes(parameters, reference_ciphertext(parameters, coefficients, plaintext, vector["label"]))

    assert hashlib.sha256(key.material()).hexdigest() == vector["secret_sha256"]
    assert hashlib.sha256(data).hexdigest() == vector["ciphertext_sha256"]
    assert secret.decryptor(key).decrypt([data]).tolist() == [plaintext]


@pytest.mark.parametrize("name", ["bfv-4096-t40", "bfv-8192-t60"])
def test_the_textbook_opens_what_bfv_encrypts_and_finds_the_predicted_noise(name):
    parameters = parameter_set(name)
    public_key, key = secret.generate(parameters, FixedEntropy(b"noise"))
    rows = uniform_below(Keystream(b"n" * 32), 3 * parameters.slots, parameters.plain_modulus).reshape(3, -1)
    makers = [public.encryptor(public_key), secret.symmetric_encryptor(key)]
    coefficients = ternary(key.material())
    fresh = [makers[0].encrypt(rows[:1]), makers[0].encrypt(rows[1:2]), makers[1].encrypt(rows[2:])]
    total = public.adder(parameters).start(1)
    for batch in fresh:
        total.add(batch)
    opened, noise = zip(
        *(reference_open(parameters, coefficients, b[0]) for b in [*fresh, total.finish()]), strict=True
    )
    bound = 21 * (2 * parameters.slots + 1) + 0.5

    assert list(opened[:3]) == rows.tolist()
    assert list(opened[3]) == [sum(c) % parameters.plain_modulus for c in zip(*rows.tolist(), strict=True)]
    assert max(noise[:2]) < bound / 16, "far below the worst case, as independent errors are"
    assert noise[2] <= 21.5, "a key holder's ciphertext has the plain error alone"
    assert noise[3] <= sum(noise[:3])
    assert parameters.max_additions * bound <= math.prod(parameters.lattice.moduli) / (4 * parameters.plain_modulus)


@pytest.mark.parametrize("vector", _FILE["bad"], ids=lambda v: v["comment"])
def test_bad_bfv_ciphertexts_are_refused(vector):
    parameters = parameter_set(vector["parameter_set"])
    public_key, key = secret.generate(parameters, FixedEntropy(b"bad"))
    good = public.encryptor(public_key).encrypt(np.zeros((1, parameters.slots), dtype=np.uint64))[0]
    edit = bytes.fromhex(vector["bytes"]) * vector.get("repeat", 1)
    bad = good[: vector["offset"]] + edit + good[vector["offset"] + len(edit) :] + bytes(vector.get("extra", 0))

    with pytest.raises(WireError):
        secret.decryptor(key).decrypt([bad])
    with pytest.raises(WireError):
        public.adder(parameters).start(1).add([bad])
