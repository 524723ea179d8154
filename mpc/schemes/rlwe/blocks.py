"""Batches in blocks of eight, over threads: what encryption, evaluation and decryption share.

Nothing here holds a secret.
"""

import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ConfigurationError, ParameterError, WireError
from mpc.params.base import ParameterSet, SetId
from mpc.schemes.base import Slots
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.keystream import VectorKeystream
from mpc.schemes.rlwe.ring import LANES, Arithmetic, Ring, ring
from mpc.schemes.rlwe.wire import Ciphertext, Kind, wire_format

__all__ = [
    "DEFAULT",
    "BlockReader",
    "Execution",
    "Pool",
    "block_of",
    "expand_seeds",
    "for_blocks",
    "least_blocks",
    "readers",
    "release",
]

T = TypeVar("T")

Words = NDArray[np.uint64]

ARITHMETIC_VARIABLE: Final = "SEALROOM_RLWE_ARITHMETIC"
THREADS_VARIABLE: Final = "SEALROOM_THREADS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How kernels run. It changes no result."""

    arithmetic: Arithmetic | None = None
    """None: `SEALROOM_RLWE_ARITHMETIC` (`ifma` or `portable`) when set, else the fastest that the processor has."""

    threads: int | None = None
    """None: `SEALROOM_THREADS` when set, else the processors that this process may use."""

    def ring(self, parameters: ParameterSet) -> Ring:
        """The constants of a set for the arithmetic.

        Raises:
            ConfigurationError: The processor has no such arithmetic, or the variable names none.
        """
        from mpc.schemes.rlwe.kernels.host import host_has_ifma

        chosen: str | None = self.arithmetic or os.environ.get(ARITHMETIC_VARIABLE)
        if chosen is not None and chosen not in set(Arithmetic):
            raise ConfigurationError(f"{ARITHMETIC_VARIABLE} is ifma or portable")
        if chosen == Arithmetic.IFMA and not host_has_ifma():
            raise ConfigurationError("this processor has no AVX-512 IFMA")
        fastest = Arithmetic.IFMA if host_has_ifma() else Arithmetic.PORTABLE
        return ring(parameters.id, fastest if chosen is None else Arithmetic(chosen))

    def workers(self) -> int:
        """Number of threads.

        Raises:
            ConfigurationError: The variable is not a positive number.
        """
        if self.threads is not None:
            return max(1, self.threads)
        text = os.environ.get(THREADS_VARIABLE)
        if text is None:
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not text.isdecimal() or int(text) < 1:
            raise ConfigurationError(f"{THREADS_VARIABLE} is a positive number")
        return int(text)


DEFAULT: Final = Execution()


def for_blocks(count: int, execution: Execution, work: Callable[[range], None], *, least: int = 2) -> None:
    """Run `work` on contiguous ranges of `count` blocks; the kernels run without the interpreter's lock.

    The caller works, too, and takes whatever no other thread has begun: it never waits for a thread to come free, so
    that `work` may do the same inside. There are no more threads than leave `least` blocks to each.

    Whatever a thread raises is raised here, after all have stopped.
    """
    workers = min(execution.workers(), count // least)
    if workers <= 1:
        if count:
            work(range(count))
        return
    edges = [count * i // workers for i in range(workers + 1)]
    shares = deque(range(a, b) for a, b in itertools.pairwise(edges))

    def some() -> None:
        while True:
            try:
                share = shares.popleft()
            except IndexError:
                return
            work(share)

    helpers = _helpers(execution.workers() - 1)
    begun = [helpers.submit(some) for _ in range(workers - 1)]
    try:
        some()
    finally:
        shares.clear()
        wait([one for one in begun if not one.cancel()])
    for one in begun:
        if not one.cancelled():
            one.result()


def least_blocks(constants: Ring, residues: int) -> int:
    """How many blocks have so many residues: a thread is not woken for fewer than take half a millisecond."""
    return max(1, residues // (LANES * constants.degree * constants.primes))


@functools.cache
def _helpers(threads: int) -> ThreadPoolExecutor:
    """Threads that stay: starting them anew takes longer than encrypting a block."""
    return ThreadPoolExecutor(max_workers=threads, thread_name_prefix="rlwe")


class Pool(Generic[T]):
    """Idle working memory, at most as many pieces as threads were at work at once.

    Mapping it anew for every batch costs a third of an encryption, and threads wait for each other there.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle: deque[T] = deque()

    @contextmanager
    def use(self) -> Iterator[T]:
        """Take a piece, or make one."""
        try:
            piece = self._idle.pop()
        except IndexError:
            piece = self._make()
        try:
            yield piece
        finally:
            self._idle.append(piece)


def block_of(slots: Slots, block: int) -> Slots:
    """Rows `8 block` to `8 block + 8`, filled up with zeros, `(8, N)`."""
    rows = slots[LANES * block : LANES * (block + 1)]
    if rows.shape[0] == LANES:
        return np.ascontiguousarray(rows)
    full = np.zeros((LANES, slots.shape[1]), dtype=np.uint64)
    full[: rows.shape[0]] = rows
    return full


def release(*arrays: Words) -> None:
    """Overwrite working memory that held secrets."""
    for array in arrays:
        array.fill(0)


def expand_seeds(seeded: Sequence[tuple[bytes, int]], out: Words) -> None:
    """The keystream regions of seeded ciphertexts into the rows of `out`, `(len(seeded), k M)`.

    Neighbours with one seed and consecutive indices are drawn at once.
    """
    span = out.shape[1]
    start = 0
    while start < len(seeded):
        seed, index = seeded[start]
        stop = start + 1
        while stop < len(seeded) and seeded[stop] == (seed, index + stop - start):
            stop += 1
        VectorKeystream(seed).fill(index * span, out[start:stop])
        start = stop


class BlockReader:
    """Unpacks ciphertexts, eight at a time, into blocks `c0` and `c1` of its own, `(k, N, 8)`. One per thread."""

    def __init__(self, constants: Ring) -> None:
        shape = (constants.primes, constants.degree, LANES)
        self.c0, self.c1 = np.empty(shape, dtype=np.uint64), np.empty(shape, dtype=np.uint64)
        self._ring = constants
        self._kernels: Any = pipeline()
        self._part = constants.primes * constants.degree * 25 // 32
        self._packed = np.empty((LANES, 2 * self._part), dtype=np.uint64)
        self._words = np.empty((0, 0), dtype=np.uint64)

    def read(self, ciphertexts: Sequence[Ciphertext]) -> None:
        """Fill the blocks from at most eight ciphertexts; lanes beyond them are zero.

        Raises:
            WireError: A residue is not below its modulus, or a seed gives too few.
        """
        if not 1 <= len(ciphertexts) <= LANES:
            raise ParameterError("a block holds one to eight ciphertexts")
        seeded = [(lane, one) for lane, one in enumerate(ciphertexts) if one.kind is Kind.SEEDED]
        for lane, one in enumerate(ciphertexts):
            self._packed[lane, : one.packed.size] = one.packed
            if one.kind is Kind.SEEDED:
                self._packed[lane, self._part :] = 0
        self._packed[len(ciphertexts) :] = 0
        good = self._kernels.unpack_block(self._packed, 0, self._ring.scale, self.c0)
        if len(seeded) < len(ciphertexts):
            good &= self._kernels.unpack_block(self._packed, self._part, self._ring.scale, self.c1)
        if not good:
            raise WireError("a residue of a ciphertext is not below its modulus")
        if seeded:
            self._expand(seeded, len(ciphertexts))

    def _expand(self, seeded: list[tuple[int, Ciphertext]], count: int) -> None:
        if not self._words.size:
            span = wire_format(self._ring.parameters).region_words * self._ring.primes
            self._words = np.zeros((LANES, span), dtype=np.uint64)
        expand_seeds([(one.seed, one.index) for _, one in seeded], self._words[: len(seeded)])
        fresh = self.c1 if len(seeded) == count else np.empty_like(self.c1)
        if not self._kernels.expand_block(self._words, self._ring.scale, fresh):
            raise WireError("a seed gives too few residues")
        if fresh is not self.c1:
            for row, (lane, _) in enumerate(seeded):
                self.c1[:, :, lane] = fresh[:, :, row]
        self.c1[:, :, count:] = 0


@functools.cache
def readers(set_id: SetId, arithmetic: Arithmetic) -> Pool[BlockReader]:
    """Readers of one ring. What they hold after use came from the wire or is for their user to release."""
    return Pool(lambda: BlockReader(ring(set_id, arithmetic)))
