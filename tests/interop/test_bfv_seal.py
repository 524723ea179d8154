"""`bfv` against stock SEAL (the raw bindings in TenSEAL's wheel), with a converter that is the test's own.

TenSEAL's `context` refuses moduli without a key-switching prime, so SEAL's own objects are used: its key generator,
encryptor, decryptor and evaluator on one side, ours on the other.
"""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import tenseal.sealapi as seal
import zstandard

from mpc.entropy import Keystream, SystemEntropy, uniform_below
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes import public, secret


class Stock:
    """Plain SEAL with the parameters of a set."""

    def __init__(self, parameters, directory):
        self.parameters, self.path = parameters, str(directory / "object")
        chosen = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        chosen.set_poly_modulus_degree(parameters.lattice.degree)
        chosen.set_coeff_modulus([seal.Modulus(p) for p in parameters.lattice.moduli])
        chosen.set_plain_modulus(parameters.plain_modulus)
        self.context = seal.SEALContext(chosen, True, seal.SEC_LEVEL_TYPE.TC128)
        generator = seal.KeyGenerator(self.context)
        self.secret, self.public = generator.secret_key(), seal.PublicKey()
        generator.create_public_key(self.public)
        self.encryptor = seal.Encryptor(self.context, self.public)
        self.decryptor = seal.Decryptor(self.context, self.secret)

    def plaintext(self, values):
        terms = [f"{v:X}x^{i}" if i else f"{v:X}" for i, v in enumerate(values) if v]
        return seal.Plaintext(" + ".join(reversed(terms)) or "0")

    def encrypt(self, values):
        ciphertext = seal.Ciphertext()
        self.encryptor.encrypt(self.plaintext(values), ciphertext)
        return ciphertext

    def open(self, ciphertext):
        plaintext = seal.Plaintext()
        self.decryptor.decrypt(ciphertext, plaintext)
        values = [plaintext[i] for i in range(plaintext.coeff_count())]
        return values + [0] * (self.parameters.slots - len(values))

    def ternary(self):
        """SEAL's secret, by the attack that shows why BFV decryptions are not shared: (0, q/t) opens to it."""
        degree, t = self.parameters.slots, self.parameters.plain_modulus
        q = math.prod(self.parameters.lattice.moduli)
        zero, spike = [0] * degree, [q // t] + [0] * (degree - 1)
        values = self.open(self.load(seal.Ciphertext(), [zero, spike], transformed=False))
        return [v if v <= 1 else -1 for v in values]

    def residues(self, native):
        """What SEAL writes, as `(2, primes, N)`."""
        native.save(self.path)
        data = Path(self.path).read_bytes()
        raw = zstandard.ZstdDecompressor().decompressobj().decompress(data[16:])
        shape = (2, len(self.parameters.lattice.moduli), self.parameters.slots)
        return np.frombuffer(raw, dtype="<u8", offset=len(raw) - 8 * math.prod(shape)).reshape(shape)

    def load(self, native, components, *, transformed):
        """Fill a SEAL object with residues or with integers modulo q."""
        moduli = self.parameters.lattice.moduli
        words = np.array([[[int(v) % p for v in c] for p in moduli] for c in components], dtype="<u8")
        return self.load_words(native, words, transformed=transformed)

    def load_words(self, native, words, *, transformed):
        _, k, n = words.shape
        identity = struct.pack("<4Q", *self.context.first_parms_id())
        inner = struct.pack("<HBBBBHQQ", 0xA15E, 16, 4, 3, 0, 0, 24 + words.nbytes, words.size)
        body = identity + struct.pack("<BQQQdQ", transformed, 2, n, k, 1.0, 1) + inner + words.tobytes()
        header = struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 3, 0, 0, 16 + len(body))
        Path(self.path).write_bytes(header + body)
        native.load(self.context, self.path)
        return native


def wire(parameters, kind, residues):
    """Our bytes, written from their description."""
    parts = [struct.pack("<4sBBH", b"SRHE", 1, kind, parameters.wire_id)]
    for component in residues:
        for prime, plane in zip(parameters.lattice.moduli, component, strict=True):
            width = (prime.bit_length() + 7) // 8
            parts += [int(v).to_bytes(width, "little") for v in plane]
    return b"".join(parts)


def unwire(parameters, data):
    at, planes = 8, []
    for _ in range(2):
        for prime in parameters.lattice.moduli:
            width = (prime.bit_length() + 7) // 8
            cells = [data[at + i * width : at + (i + 1) * width] for i in range(parameters.slots)]
            planes.append([int.from_bytes(cell, "little") for cell in cells])
            at += width * parameters.slots
    return np.array(planes, dtype="<u8").reshape(2, -1, parameters.slots)


@pytest.fixture(scope="module", params=["bfv-4096-t40", "bfv-8192-t60"])
def stock(request, tmp_path_factory):
    return Stock(parameter_set(request.param), tmp_path_factory.mktemp("seal"))


@pytest.fixture
def rows(stock):
    p = stock.parameters
    return uniform_below(Keystream(b"i" * 32), 2 * p.slots, p.plain_modulus).reshape(2, -1)


def test_stock_seal_opens_what_we_encrypt_to_its_key(stock, rows):
    p = stock.parameters
    key = public.validate_public_key(p, wire(p, 1, stock.residues(stock.public)))
    ours = public.encryptor(key).encrypt(rows)
    opened = [stock.open(stock.load_words(seal.Ciphertext(), unwire(p, c), transformed=False)) for c in ours]

    assert opened == rows.tolist()


def test_we_open_what_stock_seal_encrypts_to_its_own_key(stock, rows):
    p = stock.parameters
    codes = [v % 3 for v in stock.ternary()]
    packed = bytes(sum(codes[i + j] << 2 * j for j in range(4)) for i in range(0, p.slots, 4))
    theirs = [wire(p, 2, stock.residues(stock.encrypt(row))) for row in rows.tolist()]

    assert np.array_equal(secret.decryptor(SecretKey(p.id, packed)).decrypt(theirs), rows)


def test_we_open_what_stock_seal_encrypts_to_our_key(stock, rows):
    p = stock.parameters
    public_key, key = secret.generate(p, SystemEntropy())
    native = stock.load_words(seal.PublicKey(), unwire(p, public_key.data), transformed=True)
    encryptor, ciphertext = seal.Encryptor(stock.context, native), seal.Ciphertext()
    encryptor.encrypt(stock.plaintext(rows[0].tolist()), ciphertext)

    assert np.array_equal(secret.decryptor(key).decrypt([wire(p, 2, stock.residues(ciphertext))]), rows[:1])


def test_our_adder_agrees_with_seals_evaluator_in_every_residue(stock, rows):
    p = stock.parameters
    key = PublicKey(p.id, wire(p, 1, stock.residues(stock.public)))
    first, second = public.encryptor(key).encrypt(rows)
    total = public.adder(p).start(1)
    total.add([first])
    total.add([second])
    evaluator, native = seal.Evaluator(stock.context), seal.Ciphertext()
    evaluator.add(
        stock.load_words(seal.Ciphertext(), unwire(p, first), transformed=False),
        stock.load_words(seal.Ciphertext(), unwire(p, second), transformed=False),
        native,
    )

    assert wire(p, 2, stock.residues(native)) == total.finish()[0]
    assert stock.open(native) == [(a + b) % p.plain_modulus for a, b in zip(*rows.tolist(), strict=True)]


def test_noise_stays_within_the_worst_case_that_limits_additions(stock, rows):
    """SEAL's noise budget (a test-only measurement) never falls below what the formula of the set leaves."""
    p = stock.parameters
    key = PublicKey(p.id, wire(p, 1, stock.residues(stock.public)))
    batch = public.encryptor(key).encrypt(rows[:1])
    worst, count = 21 * (2 * p.slots + 1) + 0.5, 1
    while count <= p.max_additions:
        native = stock.load_words(seal.Ciphertext(), unwire(p, batch[0]), transformed=False)
        left = math.log2(math.prod(p.lattice.moduli) / (2 * p.plain_modulus * worst * count))
        assert stock.decryptor.invariant_noise_budget(native) >= math.floor(left) >= 0
        total = public.adder(p).start(1)
        total.add(batch)
        total.add(batch)
        batch, count = total.finish(), 2 * count
