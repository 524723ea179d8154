"""The shape of a parameter set."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

import msgspec

from mpc.errors import ParameterError
from mpc.params.security import LATTICE_LOG_Q_128, MINIMUM_ERROR_DEVIATION, SecurityLevel

__all__ = ["LatticeParameters", "ParameterSet", "SchemeId", "SetId"]

SetId = NewType("SetId", str)
"""Name of a parameter set, for example `bfv-4096-t40`."""


class SchemeId(StrEnum):
    """The encryption schemes."""

    CLEAR = "clear"
    PAILLIER = "paillier"
    BFV = "bfv"
    RLWE = "rlwe"
    CKKS = "ckks"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatticeParameters:
    """Ring and moduli of a lattice scheme over Z_q[X]/(X^N + 1)."""

    degree: int
    """Ring degree N, a power of two."""

    moduli: tuple[int, ...]
    """The primes whose product is the ciphertext modulus q."""

    special_modulus: int | None
    """A prime that only keys carry (key switching); it counts for security."""

    error_deviation: float
    """Standard deviation of the error."""

    secret: str = "ternary"  # noqa: S105 - a distribution, not a password
    """Distribution of the secret key's coefficients."""

    @property
    def log_q(self) -> float:
        """Bits of the largest modulus an attacker sees, the special prime counted."""
        product = self.special_modulus or 1
        for prime in self.moduli:
            product *= prime
        return product.bit_length()

    def check(self) -> None:
        """Refuse parameters under 128 bits.

        Raises:
            ParameterError: The degree is not in the table, q is too large for it, or the error is too narrow.
        """
        ceiling = LATTICE_LOG_Q_128.get(self.degree)
        if ceiling is None or self.log_q > ceiling or self.secret != "ternary":  # noqa: S105
            raise ParameterError(f"N = {self.degree} with log2 q = {self.log_q} does not reach 128 bits")
        if self.error_deviation < MINIMUM_ERROR_DEVIATION or len(set(self.moduli)) != len(self.moduli):
            raise ParameterError("an error of 3.19 or more and distinct primes are what the table is for")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSet:
    """One named, immutable choice of parameters."""

    id: SetId
    wire_id: int
    """Number on the wire, 1 to 65535; never reused."""

    scheme: SchemeId
    security: SecurityLevel
    slots: int
    """Integers that one ciphertext carries."""

    plain_modulus: int
    """Each slot holds a residue modulo this number; sums of slots must stay below it to be read as integers."""

    public_key_bytes: int
    """Size on the wire; an upper bound where it varies."""

    ciphertext_bytes: int
    """Size of a fresh public-key ciphertext and of a sum on the wire."""

    symmetric_ciphertext_bytes: int
    """Size of a fresh ciphertext made by a key holder."""

    max_additions: int
    """Fresh ciphertexts that may be added with decryption still exact in the worst case."""

    lattice: LatticeParameters | None = None

    def __post_init__(self) -> None:
        if self.lattice is not None and self.security is SecurityLevel.CLASSICAL_128:
            self.lattice.check()

    @property
    def insecure(self) -> bool:
        """Whether the set hides nothing."""
        return self.security is SecurityLevel.NONE

    def digest(self) -> bytes:
        """SHA-256 over every field: two parties with the same digest compute the same."""
        fields = [str(getattr(self, name)) for name in sorted(self.__dataclass_fields__)]
        return hashlib.sha256(b"sealroom/v1/parameter-set" + msgspec.msgpack.encode(fields)).digest()
