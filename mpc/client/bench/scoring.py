"""Protocol cases: private scoring, both roles in one process, against numpy on plain vectors.

One run is a query under a fresh key, the holder's products with its covering and flooding, and the opening of all
scores. The holder's catalogue is encoded beforehand, as a node does when it starts; its size is in the figures. The
twin is the product of the same vectors in single precision.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.cases import Case, Level, Observed, Resources, Twin, Work, expect
from mpc.client.bench.micro import threads_limited
from mpc.client.bench.records import Wire
from mpc.schemes.rlwe.products import Protection
from mpc.score.holder import MatrixHolder
from mpc.score.ideal import ideal_scores
from mpc.score.querier import Querier, Scores
from mpc.score.spec import finest_spec

__all__ = ["prepared", "score_cases", "unit_vectors"]

_SHAPES: Final[Mapping[Level, tuple[tuple[int, int], ...]]] = {
    Level.SMOKE: ((16, 300),),
    Level.QUICK: ((64, 16_384), (128, 16_384), (128, 100_352)),
    Level.FULL: ((64, 16_384), (128, 16_384), (256, 16_384), (128, 100_352), (256, 100_352)),
}
"""Dimensions and items."""


def unit_vectors(rows: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    """Random directions, the same in every run."""
    vectors = np.random.default_rng([31, seed]).normal(size=(rows, dimensions))
    scaled: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


@contextlib.contextmanager
def prepared(
    dimensions: int, rows: int, _resources: Resources, *, insecure_no_flooding: bool = False
) -> Iterator[Work]:
    """One query of some dimensions against some items."""
    omitted = frozenset({Protection.FLOODING} if insecure_no_flooding else ())
    items, asked = unit_vectors(rows, dimensions, 0), unit_vectors(1, dimensions, 1)
    plan = finest_spec(catalogue="benchmark", rows=rows, dimensions=dimensions).compile()
    wanted = ideal_scores(plan, asked, items)
    single_items, single_asked = items.astype(np.float32), asked[0].astype(np.float32)
    flooding = "INSECURE: no flooding" if insecure_no_flooding else f"{plan.product.flooding_bits} bits of flooding"
    clock = time.process_time
    with threads_limited(1):
        holder = MatrixHolder(plan, lambda start, stop: items[start:stop], insecure_omit=omitted)
        querier = Querier(plan)

        def run(_: object) -> tuple[Scores, Observed]:
            start = clock()
            sent = querier.ask(asked)
            asking = clock()
            reply = holder.answer(sent.messages[0], charge=lambda _queries: None).result
            answered = clock()
            scores = querier.receive(sent.state, reply).result
            phases = {"query": asking - start, "holder": answered - asking, "open": clock() - answered}
            return scores, Observed(
                wire=Wire(up_bytes=len(sent.messages[0]), down_bytes=len(reply)),
                phases=phases,
                figures={"catalogue_bytes": float(holder.memory_bytes), "worst_error": plan.worst_error},
            )

        def check(result: tuple[Scores, Any]) -> None:
            expect(np.array_equal(result[0].integers, wanted), "scores differ from the exact products")

        yield Work(
            run=run,
            check=check,
            observe=lambda result: result[1],
            twins={"numpy": Twin(lambda _: single_items @ single_asked)},
            values=rows,
            parameters=None if insecure_no_flooding else plan.parameters,
            scheme="rlwe without flooding" if insecure_no_flooding else "",
            security=0 if insecure_no_flooding else None,
            notes=f"{flooding}; error below {plan.worst_error:.1e}",
        )


def score_cases(level: Level) -> Iterator[Case]:
    """One query by dimensions and items."""
    for dimensions, rows in _SHAPES[level]:
        yield Case(
            path=f"protocols/score/d{dimensions}/n{rows}",
            group="protocols/score",
            labels={"dimensions": dimensions, "rows": rows},
            prepare=partial(prepared, dimensions, rows),
        )
