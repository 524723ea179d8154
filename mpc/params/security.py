"""Security levels and the tables behind them.

Lattice table: Homomorphic Encryption Standard, version 1.1 (Albrecht, Chase, Chen, Ding, Goldwasser, Gorbunov,
Halevi, Hoffstein, Laine, Lauter, Lokam, Micciancio, Moody, Morrison, Sahai, Vaikuntanathan; HomomorphicEncryption.org,
21 November 2018), table 1, classical attacks, secret distribution uniform ternary, error standard deviation 3.19 or
more: the largest total `log2 q` (with every auxiliary prime counted) that keeps 128 bits.

Factoring table: NIST SP 800-57 part 1 revision 5, table 2: a 3072-bit modulus for 128 bits.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = ["FACTORING_MODULUS_BITS_128", "LATTICE_LOG_Q_128", "MINIMUM_ERROR_DEVIATION", "SecurityLevel"]


class SecurityLevel(StrEnum):
    """What a parameter set promises."""

    CLASSICAL_128 = "128-bit classical"
    NONE = "none"


LATTICE_LOG_Q_128: Final[Mapping[int, int]] = MappingProxyType(
    {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
)
"""Ring degree N -> largest log2 q at 128 bits, ternary secret, classical cost model."""

FACTORING_MODULUS_BITS_128: Final = 3072

MINIMUM_ERROR_DEVIATION: Final = 3.19
