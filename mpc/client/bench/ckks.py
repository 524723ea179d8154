"""Micro cases of the `ckks` scheme, which scores alone use: each role of one query, and the key.

Values are slots: a query encrypts one number a ciphertext in all slots, a reply carries one item's score a slot. The
holder's products include re-randomising and flooding. The twins are the same on plain arrays.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from mpc.client.bench.cases import Case, Level, Observed, Resources, Twin, Work, expect, security_of
from mpc.client.bench.micro import threads_limited
from mpc.client.bench.records import Wire
from mpc.client.bench.scoring import unit_vectors
from mpc.params.ckks import CKKS_SETS, CkksParameters
from mpc.schemes.ckks.reader import Reader
from mpc.score.real_holder import RealMatrixHolder
from mpc.score.real_querier import RealQuerier
from mpc.score.real_spec import finest_real_spec

__all__ = ["ckks_cases"]

_OPERATIONS: Final = ("keygen", "encrypt", "multiply-and-flood", "decrypt")
_DIMENSIONS: Final[Mapping[Level, int]] = {Level.SMOKE: 4, Level.QUICK: 16, Level.FULL: 64}
_ERROR: Final = 1e-6


class _Query:
    """One query of a catalogue that fills its ciphertext, role by role."""

    def __init__(self, parameters: CkksParameters, dimensions: int) -> None:
        slots = parameters.slots
        self.items, self.asked = unit_vectors(slots, dimensions, 0), unit_vectors(1, dimensions, 1)
        plan = finest_real_spec(
            catalogue="benchmark", rows=slots, dimensions=dimensions, parameter_set=parameters.id
        ).compile()
        self.querier = RealQuerier(plan)
        self.holder = RealMatrixHolder(plan, lambda start, stop: self.items[start:stop])

    def sent(self) -> Any:
        """A query under a fresh key: the querier's state, and its message."""
        return self.querier.ask(self.asked)

    def reply(self, sent: Any) -> bytes:
        """The holder's answer."""
        return self.holder.answer(sent.messages[0], charge=lambda _queries: None).result

    def right(self, scores: Any) -> None:
        """Refuse wrong scores."""
        expect(np.abs(scores.values[0] - self.items @ self.asked[0]).max() < _ERROR, "scores are wrong")


Parts = tuple[Callable[[Any], Any], Callable[[Any], None], Callable[[], Any] | None]


def _parts(query: _Query, parameters: CkksParameters, operation: str) -> Parts:
    """Run, check, and what one run uses up."""
    match operation:
        case "keygen":
            return lambda _: Reader(parameters), lambda made: expect(made.public_key, "there is no key"), None
        case "encrypt":

            def check(sent: Any) -> None:
                query.right(query.querier.receive(sent.state, query.reply(sent)).result)

            return lambda _: query.sent(), check, None
        case "multiply-and-flood":
            sent = query.sent()
            return query.reply, lambda made: expect(made, "there is no reply"), lambda: sent
        case _:

            def asked() -> Any:
                sent = query.sent()
                return sent.state, query.reply(sent)

            return lambda given: query.querier.receive(*given).result, query.right, asked


def _twin(query: _Query, operation: str) -> Twin:
    single, asked = query.items.astype(np.float32), query.asked[0].astype(np.float32)
    if operation == "multiply-and-flood":
        return Twin(lambda _: single @ asked)
    words = np.zeros(len(single), dtype=np.float64)
    return Twin(lambda _: words.tobytes())


def _observed(operation: str, result: Any) -> Observed:
    if operation == "encrypt":
        return Observed(wire=Wire(up_bytes=len(result.messages[0])))
    return Observed(wire=Wire(down_bytes=len(result))) if operation == "multiply-and-flood" else Observed()


@contextlib.contextmanager
def _prepared(parameters: CkksParameters, operation: str, level: Level, resources: Resources) -> Iterator[Work]:
    dimensions = _DIMENSIONS[level]
    with threads_limited(1):
        query = resources.get(parameters.id, lambda: _Query(parameters, dimensions))
        run, check, fresh = _parts(query, parameters, operation)
        values = {"keygen": 1, "encrypt": dimensions * parameters.slots}.get(operation, parameters.slots)
        yield Work(
            run=run,
            check=check,
            fresh=fresh,
            twins={"numpy": _twin(query, operation)},
            values=values,
            observe=partial(_observed, operation),
            scheme=f"ckks {parameters.id}",
            security=security_of(parameters.security),
            payload_bits=query.querier.plan.spec.grid_bits,
            notes=f"{dimensions} dimensions; a query is a fresh key and one seeded ciphertext a dimension",
        )


def ckks_cases(level: Level) -> Iterator[Case]:
    """Every role of every set."""
    for parameters in CKKS_SETS:
        for operation in _OPERATIONS:
            yield Case(
                path=f"micro/ckks/{parameters.id}/{operation}",
                group=f"micro/ckks/{parameters.id}",
                labels={"operation": operation, "set": parameters.id},
                prepare=partial(_prepared, parameters, operation, level),
            )
