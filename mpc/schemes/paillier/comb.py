"""Powers of one base by a comb of precomputed products.

Lim, Lee, "More flexible exponentiation with precomputation" (CRYPTO '94): the exponent's `teeth x blocks x columns`
bits are read column by column; a table per block holds the product for every pattern of teeth. One power then costs
`teeth^-1` multiplications a bit and `columns - 1` squarings, against about 1.25 operations a bit without tables.

Which products are read depends on the exponent: this hides it from peers, not from a process that shares the cache.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from gmpy2 import mpz

from mpc.errors import ParameterError

__all__ = ["Comb", "CombShape", "cheapest_shape"]

_SQUARING: Final = 0.85
"""Cost of a modular squaring in multiplications, measured at 6144 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CombShape:
    """How a comb divides an exponent."""

    bits: int
    teeth: int
    blocks: int

    def __post_init__(self) -> None:
        if self.bits % (self.teeth * self.blocks):
            raise ParameterError("a comb divides its exponent evenly")

    @property
    def columns(self) -> int:
        """Bits that each tooth of each block covers."""
        return self.bits // (self.teeth * self.blocks)

    @property
    def entries(self) -> int:
        """Products in the tables."""
        return self.blocks << self.teeth

    def cost(self, count: int) -> float:
        """Modular multiplications for the tables and `count` powers."""
        build = _SQUARING * self.bits + self.entries
        power = self.bits / self.teeth + _SQUARING * (self.columns - 1)
        return build + count * power


def cheapest_shape(bits: int, count: int) -> CombShape:
    """The comb that makes `count` powers with the least work, the tables included.

    >>> [cheapest_shape(1536, count).teeth for count in (2, 50, 2000)]
    [4, 8, 12]
    """
    shapes = (CombShape(bits=bits, teeth=teeth, blocks=8) for teeth in (4, 6, 8, 12))
    return min(shapes, key=lambda shape: shape.cost(count))


class Comb:
    """Tables for powers of one base.

    Args:
        base: The base, between 1 and the modulus.
        modulus: The modulus.
        shape: How exponents are divided.
    """

    def __init__(self, base: mpz, modulus: mpz, shape: CombShape) -> None:
        self.shape = shape
        self._modulus = modulus
        strides = list(self._strided_squares(base, shape.teeth * shape.blocks))
        self._tables = [self._products(strides[block :: shape.blocks]) for block in range(shape.blocks)]

    def _strided_squares(self, base: mpz, count: int) -> Iterable[mpz]:
        power = base
        for _ in range(count):
            yield power
            for _ in range(self.shape.columns):
                power = power * power % self._modulus

    def _products(self, teeth: list[mpz]) -> list[mpz]:
        table = [mpz(1)]
        for tooth in teeth:
            table += [entry * tooth % self._modulus for entry in table]
        return table

    def power(self, exponent: bytes) -> mpz:
        """The base to an exponent of `bits / 8` little-endian bytes."""
        shape = self.shape
        bits = np.unpackbits(np.frombuffer(exponent, dtype=np.uint8), bitorder="little")
        if bits.size != shape.bits:
            raise ParameterError(f"an exponent has {shape.bits} bits")
        weights = np.left_shift(1, np.arange(shape.teeth))
        grid = bits.reshape(shape.teeth, shape.blocks, shape.columns)
        patterns = np.tensordot(weights, grid.astype(np.int64), axes=1).T.tolist()
        result = mpz(1)
        for column in reversed(patterns):
            result = result * result % self._modulus
            for table, pattern in zip(self._tables, column, strict=True):
                result = result * table[pattern] % self._modulus
        return result
