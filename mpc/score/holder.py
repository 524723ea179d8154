"""The matrix holder: a catalogue kept encoded, and answers that carry scores and nothing else.

The role is one step: a query message in, a reply message out. The holder holds no secret key.
"""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Entropy
from mpc.keys.public import PublicKey
from mpc.roles import Done
from mpc.schemes.rlwe.blocks import DEFAULT, Execution
from mpc.schemes.rlwe.matrix import EncodedMatrix, matrix_bytes
from mpc.schemes.rlwe.products import Cover, Protection, Workspace
from mpc.score.encoding import item_integers, item_polynomials
from mpc.score.messages import Query, Reply, decode_query, encode_reply
from mpc.score.spec import ScorePlan

__all__ = ["MatrixHolder", "holder_memory"]

ItemReader = Callable[[int, int], NDArray[Any]]
"""First and last (excluded) item to their vectors, `(n, dimensions)`."""

_ROWS_AT_ONCE: Final = 128
_QUERY_MEMORY: Final = 64 << 20


def holder_memory(plan: ScorePlan) -> int:
    """Bytes that a prepared catalogue takes: 12.5 per item and dimension at two primes, last row filled up."""
    return matrix_bytes(plan.parameters, plan.matrix_rows, plan.terms)


class MatrixHolder:
    """Answers scorings of one plan.

    Args:
        plan: What was agreed.
        items: Reads some items' vectors; called once per row of the matrix, from several threads, so that no more than
            a row per thread is in memory beside the encoded catalogue.
        memory_limit: Bytes that the encoded catalogue may take.
        insecure_omit: Protections to leave out, for tests and measurements.

    Raises:
        RangeError: A vector leaves its declared norm.
        ResourceExhausted: The encoded catalogue would exceed the limit.
    """

    def __init__(
        self,
        plan: ScorePlan,
        items: ItemReader,
        *,
        memory_limit: int | None = None,
        execution: Execution = DEFAULT,
        insecure_omit: frozenset[Protection] = frozenset(),
    ) -> None:
        self.plan = plan
        self._execution = execution
        self._omit = insecure_omit
        self._positions = plan.positions()

        def polynomials(row: int) -> NDArray[np.int64]:
            start = row * plan.items_per_row
            stop = min(start + plan.items_per_row, plan.spec.rows)
            return item_polynomials(plan, item_integers(plan, items(start, stop)))

        self._matrix = EncodedMatrix(
            plan.parameters,
            rows=plan.matrix_rows,
            terms=plan.terms,
            polynomials=polynomials,
            magnitude=plan.magnitude,
            memory_limit=memory_limit,
            execution=execution,
        )
        self._workspace = self._make_workspace()
        self._in_use = Lock()

    @property
    def memory_bytes(self) -> int:
        """What the encoded catalogue and the memory kept for one answer take."""
        return self._matrix.memory_bytes + self._workspace.memory_bytes

    def answer(self, message: bytes, *, charge: Callable[[int], None], entropy: Entropy | None = None) -> Done[bytes]:
        """Answer a batch of queries.

        Every ciphertext of the reply is the sum of query ciphertexts times plaintexts (DESIGN 5.3), plus a fresh
        encryption under the querier's key, plus flooding; coefficients without a score are uniform and not sent.

        Args:
            message: A query message of this plan.
            charge: Called with the number of queries once the message is known to be well formed (residues beyond the
                first batch are read later) and before any product is computed; what it raises ends the step with
                nothing sent.
            entropy: For known-answer tests; the operating system's otherwise.

        Reveals: to the querier, the scores of all rows of the plan for each query; to anyone else, sizes.

        Raises:
            WireError: The message breaks the format.
        """
        query = decode_query(self.plan.shape, message)
        key = PublicKey(self.plan.parameters.id, query.public_key)
        cover = Cover(self.plan.product, key, execution=self._execution, entropy=entropy, insecure_omit=self._omit)
        if self._in_use.acquire(blocking=False):
            try:
                return Done(self._answer(query, cover, self._workspace, charge))
            finally:
                self._in_use.release()
        return Done(self._answer(query, cover, self._make_workspace(), charge))

    def _answer(self, query: Query, cover: Cover, workspace: Workspace, charge: Callable[[int], None]) -> bytes:
        step = workspace.queries
        batches = [query.ciphertexts[i : i + step] for i in range(0, len(query.ciphertexts), step)]
        workspace.read(batches[0])
        for batch in batches[1:]:
            workspace.check(batch)
        charge(len(query.ciphertexts))
        products: list[tuple[bytes, ...]] = []
        for number, batch in enumerate(batches):
            if number:
                workspace.read(batch)
            products.extend(self._products(batch, cover, workspace))
        return encode_reply(self.plan.shape, Reply(name=query.name, products=tuple(products)))

    def _products(
        self, batch: Sequence[Sequence[bytes]], cover: Cover, workspace: Workspace
    ) -> list[tuple[bytes, ...]]:
        replies: list[list[bytes]] = [[] for _ in batch]
        for first in range(0, self.plan.matrix_rows, workspace.rows):
            rows = range(first, min(first + workspace.rows, self.plan.matrix_rows))
            products = workspace.multiply(len(batch), rows)
            flat = products.reshape(-1, *products.shape[2:])
            covered = cover.replies(flat, self._positions[rows.start : rows.stop] * len(batch))
            for number, reply in enumerate(replies):
                reply.extend(covered[number * len(rows) : (number + 1) * len(rows)])
        return [tuple(reply) for reply in replies]

    def _make_workspace(self) -> Workspace:
        one = Workspace.query_bytes(self._matrix)
        queries = max(1, _QUERY_MEMORY // one)
        return Workspace(self._matrix, queries, min(_ROWS_AT_ONCE, self.plan.matrix_rows), self._execution)
