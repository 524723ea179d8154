"""The querier: a fresh key for every message, queries out, scores in. The only module here that holds a secret key."""

from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Entropy, SystemEntropy
from mpc.errors import KeyAccessError, ParameterError, ProtocolError
from mpc.keys.secret import SecretKey
from mpc.roles import Done, Send
from mpc.schemes.rlwe import secret
from mpc.schemes.rlwe.blocks import DEFAULT, Execution
from mpc.schemes.rlwe.products_reply import expand_replies
from mpc.score.encoding import query_integers, query_polynomials
from mpc.score.messages import MOST_QUERIES, NAME_BYTES, Query, decode_reply, encode_query
from mpc.score.spec import ScorePlan

__all__ = ["PendingScores", "Querier", "Scores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingScores:
    """A querier's state between its message and the reply; the key opens once."""

    name: bytes
    queries: int
    key: SecretKey = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise KeyAccessError("what holds a secret key is not pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of a batch of queries."""

    integers: NDArray[np.int64] = field(repr=False)
    """Exact products of the fixed-point vectors, `(queries, rows)`."""

    scale: float

    @property
    def values(self) -> NDArray[np.float64]:
        """The scores as real numbers, `(queries, rows)`."""
        return self.integers / self.scale

    def top(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Row numbers and scores of the k best of each query, best first, `(queries, k)`; equal ones by row number.

        A convenience of the querier: it was sent all of them.

        Raises:
            ParameterError: k is not between 1 and the number of rows.
        """
        rows = self.integers.shape[1]
        if not 1 <= k <= rows:
            raise ParameterError(f"the best k of {rows} rows, k at least 1")
        best = np.empty((self.integers.shape[0], k), dtype=np.int64)
        for target, scores in zip(best, self.integers, strict=True):
            least = np.partition(scores, rows - k)[rows - k]
            ahead, level = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
            ahead = ahead[np.argsort(-scores[ahead], kind="stable")]
            target[:] = np.concatenate([ahead, level[: k - ahead.size]])
        return best, np.take_along_axis(self.integers, best, axis=1) / self.scale


class Querier:
    """Asks for scores under one plan."""

    def __init__(self, plan: ScorePlan, *, execution: Execution = DEFAULT) -> None:
        self.plan = plan
        self._execution = execution

    def ask(self, vectors: NDArray[Any], *, entropy: Entropy | None = None) -> Send[PendingScores, bytes]:
        """Encrypt queries `(n, dimensions)` under a fresh key, seeded, so that half of every ciphertext is a seed.

        Reveals: to the holder, the number of queries; nothing of the vectors (RLWE).

        Raises:
            RangeError: A vector leaves its declared range; nothing was encrypted.
        """
        integers = query_integers(self.plan, vectors)
        if not 1 <= integers.shape[0] <= MOST_QUERIES:
            raise ParameterError(f"1 to {MOST_QUERIES} queries at once")
        source = entropy or SystemEntropy()
        public_key, key = secret.generate(self.plan.parameters, source)
        encryptor = secret.symmetric_encryptor(key, execution=self._execution, entropy=entropy)
        rows = tuple(tuple(encryptor.encrypt(query_polynomials(self.plan, row))) for row in integers)
        query = Query(name=source.token(NAME_BYTES), public_key=public_key.data, ciphertexts=rows)
        pending = PendingScores(name=query.name, queries=len(rows), key=key)
        return Send(pending, (encode_query(self.plan.shape, query),))

    def receive(self, pending: PendingScores, message: bytes) -> Done[Scores]:
        """Open the reply; the key is used up and destroyed, whatever the reply is.

        Raises:
            WireError: The message breaks the format.
            ProtocolError: It answers another query, or has scores beyond what the plan allows.
            KeyAccessError: The key was used before.
        """
        plan = self.plan
        with pending.key as key:
            decryptor = secret.decryptor(key, execution=self._execution)
            reply = decode_reply(plan.shape, message)
            if reply.name != pending.name or len(reply.products) != pending.queries:
                raise ProtocolError("a reply to another query")
            positions = plan.positions()
            scores = np.empty((pending.queries, plan.spec.rows), dtype=np.int64)
            for target, products in zip(scores, reply.products, strict=True):
                slots = decryptor.decrypt(expand_replies(plan.product, positions, products, execution=self._execution))
                self._read(slots, target)
        if int(np.abs(scores).max()) > plan.query_bound * plan.item_bound:
            raise ProtocolError("a score beyond its bound: the holder left the protocol, or the keys do not match")
        return Done(Scores(integers=scores, scale=plan.scale))

    def _read(self, slots: NDArray[np.uint64], out: NDArray[np.int64]) -> None:
        t, first = self.plan.parameters.plain_modulus, 0
        for row, place in zip(slots, self.plan.positions(), strict=True):
            values = row[place.start : place.stop : place.step].astype(np.int64)
            out[first : first + place.count] = np.where(values > t // 2, values - t, values)
            first += place.count
