"""The public side of `paillier`: encryption under a public key, addition, validation.

Source: Paillier, "Public-key cryptosystems based on composite degree residuosity classes" (EUROCRYPT '99), scheme 1
with g = 1 + n; Damgard, Jurik, Nielsen, "A generalization of Paillier's public-key system with applications to
electronic voting" (2010), for randomness from powers of one base with exponents of half the modulus's length.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import gmpy2
from gmpy2 import mpz

from mpc.entropy import Entropy, SystemEntropy
from mpc.errors import ParameterError, WireError
from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Slots, check_slots
from mpc.schemes.paillier.comb import Comb, cheapest_shape
from mpc.schemes.paillier.wire import (
    MODULUS_BITS,
    Modulus,
    pack_ciphertext,
    pack_slots,
    unpack_ciphertexts,
    unpack_key,
)

__all__ = [
    "PaillierAdder",
    "PaillierEncryptor",
    "PaillierSum",
    "Zeros",
    "adder",
    "encryptor",
    "uniform_unit",
    "validate_public_key",
]

_EXPONENT_BITS: Final = MODULUS_BITS // 2


class Zeros(Protocol):
    """A source of fresh encryptions of zero."""

    def draw(self, count: int) -> Iterable[mpz]:
        """`count` of them, independent of each other."""
        ...


class PublicZeros:
    """Encryptions of zero by one who knows n alone.

    The first, if it comes alone, is r^n for a uniform unit r (Paillier). Beyond that a base b = (-x^2)^n is drawn once,
    x uniform, and every zero is b^a with a fresh a of half the modulus's bits (Damgard, Jurik, Nielsen). The base is
    the encryptor's own secret and not part of the key, so no base chosen by a peer has to be trusted. The tables grow
    with use: 0.1 MB at two ciphertexts, 0.4 MB from three, 1.6 MB from 22, 25 MB from 434.
    """

    def __init__(self, modulus: Modulus, entropy: Entropy) -> None:
        self._modulus = modulus
        self._entropy = entropy
        self._drawn = 0
        self._base: mpz | None = None
        self._comb: Comb | None = None

    def draw(self, count: int) -> Iterable[mpz]:
        """`count` fresh encryptions of zero."""
        first = self._drawn == 0
        self._drawn += count
        if first and count == 1:
            unit = uniform_unit(self._modulus.n, self._entropy)
            return [gmpy2.powmod(unit, self._modulus.n, self._modulus.squared)]
        comb = self._prepared()
        return (comb.power(self._entropy.token(_EXPONENT_BITS // 8)) for _ in range(count))

    def _prepared(self) -> Comb:
        n, squared = self._modulus.n, self._modulus.squared
        if self._base is None:
            x = uniform_unit(n, self._entropy)
            self._base = gmpy2.powmod(n - x * x % n, n, squared)
        # The table that would have been best for all that was asked so far, this call included.
        shape = cheapest_shape(_EXPONENT_BITS, self._drawn)
        if self._comb is None or shape.teeth > self._comb.shape.teeth:
            self._comb = Comb(self._base, squared, shape)
        return self._comb


class PaillierEncryptor:
    """Encrypts rows of slots: c = (1 + m n) z mod n^2, where z encrypts zero.

    Reveals: nothing to those who cannot factor n (decisional composite residuosity).
    """

    def __init__(self, parameters: ParameterSet, modulus: Modulus, zeros: Zeros) -> None:
        self._parameters = parameters
        self._modulus = modulus
        self._zeros = zeros

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        return self._parameters

    def encrypt(self, slots: Slots) -> list[bytes]:
        """Encrypt rows of 64-bit integers, shape `(n, slots)`."""
        check_slots(slots, self._parameters)
        n, squared = self._modulus.n, self._modulus.squared
        return [
            pack_ciphertext((1 + pack_slots(row) * n) * zero % squared, self._parameters)
            for row, zero in zip(slots, self._zeros.draw(len(slots)), strict=True)
        ]


class PaillierSum:
    """A sum of plaintexts is a product of ciphertexts modulo n^2."""

    def __init__(self, parameters: ParameterSet, modulus: Modulus, count: int) -> None:
        self._parameters = parameters
        self._modulus = modulus
        self._products = [mpz(1)] * count
        self._contributions = 0
        self._finished = False

    def add(self, ciphertexts: Sequence[bytes]) -> None:
        """Validate a contribution of the same length and add it.

        Raises:
            WireError: Bytes break the format; nothing was added.
            ParameterError: Too many contributions, or the sum is finished.
        """
        if self._finished or self._contributions >= self._parameters.max_additions:
            raise ParameterError(f"a sum takes at most {self._parameters.max_additions} contributions, before its end")
        if len(ciphertexts) != len(self._products):
            raise WireError(f"a contribution has {len(self._products)} ciphertexts")
        values = unpack_ciphertexts(ciphertexts, self._parameters, self._modulus)
        squared = self._modulus.squared
        self._products = [a * b % squared for a, b in zip(self._products, values, strict=True)]
        self._contributions += 1

    def finish(self) -> list[bytes]:
        """The sum's wire bytes, in the form of a fresh ciphertext."""
        if self._finished or not self._contributions:
            raise ParameterError("a sum is finished once, after a contribution")
        self._finished = True
        return [pack_ciphertext(product, self._parameters) for product in self._products]


class PaillierAdder:
    """Adds ciphertexts under one key.

    Reveals: to the adder, nothing.
    """

    def __init__(self, parameters: ParameterSet, modulus: Modulus) -> None:
        self._parameters = parameters
        self._modulus = modulus

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set."""
        return self._parameters

    def start(self, count: int) -> PaillierSum:
        """Begin a sum of vectors of `count` ciphertexts."""
        return PaillierSum(self._parameters, self._modulus, count)


def uniform_unit(n: mpz, entropy: Entropy) -> mpz:
    """A uniform number below n that is invertible modulo n, by rejection."""
    size = (n.bit_length() + 7) // 8
    spare = 8 * size - n.bit_length()
    while True:
        drawn = mpz(int.from_bytes(entropy.token(size), "little") >> spare)
        if 0 < drawn < n and gmpy2.gcd(drawn, n) == 1:
            return drawn


def encryptor(public_key: PublicKey) -> PaillierEncryptor:
    """An encryptor under a public key.

    Raises:
        WireError: The key's bytes break the format.
    """
    parameters = parameter_set(public_key.parameter_set)
    modulus = unpack_key(public_key.data, parameters)
    return PaillierEncryptor(parameters, modulus, PublicZeros(modulus, SystemEntropy()))


def adder(parameters: ParameterSet, public_key: PublicKey | None) -> PaillierAdder:
    """An adder under one key, whose modulus it needs.

    Raises:
        ParameterError: No key is given.
        WireError: The key's bytes break the format.
    """
    if public_key is None:
        raise ParameterError(f"{parameters.id} adds under a given public key")
    return PaillierAdder(parameters, unpack_key(public_key.data, parameters))


def validate_public_key(parameters: ParameterSet, data: bytes) -> PublicKey:
    """Accept a peer's key bytes.

    What is checked is in `unpack_key`. What cannot be checked: that n is the product of two large primes. A malicious
    owner may choose an n with more factors, factors that others know, or factors p with a smooth p - 1. It decrypts in
    any case, so it gains nothing for itself; it can let others read too. An honest encryptor multiplies by no secret
    and answers no queries under a peer's key, so a bad n teaches nothing about anything but the plaintexts sent under
    it, and those are masked against exactly this reader. A proof of the factors (Canetti, Gennaro, Goldfeder,
    Makriyannis, Peled, eprint 2021/060, sections 4.3 and 4.4) would be needed before a key is used for more.

    Raises:
        WireError: They are not a key of this set.
    """
    unpack_key(data, parameters)
    return PublicKey(parameters.id, data)
