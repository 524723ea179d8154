"""Whole steps of the scheme on one block of eight ciphertexts: what the rest of the package calls.

Shapes: N coefficients, k primes, L = 25 N / 32 words of a packed polynomial. Blocks are `(N, 8)`, messages `(8, N)`,
packed rows `(8, .)`; constants are the fields of `mpc.schemes.rlwe.ring.Ring`. All arrays are C-contiguous uint64; a
batch of fewer than eight is filled up with zeros. Compiled code is kept on disk
(`mpc.schemes.rlwe.kernels.compiled`); the interpreter's lock is released throughout. Types of arguments are always the
same, so that each step compiles once.
"""

# ruff: noqa: FBT001 - compiled functions take their flags by position

import numpy as np
from numpy.typing import NDArray

from mpc.schemes.rlwe.kernels import packing, rounding, sampling, transform
from mpc.schemes.rlwe.kernels.compiled import Static, compiled
from mpc.schemes.rlwe.kernels.host import host_has_vaes
from mpc.schemes.rlwe.kernels.keystream import fill_keystream
from mpc.schemes.rlwe.kernels.words import address, smaller, transpose

__all__ = [
    "accumulate_row",
    "cover_block",
    "encrypt_public",
    "encrypt_seeded",
    "expand_block",
    "expand_row",
    "fill_keystream",
    "host_has_vaes",
    "make_key",
    "make_multipliers",
    "multiply_block",
    "open_block",
    "pack_block",
    "reduce_and_pack",
    "retract_row",
    "unpack_block",
    "unpack_row",
]

Words = NDArray[np.uint64]


@compiled
def make_key(
    words: Words,
    uniform: Words,
    scale: Words,
    modulus: Words,
    forward: Words,
    work: Words,
    public: Words,
    secret: Words,
    portable: Static,
) -> None:
    """A key pair: public half `p0 = e - a s` and s in evaluation form, both `(k, N)`.

    `words` are N for the secret and `error_words(8 N)` (one lane of errors is used); `uniform`, `(k, N)`, is a.
    `work` is `(3, N, 8)` and is left holding secrets: the caller overwrites it.
    """
    n = public.shape[1]
    for i in range(scale.shape[0]):
        q = scale[i, 0]
        sampling.errors(words[n:], q, work[1])
        sampling.key_secret(words[:n], q, work[0], 0)
        for j in range(n):
            work[0, j, 1] = work[1, j, 0]
            for lane in range(2, 8):
                work[0, j, lane] = np.uint64(0)
        transform.forward(work[0], forward[i], modulus[i], portable)
        for j in range(n):
            secret[i, j] = work[2, j, 0] = work[0, j, 0]
            work[1, j, 0] = uniform[i, j]
        transform.multiply(work[1], work[2], work[1], modulus[i], portable)
        for j in range(n):
            difference = work[0, j, 1] - work[1, j, 0]
            public[i, j] = smaller(difference, difference + q)


@compiled
def make_multipliers(values: Words, modulus: Words, out: Words, negate: bool, portable: Static) -> None:
    """Multipliers `(k, N, 2)` of residues `(k, N)`, or of their negatives."""
    for i in range(values.shape[0]):
        row = values[i].copy()
        if negate:
            for j in range(row.size):
                opposite = modulus[i, 0] - row[j]
                row[j] = smaller(opposite, opposite - modulus[i, 0])
        sampling.multipliers_of(row, modulus[i], out[i], portable)
        row[:] = np.uint64(0)


@compiled
def encrypt_public(
    message: Words,
    words: Words,
    p0: Words,
    p1: Words,
    plain: Words,
    scale: Words,
    modulus: Words,
    forward: Words,
    work: Words,
    out: Words,
    portable: Static,
) -> None:
    """`(p0 u + e0 + floor(q m / t), p1 u + e1)` in evaluation form, packed into `out`, `(8, 2 k L)`.

    `words` are `error_words(8 N)` for e0, as many for e1, and 2 N for u. `p0` and `p1` are multipliers `(k, N, 2)`;
    `work` is `(3, N, 8)`.
    """
    n, k = message.shape[1], scale.shape[0]
    length, third = 25 * n // 32, 2 * ((8 * n + 2) // 3)
    for i in range(k):
        q = scale[i, 0]
        sampling.errors(words[:third], q, work[0])
        sampling.add_message(message, plain, scale[i], work[0])
        sampling.errors(words[third : 2 * third], q, work[1])
        sampling.ternary(words[2 * third :], q, work[2])
        for part in range(3):
            transform.forward(work[part], forward[i], modulus[i], portable)
        transform.multiply_add(work[2], p0[i], work[0], work[0], modulus[i], portable)
        transform.multiply_add(work[2], p1[i], work[1], work[1], modulus[i], portable)
        packing.pack_lanes(work[0], out, i * length)
        packing.pack_lanes(work[1], out, (k + i) * length)


@compiled
def encrypt_seeded(
    message: Words,
    words: Words,
    uniform: Words,
    minus_s: Words,
    plain: Words,
    scale: Words,
    modulus: Words,
    forward: Words,
    work: Words,
    out: Words,
    portable: Static,
) -> None:
    """`e + floor(q m / t) - a s` in evaluation form, packed into `out`, `(8, k L)`.

    `words` are `error_words(8 N)`; `uniform`, `(k, N, 8)`, is a; `minus_s` are multipliers `(k, N, 2)`; `work` is
    `(1, N, 8)`.
    """
    length = 25 * message.shape[1] // 32
    for i in range(scale.shape[0]):
        sampling.errors(words, scale[i, 0], work[0])
        sampling.add_message(message, plain, scale[i], work[0])
        transform.forward(work[0], forward[i], modulus[i], portable)
        transform.multiply_add(uniform[i], minus_s[i], work[0], work[0], modulus[i], portable)
        packing.pack_lanes(work[0], out, i * length)


@compiled
def expand_block(words: Words, scale: Words, out: Words) -> bool:
    """Uniform residues `(k, N, 8)` from public words `(8, k M)`: prime i reads its own M; False if some run short."""
    span = words.shape[1] // scale.shape[0]
    good = True
    for i in range(scale.shape[0]):
        good &= sampling.uniform_lanes(words[:, i * span : (i + 1) * span], scale[i, 0], out[i])
    return good


@compiled
def expand_row(words: Words, scale: Words, out: Words) -> bool:
    """The same for one ciphertext: words `(k M,)` to residues `(k, N)`."""
    span = words.size // scale.shape[0]
    good = True
    for i in range(scale.shape[0]):
        good &= sampling.uniform(words[i * span : (i + 1) * span], scale[i, 0], out[i])
    return good


@compiled
def unpack_block(packed: Words, start: int, scale: Words, out: Words) -> bool:
    """Unpack one part, `(k, N, 8)`, from packed rows at word `start`; returns whether all residues are canonical."""
    length = 25 * out.shape[1] // 32
    good = True
    for i in range(scale.shape[0]):
        good &= packing.unpack_lanes(packed, start + i * length, scale[i, 0], out[i])
    return good


@compiled
def open_block(
    c0: Words,
    c1: Words,
    s: Words,
    fraction: Words,
    factor: Words,
    plain: Words,
    modulus: Words,
    inverse: Words,
    high: Words,
    low: Words,
    out: Words,
    portable: Static,
    wide: Static,
) -> None:
    """Decrypt a block: `round(t [c0 + c1 s]_q / q) mod t` into `out`, `(8, N)`. `c0` is used as working memory.

    `x / q` modulo 1 is `sum_i y_i / q_i` modulo 1 with `y_i = [x (q / q_i)^-1]` modulo q_i. `s` are multipliers
    `(k, N, 2)`; `high` and `low`, `(N, 8)`, are working memory. `wide` says that t is above 2^32.
    """
    for i in range(c0.shape[0]):
        transform.multiply_add(c1[i], s[i], c0[i], c0[i], modulus[i], portable)
        transform.inverse(c0[i], inverse[i], modulus[i], factor[i], portable)
    if wide is None:
        rounding.round_doubles(c0, modulus, plain[0], low)
    else:
        rounding.round_words(c0, fraction, plain[0], high, low)
    for row in range(0, out.shape[1], 8):
        transpose(address(low) + 64 * row, 64, address(out) + 8 * row, np.int64(out.strides[0]))


@compiled
def unpack_row(packed: Words, scale: Words, out: Words) -> bool:
    """Unpack polynomials `(parts k, N)` from one packed row; returns whether all residues are canonical."""
    length = 25 * out.shape[1] // 32
    good = True
    for i in range(out.shape[0]):
        good &= packing.unpack(packed[i * length : (i + 1) * length], scale[i % scale.shape[0], 0], out[i])
    return good


@compiled
def accumulate_row(packed: Words, scale: Words, sums: Words) -> bool:
    """Add one packed row to lazy sums `(parts k, N)`; returns whether all residues are canonical.

    A lazy sum holds 2^14 - 1 residues below 2^50 before it must be reduced.
    """
    length = 25 * sums.shape[1] // 32
    good = True
    for i in range(sums.shape[0]):
        good &= packing.accumulate(packed[i * length : (i + 1) * length], scale[i % scale.shape[0], 0], sums[i])
    return good


@compiled
def retract_row(packed: Words, sums: Words) -> None:
    """Undo `accumulate_row`, whatever it returned."""
    length = 25 * sums.shape[1] // 32
    for i in range(sums.shape[0]):
        packing.retract(packed[i * length : (i + 1) * length], sums[i])


@compiled
def reduce_and_pack(sums: Words, scale: Words, out: Words) -> None:
    """Reduce lazy sums `(parts k, N)` in place and pack them into one row."""
    length = 25 * sums.shape[1] // 32
    for i in range(sums.shape[0]):
        packing.reduce_sums(sums[i], scale[i % scale.shape[0]])
        packing.pack(sums[i], out[i * length : (i + 1) * length])


@compiled
def pack_block(block: Words, out: Words, start: int) -> None:
    """Pack one part `(k, N, 8)` into rows from word `start`."""
    length = 25 * block.shape[1] // 32
    for i in range(block.shape[0]):
        packing.pack_lanes(block[i], out, start + i * length)


@compiled
def multiply_block(
    c0: Words,
    c1: Words,
    message: Words,
    plain: Words,
    scale: Words,
    modulus: Words,
    forward: Words,
    work: Words,
    portable: Static,
) -> None:
    """Multiply ciphertexts `(k, N, 8)` in place by the plaintext polynomials of a message, coefficients centred.

    `work` is `(1, N, 8)`.
    """
    for i in range(scale.shape[0]):
        sampling.lift(message, plain[0], scale[i], work[0])
        transform.forward(work[0], forward[i], modulus[i], portable)
        transform.multiply(c0[i], work[0], c0[i], modulus[i], portable)
        transform.multiply(c1[i], work[0], c1[i], modulus[i], portable)


@compiled
def cover_block(
    c0: Words,
    c1: Words,
    d0: Words,
    d1: Words,
    words: Words,
    width: int,
    scale: Words,
    modulus: Words,
    forward: Words,
    work: Words,
    portable: Static,
) -> None:
    """Add fresh ciphertexts `d` to ciphertexts `c` in place, and flooding noise of a width to c0 (none if 0).

    All `(k, N, 8)`; `words` has 16 N entries if the width is positive; `work` is `(1, N, 8)`.
    """
    for i in range(scale.shape[0]):
        if width > 0:
            sampling.flooding(words, width, scale[i], work[0])
            transform.forward(work[0], forward[i], modulus[i], portable)
            sampling.add_residues(c0[i], work[0], scale[i, 0])
        sampling.add_residues(c0[i], d0[i], scale[i, 0])
        sampling.add_residues(c1[i], d1[i], scale[i, 0])
