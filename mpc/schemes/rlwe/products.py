"""Covered products: ciphertexts times an encoded matrix, with nothing in the outcome but the results.

`row r = sum_j c_j p_rj`, and then, always together and before anything leaves:

- a fresh encryption of zero under the key holder's key, without which everybody reads the matrix in c1;
- flooding noise, without which the key holder reads it in the noise of c0;
- uniform plaintext in every coefficient that carries no result, without which the key holder reads partial sums.

Measured attacks on products that lack one of them: tests/leakage/test_score_leakage.py.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Entropy, SystemEntropy
from mpc.errors import ParameterError, WireError
from mpc.keys.public import PublicKey
from mpc.params.base import SetId
from mpc.schemes.rlwe.blocks import DEFAULT, Execution, Pool, for_blocks, readers, release
from mpc.schemes.rlwe.encryption import read_public_key
from mpc.schemes.rlwe.kernels import pipeline
from mpc.schemes.rlwe.keystream import VectorKeystream
from mpc.schemes.rlwe.matrix import EncodedMatrix, product_kernels
from mpc.schemes.rlwe.noise import lattice_of
from mpc.schemes.rlwe.products_noise import ProductPlan
from mpc.schemes.rlwe.products_reply import Positions, part_words
from mpc.schemes.rlwe.ring import LANES, Arithmetic, Ring, error_words, multipliers, ring
from mpc.schemes.rlwe.wire import Ciphertext, Kind, parse_batch

__all__ = ["Cover", "Protection", "Workspace"]

Words = NDArray[np.uint64]


class Protection(StrEnum):
    """What covers a product; each can be left out in a test or a measurement, never in an answer."""

    RERANDOMISATION = "re-randomisation"
    FLOODING = "flooding"
    UNIFORM_FILLING = "uniform filling"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Memory for a batch of queries and a segment of rows, to be used again: mapping it anew costs milliseconds.

    Args:
        matrix: What will be multiplied.
        queries: Queries at once.
        rows: Rows at once.
    """

    matrix: EncodedMatrix
    queries: int
    rows: int
    execution: Execution = DEFAULT
    query: Words = field(init=False, repr=False)
    """`(Q, k, N / 8, C', 2, 8)`, C' a multiple of eight."""

    products: Words = field(init=False, repr=False)
    """`(Q, R, 2, k, N)`."""

    def __post_init__(self) -> None:
        constants = self.execution.ring(self.matrix.parameters)
        k, n, terms = constants.primes, constants.degree, -(-self.matrix.terms // LANES) * LANES
        object.__setattr__(self, "query", np.empty((self.queries, k, n // LANES, terms, 2, LANES), dtype=np.uint64))
        object.__setattr__(self, "products", np.empty((self.queries, self.rows, 2, k, n), dtype=np.uint64))

    @staticmethod
    def query_bytes(matrix: EncodedMatrix) -> int:
        """Memory of one query."""
        lattice = lattice_of(matrix.parameters)
        return 16 * len(lattice.moduli) * lattice.degree * (-(-matrix.terms // LANES) * LANES)

    @property
    def memory_bytes(self) -> int:
        """Size."""
        return self.query.nbytes + self.products.nbytes

    def check(self, queries: Sequence[Sequence[bytes]]) -> list[list[Ciphertext]]:
        """Check the headers of queries of C seeded ciphertexts each.

        Raises:
            WireError: One is not that. Only the kind whose c1 its maker cannot choose is taken.
        """
        batches = [parse_batch(query, self.matrix.parameters) for query in queries]
        for batch in batches:
            if len(batch) != self.matrix.terms or any(one.kind is not Kind.SEEDED for one in batch):
                raise WireError("a query is one seeded ciphertext per term of the matrix")
        return batches

    def read(self, queries: Sequence[Sequence[bytes]]) -> None:
        """Read queries of C seeded ciphertexts each.

        Raises:
            WireError: A ciphertext breaks the format.
        """
        matrix = self.matrix
        if not 1 <= len(queries) <= self.queries:
            raise ParameterError(f"one to {self.queries} queries at once")
        batches = self.check(queries)
        places = list(itertools.product(range(len(batches)), range(0, matrix.terms, LANES)))
        constants, kernels = self.execution.ring(matrix.parameters), product_kernels()

        def work(some: range) -> None:
            with readers(constants.parameters.id, constants.arithmetic).use() as reader:
                for query, first in (places[i] for i in some):
                    reader.read(batches[query][first : first + LANES])
                    kernels.arrange_query(reader.c0, reader.c1, self.query[query], first)

        for_blocks(len(places), self.execution, work)

    def multiply(self, count: int, rows: range) -> Words:
        """The products of some neighbouring rows with the first `count` queries read: a view of `products`."""
        constants, kernels = self.execution.ring(self.matrix.parameters), product_kernels()
        fits = 1 <= len(rows) <= self.rows and rows.step == 1 and rows.stop <= self.matrix.rows
        if not fits or rows.start % 4 or (rows.stop % 4 and rows.stop < self.matrix.rows):
            raise ParameterError(f"one to {self.rows} neighbouring rows at once, in fours")
        reduction = np.array([
            multipliers([1, (1 << 52) % prime, (1 << 104) % prime], prime, constants.arithmetic)
            for prime in constants.moduli
        ])  # fmt: skip

        def work(groups: range) -> None:
            kernels.multiply_rows(
                self.matrix.values, self.query[:count], constants.scale, constants.modulus, reduction,
                (groups.start, groups.stop), (rows.start, rows.stop), self.products, constants.portable,
            )  # fmt: skip

        for_blocks(constants.degree // LANES, self.execution, work)
        return self.products[:count, : len(rows)]


@functools.cache
def _scratches(set_id: SetId, arithmetic: Arithmetic) -> "Pool[_Scratch]":
    return Pool(lambda: _Scratch(ring(set_id, arithmetic)))


class _Scratch:
    """One thread's working memory of covering; holds secrets until it is released."""

    def __init__(self, constants: Ring) -> None:
        k, n = constants.primes, constants.degree
        self.words = np.empty(18 * n + 2 * error_words(LANES * n), dtype=np.uint64)
        self.filling = np.zeros((LANES, n), dtype=np.uint64)
        self.work = np.empty((4, n, LANES), dtype=np.uint64)
        self.parts = np.empty((2, k, n, LANES), dtype=np.uint64)
        self.rows = np.empty((2, n, LANES), dtype=np.uint64)

    def release(self) -> None:
        """Overwrite the coins and what was made of them; the rest is what was sent."""
        release(self.words, self.work)


class Cover:
    """Covers products for one key holder.

    Reveals: to the key holder, the results at the given positions and, by at most 2^-(flooding bits + 1) a coefficient
    in statistical distance, nothing else; to everyone else, the number of products.

    Args:
        plan: Noise and flooding of the products.
        public_key: Of the key holder.
        insecure_omit: Protections to leave out, for tests and measurements.

    Raises:
        WireError: The key breaks the format.
    """

    def __init__(
        self,
        plan: ProductPlan,
        public_key: PublicKey,
        *,
        execution: Execution = DEFAULT,
        entropy: Entropy | None = None,
        insecure_omit: frozenset[Protection] = frozenset(),
    ) -> None:
        if public_key.parameter_set != plan.parameters.id:
            raise ParameterError("the public key is of another parameter set")
        self._plan, self._execution = plan, execution
        self._ring = execution.ring(plan.parameters)
        self._entropy = entropy or SystemEntropy()
        self._omit = insecure_omit
        self._key = [self._table(half) for half in read_public_key(self._ring, public_key.data)]
        self._factors = _factors(self._ring)

    def _table(self, half: Words) -> Words:
        constants = self._ring
        table = np.empty((*half.shape, 2), dtype=np.uint64)
        pipeline().make_multipliers(half, constants.modulus, table, negate=False, portable=constants.portable)
        return table

    def replies(self, products: Words, positions: Sequence[Positions]) -> list[bytes]:
        """Cover products `(n, 2, k, N)`, round and pack them: what the key holder is sent, one reply a product."""
        out: list[bytes] = [b""] * len(positions)

        def keep(block: int, parts: Words, rows: Words) -> None:
            some = positions[LANES * block : LANES * (block + 1)]
            out[LANES * block : LANES * block + len(some)] = self._pack(parts, some, rows)

        self._for_covered(products, positions, keep)
        return out

    def insecure_unrounded(self, products: Words, positions: Sequence[Positions]) -> Words:
        """What `replies` rounds: for tests of the protections without the help of the rounding, `(n, 2, k, N)`.

        Coefficients, times `(q / q_i)^-1` modulo each prime.
        """
        out = np.empty(products.shape, dtype=np.uint64)

        def keep(block: int, parts: Words, _rows: Words) -> None:
            some = out[LANES * block : LANES * (block + 1)]
            some[:] = parts.transpose(3, 0, 1, 2)[: len(some)]

        self._for_covered(products, positions, keep)
        return out

    def _for_covered(
        self, products: Words, positions: Sequence[Positions], keep: Callable[[int, Words, Words], None]
    ) -> None:
        if products.shape[0] != len(positions) or len({(p.start, p.step) for p in positions}) > 1:
            raise ParameterError("every product has positions, with one start and step for all")
        stream, filler = VectorKeystream(self._entropy.token(32)), VectorKeystream(self._entropy.token(32))

        def work(blocks: range) -> None:
            with _scratches(self._ring.parameters.id, self._ring.arithmetic).use() as scratch:
                try:
                    for block in blocks:
                        some = slice(LANES * block, LANES * (block + 1))
                        stream.fill(block * scratch.words.size, scratch.words)
                        self._fill(scratch.filling, filler, block, positions[some])
                        self._cover(products[some], scratch)
                        keep(block, scratch.parts, scratch.rows)
                finally:
                    scratch.release()

        for_blocks(-(-len(positions) // LANES), self._execution, work)

    def _cover(self, products: Words, scratch: _Scratch) -> None:
        constants = self._ring
        product_kernels().cover_products(
            products, scratch.filling, scratch.words, *self._key,
            0 if Protection.FLOODING in self._omit else self._plan.width,
            constants.plain, constants.scale, constants.modulus, constants.forward, constants.inverse,
            constants.open_factor, self._factors, scratch.work, scratch.parts,
            Protection.RERANDOMISATION not in self._omit, constants.portable,
        )  # fmt: skip

    def _fill(self, filling: Words, filler: VectorKeystream, block: int, positions: Sequence[Positions]) -> None:
        """Uniform plaintext everywhere but at the positions, `(8, N)`."""
        full = all(place.step == 1 and place.count == filling.shape[1] for place in positions)
        if full or Protection.UNIFORM_FILLING in self._omit:
            filling[:] = 0
            return
        filler.fill(block * filling.size, filling)
        filling &= np.uint64(self._plan.parameters.plain_modulus - 1)
        for lane, place in enumerate(positions):
            filling[lane, place.start : place.stop : place.step] = 0

    def _pack(self, parts: Words, positions: Sequence[Positions], rows: Words) -> list[bytes]:
        constants, plan = self._ring, self._plan
        first, n = positions[0], constants.degree
        ends = np.zeros((2, LANES), dtype=np.uint64)
        ends[0, : len(positions)] = [place.stop for place in positions]
        ends[1, : len(positions)] = n
        widest = max(part_words(plan, place)[1] for place in positions)
        body = np.zeros((LANES, widest), dtype=np.uint64)
        mask = np.zeros((LANES, part_words(plan, first)[0]), dtype=np.uint64)
        kernels = product_kernels()
        kernels.switch_modulus(
            parts[0], constants.modulus, first.start, first.step, ends[0], plan.body_bits, rows, body
        )
        kernels.switch_modulus(parts[1], constants.modulus, 0, 1, ends[1], plan.mask_bits, rows, mask)
        return [
            mask[lane].tobytes() + body[lane, : part_words(plan, place)[1]].tobytes()
            for lane, place in enumerate(positions)
        ]


def _factors(constants: Ring) -> Words:
    """The multipliers `(q / q_i)^-1` and 2^49 modulo each prime, for every coefficient, `(2, k, N, 2)`."""
    values = (
        [pow(constants.q // prime, -1, prime) for prime in constants.moduli],
        [(1 << 49) % prime for prime in constants.moduli],
    )
    factors = [
        [multipliers([value], prime, constants.arithmetic) for value, prime in zip(row, constants.moduli, strict=True)]
        for row in values
    ]
    return np.repeat(np.array(factors), constants.degree, axis=2)
