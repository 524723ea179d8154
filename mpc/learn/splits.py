"""Splits that every party computes alone: which rows are held out is a function of their keys and a declared seed.

The hash is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17).
It is not a secret and protects nothing; it only has to be the same everywhere.
"""

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["bucket", "key_hash", "pair_bucket", "shard", "splitmix64"]

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_SHARD_SALT: Final = 99


def splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64-bit words.

    >>> hex(int(splitmix64(np.array([0], dtype=np.uint64))[0]))
    '0xe220a8397b1dcdaf'
    """
    z: NDArray[np.uint64] = values + _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def key_hash(keys: NDArray[Any]) -> NDArray[np.uint64]:
    """Keys as 64-bit words: an integer is itself (two's complement), a text its BLAKE2b-64."""
    if keys.dtype.kind in "iub":
        return keys.astype(np.int64).view(np.uint64)
    distinct, inverse = np.unique(keys.astype(str), return_inverse=True)
    words = [int.from_bytes(hashlib.blake2b(k.encode(), digest_size=8).digest(), "little") for k in distinct.tolist()]
    return np.array(words, dtype=np.uint64)[inverse.reshape(-1)]


def _reduce(words: NDArray[np.uint64], salt: int, modulus: int) -> NDArray[np.int64]:
    mixed = splitmix64(splitmix64(words) + np.uint64(salt))
    return (mixed % np.uint64(modulus)).astype(np.int64)


def bucket(keys: NDArray[Any], seed: int, modulus: int) -> NDArray[np.int64]:
    """Bucket of each key in `[0, modulus)`: `splitmix64(splitmix64(key) + seed) mod modulus`."""
    return _reduce(key_hash(keys), seed, modulus)


def pair_bucket(first: NDArray[Any], second: NDArray[Any], seed: int, modulus: int) -> NDArray[np.int64]:
    """Bucket of each pair of keys.

    Two integers in `[0, 2**32)` are joined as `first << 32 | second`; any other pair as
    `splitmix64(hash(first)) + hash(second)`.

    >>> pair_bucket(np.array([1, 610]), np.array([1, 170875]), 0, 10).tolist()
    [4, 9]
    """
    left, right = key_hash(first), key_hash(second)
    joined = splitmix64(left) + right
    if first.dtype.kind in "iub" and second.dtype.kind in "iub":
        limit = np.uint64(1 << 32)
        small = (left < limit) & (right < limit)
        joined = np.where(small, (left << np.uint64(32)) | right, joined)
    return _reduce(joined, seed, modulus)


def shard(keys: NDArray[Any], parties: int) -> NDArray[np.int64]:
    """Party of each key in a simulated room: `splitmix64(splitmix64(key) + 99) mod parties`.

    >>> shard(np.array([1, 2, 610]), 5).tolist()
    [0, 0, 1]
    """
    return _reduce(key_hash(keys), _SHARD_SALT, parties)
