"""Encryption to a public key, and the reading of such keys."""

import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Entropy, SystemEntropy
from mpc.errors import WireError
from mpc.keys.public import PublicKey
from mpc.params.base import ParameterSet, SetId
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Slots, check_slots
from mpc.schemes.rlwe.blocks import DEFAULT, Execution, Pool, block_of, expand_seeds, for_blocks, least_blocks, release
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.keystream import VectorKeystream
from mpc.schemes.rlwe.noise import bounds
from mpc.schemes.rlwe.ring import LANES, Ring, error_words
from mpc.schemes.rlwe.wire import Kind, encode, parse_key, wire_format

__all__ = ["ENCRYPTED_RESIDUES", "PublicEncryptor", "expand_key_seed", "read_public_key"]

Words = NDArray[np.uint64]

ENCRYPTED_RESIDUES: Final = 1 << 16
"""What is encrypted in half a millisecond."""


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
    words = np.empty((1, constants.primes * wire_format(constants.parameters).region_words), dtype=np.uint64)
    expand_seeds([(seed, 0)], words)
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
            kernels.make_multipliers(half, self._ring.modulus, table, negate=False, portable=self._ring.portable)
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
        stream = VectorKeystream(self._entropy.token(32))
        for_blocks(
            -(-count // LANES),
            self._execution,
            lambda blocks: self._encrypt(slots, stream, blocks, out),
            least=least_blocks(self._ring, ENCRYPTED_RESIDUES),
        )
        return out

    def _encrypt(self, slots: Slots, stream: VectorKeystream, blocks: range, out: list[bytes]) -> None:
        constants, kernels, noise = self._ring, pipeline(), bounds(self._parameters).fresh_public
        with _scratches(self._parameters.id).use() as scratch:
            try:
                for block in blocks:
                    stream.fill(block * scratch.words.size, scratch.words)
                    kernels.encrypt_public(
                        block_of(slots, block), scratch.words, self._p0, self._p1, constants.plain, constants.scale,
                        constants.modulus, constants.forward, scratch.work, scratch.packed, constants.portable,
                    )  # fmt: skip
                    for row in range(LANES * block, min(LANES * (block + 1), slots.shape[0])):
                        packed = scratch.packed[row - LANES * block]
                        out[row] = encode(self._parameters, Kind.PUBLIC, packed, noise=noise)
            finally:
                release(scratch.words, scratch.work)


class _Scratch:
    """One thread's working memory of encryption; holds secrets until it is released."""

    def __init__(self, constants: Ring) -> None:
        n = constants.degree
        self.words = np.empty(2 * error_words(LANES * n) + 2 * n, dtype=np.uint64)
        self.work = np.empty((3, n, LANES), dtype=np.uint64)
        self.packed = np.empty((LANES, 2 * constants.primes * n * 25 // 32), dtype=np.uint64)


@functools.cache
def _scratches(set_id: SetId) -> Pool[_Scratch]:
    return Pool(lambda: _Scratch(DEFAULT.ring(parameter_set(set_id))))
