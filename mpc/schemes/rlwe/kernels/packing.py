"""Bit packing: 50-bit residues in 64-bit words, 32 of them in 25.

A polynomial is cut in groups of 256 coefficients, and a group in 8 columns of 32: coefficient `256 g + 8 r + c` is
number r of column c. The 1600 bits of a column, least significant first, are 25 words, and word w of column c stands at
`200 g + 8 w + c`. So a vector unit handles 8 neighbouring coefficients at once, and a block of eight polynomials is
packed without transposing it.

`unpack_lanes`, `accumulate` and `unpack` report whether every residue was below its modulus.
"""

import numpy as np
from numpy.typing import NDArray

from mpc.schemes.rlwe.kernels.columns import add_row, pack_row, subtract_row, unpack_row
from mpc.schemes.rlwe.kernels.compiled import compiled
from mpc.schemes.rlwe.kernels.words import address, larger, scratch, smaller, transpose

__all__ = ["accumulate", "pack", "pack_lanes", "reduce_sums", "retract", "unpack", "unpack_lanes"]

Words = NDArray[np.uint64]

_BITS = 50
_MASK = np.uint64((1 << 50) - 1)
_ONE = np.uint64(1)
_63 = np.uint64(63)
_NEAR_GROUPS = 8  # groups lie 2048 bytes apart: more of them would share the sets of the nearest cache


@compiled
def _word_sources(w: int) -> tuple[int, np.uint64, np.uint64, np.uint64]:
    """What makes word w of a column: its first coefficient and three shifts.

    The first coefficient goes right; the second left; the third left by one more than the last shift (so that 64, where
    nothing of it is in the word, is expressible), and it then need not exist.
    """
    first = (64 * w) // _BITS
    used = 64 * w - _BITS * first
    return first, np.uint64(used), np.uint64(_BITS - used), np.uint64(smaller(64, 2 * _BITS - used) - 1)


@compiled
def pack_lanes(block: Words, out: Words, start: int) -> None:
    """Pack the lanes of a block `(N, 8)` into the rows of `out`, `(8, words)`, from word `start`.

    The words w of the 8 columns of 8 lanes come from neighbouring words of the block; they are transposed on their way.
    """
    flat, tile, stride = block.reshape(-1), scratch(64), np.int64(out.strides[0])
    target = address(out) + 8 * start
    for group in range(block.shape[0] >> 8):
        for w in range(25):
            first, right, left, far = _word_sources(w)
            base = 2048 * group + 64 * first
            second, third = base + 64, 2048 * group + 64 * smaller(first + 2, 31)
            for x in range(64):
                near = (flat[base + x] >> right) | (flat[second + x] << left)
                tile[x] = near | ((flat[third + x] << far) << _ONE)
            transpose(address(tile), 64, target + 64 * (25 * group + w), stride)


@compiled
def _coefficient_source(r: int) -> tuple[int, np.uint64, int]:
    """Where coefficient r of a column begins: word, right shift, and the following word (its bits may not count)."""
    word = (_BITS * r) >> 6
    return word, np.uint64(_BITS * r - 64 * word), smaller(word + 1, 24)


@compiled
def _all_below(values: Words, q: np.uint64) -> bool:
    largest = np.uint64(0)
    for x in range(values.size):
        largest = larger(largest, values[x])
    return bool(largest < q)


@compiled
def unpack_lanes(packed: Words, start: int, q: np.uint64, out: Words) -> bool:
    """The inverse of `pack_lanes`; returns whether all residues are below q."""
    flat, stride = out.reshape(-1), np.int64(packed.strides[0])
    tiles, largest = scratch(1600), scratch(64)
    source = address(packed) + 8 * start
    for group in range(out.shape[0] >> 8):
        for w in range(25):
            transpose(source + 64 * (25 * group + w), stride, address(tiles) + 512 * w, 64)
        for r in range(32):
            word, right, following = _coefficient_source(r)
            near, far, base = 64 * word, 64 * following, 2048 * group + 64 * r
            for x in range(64):
                value = ((tiles[near + x] >> right) | ((tiles[far + x] << _ONE) << (_63 - right))) & _MASK
                flat[base + x] = value
                largest[x] = larger(largest[x], value)
    return _all_below(largest, q)


@compiled
def unpack(packed: Words, q: np.uint64, out: Words) -> bool:
    """Unpack one polynomial `(words,)` to `(N,)`; returns whether all residues are below q."""
    largest = scratch(8)
    for group in range(0, out.size >> 8, _NEAR_GROUPS):
        base, place = address(packed) + 1600 * group, address(out) + 2048 * group
        groups = smaller(_NEAR_GROUPS, (out.size >> 8) - group)
        for r in range(32):
            word, right, following = _coefficient_source(r)
            unpack_row(base + 64 * word, base + 64 * following, right, groups, place + 64 * r, address(largest))
    return _all_below(largest, q)


@compiled
def accumulate(packed: Words, q: np.uint64, sums: Words) -> bool:
    """Unpack one polynomial and add it to lazy 64-bit sums; returns whether all residues are below q."""
    largest = scratch(8)
    for group in range(0, sums.size >> 8, _NEAR_GROUPS):
        base, place = address(packed) + 1600 * group, address(sums) + 2048 * group
        groups = smaller(_NEAR_GROUPS, (sums.size >> 8) - group)
        for r in range(32):
            word, right, following = _coefficient_source(r)
            add_row(base + 64 * word, base + 64 * following, right, groups, place + 64 * r, address(largest))
    return _all_below(largest, q)


@compiled
def retract(packed: Words, sums: Words) -> None:
    """Undo `accumulate`."""
    largest = scratch(8)
    for group in range(0, sums.size >> 8, _NEAR_GROUPS):
        base, place = address(packed) + 1600 * group, address(sums) + 2048 * group
        groups = smaller(_NEAR_GROUPS, (sums.size >> 8) - group)
        for r in range(32):
            word, right, following = _coefficient_source(r)
            subtract_row(base + 64 * word, base + 64 * following, right, groups, place + 64 * r, address(largest))


@compiled
def reduce_sums(sums: Words, scale: Words) -> None:
    """Bring lazy sums below q, in place, by the quotient floor(2^64 / q)."""
    q, inverse = scale[0], np.float64(1) / np.float64(scale[0])
    for i in range(sums.size):
        value = sums[i]
        value = value - np.uint64(np.float64(value) * inverse) * q
        value = smaller(value, value + q)
        sums[i] = smaller(value, value - q)


@compiled
def pack(values: Words, out: Words) -> None:
    """Pack one polynomial `(N,)` into `(words,)`."""
    for group in range(0, values.size >> 8, _NEAR_GROUPS):
        base, place = address(values) + 2048 * group, address(out) + 1600 * group
        groups = smaller(_NEAR_GROUPS, (values.size >> 8) - group)
        for w in range(25):
            first, right, left, far = _word_sources(w)
            third = smaller(first + 2, 31)
            pack_row(base + 64 * first, base + 64 * third, right, left, far, groups, place + 64 * w)
