"""Sums of ciphertexts under a key that the adder cannot open."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ParameterError, WireError
from mpc.params.base import ParameterSet
from mpc.schemes.rlwe.blocks import DEFAULT, Execution, expand_seeds, for_blocks
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.noise import bounds, lattice_of
from mpc.schemes.rlwe.ring import LANES, Ring
from mpc.schemes.rlwe.wire import Ciphertext, Kind, encode, parse_batch, wire_format

__all__ = ["LazySum", "SumAdder"]

Words = NDArray[np.uint64]


class SumAdder:
    """Adds ciphertexts under one key it cannot open."""

    def __init__(self, parameters: ParameterSet, *, execution: Execution = DEFAULT) -> None:
        lattice_of(parameters)
        self._parameters = parameters
        self._execution = execution

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set."""
        return self._parameters

    def start(self, count: int) -> "LazySum":
        """Begin a sum of vectors of `count` ciphertexts."""
        return LazySum(self._execution.ring(self._parameters), self._execution, count)


class LazySum:
    """A running sum in 64-bit words that are reduced only when they could overflow; `16 k N` bytes a ciphertext."""

    _MOST_LAZY = (1 << 14) - 2

    def __init__(self, constants: Ring, execution: Execution, count: int) -> None:
        if count < 0:
            raise ParameterError("a sum has a number of ciphertexts")
        self._ring = constants
        self._execution = execution
        self._sums = np.zeros((count, 2 * constants.primes, constants.degree), dtype=np.uint64)
        self._noise = [0] * count
        self._kind = Kind.SUM
        self._lazy = 0
        self._added = False

    def add(self, ciphertexts: Sequence[bytes]) -> None:
        """Validate a contribution of the same length and add it.

        Raises:
            WireError: Bytes break the format, or the sum could not be decrypted; nothing was added.
        """
        parameters = self._ring.parameters
        if len(ciphertexts) != len(self._noise):
            raise WireError("a contribution has another number of ciphertexts")
        batch = parse_batch(ciphertexts, parameters)
        limit = bounds(parameters).limit
        noise = [a + one.noise for a, one in zip(self._noise, batch, strict=True)]
        if any(n > limit for n in noise):
            raise WireError("more ciphertexts than the parameter set can add")
        uniform = self._expand([one for one in batch if one.kind is Kind.SEEDED])
        if self._lazy >= self._MOST_LAZY:
            self._reduce()
        self._accumulate(batch, uniform)
        self._noise = noise
        self._lazy += 1
        self._added = True
        if any(one.kind is Kind.RESULT for one in batch):
            self._kind = Kind.RESULT

    def _accumulate(self, batch: list[Ciphertext], uniform: Words) -> None:
        k, kernels = self._ring.primes, pipeline()
        parts = [k if one.kind is Kind.SEEDED else 2 * k for one in batch]
        good = [True] * len(batch)

        def work(rows: range) -> None:
            for row in rows:
                good[row] = kernels.accumulate_row(batch[row].packed, self._ring.scale, self._sums[row, : parts[row]])

        for_blocks(len(batch), self._execution, work)
        if not all(good):
            for row, one in enumerate(batch):
                kernels.retract_row(one.packed, self._sums[row, : parts[row]])
            raise WireError("a residue of a ciphertext is not below its modulus")
        seeded = [row for row, one in enumerate(batch) if one.kind is Kind.SEEDED]
        for row, residues in zip(seeded, uniform, strict=True):
            self._sums[row, k:] += residues

    def _expand(self, seeded: list[Ciphertext]) -> Words:
        constants = self._ring
        words = np.empty((LANES, constants.primes * wire_format(constants.parameters).region_words), dtype=np.uint64)
        residues = np.empty((len(seeded), constants.primes, constants.degree), dtype=np.uint64)
        for start in range(0, len(seeded), LANES):
            some = seeded[start : start + LANES]
            expand_seeds([(one.seed, one.index) for one in some], words[: len(some)])
            for row in range(len(some)):
                if not pipeline().expand_row(words[row], constants.scale, residues[start + row]):
                    raise WireError("a seed gives too few residues")
        return residues

    def _reduce(self, out: list[bytes] | None = None) -> None:
        """Bring the sums below their moduli, and write them to `out` as ciphertexts."""
        constants = self._ring

        def work(rows: range) -> None:
            packed = np.empty(constants.degree * constants.primes * 25 // 16, dtype=np.uint64)
            for row in rows:
                pipeline().reduce_and_pack(self._sums[row], constants.scale, packed)
                if out is not None:
                    out[row] = encode(constants.parameters, self._kind, packed, noise=self._noise[row])

        for_blocks(len(self._noise), self._execution, work)
        self._lazy = 1

    def finish(self) -> list[bytes]:
        """The sum, in the form a decryptor takes.

        Raises:
            ParameterError: Nothing was added.
        """
        if not self._added:
            raise ParameterError("nothing was added")
        out = [b""] * len(self._noise)
        self._reduce(out)
        return out
