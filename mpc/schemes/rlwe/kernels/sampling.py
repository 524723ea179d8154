"""From uniform words to errors, ternary secrets, uniform residues and flooding noise; and messages to multiples of q/t.

Arrays are uint64. Blocks have shape `(N, 8)`, messages `(8, N)`. Except for `uniform`, whose input is public, nothing
branches on a value or uses one as an index.
"""

import numpy as np
from numba import njit

from mpc.schemes.rlwe.kernels.words import high_product, ones

__all__ = [
    "add_message",
    "add_residues",
    "errors",
    "flooding",
    "key_secret",
    "lift",
    "multipliers_of",
    "ternary",
    "uniform",
    "uniform_lanes",
]

_21_BITS = np.uint64((1 << 21) - 1)
_50_BITS = np.uint64((1 << 50) - 1)
_62_BITS = np.uint64((1 << 62) - 1)
_ONE = np.uint64(1)
_SHIFT_21, _SHIFT_62 = np.uint64(21), np.uint64(62)


@njit(nogil=True)
def errors(words, q, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Centred binomial residues: of each word, the ones in 21 bits less the ones in the next 21. Variance 10.5."""
    flat = out.reshape(-1)
    for i in range(flat.size):
        w = words[i]
        e = ones(w & _21_BITS) - ones((w >> _SHIFT_21) & _21_BITS)
        flat[i] = min(e, e + q)  # a negative e is huge as an unsigned word, and e + q wraps to the residue


@njit(nogil=True)
def ternary(words, q, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Residues of -1, 0 and 1: four ternary digits of the fraction that 62 bits of each word are.

    Each group of four is within 81 / 2^63 of uniform in statistical distance. `words` is a quarter of the block.
    """
    flat = out.reshape(-1)
    quarter = flat.size >> 2
    for i in range(quarter):
        fraction = words[i] & _62_BITS
        for digit in range(4):
            tripled = fraction + (fraction << _ONE)
            value = (tripled >> _SHIFT_62) - _ONE
            fraction = tripled & _62_BITS
            flat[digit * quarter + i] = min(value, value + q)


@njit(nogil=True)
def key_secret(words, q, out, lane):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """One ternary digit per word, each within 2^-63 of uniform, as residues in one lane of a block."""
    for i in range(out.shape[0]):
        value = high_product(words[i], np.uint64(3)) - _ONE
        out[i, lane] = min(value, value + q)


@njit(nogil=True)
def uniform(words, q, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Exactly uniform residues `(N,)`: the first N words whose lower 50 bits are below q; False if there are not so many.

    The words are public: this one may branch.
    """
    have = 0
    for i in range(words.size):
        value = words[i] & _50_BITS
        if value < q:
            out[have] = value
            have += 1
            if have == out.size:
                return True
    return False


@njit(nogil=True)
def uniform_lanes(words, q, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """The same for the eight lanes of a block from words `(8, M)`, 32 rows at a time to stay in the nearest cache."""
    position = np.zeros(8, dtype=np.int64)
    limit = words.shape[1]
    for tile in range(0, out.shape[0], 32):
        for lane in range(8):
            place = position[lane]
            if place + 32 > limit:
                return False
            for row in range(tile, tile + 32):
                value = words[lane, place] & _50_BITS
                place += 1
                while value >= q and place < limit:
                    value = words[lane, place] & _50_BITS
                    place += 1
                if value >= q:
                    return False
                out[row, lane] = value
            position[lane] = place
    return True


@njit(nogil=True)
def add_message(message, plain, scale, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Add `floor(q m / t)` modulo q_i to a block: with s = q m mod t it is -s / t modulo q_i.

    `plain` is `(t, q mod t, its 64-bit quotient, whether q mod t is 1)` and `scale` is `(q_i, -1 / t, its quotient)`
    (Shoup's multiplication with 64-bit quotients; t < 2^62).
    """
    t, step, step_quotient = plain[0], plain[1], plain[2]
    q, by_t, by_t_quotient = scale[0], scale[1], scale[2]
    single = plain[3] == _ONE
    for j in range(out.shape[0]):
        for lane in range(8):
            s = message[lane, j]
            if not single:
                s = s * step - high_product(s, step_quotient) * t
                s = min(s, s - t)
            v = s * by_t - high_product(s, by_t_quotient) * q
            v = min(v, v - q) + out[j, lane]
            out[j, lane] = min(v, v - q)


@njit(nogil=True)
def lift(message, t, scale, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """A plaintext polynomial `(8, N)` with centred coefficients, as residues of a block."""
    q, inverse = scale[0], scale[3]
    wrap = t - high_product(t, inverse) * q
    wrap = min(wrap, wrap - q)
    half = t >> _ONE
    for j in range(out.shape[0]):
        for lane in range(8):
            m = message[lane, j]
            value = m - high_product(m, inverse) * q
            value = min(value, value - q)
            value = value - np.uint64(m > half) * wrap
            out[j, lane] = min(value, value + q)


@njit(nogil=True)
def flooding(words, bits, scale, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Residues of integers uniform in [-2^bits, 2^bits), bits below 127; words 2 i and 2 i + 1 make number i."""
    q, inverse, wrap, wrap_quotient = scale[0], scale[3], scale[4], scale[5]
    width = bits + 1
    low_mask = ~np.uint64(0) if width >= 64 else (_ONE << np.uint64(width)) - _ONE
    high_mask = (_ONE << np.uint64(width - 64)) - _ONE if width > 64 else np.uint64(0)
    offset = _ONE
    for _ in range(bits):
        offset = min(offset + offset, offset + offset - q)
    flat = out.reshape(-1)
    for i in range(flat.size):
        low, high = words[2 * i] & low_mask, words[2 * i + 1] & high_mask
        low = low - high_product(low, inverse) * q
        high = high * wrap - high_product(high, wrap_quotient) * q
        value = min(low, low - q) + min(high, high - q)
        value = min(value, value - q) + q - offset
        flat[i] = min(value, value - q)


@njit(nogil=True)
def multipliers_of(values, modulus, out, ifma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Multipliers `(N, 2)` of secret residues `(N,)`: what `mpc.schemes.rlwe.ring.multipliers` gives for public ones.

    IFMA: the quotient floor(2^52 w / q) from floor(2^113 / q), at most two short, then corrected. Portable: w centred
    and its product with the rounded 1 / q, whose relative error of 2^-52 the bounds allow.
    """
    q = modulus[0]
    half = q >> _ONE
    reals = modulus[1:3].view(np.float64)
    real_out = out.view(np.float64)
    for i in range(values.size):
        w = values[i]
        if ifma:
            quotient = (high_product(w, modulus[6]) << np.uint64(3)) | ((w * modulus[6]) >> np.uint64(61))
            rest = (w << np.uint64(52)) - quotient * q
            out[i, 0], out[i, 1] = w, quotient + np.uint64(rest >= q) + np.uint64(rest >= q + q)
        else:
            centred = np.float64(w) - reals[0] * np.float64(w > half)
            real_out[i, 0], real_out[i, 1] = centred, centred * reals[1]


@njit(nogil=True)
def add_residues(block, other, q):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Add canonical residues to canonical residues, in place."""
    flat, addend = block.reshape(-1), other.reshape(-1)
    for i in range(flat.size):
        value = flat[i] + addend[i]
        flat[i] = min(value, value - q)
