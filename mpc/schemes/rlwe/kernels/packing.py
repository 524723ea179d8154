"""Bit packing: 50-bit residues in 64-bit words, 32 of them in 25.

A polynomial is cut in groups of 256 coefficients, and a group in 8 columns of 32: coefficient `256 g + 8 r + c` is
number r of column c. The 1600 bits of a column, least significant first, are 25 words, and word w of column c stands at
`200 g + 8 w + c`. So a vector unit handles 8 neighbouring coefficients at once, and a block of eight polynomials is
packed without transposing it.

`unpack_lanes`, `accumulate` and `unpack` report whether every residue was below its modulus.
"""

import numpy as np
from numba import njit

__all__ = ["accumulate", "pack", "pack_lanes", "reduce_sums", "retract", "unpack", "unpack_lanes"]

_BITS = 50
_MASK = np.uint64((1 << 50) - 1)
_ONE = np.uint64(1)
_63 = np.uint64(63)


@njit(nogil=True, inline="always")
def _word_sources(w):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """What makes word w of a column: its first coefficient and three shifts.

    The first coefficient goes right; the second left; the third left by one more than the last shift (so that 64, where
    nothing of it is in the word, is expressible), and it then need not exist.
    """
    first = (64 * w) // _BITS
    used = 64 * w - _BITS * first
    return first, np.uint64(used), np.uint64(_BITS - used), np.uint64(min(64, 2 * _BITS - used) - 1)


@njit(nogil=True)
def pack_lanes(block, out, start):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Pack the lanes of a block `(N, 8)` into the rows of `out`, `(8, words)`, from word `start`."""
    column = np.empty((32, 8), dtype=np.uint64)
    for group in range(block.shape[0] >> 8):
        for c in range(8):
            for r in range(32):
                for lane in range(8):
                    column[r, lane] = block[256 * group + 8 * r + c, lane]
            for w in range(25):
                first, right, left, far = _word_sources(w)
                third = min(first + 2, 31)
                place = start + 200 * group + 8 * w + c
                for lane in range(8):
                    out[lane, place] = (
                        (column[first, lane] >> right)
                        | (column[first + 1, lane] << left)
                        | ((column[third, lane] << far) << _ONE)
                    )


@njit(nogil=True, inline="always")
def _coefficient_source(r):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Where coefficient r of a column begins: word, right shift, and the following word (its bits may not count)."""
    word = (_BITS * r) >> 6
    return word, np.uint64(_BITS * r - 64 * word), min(word + 1, 24)


@njit(nogil=True)
def unpack_lanes(packed, start, q, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """The inverse of `pack_lanes`; returns whether all residues are below q."""
    largest = np.zeros(8, dtype=np.uint64)
    column = np.empty((25, 8), dtype=np.uint64)
    for group in range(out.shape[0] >> 8):
        for c in range(8):
            for w in range(25):
                for lane in range(8):
                    column[w, lane] = packed[lane, start + 200 * group + 8 * w + c]
            for r in range(32):
                word, right, following = _coefficient_source(r)
                for lane in range(8):
                    value = (column[word, lane] >> right) | ((column[following, lane] << _ONE) << (_63 - right))
                    value &= _MASK
                    out[256 * group + 8 * r + c, lane] = value
                    largest[lane] = max(largest[lane], value)
    return largest.max() < q


@njit(nogil=True)
def unpack(packed, q, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Unpack one polynomial `(words,)` to `(N,)`; returns whether all residues are below q."""
    largest = np.uint64(0)
    for group in range(out.size >> 8):
        for r in range(32):
            word, right, following = _coefficient_source(r)
            for c in range(8):
                near, far = packed[200 * group + 8 * word + c], packed[200 * group + 8 * following + c]
                value = ((near >> right) | ((far << _ONE) << (_63 - right))) & _MASK
                out[256 * group + 8 * r + c] = value
                largest = max(largest, value)
    return largest < q


@njit(nogil=True)
def accumulate(packed, q, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Unpack one polynomial and add it to lazy 64-bit sums; returns whether all residues are below q."""
    largest = np.uint64(0)
    for group in range(sums.size >> 8):
        for r in range(32):
            word, right, following = _coefficient_source(r)
            for c in range(8):
                near, far = packed[200 * group + 8 * word + c], packed[200 * group + 8 * following + c]
                value = ((near >> right) | ((far << _ONE) << (_63 - right))) & _MASK
                sums[256 * group + 8 * r + c] += value
                largest = max(largest, value)
    return largest < q


@njit(nogil=True)
def retract(packed, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Undo `accumulate`."""
    for group in range(sums.size >> 8):
        for r in range(32):
            word, right, following = _coefficient_source(r)
            for c in range(8):
                near, far = packed[200 * group + 8 * word + c], packed[200 * group + 8 * following + c]
                sums[256 * group + 8 * r + c] -= ((near >> right) | ((far << _ONE) << (_63 - right))) & _MASK


@njit(nogil=True)
def reduce_sums(sums, scale):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Bring lazy sums below q, in place, by the quotient floor(2^64 / q)."""
    q, inverse = scale[0], np.float64(1) / np.float64(scale[0])
    for i in range(sums.size):
        value = sums[i]
        value = value - np.uint64(np.float64(value) * inverse) * q
        value = min(value, value + q)
        sums[i] = min(value, value - q)


@njit(nogil=True)
def pack(values, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Pack one polynomial `(N,)` into `(words,)`."""
    for group in range(values.size >> 8):
        for w in range(25):
            first, right, left, far = _word_sources(w)
            base = 256 * group + 8 * first
            second, third, place = base + 8, 256 * group + 8 * min(first + 2, 31), 200 * group + 8 * w
            for c in range(8):
                near = (values[base + c] >> right) | (values[second + c] << left)
                out[place + c] = near | ((values[third + c] << far) << _ONE)
