"""The matrix holder for real-valued catalogues under `ckks`. It holds no secret key."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Entropy, SystemEntropy
from mpc.errors import ResourceExhausted
from mpc.roles import Done
from mpc.schemes.ckks.evaluation import RealCover, RealMatrix, read_queries
from mpc.schemes.rlwe.products import Protection
from mpc.score.encoding import item_reals
from mpc.score.messages import Reply, decode_query, encode_reply
from mpc.score.real_spec import RealScorePlan

__all__ = ["RealMatrixHolder"]


class RealMatrixHolder:
    """Answers scorings of one plan.

    Args:
        plan: What was agreed.
        items: First and last (excluded) item to their vectors; called once per N / 2 items.
        memory_limit: Bytes that the prepared catalogue may take.
        insecure_omit: Protections to leave out, for tests. (Slots without an item hold the score of a zero vector; the
            packing leaves no partial sums to fill over.)

    Raises:
        RangeError: A vector leaves its declared norm.
        ResourceExhausted: The prepared catalogue would exceed the limit.
    """

    def __init__(
        self,
        plan: RealScorePlan,
        items: Callable[[int, int], NDArray[Any]],
        *,
        memory_limit: int | None = None,
        insecure_omit: frozenset[Protection] = frozenset(),
    ) -> None:
        if memory_limit is not None and plan.memory_bytes > memory_limit:
            raise ResourceExhausted(
                "a prepared catalogue exceeds its memory limit", reason="the catalogue is too large"
            )
        self.plan, self._omit = plan, insecure_omit
        self._matrix = RealMatrix(plan.parameters, plan.spec.item_scale_bits)
        slots = plan.parameters.slots
        for row in range(plan.matrix_rows):
            some = item_reals(plan.spec, items(row * slots, min((row + 1) * slots, plan.spec.rows)))
            columns = np.zeros((plan.spec.dimensions, slots))
            columns[:, : some.shape[0]] = some.T
            self._matrix.append(columns)

    def answer(self, message: bytes, *, charge: Callable[[int], None], entropy: Entropy | None = None) -> Done[bytes]:
        """Answer a batch of queries; as `MatrixHolder.answer`.

        Reveals: to the querier, approximate scores of all rows; to anyone else, sizes.

        Raises:
            WireError: The message breaks the format.
        """
        plan = self.plan
        query = decode_query(plan.shape, message)
        cover = RealCover(plan.chain, query.public_key, entropy=entropy or SystemEntropy(), insecure_omit=self._omit)
        scale = plan.spec.query_scale_bits
        batch = [read_queries(plan.parameters, row, scale) for row in query.ciphertexts]
        charge(len(batch))
        products = tuple(
            tuple(cover.reply(self._matrix.multiply(row, native)) for row in range(plan.matrix_rows))
            for native in batch
        )
        return Done(encode_reply(plan.shape, Reply(name=query.name, products=products)))
