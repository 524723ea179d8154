"""Inner products of a vector of ciphertexts with many rows of plaintext polynomials, and what covers them.

Shapes: N coefficients, G = N / 8 groups of neighbouring values, k primes, S rows, C polynomials a row. A group of eight
residues is 25 halfwords: 50 bits each, least significant first. Everything is in evaluation form until `cover_block`,
which leaves coefficients. Arrays are C-contiguous; 64-bit words unless said otherwise.
"""

# ruff: noqa: FBT001 - compiled functions take their flags by position

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpc.schemes.rlwe.kernels import packing, sampling, transform
from mpc.schemes.rlwe.kernels.compiled import Static, compiled
from mpc.schemes.rlwe.kernels.products_rows import dot_four, dot_one, dot_three, dot_two
from mpc.schemes.rlwe.kernels.words import address, high_product, real, smaller, transpose, word

__all__ = [
    "arrange_query",
    "cover_products",
    "encode_rows",
    "expand_reply",
    "multiply_rows",
    "switch_modulus",
]

Words = NDArray[np.uint64]

_LOW_50: Final = np.uint64((1 << 50) - 1)
_LOW_16: Final = np.uint64(0xFFFF)
_16, _32, _48 = np.uint64(16), np.uint64(32), np.uint64(48)
_ONE = np.uint64(1)
_ROUND = 6755399441055744.0  # 1.5 * 2^52


@compiled
def encode_rows(
    coefficients: NDArray[np.int64],
    scale: Words,
    modulus: Words,
    forward: Words,
    work: Words,
    out: NDArray[np.uint16],
    row: int,
    first: int,
    count: int,
    portable: Static,
) -> None:
    """Transform eight signed polynomials `(8, N)` and store the first `count` of them.

    They become polynomials `first` and following of row `row` of `out`, `(k, G, S, C, 25)` halfwords, in which the
    groups of four rows (fewer at the end) alternate: the memory of rows 4 i to 4 i + 3 is `(C, 4, 25)`. Magnitudes are
    below every prime; `work` is `(N, 8)`.
    """
    n, terms = coefficients.shape[1], out.shape[3]
    base = row & ~3
    together = smaller(4, out.shape[2] - base)
    for i in range(scale.shape[0]):
        q = scale[i, 0]
        for j in range(n):
            for lane in range(8):
                value = np.uint64(coefficients[lane, j])  # a negative one is huge, and the sum wraps to its residue
                work[j, lane] = smaller(value, value + q)
        transform.forward(work, forward[i], modulus[i], portable)
        for group in range(n >> 3):
            rows = out[i, group, base : base + together].reshape((terms, together, 25))
            for lane in range(count):
                for h in range(25):
                    source = (16 * h) // 50
                    used = 16 * h - 50 * source
                    value = work[8 * group + source, lane] >> np.uint64(used)
                    if used > 34:
                        value |= work[8 * group + source + 1, lane] << np.uint64(50 - used)
                    rows[first + lane, row - base, h] = value & _LOW_16


@compiled
def arrange_query(c0: Words, c1: Words, out: Words, first: int) -> None:
    """Ciphertexts `(k, N, 8)` as terms `first` to `first + 8` of a query `(k, G, C, 2, 8)`."""
    stride = np.int64(out.strides[2])
    for i in range(c0.shape[0]):
        for group in range(c0.shape[1] >> 3):
            target = address(out[i, group, first])
            transpose(address(c0[i, 8 * group]), 64, target, stride)
            transpose(address(c1[i, 8 * group]), 64, target + 64, stride)


@compiled
def multiply_rows(
    matrix: NDArray[np.uint16],
    queries: Words,
    scale: Words,
    modulus: Words,
    reduction: Words,
    groups: tuple[int, int],
    rows: tuple[int, int],
    out: Words,
    portable: Static,
) -> None:
    """Some rows of a matrix times every query, for some groups (from the first number to before the second).

    Both numbers are multiples of four (the second may be that of all rows). `matrix` is as `encode_rows` leaves it and
    ends at least 14 bytes before its memory does; `queries` are `(Q, k, G, C', 2, 8)` with C' >= C; `reduction` are the
    multipliers of 1, 2^52 and 2^104, `(k, 3, 2)`; `out` is `(Q, R, 2, k, N)` with R at least the number of rows.
    """
    terms = matrix.shape[3]
    out_stride, second = np.int64(out.strides[1]), np.int64(out.strides[2])
    sums = np.empty((2, 2, 8), dtype=np.uint64)
    for i in range(matrix.shape[0]):
        block, constants = address(modulus[i]), address(reduction[i])
        for group in range(groups[0], groups[1]):
            for row in range(rows[0], rows[1], 4):
                together = smaller(4, rows[1] - row)
                source = matrix[i, group, row : row + together].reshape((terms, together, 25))
                for query in range(queries.shape[0]):
                    place = row - rows[0]
                    factors, target = queries[query, i, group], address(out[query, place, 0, i, 8 * group :])
                    if portable is not None:
                        for r in range(together):
                            _dot(source[:, r], factors, scale[i], sums)
                            for part in range(2):
                                out[query, place + r, part, i, 8 * group : 8 * group + 8] = sums[part, 0]
                        continue
                    places = (
                        address(source),
                        address(factors),
                        np.int64(terms),
                        target,
                        out_stride,
                        second,
                        block,
                        constants,
                    )
                    if together == 4:
                        dot_four(places)
                    elif together == 3:
                        dot_three(places)
                    elif together == 2:
                        dot_two(places)
                    else:
                        dot_one(places)


@compiled
def _dot(row: NDArray[np.uint16], query: Words, scale: Words, sums: Words) -> None:
    """The inner product of one row's groups `(C, 25)` with a query `(C', 2, 8)`, canonical, in `sums[:, 0]`.

    The sums are exact in two words, and 2^64 modulo q brings them below q.
    """
    sums[:] = np.uint64(0)
    for term in range(row.shape[0]):
        for lane in range(8):
            h = (50 * lane) >> 4
            near = np.uint64(row[term, h]) | (np.uint64(row[term, h + 1]) << _16)
            far = (np.uint64(row[term, h + 2]) << _32) | (np.uint64(row[term, h + 3]) << _48)
            value = ((near | far) >> np.uint64((50 * lane) & 15)) & _LOW_50
            for part in range(2):
                other = query[term, part, lane]
                low = sums[part, 0, lane] + value * other
                sums[part, 1, lane] += high_product(value, other) + np.uint64(low < sums[part, 0, lane])
                sums[part, 0, lane] = low
    q, inverse, wrap, wrap_quotient = scale[0], scale[3], scale[4], scale[5]
    for part in range(2):
        for lane in range(8):
            low, high = sums[part, 0, lane], sums[part, 1, lane]
            low = low - high_product(low, inverse) * q
            high = high * wrap - high_product(high, wrap_quotient) * q
            value = smaller(low, low - q) + smaller(high, high - q)
            sums[part, 0, lane] = smaller(value, value - q)


@compiled
def cover_products(
    products: Words,
    filling: Words,
    words: Words,
    p0: Words,
    p1: Words,
    width: int,
    plain: Words,
    scale: Words,
    modulus: Words,
    forward: Words,
    inverse: Words,
    open_factor: Words,
    factors: Words,
    work: Words,
    out: Words,
    rerandomise: bool,
    portable: Static,
) -> None:
    """Add a fresh encryption of `filling`, `(8, N)`, and flooding noise of `width` bits (none if 0) to eight products.

    Products are `(R, 2, k, N)` with R from 1 to 8; missing ones count as zero. The fresh encryption is
    `(p0 u + e0, p1 u + e1)`; p0 and p1 are multipliers `(k, N, 2)`. `words` are 2 N for u, `error_words(8 N)` for e0,
    as many for e1, 16 N for the flooding. The results go to `out`, `(2, k, N, 8)`: coefficients, times `(q / q_i)^-1`
    modulo each prime, the form in which fractions of q are added up (`open_factor` has it with 1 / N). `factors`,
    `(2, k, N, 2)`, are the multipliers `(q / q_i)^-1` and 2^49, repeated; `work` is `(4, N, 8)`.
    """
    n = filling.shape[1]
    third = 2 * ((8 * n + 2) // 3)
    for i in range(scale.shape[0]):
        q = scale[i, 0]
        _load(products, i, work)
        if rerandomise:
            sampling.ternary(words[: 2 * n], q, work[2])
            transform.forward(work[2], forward[i], modulus[i], portable)
            transform.multiply_add(work[2], p0[i], work[0], work[0], modulus[i], portable)
            transform.multiply_add(work[2], p1[i], work[1], work[1], modulus[i], portable)
        for part in range(2):
            transform.inverse(work[part], inverse[i], modulus[i], open_factor[i], portable)
        work[2] = np.uint64(0)
        if width > 0:
            _flooding(words[2 * n + 2 * third :], width, q, factors[1, i], modulus[i], work, portable)
        if rerandomise:
            sampling.errors(words[2 * n : 2 * n + third], q, work[3])
            sampling.add_residues(work[2], work[3], q)
        sampling.add_message(filling, plain, scale[i], work[2])
        transform.multiply_add(work[2], factors[0, i], work[0], out[0, i], modulus[i], portable)
        work[2] = np.uint64(0)
        if rerandomise:
            sampling.errors(words[2 * n + third : 2 * n + 2 * third], q, work[2])
        transform.multiply_add(work[2], factors[0, i], work[1], out[1, i], modulus[i], portable)


@compiled
def _load(products: Words, prime: int, work: Words) -> None:
    """Residues of eight products modulo one prime, as the blocks `work[0]` (c0) and `work[1]` (c1)."""
    count, stride = products.shape[0], np.int64(products.strides[0])
    for part in range(2):
        if count == 8:
            for group in range(work.shape[1] >> 3):
                source = address(products[0, part, prime, 8 * group :])
                transpose(source, stride, address(work[part, 8 * group]), 64)
        else:
            work[part] = np.uint64(0)
            for lane in range(count):
                for j in range(work.shape[1]):
                    work[part, j, lane] = products[lane, part, prime, j]


@compiled
def _flooding(
    words: Words, width: int, q: np.uint64, factor: Words, modulus: Words, work: Words, portable: Static
) -> None:
    """Residues of integers uniform in [-2^width, 2^width) in `work[2]`; width is 50 to 98, `work[3]` is overwritten.

    An integer of width + 1 bits is `a + 2^49 b`, with a and b below 2^49 < q; `factor` are multipliers 2^49.
    """
    low, high = work[2].reshape(-1), work[3].reshape(-1)
    low_mask, high_mask = (_ONE << np.uint64(49)) - _ONE, (_ONE << np.uint64(width - 48)) - _ONE
    offset = _ONE
    for _ in range(width):
        offset = smaller(offset + offset, offset + offset - q)
    for j in range(low.size):
        low[j], high[j] = words[j] & low_mask, words[low.size + j] & high_mask
    transform.multiply_add(work[3], factor, work[2], work[2], modulus, portable)
    for j in range(low.size):
        value = low[j] + (q - offset)
        low[j] = smaller(value, value - q)


@compiled
def switch_modulus(
    parts: Words, modulus: Words, start: int, step: int, stops: Words, bits: int, rows: Words, out: Words
) -> None:
    """`round(2^bits x / q)` modulo 2^bits of the x in one part of what `cover_products` leaves, packed.

    `parts` is `(k, N, 8)`; of lane l only coefficients `start`, `start + step`, ... below `stops[l]` are packed, `bits`
    each, into row l of `out`, `(8, words)`. `rows`, `(2, N, 8)` words, is working memory. The sum of fractions is off
    by less than (2 k + 1) 2^-53.
    """
    scale, reciprocal = np.float64(_ONE << np.uint64(bits)), real(modulus[0, 2])
    flat, mask = rows[0].reshape(-1), (_ONE << np.uint64(bits)) - _ONE
    first = parts[0].reshape(-1)
    for j in range(flat.size):
        flat[j] = word(np.float64(first[j]) * reciprocal)
    for i in range(1, parts.shape[0]):
        more, reciprocal = parts[i].reshape(-1), real(modulus[i, 2])
        for j in range(flat.size):
            total = real(flat[j]) + np.float64(more[j]) * reciprocal
            flat[j] = word(total - np.float64(total >= 1.0))
    for j in range(flat.size):
        flat[j] = np.uint64(np.int64((real(flat[j]) * scale + _ROUND) - _ROUND)) & mask
    n = parts.shape[1]
    turned = rows[1].reshape((8, n))
    for group in range(n >> 3):
        transpose(address(rows[0, 8 * group]), 64, address(turned) + 64 * group, 8 * n)
    for lane in range(8):
        _pack(turned[lane], start, step, int(stops[lane]), bits, out[lane])


@compiled
def _pack(values: Words, start: int, step: int, stop: int, bits: int, out: Words) -> None:
    word, used, place = np.uint64(0), 0, 0
    for j in range(start, stop, step):
        word |= values[j] << np.uint64(used)
        used += bits
        if used >= 64:
            out[place] = word
            place += 1
            used -= 64
            word = values[j] >> np.uint64(bits - used)
    if used:
        out[place] = word


@compiled
def expand_reply(
    packed: Words,
    start: int,
    step: int,
    stops: Words,
    bits: int,
    plain: Words,
    scale: Words,
    modulus: Words,
    forward: Words,
    message: Words,
    work: Words,
    out: Words,
    place: int,
    portable: Static,
) -> None:
    """The inverse of `switch_modulus`: `floor(q x / 2^bits)` in evaluation form, packed as a part of a ciphertext.

    `packed` is `(8, words)`; `plain` and `scale` are the constants of encoding with 2^bits in place of t; `message` is
    `(8, N)`, `work` `(N, 8)`; the part goes to the rows of `out` from word `place`. Coefficients not sent count as 0.
    """
    n = message.shape[1]
    message[:] = np.uint64(0)
    for lane in range(8):
        _unpack(packed[lane], start, step, int(stops[lane]), bits, message[lane])
    for i in range(scale.shape[0]):
        work[:] = np.uint64(0)
        sampling.add_message(message, plain, scale[i], work)
        transform.forward(work, forward[i], modulus[i], portable)
        packing.pack_lanes(work, out, place + i * (25 * n // 32))


@compiled
def _unpack(packed: Words, start: int, step: int, stop: int, bits: int, values: Words) -> None:
    mask, position = (_ONE << np.uint64(bits)) - _ONE, 0
    for j in range(start, stop, step):
        word, used = position >> 6, position & 63
        value = packed[word] >> np.uint64(used)
        if used + bits > 64:
            value |= packed[word + 1] << np.uint64(64 - used)
        values[j] = value & mask
        position += bits
