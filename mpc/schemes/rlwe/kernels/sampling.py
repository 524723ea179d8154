"""From uniform words to errors, ternary secrets, uniform residues and flooding noise; and messages to multiples of q/t.

Arrays are uint64. Blocks have shape `(N, 8)`, messages `(8, N)`. Except for `uniform`, whose input is public, nothing
branches on a value or uses one as an index.
"""

import numpy as np
from numpy.typing import NDArray

from mpc.schemes.rlwe.kernels.compiled import Static, compiled
from mpc.schemes.rlwe.kernels.words import address, high_product, larger, ones, real, scratch, smaller, transpose, word

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

Words = NDArray[np.uint64]

_21_BITS = np.uint64((1 << 21) - 1)
_50_BITS = np.uint64((1 << 50) - 1)
_62_BITS = np.uint64((1 << 62) - 1)
_ONE = np.uint64(1)
_SHIFT_21, _SHIFT_42, _SHIFT_62 = np.uint64(21), np.uint64(42), np.uint64(62)


@compiled
def errors(words: Words, q: np.uint64, out: Words) -> None:
    """Centred binomial residues: the ones in 21 uniform bits less the ones in 21 others. Variance 10.5.

    Two words make three: the lower 42 bits of each, and bits 42 to 62 of one against those of the other. The block of
    F = 8 N residues takes `error_words(F)` words; numbers i, T + i and 2 T + i come from words i and T + i, with
    T = ceil(F / 3).
    """
    flat = out.reshape(-1)
    third = (flat.size + 2) // 3
    for i in range(2 * third):
        w = words[i]
        e = ones(w & _21_BITS) - ones((w >> _SHIFT_21) & _21_BITS)
        flat[i] = smaller(e, e + q)  # a negative e is huge as an unsigned word, and e + q wraps to the residue
    for i in range(flat.size - 2 * third):
        e = ones((words[i] >> _SHIFT_42) & _21_BITS) - ones((words[third + i] >> _SHIFT_42) & _21_BITS)
        flat[2 * third + i] = smaller(e, e + q)


@compiled
def ternary(words: Words, q: np.uint64, out: Words) -> None:
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
            flat[digit * quarter + i] = smaller(value, value + q)


@compiled
def key_secret(words: Words, q: np.uint64, out: Words, lane: int) -> None:
    """One ternary digit per word, each within 2^-63 of uniform, as residues in one lane of a block."""
    for i in range(out.shape[0]):
        value = high_product(words[i], np.uint64(3)) - _ONE
        out[i, lane] = smaller(value, value + q)


@compiled
def uniform(words: Words, q: np.uint64, out: Words) -> bool:
    """Exactly uniform residues `(N,)`: the first N words whose lower 50 bits are below q; False if these are too few.

    The words are public: this one may branch.
    """
    have = place = 0
    while have < out.size and place < words.size:
        if have + 8 <= out.size and place + 8 <= words.size:
            largest = np.uint64(0)
            for x in range(8):
                value = words[place + x] & _50_BITS
                out[have + x] = value
                largest = larger(largest, value)
            if largest < q:
                have, place = have + 8, place + 8
                continue
        value = words[place] & _50_BITS
        place += 1
        if value < q:
            out[have] = value
            have += 1
    return have == out.size


@compiled
def uniform_lanes(words: Words, q: np.uint64, out: Words) -> bool:
    """The same for the eight lanes of a block from words `(8, M)`, eight rows at a time."""
    position, tile, limit = scratch(8), scratch(64), words.shape[1]
    for row in range(0, out.shape[0], 8):
        for lane in range(8):
            place = np.int64(position[lane])
            if place + 8 > limit:
                return False
            largest = np.uint64(0)
            for x in range(8):
                value = words[lane, place + x] & _50_BITS
                tile[8 * lane + x] = value
                largest = larger(largest, value)
            if largest < q:
                position[lane] = np.uint64(place + 8)
                continue
            have = 0
            while have < 8 and place < limit:
                value = words[lane, place] & _50_BITS
                place += 1
                if value < q:
                    tile[8 * lane + have] = value
                    have += 1
            if have < 8:
                return False
            position[lane] = np.uint64(place)
        transpose(address(tile), 64, address(out) + 64 * row, 64)
    return True


@compiled
def add_message(message: Words, plain: Words, scale: Words, out: Words) -> None:
    """Add `floor(q m / t)` modulo q_i to a block: with s = q m mod t it is -s / t modulo q_i.

    `plain` is `(t, q mod t, its 64-bit quotient, whether q mod t is 1)` and `scale` is `(q_i, -1 / t, its quotient)`
    (Shoup's multiplication with 64-bit quotients; t < 2^62).
    """
    t, step, step_quotient = plain[0], plain[1], plain[2]
    q, by_t, by_t_quotient = scale[0], scale[1], scale[2]
    single, exact = plain[3] == _ONE, by_t * t == q - _ONE  # one prime, and q = t Delta + 1: no reduction
    flat, tile, stride = out.reshape(-1), scratch(64), np.int64(message.strides[0])
    for row in range(0, out.shape[0], 8):
        transpose(address(message) + 8 * row, stride, address(tile), 64)
        base = 8 * row
        if exact:
            for x in range(64):
                v = tile[x] * by_t + flat[base + x]
                flat[base + x] = smaller(v, v - q)
            continue
        for x in range(64):
            s = tile[x]
            if not single:
                s = s * step - high_product(s, step_quotient) * t
                s = smaller(s, s - t)
            v = s * by_t - high_product(s, by_t_quotient) * q
            v = smaller(v, v - q) + flat[base + x]
            flat[base + x] = smaller(v, v - q)


@compiled
def lift(message: Words, t: np.uint64, scale: Words, out: Words) -> None:
    """A plaintext polynomial `(8, N)` with centred coefficients, as residues of a block."""
    q, inverse = scale[0], scale[3]
    wrap = t - high_product(t, inverse) * q
    wrap = smaller(wrap, wrap - q)
    half = t >> _ONE
    for j in range(out.shape[0]):
        for lane in range(8):
            m = message[lane, j]
            value = m - high_product(m, inverse) * q
            value = smaller(value, value - q)
            value = value - np.uint64(m > half) * wrap
            out[j, lane] = smaller(value, value + q)


@compiled
def flooding(words: Words, bits: int, scale: Words, out: Words) -> None:
    """Residues of integers uniform in [-2^bits, 2^bits), bits below 127; words 2 i and 2 i + 1 make number i."""
    q, inverse, wrap, wrap_quotient = scale[0], scale[3], scale[4], scale[5]
    width = bits + 1
    low_mask = ~np.uint64(0) if width >= 64 else (_ONE << np.uint64(width)) - _ONE
    high_mask = (_ONE << np.uint64(width - 64)) - _ONE if width > 64 else np.uint64(0)
    offset = _ONE
    for _ in range(bits):
        offset = smaller(offset + offset, offset + offset - q)
    flat = out.reshape(-1)
    for i in range(flat.size):
        low, high = words[2 * i] & low_mask, words[2 * i + 1] & high_mask
        low = low - high_product(low, inverse) * q
        high = high * wrap - high_product(high, wrap_quotient) * q
        value = smaller(low, low - q) + smaller(high, high - q)
        value = smaller(value, value - q) + q - offset
        flat[i] = smaller(value, value - q)


@compiled
def multipliers_of(values: Words, modulus: Words, out: Words, portable: Static) -> None:
    """Multipliers `(N, 2)` of secret residues `(N,)`: what `mpc.schemes.rlwe.ring.multipliers` gives for public ones.

    IFMA: the quotient floor(2^52 w / q) from floor(2^113 / q), at most two short, then corrected. Portable: w centred
    and its product with the rounded 1 / q, whose relative error of 2^-52 the bounds allow.
    """
    q = modulus[0]
    half = q >> _ONE
    real_q, reciprocal = real(modulus[1]), real(modulus[2])
    for i in range(values.size):
        w = values[i]
        if portable is None:
            quotient = (high_product(w, modulus[6]) << np.uint64(3)) | ((w * modulus[6]) >> np.uint64(61))
            rest = (w << np.uint64(52)) - quotient * q
            out[i, 0], out[i, 1] = w, quotient + np.uint64(rest >= q) + np.uint64(rest >= q + q)
        else:
            centred = np.float64(np.int64(w)) - real_q * np.float64(w > half)
            out[i, 0], out[i, 1] = word(centred), word(centred * reciprocal)


@compiled
def add_residues(block: Words, other: Words, q: np.uint64) -> None:
    """Add canonical residues to canonical residues, in place."""
    flat, addend = block.reshape(-1), other.reshape(-1)
    for i in range(flat.size):
        value = flat[i] + addend[i]
        flat[i] = smaller(value, value - q)
