"""From residues to the plaintext: `round(t x / q) mod t` of the x that the residues stand for.

`x / q` modulo 1 is the sum of `y_i / q_i` modulo 1, where `y_i = [x (q / q_i)^-1]` modulo q_i: no number of the size of
q is ever formed. The same operations are done for all values.
"""

import numpy as np
from numpy.typing import NDArray

from mpc.schemes.rlwe.kernels.compiled import compiled
from mpc.schemes.rlwe.kernels.words import high_product, real, smaller, word

__all__ = ["round_doubles", "round_words"]

Words = NDArray[np.uint64]

_HALF = np.uint64(1 << 63)
_ROUND = 6755399441055744.0  # 1.5 * 2^52


@compiled
def round_doubles(y: Words, modulus: Words, t: np.uint64, out: Words) -> None:
    """For t <= 2^32: residues `(k, N, 8)` to messages `(N, 8)`. The sum is off by less than (2 k + 1) 2^-53."""
    flat, first, scale = out.reshape(-1), y[0].reshape(-1), np.float64(t)
    reciprocal = real(modulus[0, 2])
    for j in range(flat.size):
        flat[j] = word(np.float64(np.int64(first[j])) * reciprocal)
    for i in range(1, y.shape[0]):
        more, reciprocal = y[i].reshape(-1), real(modulus[i, 2])
        for j in range(flat.size):
            total = real(flat[j]) + np.float64(np.int64(more[j])) * reciprocal
            flat[j] = word(total - np.float64(total >= 1.0))
    for j in range(flat.size):
        value = np.uint64(np.int64((real(flat[j]) * scale + _ROUND) - _ROUND))
        flat[j] = smaller(value, value - t)  # t itself stands for 0


@compiled
def round_words(y: Words, fraction: Words, t: np.uint64, high: Words, low: Words) -> None:
    """For any t < 2^62: residues `(k, N, 8)` to messages in `low`, `(N, 8)`, by 128-bit fractions in `high` and `low`.

    The sum is short by less than k 2^-78. `fraction`, `(k, 2)`, holds floor(2^128 / q_i).
    """
    for i in range(y.shape[0]):
        near, far = fraction[i, 0], fraction[i, 1]
        for j in range(low.shape[0]):
            for lane in range(8):
                value = y[i, j, lane]
                before = low[j, lane] if i else np.uint64(0)
                above = high[j, lane] if i else np.uint64(0)
                below = before + value * near
                high[j, lane] = above + high_product(value, near) + value * far + np.uint64(below < before)
                low[j, lane] = below
    for j in range(low.shape[0]):
        for lane in range(8):
            exact = t * high[j, lane]
            rough = exact + high_product(t, low[j, lane])
            rounded = rough + _HALF
            value = high_product(t, high[j, lane]) + np.uint64(rough < exact) + np.uint64(rounded < rough)
            low[j, lane] = smaller(value, value - t)
