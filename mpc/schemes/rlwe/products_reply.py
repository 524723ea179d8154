"""The bytes of covered products, and their expansion to ciphertexts that a decryptor takes. No secret is needed.

A covered product is rounded to fewer bits (modulus switching; Brakerski, Gentry, Vaikuntanathan, eprint 2011/277,
section 4.2; here to powers of two, and to another one for each polynomial): of c1, whose error is multiplied by the
secret, `mask_bits` a coefficient; of c0 `body_bits`, and only of the coefficients that carry a result. A deterministic
function of the covered ciphertext tells no more than that does.

Layout: N coefficients of c1, then those of c0, each part filled up to whole words with zeros; coefficients follow one
another, least significant bit first.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.errors import WireError
from mpc.params.base import SetId
from mpc.params.catalogue import parameter_set
from mpc.schemes.rlwe.blocks import DEFAULT, Execution, for_blocks
from mpc.schemes.rlwe.matrix import product_kernels
from mpc.schemes.rlwe.noise import lattice_of
from mpc.schemes.rlwe.products_noise import ProductPlan
from mpc.schemes.rlwe.ring import LANES
from mpc.schemes.rlwe.wire import Kind, encode

__all__ = ["Positions", "expand_replies", "part_words", "reply_bytes"]

Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """The coefficients that carry results: `start`, `start + step`, ..., `count` of them."""

    start: int
    step: int
    count: int

    @property
    def stop(self) -> int:
        """One past the last."""
        return self.start + self.step * (self.count - 1) + 1


def part_words(plan: ProductPlan, positions: Positions) -> tuple[int, int]:
    """Words of c1 and of c0."""
    degree = lattice_of(plan.parameters).degree
    return -(-degree * plan.mask_bits // 64), -(-positions.count * plan.body_bits // 64)


def reply_bytes(plan: ProductPlan, positions: Positions) -> int:
    """Bytes of one covered product."""
    return 8 * sum(part_words(plan, positions))


def expand_replies(
    plan: ProductPlan,
    positions: Sequence[Positions],
    replies: Sequence[bytes | memoryview],
    *,
    execution: Execution = DEFAULT,
) -> list[bytes]:
    """Ciphertexts of received products; slots at other positions open to nothing of meaning.

    Raises:
        WireError: A reply has another length, or fills up with something else than zeros.
    """
    if len(replies) != len(positions):
        raise WireError("another number of covered products")
    for one, place in zip(replies, positions, strict=True):
        if len(one) != reply_bytes(plan, place):
            raise WireError("a covered product has another length")
        mask, _ = part_words(plan, place)
        words = np.frombuffer(one, dtype=np.uint64)
        _check_filling(words[:mask], lattice_of(plan.parameters).degree * plan.mask_bits)
        _check_filling(words[mask:], place.count * plan.body_bits)
    out: list[bytes] = [b""] * len(replies)
    for_blocks(
        -(-len(replies) // LANES), execution, lambda blocks: _expand(plan, positions, replies, execution, blocks, out)
    )
    return out


def _check_filling(words: Words, bits: int) -> None:
    if bits % 64 and int(words[-1]) >> (bits % 64):
        raise WireError("a covered product is not filled up with zeros")


def _expand(
    plan: ProductPlan,
    positions: Sequence[Positions],
    replies: Sequence[bytes | memoryview],
    execution: Execution,
    blocks: range,
    out: list[bytes],
) -> None:
    constants, kernels = execution.ring(plan.parameters), product_kernels()
    n = constants.degree
    part = constants.primes * n * 25 // 32
    mask_words, body_words = -(-n * plan.mask_bits // 64), -(-n * plan.body_bits // 64)
    mask, body = (np.zeros((LANES, words), dtype=np.uint64) for words in (mask_words, body_words))
    message, work = np.empty((LANES, n), dtype=np.uint64), np.empty((n, LANES), dtype=np.uint64)
    packed = np.empty((LANES, 2 * part), dtype=np.uint64)
    everywhere = np.full(LANES, n, dtype=np.uint64)
    for block in blocks:
        some = range(LANES * block, min(LANES * (block + 1), len(replies)))
        stops = np.zeros(LANES, dtype=np.uint64)
        for lane, row in enumerate(some):
            words = np.frombuffer(replies[row], dtype=np.uint64)
            mask[lane], body[lane, : words.size - mask_words] = words[:mask_words], words[mask_words:]
            stops[lane] = positions[row].stop
        first = positions[some[0]]
        for bits, source, place, (start, step, ends) in (
            (plan.body_bits, body, 0, (first.start, first.step, stops)),
            (plan.mask_bits, mask, part, (0, 1, everywhere)),
        ):
            plain, scale = _constants(plan.parameters.id, bits)
            kernels.expand_reply(
                source, start, step, ends, bits, plain, scale, constants.modulus, constants.forward,
                message, work, packed, place, constants.portable,
            )  # fmt: skip
        for lane, row in enumerate(some):
            out[row] = encode(plan.parameters, Kind.RESULT, packed[lane], noise=plan.reply_noise)


@functools.cache
def _constants(set_id: SetId, bits: int) -> tuple[Words, Words]:
    """The constants of encoding with 2^bits in place of the plaintext modulus (see `mpc.schemes.rlwe.ring.Ring`)."""
    lattice = lattice_of(parameter_set(set_id))
    t, q = 1 << bits, math.prod(lattice.moduli)
    plain = np.array([t, q % t, ((q % t) << 64) // t, q % t == 1], dtype=np.uint64)
    rows = []
    for prime in lattice.moduli:
        by_t = -pow(t, -1, prime) % prime
        wrap = (1 << 64) % prime
        rows.append((prime, by_t, (by_t << 64) // prime, (1 << 64) // prime, wrap, (wrap << 64) // prime))
    return plain, np.array(rows, dtype=np.uint64)
