"""What the conformance suite tests: a parameter set and a key pair of it."""

from functools import cached_property
from typing import Final

import numpy as np

from mpc.entropy import Keystream, SystemEntropy, uniform_below
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.params.base import ParameterSet, SchemeId
from mpc.schemes import public, secret
from mpc.schemes.base import Adder, Decryptor, Encryptor, Slots

__all__ = ["Subject", "expect"]

_INTEGER_SLOTS: Final = frozenset({SchemeId.PAILLIER})
_STREAM: Final = Keystream(b"sealroom/v1/conformance-vectors!")


class Subject:
    """A parameter set under test, with one key pair for all checks and a fresh one-opening key for each."""

    def __init__(self, parameters: ParameterSet) -> None:
        self.parameters = parameters

    @cached_property
    def _pair(self) -> tuple[PublicKey, SecretKey]:
        return secret.generate(self.parameters, SystemEntropy())

    @property
    def public_key(self) -> PublicKey:
        """The public key."""
        return self._pair[0]

    def secret_key(self) -> SecretKey:
        """The secret key as if it had never been opened: a test opens one key many times, a product never does."""
        return SecretKey(self.parameters.id, self._pair[1].material())

    @cached_property
    def encryptor(self) -> Encryptor:
        """The public-key encryptor."""
        return public.encryptor(self.public_key)

    @cached_property
    def symmetric_encryptor(self) -> Encryptor:
        """The key holder's encryptor."""
        return secret.symmetric_encryptor(self.secret_key())

    @cached_property
    def adder(self) -> Adder:
        """The adder."""
        return public.adder(self.parameters, self.public_key)

    def decryptor(self) -> Decryptor:
        """A decryptor."""
        return secret.decryptor(self.secret_key())

    def open(self, ciphertexts: list[bytes]) -> Slots:
        """The plaintexts."""
        return self.decryptor().decrypt(ciphertexts)

    def sum(self, *contributions: list[bytes]) -> list[bytes]:
        """The sum of contributions of equal length."""
        total = self.adder.start(len(contributions[0]))
        for contribution in contributions:
            total.add(contribution)
        return total.finish()

    def uniform(self, rows: int, *, below: int | None = None, start: int = 0) -> Slots:
        """Fixed pseudo-random slots, shape `(rows, slots)`; another `start` gives others."""
        words = uniform_below(_STREAM, start + rows * self.parameters.slots, below or self.parameters.plain_modulus)
        return words[start:].reshape(rows, self.parameters.slots).copy()

    def constant(self, value: int) -> Slots:
        """One row that repeats a value."""
        return np.full((1, self.parameters.slots), value, dtype=np.uint64)

    @property
    def wraps(self) -> bool:
        """Whether slots add modulo the plaintext modulus; if not, a caller keeps sums below it."""
        return self.parameters.scheme not in _INTEGER_SLOTS

    def addend_bound(self, additions: int) -> int:
        """Values below this may be added so many times."""
        return self.parameters.plain_modulus if self.wraps else self.parameters.plain_modulus // additions


def expect(condition: object, statement: str) -> None:
    """Fail a check. Unlike `assert` it also works under `python -O`, because the suite ships.

    Raises:
        AssertionError: The condition does not hold.
    """
    if not condition:
        raise AssertionError(statement)
