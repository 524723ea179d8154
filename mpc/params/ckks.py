"""Parameter sets of the `ckks` scheme.

They stand apart from `PARAMETER_SETS`: those are rings of integers that sums and layouts can use, and nothing that is
approximate may be taken for one.

The modulus has room for what real-valued scoring needs between the noise and the top: items at a scale of 46 bits, so
that their rounding stays below 2^-24; 40 bits of flooding over the noise that these items leave; the score above that.
The primes are 1 modulo 2N, as large as possible below 2^50 (`mpc.schemes.ckks` multiplies modulo them in doubles).
The last prime is carried by keys alone, as SEAL wants it, and is as small as N allows; it counts for security.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import msgspec

from mpc.errors import ParameterError
from mpc.params.base import LatticeParameters, SetId
from mpc.params.security import SecurityLevel

__all__ = ["CKKS_SETS", "CkksParameters", "ckks_parameters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CkksParameters:
    """One named, immutable choice of parameters."""

    id: SetId
    wire_id: int
    """Number on the wire, 1 to 65535; shared with no set of any scheme."""

    security: SecurityLevel
    lattice: LatticeParameters

    def __post_init__(self) -> None:
        self.lattice.check()

    @property
    def slots(self) -> int:
        """Real numbers that one ciphertext carries."""
        return self.lattice.degree // 2

    @property
    def q(self) -> int:
        """The ciphertext modulus."""
        return math.prod(self.lattice.moduli)

    @property
    def key_moduli(self) -> tuple[int, ...]:
        """The primes of keys."""
        special = self.lattice.special_modulus
        return self.lattice.moduli if special is None else (*self.lattice.moduli, special)

    def digest(self) -> bytes:
        """SHA-256 over every field."""
        fields = [str(getattr(self, name)) for name in sorted(self.__dataclass_fields__)]
        return hashlib.sha256(b"sealroom/v1/ckks-parameters" + msgspec.msgpack.encode(fields)).digest()


CKKS_SETS: Final[tuple[CkksParameters, ...]] = (
    CkksParameters(
        id=SetId("ckks-8192-q150"),
        wire_id=50,
        security=SecurityLevel.CLASSICAL_128,
        lattice=LatticeParameters(
            degree=8192,
            moduli=(1125899906826241, 1125899906629633, 1125899905744897),
            special_modulus=65537,
            error_deviation=math.sqrt(10.5),
        ),
    ),
)


def ckks_parameters(name: str) -> CkksParameters:
    """Find a set by name.

    Raises:
        ParameterError: No set has this name.
    """
    for one in CKKS_SETS:
        if one.id == name:
            return one
    raise ParameterError(f"no parameter set of the ckks scheme is named {name[:60]!r}")
