"""Plaintext polynomials in evaluation form, kept for many products.

A matrix has R rows of C polynomials. It takes 12.5 bytes per coefficient at two primes (50 bits each, nothing else), in
the order in which products read it: prime, group of eight values, four rows, term. Knows no secret key; what it holds
is the owner's.
"""

import importlib
import math
from collections.abc import Callable
from types import ModuleType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError, RangeError, ResourceExhausted
from mpc.params.base import ParameterSet
from mpc.schemes.rlwe.blocks import DEFAULT, Execution, for_blocks
from mpc.schemes.rlwe.noise import lattice_of
from mpc.schemes.rlwe.ring import LANES

__all__ = ["MOST_TERMS", "EncodedMatrix", "matrix_bytes", "product_kernels"]

Polynomials = NDArray[np.int64]

MOST_TERMS: Final = 4095
"""Unreduced sums of so many products stay within 64 bits."""

_MOST_MAGNITUDE: Final = 1 << 38
_ROW_HALFWORDS: Final = 25
_PAD_HALFWORDS: Final = 32


def product_kernels() -> ModuleType:
    """The module `mpc.schemes.rlwe.kernels.products`; the compiler is loaded on the first call, not before."""
    return importlib.import_module("mpc.schemes.rlwe.kernels.products")


def matrix_bytes(parameters: ParameterSet, rows: int, terms: int) -> int:
    """Memory of an encoded matrix."""
    lattice = lattice_of(parameters)
    groups = len(lattice.moduli) * lattice.degree // LANES
    return 2 * (groups * rows * terms * _ROW_HALFWORDS + _PAD_HALFWORDS)


class EncodedMatrix:
    """R rows of C polynomials, ready to be multiplied by ciphertexts.

    Args:
        parameters: A set of the rlwe scheme.
        rows: R.
        terms: C, at most 4095.
        polynomials: Row number to its C polynomials, `(C, N)` int64, for every row once; called from several threads.
        magnitude: Public bound on the sum of all absolute coefficients of a row, checked.
        memory_limit: Bytes that the encoded matrix may take; None for no limit.

    Raises:
        RangeError: A row exceeds the magnitude.
        ResourceExhausted: The matrix is larger than the limit; raised before anything is read.
    """

    def __init__(
        self,
        parameters: ParameterSet,
        *,
        rows: int,
        terms: int,
        polynomials: Callable[[int], Polynomials],
        magnitude: int,
        memory_limit: int | None = None,
        execution: Execution = DEFAULT,
    ) -> None:
        if rows < 1 or not 1 <= terms <= MOST_TERMS or not 1 <= magnitude < _MOST_MAGNITUDE:
            raise ParameterError(f"a matrix has rows, 1 to {MOST_TERMS} polynomials each, and a bound below 2^38")
        self.parameters, self.rows, self.terms, self.magnitude = parameters, rows, terms, magnitude
        self.memory_bytes = matrix_bytes(parameters, rows, terms)
        if memory_limit is not None and self.memory_bytes > memory_limit:
            raise ResourceExhausted("an encoded matrix exceeds its memory limit", reason="the catalogue is too large")
        self._ring = execution.ring(parameters)
        shape = (self._ring.primes, self._ring.degree // LANES, rows, terms, _ROW_HALFWORDS)
        flat = np.zeros(math.prod(shape) + _PAD_HALFWORDS, dtype=np.uint16)
        self.values = flat[: math.prod(shape)].reshape(shape)
        for_blocks(rows, execution, lambda some: self._encode(some, polynomials))

    def _encode(self, rows: range, polynomials: Callable[[int], Polynomials]) -> None:
        constants, kernels = self._ring, product_kernels()
        work = np.empty((constants.degree, LANES), dtype=np.uint64)
        block = np.zeros((LANES, constants.degree), dtype=np.int64)
        for row in rows:
            some = polynomials(row)
            if some.shape != (self.terms, constants.degree) or some.dtype != np.int64:
                raise ParameterError(f"a row is {self.terms} polynomials of {constants.degree} integers")
            largest = max(int(some.max()), -int(some.min()))  # at most 2^38, so that the sum below cannot overflow
            if largest > self.magnitude or int(np.abs(some).sum()) > self.magnitude:
                raise RangeError("a row of the matrix exceeds its declared magnitude")
            for first in range(0, self.terms, LANES):
                count = min(LANES, self.terms - first)
                block[:count] = some[first : first + count]
                kernels.encode_rows(
                    block, constants.scale, constants.modulus, constants.forward, work,
                    self.values, row, first, count, constants.portable,
                )  # fmt: skip
