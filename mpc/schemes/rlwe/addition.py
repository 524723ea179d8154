"""Sums of ciphertexts under a key that the adder cannot open."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

import numpy as np

from mpc.errors import ParameterError, WireError
from mpc.params.base import ParameterSet
from mpc.schemes.rlwe.blocks import DEFAULT, Execution, expand_seeds, for_blocks
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.noise import bounds, lattice_of
from mpc.schemes.rlwe.ring import Ring
from mpc.schemes.rlwe.wire import Ciphertext, Kind, encode, parse_batch, wire_format

__all__ = ["LazySum", "SumAdder"]

_LEAST_ROWS: Final = 512
"""Fewer rows than this are not worth a thread: a row takes microseconds, and its threads wait for the interpreter."""


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


class _Outcome(Enum):
    """What became of one ciphertext of a contribution."""

    UNTOUCHED = auto()
    ADDED = auto()
    BAD = auto()
    """Added, with residues that are none."""


class _Scratch:
    """Room for the uniform half of one seeded ciphertext."""

    def __init__(self, constants: Ring) -> None:
        self._scale = constants.scale
        span = constants.primes * wire_format(constants.parameters).region_words
        self._words = np.empty((1, span), dtype=np.uint64)
        self.residues = np.empty((constants.primes, constants.degree), dtype=np.uint64)

    def expand(self, one: Ciphertext) -> bool:
        """Draw the half into `residues`; False if the seed gives too few."""
        expand_seeds([(one.seed, one.index)], self._words)
        return bool(pipeline().expand_row(self._words[0], self._scale, self.residues))


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
        if self._lazy >= self._MOST_LAZY:
            self._reduce()
        self._accumulate(batch)
        self._noise = noise
        self._lazy += 1
        self._added = True
        if any(one.kind is Kind.RESULT for one in batch):
            self._kind = Kind.RESULT

    def _accumulate(self, batch: list[Ciphertext]) -> None:
        """Add all or nothing: residues are only known to be good when they have been unpacked, so adding is undone."""
        outcomes = [_Outcome.UNTOUCHED] * len(batch)

        def work(rows: range) -> None:
            scratch = _Scratch(self._ring)
            for row in rows:
                outcomes[row] = self._add_row(row, batch[row], scratch)

        for_blocks(len(batch), self._execution, work, least=_LEAST_ROWS)
        if all(outcome is _Outcome.ADDED for outcome in outcomes):
            return
        scratch = _Scratch(self._ring)
        for row, one in enumerate(batch):
            if outcomes[row] is not _Outcome.UNTOUCHED:
                self._retract_row(row, one, scratch)
        raise WireError("a residue of a ciphertext is not below its modulus, or a seed gives too few")

    def _add_row(self, row: int, one: Ciphertext, scratch: "_Scratch") -> "_Outcome":
        k, scale, sums = self._ring.primes, self._ring.scale, self._sums[row]
        if one.kind is Kind.SEEDED:
            if not scratch.expand(one):
                return _Outcome.UNTOUCHED
            sums[k:] += scratch.residues
            sums = sums[:k]
        return _Outcome.ADDED if pipeline().accumulate_row(one.packed, scale, sums) else _Outcome.BAD

    def _retract_row(self, row: int, one: Ciphertext, scratch: "_Scratch") -> None:
        k, sums = self._ring.primes, self._sums[row]
        if one.kind is Kind.SEEDED:
            scratch.expand(one)
            sums[k:] -= scratch.residues
            sums = sums[:k]
        pipeline().retract_row(one.packed, sums)

    def _reduce(self, out: list[bytes] | None = None) -> None:
        """Bring the sums below their moduli, and write them to `out` as ciphertexts."""
        constants = self._ring
        packed = np.empty(constants.degree * constants.primes * 25 // 16, dtype=np.uint64)
        for row, noise in enumerate(self._noise):
            pipeline().reduce_and_pack(self._sums[row], constants.scale, packed)
            if out is not None:
                out[row] = encode(constants.parameters, self._kind, packed, noise=noise)
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
