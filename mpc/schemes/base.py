"""What a scheme can do, one small protocol per ability.

Plaintexts are arrays of residues, shape `(ciphertexts, slots)`, dtype uint64, every entry in `[0, plain_modulus)`.
Ciphertexts are wire bytes, one `bytes` object each: strictly validated where they enter, never handed to a native
loader as they came. A batch is a sequence of ciphertexts of one vector in order.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError
from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet

__all__ = [
    "Ability",
    "Adder",
    "Decryptor",
    "Encryptor",
    "Floods",
    "MultipliesPlain",
    "RunningSum",
    "Slots",
    "check_slots",
]

Slots = NDArray[np.uint64]
"""Residues of plaintext slots, shape `(ciphertexts, slots)`."""


class Ability(StrEnum):
    """What a scheme may be able to do; `mpc.testing.conformance` tests exactly what is declared."""

    ADDS = "adds"
    MULTIPLIES_PLAIN = "multiplies-plain"
    MULTIPLIES = "multiplies"
    FLOODS = "floods"
    ENCRYPTS_SYMMETRIC = "encrypts-symmetric"
    SEEDS = "seeds"


@runtime_checkable
class Encryptor(Protocol):
    """Turns slots into ciphertexts, with a public key or (symmetric) with the secret one."""

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        ...

    def encrypt(self, slots: Slots) -> list[bytes]:
        """Encrypt rows of residues, one ciphertext a row.

        Raises:
            RangeError: An entry is not below the plaintext modulus.
            ParameterError: The shape is not `(n, slots)`.
        """
        ...


@runtime_checkable
class RunningSum(Protocol):
    """Accumulates one vector of ciphertexts; holds as many as the vector's batch, not the contributions."""

    def add(self, ciphertexts: Sequence[bytes]) -> None:
        """Validate a contribution of the same length and add it.

        Raises:
            WireError: Bytes break the format; nothing was added.
        """
        ...

    def finish(self) -> list[bytes]:
        """The sum, in the form a decryptor takes."""
        ...


@runtime_checkable
class Adder(Protocol):
    """Adds ciphertexts under one key it cannot open."""

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set."""
        ...

    def start(self, count: int) -> RunningSum:
        """Begin a sum of vectors of `count` ciphertexts."""
        ...


@runtime_checkable
class Decryptor(Protocol):
    """Opens ciphertexts with the secret key, which it consumes: one decryptor is one opening of one round."""

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        ...

    def decrypt(self, ciphertexts: Sequence[bytes]) -> Slots:
        """Validate and decrypt, shape `(len(ciphertexts), slots)`.

        Raises:
            WireError: Bytes break the format.
        """
        ...


@runtime_checkable
class MultipliesPlain(Protocol):
    """Multiplies a ciphertext by a plaintext the evaluator knows."""

    def multiply_plain(
        self,
        ciphertexts: Sequence[bytes],
        slots: Slots,
        *,
        coefficient_bound: int | None = None,
        terms: int | None = None,
    ) -> list[bytes]:
        """Multiply row by row (slot-wise where the packing batches, as polynomials in coefficient packing).

        Args:
            ciphertexts: One per row.
            slots: Plaintexts, shape `(n, slots)`; residues above half the modulus count as negative.
            coefficient_bound: Public bound on every absolute value; None means half the modulus.
            terms: Public bound on the number of non-zero slots of a row; None means all.
        """
        ...


@runtime_checkable
class Floods(Protocol):
    """Covers the noise of ciphertexts whose noise would tell what was computed."""

    def flood(
        self, ciphertexts: Sequence[bytes], public_key: PublicKey, *, flooding_bits: int, cover: Slots | None = None
    ) -> list[bytes]:
        """Add a fresh encryption of `cover` (or of zero) and noise `2**flooding_bits` times the present bound."""
        ...


def check_slots(slots: Slots, parameters: ParameterSet) -> Slots:
    """Refuse a plaintext that is not `(n, slots)` uint64 residues below the modulus.

    Raises:
        ParameterError: Shape or dtype is wrong, or an entry is out of range (which no caller of ours produces).
    """
    if slots.ndim != 2 or slots.shape[1] != parameters.slots or slots.dtype != np.uint64:
        raise ParameterError(f"slots have shape (n, {parameters.slots}) and dtype uint64")
    if parameters.plain_modulus < 1 << 64 and slots.size and int(slots.max()) >= parameters.plain_modulus:
        raise ParameterError("a slot is not below the plaintext modulus")
    return slots
