"""What needs no secret: encryption to a public key, sums, products with plaintexts, re-randomisation and flooding.

Scheme: Fan and Vercauteren 2012 (eprint 2012/144, section 4), without relinearisation; plaintexts are polynomials whose
coefficients are the slots ("coefficient packing"); ciphertexts stay in evaluation form, where addition and products with
plaintexts are value by value. README.md gives the equations.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Entropy, Keystream, SystemEntropy
from mpc.errors import ParameterError, WireError
from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Adder, Encryptor, Slots, check_slots
from mpc.schemes.rlwe.blocks import DEFAULT, Execution, block_of, expand_seeds, for_blocks, release
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.noise import fresh_public_noise, noise_limit
from mpc.schemes.rlwe.ring import LANES, Ring
from mpc.schemes.rlwe.wire import Ciphertext, Kind, encode, lattice_of, parse_batch, parse_key, region_words

__all__ = ["PublicEncryptor", "SumAdder", "adder", "encryptor", "validate_public_key"]

Words = NDArray[np.uint64]


def validate_public_key(parameters: ParameterSet, data: bytes) -> PublicKey:
    """Check a peer's public key.

    Raises:
        WireError: Length, header or a residue is wrong, or a polynomial is zero (which would encrypt nothing).
    """
    read_public_key(DEFAULT.ring(parameters), data)
    return PublicKey(parameters.id, data)


def read_public_key(constants: Ring, data: bytes) -> tuple[Words, Words]:
    """Both halves of a key in evaluation form, `(k, N)` each.

    Raises:
        WireError: As `validate_public_key`.
    """
    kernels = pipeline()
    seed, packed = parse_key(data, constants.parameters)
    p0 = np.empty((constants.primes, constants.degree), dtype=np.uint64)
    if not kernels.unpack_row(packed, constants.scale, p0):
        raise WireError("a residue of a public key is not below its modulus")
    if not p0.any(axis=1).all():
        raise WireError("a public key is zero")
    return p0, expand_key_seed(constants, seed)


def expand_key_seed(constants: Ring, seed: bytes) -> Words:
    """The uniform half of a public key, `(k, N)` (`WireError` if the seed gives too few residues)."""
    words = np.empty((1, constants.primes * region_words(constants.parameters)), dtype=np.uint64)
    expand_seeds(constants.parameters, [(seed, 0)], words)
    p1 = np.empty((constants.primes, constants.degree), dtype=np.uint64)
    if not pipeline().expand_row(words[0], constants.scale, p1):
        raise WireError("a seed gives too few residues")
    return p1


class PublicEncryptor:
    """Encrypts to a public key: `c = (p0 u + e0 + floor(q m / t), p1 u + e1)`, u ternary, errors centred binomial.

    Reveals: to everyone, the number of ciphertexts; nothing of the slots to anyone without the secret key (RLWE).
    """

    def __init__(
        self, public_key: PublicKey, *, execution: Execution = DEFAULT, entropy: Entropy | None = None
    ) -> None:
        self._parameters = parameter_set(public_key.parameter_set)
        self._ring = execution.ring(self._parameters)
        self._execution = execution
        self._entropy = entropy or SystemEntropy()
        kernels = pipeline()
        halves = []
        for half in read_public_key(self._ring, public_key.data):
            table = np.empty((*half.shape, 2), dtype=np.uint64)
            kernels.make_multipliers(half, False, self._ring.modulus, table, self._ring.ifma)
            halves.append(table)
        self._p0, self._p1 = halves

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        return self._parameters

    def encrypt(self, slots: Slots) -> list[bytes]:
        """Encrypt rows of residues, one ciphertext a row."""
        check_slots(slots, self._parameters)
        count = slots.shape[0]
        out: list[bytes] = [b""] * count
        if not count:
            return out
        stream = Keystream(self._entropy.token(32))
        for_blocks(-(-count // LANES), self._execution, lambda blocks: self._encrypt(slots, stream, blocks, out))
        return out

    def _encrypt(self, slots: Slots, stream: Keystream, blocks: range, out: list[bytes]) -> None:
        constants, kernels = self._ring, pipeline()
        n, noise = constants.degree, fresh_public_noise(self._parameters)
        words = np.empty(18 * n, dtype=np.uint64)
        work = np.empty((3, n, LANES), dtype=np.uint64)
        packed = np.empty((LANES, 2 * constants.primes * n * 25 // 32), dtype=np.uint64)
        for block in blocks:
            stream.fill(block * words.size, words)
            kernels.encrypt_public(
                block_of(slots, block), words, self._p0, self._p1, constants.plain, constants.scale,
                constants.modulus, constants.forward, work, packed, constants.ifma,
            )  # fmt: skip
            for row in range(LANES * block, min(LANES * (block + 1), slots.shape[0])):
                out[row] = encode(self._parameters, Kind.PUBLIC, packed[row - LANES * block], noise=noise)
        release(words, work)


def encryptor(public_key: PublicKey, *, execution: Execution = DEFAULT, entropy: Entropy | None = None) -> Encryptor:
    """An encryptor to a public key; `entropy` other than the system's is for known-answer tests."""
    return PublicEncryptor(public_key, execution=execution, entropy=entropy)


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


def adder(parameters: ParameterSet, *, execution: Execution = DEFAULT) -> Adder:
    """An adder for a parameter set."""
    return SumAdder(parameters, execution=execution)


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
        noise = [a + one.noise for a, one in zip(self._noise, batch, strict=True)]
        if any(n > noise_limit(parameters) for n in noise):
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
        words = np.empty((LANES, constants.primes * region_words(constants.parameters)), dtype=np.uint64)
        residues = np.empty((len(seeded), constants.primes, constants.degree), dtype=np.uint64)
        for start in range(0, len(seeded), LANES):
            some = seeded[start : start + LANES]
            expand_seeds(constants.parameters, [(one.seed, one.index) for one in some], words[: len(some)])
            for row in range(len(some)):
                if not pipeline().expand_row(words[row], constants.scale, residues[start + row]):
                    raise WireError("a seed gives too few residues")
        return residues

    def _reduce(self) -> list[Words]:
        constants = self._ring
        packed = [
            np.empty(constants.degree * constants.primes * 25 // 16, dtype=np.uint64) for _ in range(len(self._noise))
        ]

        def work(rows: range) -> None:
            for row in rows:
                pipeline().reduce_and_pack(self._sums[row], constants.scale, packed[row])

        for_blocks(len(packed), self._execution, work)
        self._lazy = 1
        return packed

    def finish(self) -> list[bytes]:
        """The sum, in the form a decryptor takes.

        Raises:
            ParameterError: Nothing was added.
        """
        if not self._added:
            raise ParameterError("nothing was added")
        return [
            encode(self._ring.parameters, self._kind, packed, noise=noise)
            for packed, noise in zip(self._reduce(), self._noise, strict=True)
        ]
