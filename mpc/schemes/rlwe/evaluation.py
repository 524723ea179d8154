"""Products with plaintexts, and what must follow before such a product is shown to a key holder.

A product alone is no protection of the plaintext: anyone with both ciphertexts divides one by the other, and the key
holder reads it in the noise. `flood` adds a fresh encryption (which hides it from all without the key) and noise that
covers the data-dependent one by a stated number of bits (which hides it from the key holder); both, always.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Entropy, SystemEntropy
from mpc.errors import ParameterError, RangeError
from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet
from mpc.schemes.base import Slots, check_slots
from mpc.schemes.rlwe.blocks import DEFAULT, BlockReader, Execution, block_of, for_blocks, release
from mpc.schemes.rlwe.encryption import PublicEncryptor
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.keystream import VectorKeystream
from mpc.schemes.rlwe.noise import bounds, flooded_noise, flooding_width, product_noise
from mpc.schemes.rlwe.ring import LANES
from mpc.schemes.rlwe.wire import Ciphertext, Kind, encode, parse_batch

__all__ = ["Evaluator"]

Words = NDArray[np.uint64]

Step = Callable[[int, BlockReader], None]


class Evaluator:
    """Multiplies by plaintexts, re-randomises and floods; knows no secret."""

    def __init__(
        self, parameters: ParameterSet, *, execution: Execution = DEFAULT, entropy: Entropy | None = None
    ) -> None:
        self._parameters = parameters
        self._ring = execution.ring(parameters)
        self._execution = execution
        self._entropy = entropy or SystemEntropy()

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set."""
        return self._parameters

    def multiply_plain(
        self,
        ciphertexts: Sequence[bytes],
        slots: Slots,
        *,
        coefficient_bound: int | None = None,
        terms: int | None = None,
    ) -> list[bytes]:
        """Multiply row by row, as polynomials modulo X^N + 1 and t; coefficients above t / 2 count as negative.

        Args:
            ciphertexts: One per row.
            slots: Plaintext polynomials, `(n, N)`.
            coefficient_bound: Public bound on the absolute value of every (centred) coefficient; None means t / 2.
            terms: Public bound on the number of non-zero coefficients of a row; None means N. The noise that the result
                states follows from the two bounds, not from the coefficients, and so tells nothing of them.

        Raises:
            WireError: A ciphertext breaks the format.
            RangeError: A coefficient or a row exceeds its bound.
            ParameterError: The result could not be decrypted for all plaintexts within the bound.
        """
        check_slots(slots, self._parameters)
        batch = self._paired(ciphertexts, slots)
        t = self._parameters.plain_modulus
        bound = t // 2 if coefficient_bound is None else coefficient_bound
        if not 1 <= bound <= t // 2:
            raise ParameterError("a coefficient bound lies between 1 and t / 2")
        if bound < t // 2 and bool(((slots > np.uint64(bound)) & (slots < np.uint64(t - bound))).any()):
            raise RangeError("a coefficient of a plaintext exceeds its bound")
        if terms is not None and slots.size and int(np.count_nonzero(slots, axis=1).max()) > terms:
            raise RangeError("a plaintext has more terms than its bound")
        noise = [self._decryptable(product_noise(self._parameters, one.noise, bound, terms)) for one in batch]
        constants, kernels = self._ring, pipeline()

        def step(block: int, reader: BlockReader) -> None:
            work = np.empty((1, constants.degree, LANES), dtype=np.uint64)
            kernels.multiply_block(
                reader.c0, reader.c1, block_of(slots, block), constants.plain, constants.scale,
                constants.modulus, constants.forward, work, constants.portable,
            )  # fmt: skip
            release(work)

        return self._map(batch, noise, step)

    def rerandomise(self, ciphertexts: Sequence[bytes], public_key: PublicKey) -> list[bytes]:
        """Add a fresh encryption of zero: unlinkable for whoever lacks the key. Its holder still sees the noise.

        Raises:
            WireError: A ciphertext breaks the format.
            ParameterError: The result could not be decrypted.
        """
        zeros = np.zeros((len(ciphertexts), self._parameters.slots), dtype=np.uint64)
        return self._cover(ciphertexts, public_key, zeros, flooding_bits=None)

    def flood(
        self, ciphertexts: Sequence[bytes], public_key: PublicKey, *, flooding_bits: int, cover: Slots | None = None
    ) -> list[bytes]:
        """Add a fresh encryption of `cover` (or of zero) and noise of `2^flooding_bits` times the bound that is stated.

        The result is within statistical distance N 2^-flooding_bits of one that depends on the plaintext result alone,
        for a key holder who kept to the protocol. One who states less noise than its ciphertext has loses nothing but
        the guarantee; the flooding does not defend against that. Reveals: to the key holder, the plaintext plus
        `cover`; to others, nothing.

        Args:
            ciphertexts: What a product left.
            public_key: Of the same parameter set.
            flooding_bits: 40 or more, unless the caller knows why.
            cover: Plaintext to add, `(n, N)`: uniform in the slots that nobody may read, zero in the others.

        Raises:
            WireError: A ciphertext breaks the format.
            ParameterError: There is no room for so much noise.
        """
        zeros = np.zeros((len(ciphertexts), self._parameters.slots), dtype=np.uint64)
        return self._cover(ciphertexts, public_key, zeros if cover is None else cover, flooding_bits=flooding_bits)

    def _cover(
        self, ciphertexts: Sequence[bytes], public_key: PublicKey, cover: Slots, *, flooding_bits: int | None
    ) -> list[bytes]:
        parameters, constants, kernels = self._parameters, self._ring, pipeline()
        if public_key.parameter_set != parameters.id:
            raise ParameterError("the public key is of another parameter set")
        batch = self._paired(ciphertexts, cover)
        most = max((one.noise for one in batch), default=1)
        width = 0 if flooding_bits is None else flooding_width(most, flooding_bits)
        noise = [self._decryptable(flooded_noise(parameters, one.noise, width)) for one in batch]
        encryptor = PublicEncryptor(public_key, execution=self._execution, entropy=self._entropy)
        fresh = parse_batch(encryptor.encrypt(cover), parameters)
        stream = VectorKeystream(self._entropy.token(32))
        size = 16 * constants.degree if width else 0

        def step(block: int, reader: BlockReader) -> None:
            words = np.empty(size, dtype=np.uint64)
            work = np.empty((1, constants.degree, LANES), dtype=np.uint64)
            stream.fill(block * size, words)
            other = BlockReader(constants)
            other.read(fresh[LANES * block : LANES * (block + 1)])
            kernels.cover_block(
                reader.c0, reader.c1, other.c0, other.c1, words, width, constants.scale,
                constants.modulus, constants.forward, work, constants.portable,
            )  # fmt: skip
            release(words, work)

        return self._map(batch, noise, step)

    def _paired(self, ciphertexts: Sequence[bytes], slots: Slots) -> list[Ciphertext]:
        if len(ciphertexts) != slots.shape[0]:
            raise ParameterError("there is one row of plaintext per ciphertext")
        return parse_batch(ciphertexts, self._parameters)

    def _decryptable(self, noise: int) -> int:
        if noise > bounds(self._parameters).limit:
            raise ParameterError(f"{self._parameters.id} has no room for this much noise")
        return noise

    def _map(self, batch: list[Ciphertext], noise: list[int], step: Step) -> list[bytes]:
        """Run a step on every block of a batch and pack what it leaves."""
        constants, kernels = self._ring, pipeline()
        out: list[bytes] = [b""] * len(batch)
        part = constants.primes * constants.degree * 25 // 32

        def work(blocks: range) -> None:
            reader = BlockReader(constants)
            packed = np.empty((LANES, 2 * part), dtype=np.uint64)
            for block in blocks:
                reader.read(batch[LANES * block : LANES * (block + 1)])
                step(block, reader)
                kernels.pack_block(reader.c0, packed, 0)
                kernels.pack_block(reader.c1, packed, part)
                for row in range(LANES * block, min(LANES * (block + 1), len(batch))):
                    out[row] = encode(self._parameters, Kind.RESULT, packed[row - LANES * block], noise=noise[row])

        for_blocks(-(-len(batch) // LANES), self._execution, work)
        return out
