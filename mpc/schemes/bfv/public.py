"""The public side of `bfv`: encryption under a public key, addition, validation.

The adder works on residues in numpy and never loads SEAL; the encryptor does.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mpc.errors import ParameterError, WireError
from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Slots, check_slots
from mpc.schemes.bfv.wire import COMPONENTS, lattice, pack, unpack
from mpc.schemes.header import Kind

if TYPE_CHECKING:
    from mpc.schemes.bfv.native import NativeEncryptor

__all__ = ["BfvAdder", "BfvEncryptor", "BfvSum", "adder", "encryptor", "validate_public_key"]


class BfvEncryptor:
    """Encrypts rows of coefficients with SEAL, under a public key or (made by `bfv.secret`) the secret one.

    Source: Fan, Vercauteren, eprint 2012/144, section 3; SEAL scales by rounding q m / t. Fresh randomness comes from
    SEAL's generator, seeded by the operating system for every ciphertext.

    Reveals: nothing without the secret key (ring learning with errors, 128 bits).
    """

    def __init__(self, parameters: ParameterSet, native: "NativeEncryptor") -> None:
        self._parameters = parameters
        self._native = native

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        return self._parameters

    def encrypt(self, slots: Slots) -> list[bytes]:
        """Encrypt rows of residues, shape `(n, N)`: slot j is the coefficient of X^j."""
        check_slots(slots, self._parameters)
        return [pack(residues, self._parameters, Kind.CIPHERTEXT) for residues in self._native.encrypt(slots)]


class BfvSum:
    """Lazy sums: 64-bit words take many residues before they are reduced."""

    def __init__(self, parameters: ParameterSet, count: int) -> None:
        ring = lattice(parameters)
        self._parameters = parameters
        self._moduli = np.array(ring.moduli, dtype=np.uint64)[:, np.newaxis]
        self._room = (1 << 64) // max(ring.moduli) - 1
        self._totals = np.zeros((count, COMPONENTS, len(ring.moduli), ring.degree), dtype=np.uint64)
        self._since_reduction = 0
        self._contributions = 0
        self._finished = False

    def add(self, ciphertexts: Sequence[bytes]) -> None:
        """Validate a contribution of the same length and add it.

        Raises:
            WireError: Bytes break the format; nothing was added.
            ParameterError: More ciphertexts than decrypt exactly, or the sum is finished.
        """
        if self._finished or self._contributions >= self._parameters.max_additions:
            raise ParameterError(f"a sum takes at most {self._parameters.max_additions} contributions, before its end")
        if len(ciphertexts) != len(self._totals):
            raise WireError(f"a contribution has {len(self._totals)} ciphertexts")
        parts = [unpack(data, self._parameters, Kind.CIPHERTEXT) for data in ciphertexts]
        if self._since_reduction == self._room:
            self._totals %= self._moduli
            self._since_reduction = 1  # what remains is below the modulus: it counts as one addend
        for row, part in enumerate(parts):
            self._totals[row] += part
        self._since_reduction += 1
        self._contributions += 1

    def finish(self) -> list[bytes]:
        """The sum's wire bytes, in the form of a fresh ciphertext."""
        if self._finished or not self._contributions:
            raise ParameterError("a sum is finished once, after a contribution")
        self._finished = True
        self._totals %= self._moduli
        return [pack(total, self._parameters, Kind.CIPHERTEXT) for total in self._totals]


class BfvAdder:
    """Adds ciphertexts under any key of the set, component by component modulo each prime.

    Reveals: to the adder, nothing.
    """

    def __init__(self, parameters: ParameterSet) -> None:
        lattice(parameters)
        self._parameters = parameters

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set."""
        return self._parameters

    def start(self, count: int) -> BfvSum:
        """Begin a sum of vectors of `count` ciphertexts."""
        return BfvSum(self._parameters, count)


def encryptor(public_key: PublicKey) -> BfvEncryptor:
    """An encryptor under a public key.

    Raises:
        WireError: The key's bytes break the format.
    """
    from mpc.schemes.bfv.native import native_context

    parameters = parameter_set(public_key.parameter_set)
    residues = unpack(public_key.data, parameters, Kind.PUBLIC_KEY)
    return BfvEncryptor(parameters, native_context(parameters).public_encryptor(residues))


def adder(parameters: ParameterSet) -> BfvAdder:
    """An adder for every key of the set."""
    return BfvAdder(parameters)


def validate_public_key(parameters: ParameterSet, data: bytes) -> PublicKey:
    """Accept a peer's key bytes.

    A key that passes is well formed, not honest: its maker can choose one under which everybody reads. Jobs therefore
    bind the key's digest to the recipient's signature.

    Raises:
        WireError: The bytes break the format, or a component is zero.
    """
    unpack(data, parameters, Kind.PUBLIC_KEY)
    return PublicKey(parameters.id, data)
