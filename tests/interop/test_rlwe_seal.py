"""`rlwe` against stock SEAL (the raw bindings in TenSEAL's wheel): each side opens what the other made.

SEAL keeps public and secret keys in evaluation form with the same roots and order as ours, and BFV ciphertexts as
coefficients; the converter below goes between by the reference's transforms. SEAL keeps the last of several primes for
key switching unless the plaintext modulus is large, so sets of several primes are given to it with one prime more. Its
plaintext modulus has at most 60 bits: a set with t = 2^60 is judged with t = 2^59, under which our even messages 2 m
are its messages m, coefficient by coefficient of the ciphertext.
"""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import tenseal.sealapi as seal
import zstandard

from mpc.entropy import FixedEntropy, Keystream, SystemEntropy, uniform_below
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes.rlwe import public, secret
from mpc.schemes.rlwe.noise import bounds
from mpc.schemes.rlwe.wire import encode_noise
from tests.property import rlwe_reference as reference
from tests.property.rlwe_reference import HEADER, PUBLIC, RESULT, Reference

SPARE = 1125899906826241
"""A prime below 2^50 that is 1 modulo 2^14 and in none of our sets."""


class Stock:
    """Plain SEAL with the moduli of a set, and objects of both sides in its format."""

    def __init__(self, parameters, directory):
        self.parameters, self.path = parameters, str(directory / "object")
        self.reference = Reference(parameters)
        self.moduli = list(parameters.lattice.moduli)
        chosen = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        chosen.set_poly_modulus_degree(parameters.slots)
        self.step = 2 if parameters.plain_modulus == 1 << 60 else 1
        self.t = parameters.plain_modulus // self.step
        chosen.set_plain_modulus(self.t)
        spare = [] if len(self.moduli) == 1 else [SPARE]
        chosen.set_coeff_modulus([seal.Modulus(p) for p in self.moduli + spare])
        self.context = seal.SEALContext(chosen, True, seal.SEC_LEVEL_TYPE.NONE)
        self.key_moduli = self.moduli + spare
        if list(self.context.first_parms_id()) == list(self.context.key_parms_id()):  # nothing was set apart
            chosen.set_coeff_modulus([seal.Modulus(p) for p in self.moduli])
            self.context = seal.SEALContext(chosen, True, seal.SEC_LEVEL_TYPE.NONE)
            self.key_moduli = self.moduli
        self.evaluator = seal.Evaluator(self.context)

    def use(self, secret_key):
        """Make encryptors and decryptors for a secret key of SEAL's."""
        generator = seal.KeyGenerator(self.context, secret_key)
        self.secret, self.public = secret_key, seal.PublicKey()
        generator.create_public_key(self.public)
        self.encryptor = seal.Encryptor(self.context, self.public, self.secret)
        self.decryptor = seal.Decryptor(self.context, self.secret)

    def ternary(self, secret):
        """A ternary secret as SEAL's secret key."""
        planes = [reference.values([v % p for v in secret], p) for p in self.key_moduli]
        words = np.array(planes, dtype="<u8").reshape(-1)
        inner = struct.pack("<HBBBBHQQ", 0xA15E, 16, 4, 3, 0, 0, 24 + words.nbytes, words.size) + words.tobytes()
        identity = struct.pack("<4Q", *self.context.key_parms_id())
        body = identity + struct.pack("<Qd", words.size, 1.0) + inner
        return self._read(seal.SecretKey(), body)

    def polynomials(self, components, *, transformed, native, identity):
        """Residues `(2, primes, N)` as a SEAL ciphertext or public key."""
        words = np.array(components, dtype="<u8")
        _, k, n = words.shape
        inner = struct.pack("<HBBBBHQQ", 0xA15E, 16, 4, 3, 0, 0, 24 + words.nbytes, words.size)
        body = struct.pack("<4Q", *identity) + struct.pack("<BQQQdQ", transformed, 2, n, k, 1.0, 1)
        return self._read(native, body + inner + words.tobytes())

    def _read(self, native, body):
        Path(self.path).write_bytes(struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 3, 0, 0, 16 + len(body)) + body)
        native.load(self.context, self.path)
        return native

    def from_ours(self, data):
        """One of our ciphertexts as SEAL's."""
        planes = [
            [reference.coefficients(values, p) for p, values in zip(self.moduli, half, strict=True)]
            for half in self.reference.halves(data)
        ]
        identity = self.context.first_parms_id()
        return self.polynomials(planes, transformed=False, native=seal.Ciphertext(), identity=identity)

    def key_from_ours(self, data, secret):
        """One of our public keys as SEAL's. Where SEAL wants a prime more, the key's own error makes its part."""
        p0, p1 = self.reference.halves(data)
        q = self.reference.q
        error = [x - q if x > q // 2 else x for x in self.reference.phase(data, secret)]
        assert 1 <= max(map(abs, error)) <= 21
        for p in self.key_moduli[len(self.moduli) :]:
            s, e = (reference.values([v % p for v in polynomial], p) for polynomial in (secret, error))
            a = [pow(3, i, p) for i in range(len(s))]
            p0, p1 = [*p0, [(x - y * z) % p for x, y, z in zip(e, a, s, strict=True)]], [*p1, a]
        identity = self.context.key_parms_id()
        return self.polynomials([p0, p1], transformed=True, native=seal.PublicKey(), identity=identity)

    def to_ours(self, native, *, noise=None):
        """One of SEAL's ciphertexts in our bytes: a fresh one, or a result with a bound on its noise."""
        native.save(self.path)
        data = Path(self.path).read_bytes()
        raw = zstandard.ZstdDecompressor().decompressobj().decompress(data[16:]) if data[5] == 2 else data[16:]
        shape = (2, len(self.moduli), self.parameters.slots)
        planes = np.frombuffer(raw, dtype="<u8", offset=len(raw) - 8 * math.prod(shape)).reshape(shape).tolist()
        body = b"".join(
            reference.pack(reference.values(plane, p))
            for half in planes
            for p, plane in zip(self.moduli, half, strict=True)
        )
        kind, bound = (PUBLIC, bounds(self.parameters).fresh_public) if noise is None else (RESULT, noise)
        return HEADER.pack(b"RLWE", 1, kind, self.parameters.wire_id, encode_noise(bound), 0, 0) + body

    def plaintext(self, values):
        """Residues modulo SEAL's t."""
        terms = [f"{int(v):X}x^{i}" if i else f"{int(v):X}" for i, v in enumerate(values) if v]
        return seal.Plaintext(" + ".join(reversed(terms)) or "0")

    def encrypt(self, values):
        out = seal.Ciphertext()
        self.encryptor.encrypt(self.plaintext([int(v) // self.step for v in values]), out)
        return out

    def open(self, native):
        plain = seal.Plaintext()
        self.decryptor.decrypt(native, plain)
        values = [plain[i] * self.step for i in range(plain.coeff_count())]
        return values + [0] * (self.parameters.slots - len(values))


SETS = ["rlwe-2048-t30", "rlwe-4096-t60", "rlwe-4096-t26", "rlwe-8192-t60", "rlwe-4096-p60"]


class Side:
    """A set, a key of ours, and SEAL with the same key."""

    def __init__(self, name, directory):
        self.parameters = parameter_set(name)
        self.public_key, key = secret.generate(self.parameters, SystemEntropy())
        self.material = key.material()
        self.stock = Stock(self.parameters, directory)
        self.stock.use(self.stock.ternary(self.stock.reference.secret(self.material)))
        count = 3 * self.parameters.slots
        words = uniform_below(Keystream(b"s" * 32), count, self.stock.t)
        self.rows = words.reshape(3, -1) * np.uint64(self.stock.step)

    def key(self):
        return SecretKey(self.parameters.id, self.material)

    def open(self, ciphertexts):
        return secret.decryptor(self.key()).decrypt(ciphertexts)

    def reduced(self, values):
        return [int(v) % self.parameters.plain_modulus for v in values]


@pytest.fixture(scope="module", params=SETS)
def side(request, tmp_path_factory):
    return Side(request.param, tmp_path_factory.mktemp("seal"))


def test_seal_opens_what_we_encrypt(side):
    ours = [*public.encryptor(side.public_key).encrypt(side.rows[:1])]
    ours += secret.symmetric_encryptor(side.key()).encrypt(side.rows[1:2])

    opened = [side.stock.open(side.stock.from_ours(c)) for c in ours]
    assert opened == side.rows[:2].tolist()


def test_we_open_what_seal_encrypts(side):
    theirs = [side.stock.to_ours(side.stock.encrypt(row)) for row in side.rows]

    assert np.array_equal(side.open(theirs), side.rows)


def test_each_side_opens_the_others_sums(side):
    a, b, c = side.rows
    total = public.adder(side.parameters).start(1)
    total.add(public.encryptor(side.public_key).encrypt(side.rows[:1]))
    total.add([side.stock.to_ours(side.stock.encrypt(b))])
    total.add(secret.symmetric_encryptor(side.key()).encrypt(side.rows[2:]))
    expected = side.reduced(a.astype(object) + b + c)
    assert side.stock.open(side.stock.from_ours(total.finish()[0])) == expected

    native = seal.Ciphertext()
    ours = [side.stock.from_ours(x) for x in public.encryptor(side.public_key).encrypt(side.rows[:2])]
    side.stock.evaluator.add(ours[0], ours[1], native)
    side.stock.evaluator.add_inplace(native, side.stock.encrypt(c))
    noise = 3 * bounds(side.parameters).fresh_public
    assert side.open([side.stock.to_ours(native, noise=noise)])[0].tolist() == expected


def test_each_side_opens_the_others_products_with_plaintexts(side):
    t, n = side.parameters.plain_modulus, side.parameters.slots
    factor = np.zeros((1, n), dtype=np.uint64)
    factor[0, [0, 3, n - 1]] = 1, t - 1, 2
    centred = [int(v) if v <= t // 2 else int(v) - t for v in factor[0]]
    expected = side.reduced(reference.product([int(v) for v in side.rows[0]], centred))
    fresh = secret.symmetric_encryptor(side.key()).encrypt(side.rows[:1])
    ours = public.evaluator(side.parameters).multiply_plain(fresh, factor, coefficient_bound=2, terms=3)
    assert side.stock.open(side.stock.from_ours(ours[0])) == expected

    native = side.stock.from_ours(fresh[0])
    side.stock.evaluator.multiply_plain_inplace(native, side.stock.plaintext([v % side.stock.t for v in centred]))
    assert side.open([side.stock.to_ours(native, noise=bounds(side.parameters).limit)])[0].tolist() == expected


def test_seal_opens_what_we_flooded(side):
    if bounds(side.parameters).limit < 1 << 60:
        evaluated = public.evaluator(side.parameters).rerandomise
        options = {}
    else:
        evaluated = public.evaluator(side.parameters).flood
        options = {"flooding_bits": 40, "cover": side.rows[1:2]}
    out = evaluated(public.encryptor(side.public_key).encrypt(side.rows[:1]), side.public_key, **options)
    expected = side.reduced(side.rows[0].astype(object) + (side.rows[1] if options else 0))

    assert side.stock.open(side.stock.from_ours(out[0])) == expected


def test_we_open_what_seal_encrypts_to_our_public_key(side):
    theirs = seal.Ciphertext()
    ternary = side.stock.reference.secret(side.material)
    encryptor = seal.Encryptor(side.stock.context, side.stock.key_from_ours(side.public_key.data, ternary))
    encryptor.encrypt(side.stock.plaintext([int(v) // side.stock.step for v in side.rows[0]]), theirs)

    assert np.array_equal(side.open([side.stock.to_ours(theirs)]), side.rows[:1])


def test_seal_finds_room_where_our_bound_does(tmp_path):
    """SEAL's own estimate of the budget of a full sum is at least the bits that our bound leaves."""
    parameters = parameter_set("rlwe-4096-t60")
    public_key, key = secret.generate(parameters, FixedEntropy(b"budget"))
    stock = Stock(parameters, tmp_path)
    stock.use(stock.ternary(stock.reference.secret(key.material())))
    row = np.full((1, parameters.slots), parameters.plain_modulus - 1, dtype=np.uint64)
    total = public.adder(parameters).start(1)
    for _ in range(64):
        total.add(public.encryptor(public_key).encrypt(row))
    ours = math.log2(bounds(parameters).limit / (64 * bounds(parameters).fresh_public))

    assert stock.decryptor.invariant_noise_budget(stock.from_ours(total.finish()[0])) >= math.floor(ours)
