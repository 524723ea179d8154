"""What a product with a secret 0/1 plaintext gives away, attacked at each step of its protection.

The attacks are those of anyone with both ciphertexts (divide one by the other) and of the key holder (divide the noise
of one by that of the other). Each must succeed where the protection is left out: otherwise its failure would prove
nothing.
"""

import numpy as np
import pytest

from mpc.entropy import FixedEntropy
from mpc.keys.secret import SecretKey
from mpc.params import parameter_set
from mpc.schemes.rlwe import public, secret
from tests.property import rlwe_reference as reference
from tests.property.rlwe_reference import Reference

PARAMETERS = parameter_set("rlwe-8192-t60")
N, T = PARAMETERS.slots, PARAMETERS.plain_modulus


class Match:
    """A payload under a key, a selection of half of it, and the product at each step."""

    def __init__(self):
        self.public_key, key = secret.generate(PARAMETERS, FixedEntropy(b"match"))
        self.reference = Reference(PARAMETERS)
        material = key.material()
        self.secret = self.reference.secret(material)
        random = np.random.default_rng(8)
        self.selection = random.integers(0, 2, N)
        self.payload = random.integers(0, 1000, (1, N), dtype=np.uint64)
        cover = random.integers(0, T, (1, N), dtype=np.uint64)
        evaluator = public.evaluator(PARAMETERS)
        self.input = public.encryptor(self.public_key).encrypt(self.payload)
        factor = self.selection.astype(np.uint64)[np.newaxis]
        self.product = evaluator.multiply_plain(self.input, factor, coefficient_bound=1)
        self.rerandomised = evaluator.rerandomise(self.product, self.public_key)
        self.flooded = evaluator.flood(self.product, self.public_key, flooding_bits=40, cover=cover)
        self.decryptor = secret.decryptor(SecretKey(PARAMETERS.id, material))

    def quotient(self, output):
        """c1' / c1 in evaluation form modulo one prime, as a polynomial."""
        p = PARAMETERS.lattice.moduli[0]
        before, after = (self.reference.halves(c)[1][0] for c in (self.input[0], output[0]))
        return reference.coefficients([b * pow(a, -1, p) % p for a, b in zip(before, after, strict=True)], p)

    def noise(self, ciphertext):
        """The exact noise t v of a ciphertext, and the message it is noise of, as the key holder has them."""
        q = self.reference.q
        message = [int(m) for m in self.decryptor.decrypt([ciphertext])[0]]
        scaled = [
            (T * x - q * m) % (T * q)
            for x, m in zip(self.reference.phase(ciphertext, self.secret), message, strict=True)
        ]
        return np.array([float(v if v < T * q // 2 else v - T * q) for v in scaled])

    def agreement(self, output):
        """The share of selection bits that the noise of one column gives away (one half is none)."""
        twist = np.exp(1j * np.pi * np.arange(N) / N)
        before, after = (np.fft.fft(self.noise(c[0]) * twist) for c in (self.input, output))
        guess = np.fft.ifft(after / before) / twist
        return np.mean((guess.real > 0.5) == self.selection)


@pytest.fixture(scope="module")
def match():
    return Match()


def test_a_bare_product_shows_its_plaintext_to_everyone(match):
    assert match.quotient(match.product) == match.selection.tolist()


@pytest.mark.parametrize("step", ["rerandomised", "flooded"])
def test_a_fresh_encryption_hides_it_from_those_without_the_key(match, step):
    quotient = match.quotient(getattr(match, step))
    assert len({x for x in quotient if x in (0, 1)}) == 0
    assert abs(np.mean(np.array(quotient, dtype=float)) / PARAMETERS.lattice.moduli[0] - 0.5) < 5 / (12 * N) ** 0.5


def test_a_fresh_encryption_alone_shows_it_to_the_key_holder(match):
    assert match.agreement(match.rerandomised) > 0.99


def test_flooding_hides_it_from_the_key_holder(match):
    """A guesser of N bits is off one half by less than 5 / (2 sqrt N), except with probability 6e-7."""
    assert abs(match.agreement(match.flooded) - 0.5) < 5 / (2 * N**0.5)


def test_headers_do_not_depend_on_the_selection(match):
    evaluator = public.evaluator(PARAMETERS)
    for count in (0, 1, N):
        other = np.zeros((1, N), dtype=np.uint64)
        other[0, :count] = 1
        product = evaluator.multiply_plain(match.input, other, coefficient_bound=1)
        flooded = evaluator.flood(product, match.public_key, flooding_bits=40)
        assert product[0][:16] == match.product[0][:16]
        assert flooded[0][:16] == match.flooded[0][:16]
        assert len(flooded[0]) == len(match.flooded[0])
