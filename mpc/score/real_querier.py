"""The querier of real-valued scores: the owner of the key, and the only reader of what it opens."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Entropy, SystemEntropy
from mpc.errors import ParameterError, ProtocolError
from mpc.roles import Done, Send
from mpc.schemes.ckks.reader import GridValues, Reader
from mpc.score.encoding import query_reals
from mpc.score.messages import MOST_QUERIES, NAME_BYTES, Query, decode_reply, encode_query
from mpc.score.real_spec import RealScorePlan

__all__ = ["PendingRealScores", "RealQuerier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRealScores:
    """A querier's state between its message and the reply; the key opens once."""

    name: bytes
    queries: int
    reader: Reader = field(repr=False)


class RealQuerier:
    """Asks for scores under one plan."""

    def __init__(self, plan: RealScorePlan) -> None:
        self.plan = plan

    def ask(self, vectors: NDArray[Any], *, entropy: Entropy | None = None) -> Send[PendingRealScores, bytes]:
        """Encrypt queries `(n, dimensions)` under a fresh key, seeded.

        Reveals: to the holder, the number of queries.

        Raises:
            RangeError: A vector leaves its declared range; nothing was encrypted.
        """
        spec = self.plan.spec
        reals = query_reals(spec, vectors)
        if not 1 <= reals.shape[0] <= MOST_QUERIES:
            raise ParameterError(f"1 to {MOST_QUERIES} queries at once")
        reader = Reader(self.plan.parameters)
        rows = tuple(tuple(reader.encrypt_constants(row.tolist(), spec.query_scale_bits)) for row in reals)
        name = (entropy or SystemEntropy()).token(NAME_BYTES)
        query = Query(name=name, public_key=reader.public_key, ciphertexts=rows)
        pending = PendingRealScores(name=name, queries=len(rows), reader=reader)
        return Send(pending, (encode_query(self.plan.shape, query),))

    def receive(self, pending: PendingRealScores, message: bytes) -> Done[GridValues]:
        """Open the reply on the declared grid, `(queries, rows)`; the key is used up and destroyed.

        Raises:
            WireError: The message breaks the format.
            ProtocolError: It answers another query, or has scores beyond what the plan allows.
            KeyAccessError: The key was used before.
        """
        plan, spec = self.plan, self.plan.spec
        with pending.reader as reader:
            reply = decode_reply(plan.shape, message)
            if reply.name != pending.name or len(reply.products) != pending.queries:
                raise ProtocolError("a reply to another query")
            opened = reader.read(
                [one for row in reply.products for one in row],
                plan.chain,
                scale_bits=plan.scale_bits,
                grid_bits=spec.grid_bits,
                largest=spec.query_norm * spec.item_norm,
            )
        steps = np.ascontiguousarray(opened.steps.reshape(pending.queries, -1)[:, : spec.rows])
        return Done(GridValues(steps=steps, grid_bits=opened.grid_bits))
