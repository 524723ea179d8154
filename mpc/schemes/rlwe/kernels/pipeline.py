"""Whole steps of the scheme on one block of eight ciphertexts: what the rest of the package calls.

Shapes: N coefficients, k primes, L = 25 N / 32 words of a packed polynomial. Blocks are `(N, 8)`, messages `(8, N)`,
packed rows `(8, .)`; constants are the fields of `mpc.schemes.rlwe.ring.Ring`. All arrays are C-contiguous uint64; a
batch of fewer than eight is filled up with zeros. Compiled code is kept on disk (`mpc.schemes.rlwe.kernels.compiled`); the
interpreter's lock is released throughout. Types of arguments are always the same, so each step compiles once.
"""

import numpy as np

from mpc.schemes.rlwe.kernels import packing, sampling, transform
from mpc.schemes.rlwe.kernels.compiled import compiled
from mpc.schemes.rlwe.kernels.words import high_product

__all__ = [
    "accumulate_row",
    "cover_block",
    "encrypt_public",
    "encrypt_seeded",
    "expand_block",
    "expand_row",
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


@compiled
def make_key(words, uniform, scale, modulus, forward, work, public, secret, ifma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """A key pair: public half `p0 = e - a s` and s in evaluation form, both `(k, N)`.

    `words` has 9 N entries: N for the secret, 8 N for the error (of which one lane is used); `uniform`, `(k, N)`, is a.
    `work` is `(3, N, 8)` and is left holding secrets: the caller overwrites it.
    """
    n = public.shape[1]
    for i in range(scale.shape[0]):
        q = scale[i, 0]
        sampling.errors(words[n:], q, work[1])
        work[0, :, :] = np.uint64(0)
        sampling.key_secret(words[:n], q, work[0], 0)
        work[0, :, 1] = work[1, :, 0]
        transform.forward(work[0], forward[i], modulus[i], ifma)
        secret[i] = work[0, :, 0]
        work[1, :, 0], work[2, :, 0] = uniform[i], work[0, :, 0]
        transform.multiply(work[1], work[2], work[1], modulus[i], ifma)
        for j in range(n):
            difference = work[0, j, 1] - work[1, j, 0]
            public[i, j] = min(difference, difference + q)


@compiled
def make_multipliers(values, negate, modulus, out, ifma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Multipliers `(k, N, 2)` of residues `(k, N)`, or of their negatives."""
    for i in range(values.shape[0]):
        row = values[i].copy()
        if negate:
            for j in range(row.size):
                opposite = modulus[i, 0] - row[j]
                row[j] = min(opposite, opposite - modulus[i, 0])
        sampling.multipliers_of(row, modulus[i], out[i], ifma)
        row[:] = np.uint64(0)


@compiled
def encrypt_public(message, words, p0, p1, plain, scale, modulus, forward, work, out, ifma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """`(p0 u + e0 + floor(q m / t), p1 u + e1)` in evaluation form, packed into `out`, `(8, 2 k L)`.

    `words` has 18 N entries: 8 N for e0, 8 N for e1, 2 N for u. `p0` and `p1` are multipliers `(k, N, 2)`; `work` is
    `(3, N, 8)`.
    """
    n, k = message.shape[1], scale.shape[0]
    length = 25 * n // 32
    for i in range(k):
        q = scale[i, 0]
        sampling.errors(words[: 8 * n], q, work[0])
        sampling.add_message(message, plain, scale[i], work[0])
        sampling.errors(words[8 * n : 16 * n], q, work[1])
        sampling.ternary(words[16 * n :], q, work[2])
        for part in range(3):
            transform.forward(work[part], forward[i], modulus[i], ifma)
        transform.multiply_add(work[2], p0[i], work[0], work[0], modulus[i], ifma)
        transform.multiply_add(work[2], p1[i], work[1], work[1], modulus[i], ifma)
        packing.pack_lanes(work[0], out, i * length)
        packing.pack_lanes(work[1], out, (k + i) * length)


@compiled
def encrypt_seeded(message, words, uniform, minus_s, plain, scale, modulus, forward, work, out, ifma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """`e + floor(q m / t) - a s` in evaluation form, packed into `out`, `(8, k L)`.

    `words` has 8 N entries for e; `uniform`, `(k, N, 8)`, is a; `minus_s` are multipliers `(k, N, 2)`; `work` is
    `(1, N, 8)`.
    """
    length = 25 * message.shape[1] // 32
    for i in range(scale.shape[0]):
        sampling.errors(words, scale[i, 0], work[0])
        sampling.add_message(message, plain, scale[i], work[0])
        transform.forward(work[0], forward[i], modulus[i], ifma)
        transform.multiply_add(uniform[i], minus_s[i], work[0], work[0], modulus[i], ifma)
        packing.pack_lanes(work[0], out, i * length)


@compiled
def expand_block(words, scale, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Uniform residues `(k, N, 8)` from public words `(8, k M)`: prime i reads its own M; False if some run short."""
    span = words.shape[1] // scale.shape[0]
    good = True
    for i in range(scale.shape[0]):
        good &= sampling.uniform_lanes(words[:, i * span : (i + 1) * span], scale[i, 0], out[i])
    return good


@compiled
def expand_row(words, scale, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """The same for one ciphertext: words `(k M,)` to residues `(k, N)`."""
    span = words.size // scale.shape[0]
    good = True
    for i in range(scale.shape[0]):
        good &= sampling.uniform(words[i * span : (i + 1) * span], scale[i, 0], out[i])
    return good


@compiled
def unpack_block(packed, start, scale, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Unpack one part, `(k, N, 8)`, from packed rows at word `start`; returns whether all residues are canonical."""
    length = 25 * out.shape[1] // 32
    good = True
    for i in range(scale.shape[0]):
        good &= packing.unpack_lanes(packed, start + i * length, scale[i, 0], out[i])
    return good


@compiled
def open_block(c0, c1, s, fraction, factor, plain, modulus, inverse, high, low, out, ifma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Decrypt a block: `round(t [c0 + c1 s]_q / q) mod t` into `out`, `(8, N)`. `c0` is used as working memory.

    `x / q` modulo 1 is `sum_i y_i / q_i` with `y_i = [x (q / q_i)^-1]` modulo q_i; it is kept as a 128-bit fraction in
    `high` and `low`, `(N, 8)`, whose error is below k 2^-78. `s` are multipliers `(k, N, 2)`.
    """
    k, n = c0.shape[0], c0.shape[1]
    high[:, :], low[:, :] = np.uint64(0), np.uint64(0)
    high_words, low_words = high.reshape(-1), low.reshape(-1)
    for i in range(k):
        transform.multiply_add(c1[i], s[i], c0[i], c0[i], modulus[i], ifma)
        transform.inverse(c0[i], inverse[i], modulus[i], factor[i], ifma)
        values, near, far = c0[i].reshape(-1), fraction[i, 0], fraction[i, 1]
        for j in range(values.size):
            y = values[j]
            below = low_words[j] + y * near
            carry = np.uint64(below < low_words[j])
            high_words[j] += high_product(y, near) + y * far + carry
            low_words[j] = below
    t, half = plain[0], np.uint64(1 << 63)
    for j in range(n):
        for lane in range(8):
            exact = t * high[j, lane]
            rough = exact + high_product(t, low[j, lane])
            rounded = rough + half
            value = high_product(t, high[j, lane]) + np.uint64(rough < exact) + np.uint64(rounded < rough)
            out[lane, j] = min(value, value - t)  # t itself stands for 0


@compiled
def unpack_row(packed, scale, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Unpack polynomials `(parts k, N)` from one packed row; returns whether all residues are canonical."""
    length = 25 * out.shape[1] // 32
    good = True
    for i in range(out.shape[0]):
        good &= packing.unpack(packed[i * length : (i + 1) * length], scale[i % scale.shape[0], 0], out[i])
    return good


@compiled
def accumulate_row(packed, scale, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Add one packed row to lazy sums `(parts k, N)`; returns whether all residues are canonical.

    A lazy sum holds 2^14 - 1 residues below 2^50 before it must be reduced.
    """
    length = 25 * sums.shape[1] // 32
    good = True
    for i in range(sums.shape[0]):
        good &= packing.accumulate(packed[i * length : (i + 1) * length], scale[i % scale.shape[0], 0], sums[i])
    return good


@compiled
def retract_row(packed, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Undo `accumulate_row`, whatever it returned."""
    length = 25 * sums.shape[1] // 32
    for i in range(sums.shape[0]):
        packing.retract(packed[i * length : (i + 1) * length], sums[i])


@compiled
def reduce_and_pack(sums, scale, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Reduce lazy sums `(parts k, N)` in place and pack them into one row."""
    length = 25 * sums.shape[1] // 32
    for i in range(sums.shape[0]):
        packing.reduce_sums(sums[i], scale[i % scale.shape[0]])
        packing.pack(sums[i], out[i * length : (i + 1) * length])


@compiled
def pack_block(block, out, start):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Pack one part `(k, N, 8)` into rows from word `start`."""
    length = 25 * block.shape[1] // 32
    for i in range(block.shape[0]):
        packing.pack_lanes(block[i], out, start + i * length)


@compiled
def multiply_block(c0, c1, message, plain, scale, modulus, forward, work, ifma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Multiply ciphertexts `(k, N, 8)` in place by the plaintext polynomials of a message, coefficients centred.

    `work` is `(1, N, 8)`.
    """
    for i in range(scale.shape[0]):
        sampling.lift(message, plain[0], scale[i], work[0])
        transform.forward(work[0], forward[i], modulus[i], ifma)
        transform.multiply(c0[i], work[0], c0[i], modulus[i], ifma)
        transform.multiply(c1[i], work[0], c1[i], modulus[i], ifma)


@compiled
def cover_block(c0, c1, d0, d1, words, width, scale, modulus, forward, work, ifma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Add fresh ciphertexts `d` to ciphertexts `c` in place, and flooding noise of a width to c0 (none if 0).

    All `(k, N, 8)`; `words` has 16 N entries if the width is positive; `work` is `(1, N, 8)`.
    """
    for i in range(scale.shape[0]):
        if width > 0:
            sampling.flooding(words, width, scale[i], work[0])
            transform.forward(work[0], forward[i], modulus[i], ifma)
            sampling.add_residues(c0[i], work[0], scale[i, 0])
        sampling.add_residues(c0[i], d0[i], scale[i, 0])
        sampling.add_residues(c1[i], d1[i], scale[i, 0])
