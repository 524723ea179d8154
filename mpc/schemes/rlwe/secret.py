"""Keys and what holds them: generation, derivation from a seed, symmetric encryption, decryption.

The coordinator never loads this module. The material of a secret key is a seed of 32 bytes, from which the ternary
secret, the key's error and the uniform half follow; a group's key travels as these 32 bytes.
"""

import functools
import weakref
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Entropy, SystemEntropy, expand
from mpc.errors import KeyAccessError, ParameterError, WireError
from mpc.keys.public import PublicKey
from mpc.keys.secret import SecretKey
from mpc.params.base import ParameterSet, SetId
from mpc.params.catalogue import parameter_set
from mpc.schemes.base import Decryptor, Encryptor, Slots, check_slots
from mpc.schemes.rlwe.blocks import (
    DEFAULT,
    Execution,
    Pool,
    block_of,
    expand_seeds,
    for_blocks,
    least_blocks,
    readers,
    release,
)
from mpc.schemes.rlwe.encryption import ENCRYPTED_RESIDUES, expand_key_seed
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.keystream import VectorKeystream
from mpc.schemes.rlwe.noise import bounds
from mpc.schemes.rlwe.ring import LANES, Ring, error_words
from mpc.schemes.rlwe.warm import Warmer, warm_encryption
from mpc.schemes.rlwe.wire import MAX_INDEX, SEED_BYTES, Ciphertext, Kind, encode, parse_batch, wire_format

__all__ = [
    "KEYS",
    "OPENING",
    "STAGES",
    "RlweDecryptor",
    "SymmetricEncryptor",
    "decryptor",
    "derive",
    "generate",
    "symmetric_encryptor",
    "warm_keys",
    "warm_opening",
    "warm_symmetric",
]

Words = NDArray[np.uint64]

_OPENED_RESIDUES: Final = 1 << 17
"""What is opened in half a millisecond."""

_MATERIAL_BYTES: Final = 32
_DERIVE: Final = b"sealroom/v1/rlwe/derive"
_SECRET: Final = b"sealroom/v1/rlwe/secret"
_UNIFORM: Final = b"sealroom/v1/rlwe/uniform"


def generate(parameters: ParameterSet, entropy: Entropy) -> tuple[PublicKey, SecretKey]:
    """A fresh key pair."""
    return _from_material(parameters, entropy.token(_MATERIAL_BYTES))


def derive(parameters: ParameterSet, seed: bytes, info: bytes) -> tuple[PublicKey, SecretKey]:
    """The key pair of a label: equal for all holders of the seed, independent for different labels.

    Raises:
        ParameterError: The seed has fewer than 32 bytes.
    """
    return _from_material(parameters, expand(seed, _DERIVE + parameters.digest() + info, _MATERIAL_BYTES))


def _from_material(parameters: ParameterSet, material: bytes) -> tuple[PublicKey, SecretKey]:
    constants = DEFAULT.ring(parameters)
    s, p0, seed = _expand_material(constants, material)
    release(s)
    packed = np.empty(constants.primes * constants.degree * 25 // 32, dtype=np.uint64)
    pipeline().reduce_and_pack(p0, constants.scale, packed)
    data = encode(parameters, Kind.PUBLIC_KEY, packed, seed=seed)
    return PublicKey(parameters.id, data), SecretKey(parameters.id, material)


def _expand_material(constants: Ring, material: bytes) -> tuple[Words, Words, bytes]:
    """The secret and the public half `e - a s`, in evaluation form, `(k, N)`, and the seed of a."""
    if len(material) != _MATERIAL_BYTES:
        raise ParameterError("the material of an rlwe key has 32 bytes")
    n, digest = constants.degree, constants.parameters.digest()
    words = np.empty(n + error_words(LANES * n), dtype=np.uint64)
    VectorKeystream(expand(material, _SECRET + digest)).fill(0, words)
    seed = expand(material, _UNIFORM + digest, SEED_BYTES)
    uniform = expand_key_seed(constants, seed)
    work = np.empty((3, n, LANES), dtype=np.uint64)
    public, secret = np.empty_like(uniform), np.empty_like(uniform)
    pipeline().make_key(
        words, uniform, constants.scale, constants.modulus, constants.forward, work, public, secret, constants.portable
    )
    release(words, work)
    return secret, public, seed


def _secret_multipliers(constants: Ring, material: bytes, *, negate: bool) -> Words:
    secret, _, _ = _expand_material(constants, material)
    table = np.empty((*secret.shape, 2), dtype=np.uint64)
    pipeline().make_multipliers(secret, constants.modulus, table, negate=negate, portable=constants.portable)
    release(secret)
    return table


class SymmetricEncryptor:
    """Encrypts with the secret key: `c = (e + floor(q m / t) - a s, a)`, a drawn from a public seed that travels.

    Half the size of a public-key ciphertext and less noise.
    Reveals: to everyone, the number of ciphertexts; nothing of the slots to anyone without the key (RLWE).
    """

    def __init__(self, secret: SecretKey, *, execution: Execution = DEFAULT, entropy: Entropy | None = None) -> None:
        self._parameters = parameter_set(secret.parameter_set)
        self._ring = execution.ring(self._parameters)
        self._execution = execution
        self._entropy = entropy or SystemEntropy()
        self._minus_s = _secret_multipliers(self._ring, secret.material(), negate=True)
        weakref.finalize(self, release, self._minus_s)

    def __reduce__(self) -> NoReturn:
        raise KeyAccessError("what holds a secret key is not pickled")

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        return self._parameters

    def encrypt(self, slots: Slots) -> list[bytes]:
        """Encrypt rows of residues, one ciphertext a row; all rows share a fresh seed."""
        check_slots(slots, self._parameters)
        count = slots.shape[0]
        if count > MAX_INDEX:
            raise ParameterError("a seeded batch has at most 2^31 - 1 ciphertexts")
        out: list[bytes] = [b""] * count
        while count:
            coins = self._entropy.token(32 + SEED_BYTES)
            stream, seed = VectorKeystream(coins[:32]), coins[32:]
            try:
                for_blocks(
                    -(-count // LANES),
                    self._execution,
                    lambda blocks, stream=stream, seed=seed: self._encrypt(slots, stream, seed, blocks, out),  # type: ignore[misc]
                    least=least_blocks(self._ring, ENCRYPTED_RESIDUES),
                )
            except WireError:  # the seed gives too few residues (2^-60 or less): nothing has left, take another
                continue
            break
        return out

    def _encrypt(self, slots: Slots, stream: VectorKeystream, seed: bytes, blocks: range, out: list[bytes]) -> None:
        constants, kernels, parameters = self._ring, pipeline(), self._parameters
        noise = bounds(parameters).fresh_symmetric
        with _scratches(parameters.id).use() as scratch:
            try:
                for block in blocks:
                    first = LANES * block
                    stream.fill(block * scratch.words.size, scratch.words)
                    expand_seeds([(seed, first + lane) for lane in range(LANES)], scratch.public)
                    if not kernels.expand_block(scratch.public, constants.scale, scratch.uniform):
                        raise WireError("a seed gives too few residues")
                    kernels.encrypt_seeded(
                        block_of(slots, block), scratch.words, scratch.uniform, self._minus_s, constants.plain,
                        constants.scale, constants.modulus, constants.forward, scratch.work, scratch.packed,
                        constants.portable,
                    )  # fmt: skip
                    for row in range(first, min(first + LANES, slots.shape[0])):
                        packed = scratch.packed[row - first]
                        out[row] = encode(parameters, Kind.SEEDED, packed, noise=noise, seed=seed, index=row)
            finally:
                release(scratch.words, scratch.work)


class _Scratch:
    """One thread's working memory of symmetric encryption; holds secrets until it is released."""

    def __init__(self, constants: Ring) -> None:
        n, k = constants.degree, constants.primes
        self.words = np.empty(error_words(LANES * n), dtype=np.uint64)
        self.public = np.empty((LANES, k * wire_format(constants.parameters).region_words), dtype=np.uint64)
        self.uniform = np.empty((k, n, LANES), dtype=np.uint64)
        self.work = np.empty((1, n, LANES), dtype=np.uint64)
        self.packed = np.empty((LANES, k * n * 25 // 32), dtype=np.uint64)


@functools.cache
def _scratches(set_id: SetId) -> Pool[_Scratch]:
    return Pool(lambda: _Scratch(DEFAULT.ring(parameter_set(set_id))))


def symmetric_encryptor(
    secret: SecretKey, *, execution: Execution = DEFAULT, entropy: Entropy | None = None
) -> Encryptor:
    """An encryptor for the holder of a key; it takes the material and is no opening."""
    return SymmetricEncryptor(secret, execution=execution, entropy=entropy)


class RlweDecryptor:
    """Opens the ciphertexts of one round: `m = round(t [c0 + c1 s]_q / q) mod t`.

    Making one consumes the key's single opening; its batches are the ciphertexts of that round.
    """

    def __init__(self, secret: SecretKey, *, execution: Execution = DEFAULT) -> None:
        self._parameters = parameter_set(secret.parameter_set)
        self._ring = execution.ring(self._parameters)
        self._execution = execution
        self._s = _secret_multipliers(self._ring, secret.open_once(), negate=False)
        weakref.finalize(self, release, self._s)

    def __reduce__(self) -> NoReturn:
        raise KeyAccessError("what holds a secret key is not pickled")

    @property
    def parameters(self) -> ParameterSet:
        """The parameter set of the key."""
        return self._parameters

    def decrypt(self, ciphertexts: Sequence[bytes]) -> Slots:
        """Validate and decrypt, `(len(ciphertexts), slots)`; nothing is returned unless all are well formed.

        Raises:
            WireError: Bytes break the format.
        """
        batch = parse_batch(ciphertexts, self._parameters)
        out = np.empty((-(-len(batch) // LANES), LANES, self._ring.degree), dtype=np.uint64)
        least = least_blocks(self._ring, _OPENED_RESIDUES)
        for_blocks(out.shape[0], self._execution, lambda blocks: self._decrypt(batch, blocks, out), least=least)
        return out.reshape(-1, self._ring.degree)[: len(batch)]

    def _decrypt(self, batch: list[Ciphertext], blocks: range, out: Words) -> None:
        constants, kernels = self._ring, pipeline()
        high, low = (np.empty((constants.degree, LANES), dtype=np.uint64) for _ in range(2))
        with readers(self._parameters.id, constants.arithmetic).use() as reader:
            try:
                for block in blocks:
                    reader.read(batch[LANES * block : LANES * (block + 1)])
                    kernels.open_block(
                        reader.c0, reader.c1, self._s, constants.fraction, constants.open_factor, constants.plain,
                        constants.modulus, constants.inverse, high, low, out[block], constants.portable,
                        constants.wide,
                    )  # fmt: skip
            finally:
                release(high, low, reader.c0)


def decryptor(secret: SecretKey, *, execution: Execution = DEFAULT) -> Decryptor:
    """A decryptor, which consumes the key's one opening.

    Raises:
        KeyAccessError: The key was opened before.
    """
    return RlweDecryptor(secret, execution=execution)


def warm_keys(parameter_sets: Iterable[ParameterSet]) -> None:
    """Load or compile what making a key runs, by making one that is thrown away."""
    for parameters in parameter_sets:
        with generate(parameters, SystemEntropy())[1]:
            pass


def warm_opening(parameter_sets: Iterable[ParameterSet], *, execution: Execution = DEFAULT) -> None:
    """Load or compile what the owner of a key runs, by opening words of ones with a key that is thrown away."""
    for parameters in parameter_sets:
        constants = execution.ring(parameters)
        ones = np.ones(2 * constants.primes * constants.degree * 25 // 32, dtype=np.uint64)
        ciphertext = encode(parameters, Kind.PUBLIC, ones, noise=bounds(parameters).fresh_public)
        with generate(parameters, SystemEntropy())[1] as secret:
            RlweDecryptor(secret, execution=execution).decrypt([ciphertext])


def warm_symmetric(parameter_sets: Iterable[ParameterSet], *, execution: Execution = DEFAULT) -> None:
    """Load or compile what the holder of a group's key runs to contribute, with a key that is thrown away."""
    for parameters in parameter_sets:
        with generate(parameters, SystemEntropy())[1] as secret:
            slots = np.zeros((1, parameters.slots), dtype=np.uint64)
            SymmetricEncryptor(secret, execution=execution).encrypt(slots)


STAGES: Final[Mapping[str, Warmer]] = MappingProxyType(
    {"encryption": warm_encryption, "keys": warm_keys, "opening": warm_opening, "symmetric": warm_symmetric}
)
"""What a party runs, first what its first job needs first."""

KEYS: Final[Mapping[str, Warmer]] = MappingProxyType({"keys": warm_keys})
"""What an analyst runs before it asks."""

OPENING: Final[Mapping[str, Warmer]] = MappingProxyType({"opening": warm_opening})
"""What an analyst runs when totals arrive."""
