"""The public side of `clear`."""

from collections.abc import Sequence

import numpy as np

from mpc.errors import ParameterError, WireError
from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Slots, check_slots
from mpc.schemes.clear.wire import join, split, unpack_key

__all__ = ["InsecureClearAdder", "InsecureClearEncryptor", "adder", "encryptor", "validate_public_key"]


class InsecureClearEncryptor:
    """Copies slots into wire bytes.

    Reveals: to whoever sees the bytes, everything.
    """

    def __init__(self, parameters: ParameterSet, key_number: bytes) -> None:
        self._parameters = parameters
        self._number = key_number

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        return self._parameters

    def encrypt(self, slots: Slots) -> list[bytes]:
        """Write each row of residues, unprotected."""
        check_slots(slots, self._parameters)
        return [join(self._number, row, self._parameters) for row in slots]


class InsecureClearSum:
    """Adds rows of residues modulo the plaintext modulus."""

    def __init__(self, parameters: ParameterSet, count: int) -> None:
        self._parameters = parameters
        self._number: bytes | None = None
        self._totals = np.zeros((count, parameters.slots), dtype=np.uint64)
        self._finished = False

    def add(self, ciphertexts: Sequence[bytes]) -> None:
        """Validate a contribution and add it; all its rows name the key of the first contribution."""
        if self._finished:
            raise ParameterError("the sum is finished")
        if len(ciphertexts) != len(self._totals):
            raise WireError(f"a contribution has {len(self._totals)} ciphertexts")
        parts = [split(data, self._parameters) for data in ciphertexts]
        numbers = {number for number, _ in parts} | ({self._number} if self._number is not None else set())
        if len(numbers) > 1:
            raise WireError("ciphertexts of different keys are not added")
        self._number = next(iter(numbers), None)
        modulus = np.uint64(self._parameters.plain_modulus)
        for total, (_, row) in zip(self._totals, parts, strict=True):
            np.remainder(total + row, modulus, out=total)

    def finish(self) -> list[bytes]:
        """The sum's wire bytes."""
        if self._finished or (self._number is None and len(self._totals)):
            raise ParameterError("a sum is finished once, after a contribution")
        self._finished = True
        return [join(self._number or b"", row, self._parameters) for row in self._totals]


class InsecureClearAdder:
    """Adds what it can read."""

    def __init__(self, parameters: ParameterSet) -> None:
        self._parameters = parameters

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set."""
        return self._parameters

    def start(self, count: int) -> InsecureClearSum:
        """Begin a sum of vectors of `count` ciphertexts."""
        return InsecureClearSum(self._parameters, count)


def encryptor(public_key: PublicKey) -> InsecureClearEncryptor:
    """An encryptor that hides nothing."""
    parameters = parameter_set(public_key.parameter_set)
    return InsecureClearEncryptor(parameters, unpack_key(public_key.data, parameters))


def adder(parameters: ParameterSet) -> InsecureClearAdder:
    """An adder for every key of the set."""
    return InsecureClearAdder(parameters)


def validate_public_key(parameters: ParameterSet, data: bytes) -> PublicKey:
    """Accept a peer's key bytes (`WireError` on anything else)."""
    unpack_key(data, parameters)
    return PublicKey(parameters.id, data)
