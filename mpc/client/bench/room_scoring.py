"""Private scoring through a whole room: what an analyst waits for; and what flooding costs, on one core.

A run is one call of `client.score`: encryption under a fresh key, both hops over gRPC and mutual TLS between processes,
the holder's durable charge, products, covering and flooding, the check of the receipt, opening, and the ten best. The
catalogue is encoded beforehand, as a node does when it starts. The twin is numpy's product of the same vectors in
single precision, on one core.

    sealroom bench --only protocols/score-room                             10,000 and 100,000 items
    sealroom bench --full --only protocols/score-room                      to 1,000,000 x 256: 8 GB of memory
    pytest benchmarks/protocols/test_score.py --bench-level full
"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.cases import Case, ClockKind, Level, Observed, Resources, Twin, Work, expect
from mpc.client.bench.machine import cores
from mpc.client.bench.micro import threads_limited
from mpc.client.bench.records import Wire
from mpc.client.bench.rooms import peak_bytes
from mpc.client.bench.scoring import prepared, unit_vectors
from mpc.score.budget import QueryBudget
from mpc.score.ideal import ideal_scores
from mpc.score.spec import ScorePlan

if TYPE_CHECKING:
    from mpc.client.local import LocalRoom
    from mpc.client.score_answer import ScoreAnswer

__all__ = ["insecure_cases", "room_cases"]

_SHAPES: Final[Mapping[Level, tuple[tuple[int, int], ...]]] = {
    Level.SMOKE: ((16, 300),),
    Level.QUICK: ((64, 10_000), (128, 10_000), (128, 100_000)),
    Level.FULL: tuple((d, n) for n in (10_000, 100_000, 1_000_000) for d in (64, 128, 256)),
}
"""Dimensions and items."""

_SLICE: Final = 4096
_TENSEAL_RUNS: Final = 3
_READY_S: Final = 600.0


def _tenseal_s(items: NDArray[np.float32], asked: NDArray[np.float64]) -> float:
    """Seconds of TenSEAL's `mm` (N = 8192, 60-40-60, no flooding): the median for a slice of 4096 items, times slices.

    A slice that is not full takes the time of a full one: the products are by dimension.
    """
    import tenseal as ts

    context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60], n_threads=1)
    context.global_scale = 2**40
    context.generate_galois_keys()
    query, matrix = ts.ckks_vector(context, asked), items[:_SLICE].T.astype(np.float64).tolist()
    taken = []
    for _ in range(_TENSEAL_RUNS):
        start = time.process_time()
        query.mm(matrix)
        taken.append(time.process_time() - start)
    return statistics.median(taken) * -(-len(items) // _SLICE)


@contextlib.contextmanager
def room_prepared(dimensions: int, rows: int, _resources: Resources) -> Iterator[Work]:
    """A room with one catalogue, encoded, and one query that has been asked."""
    from mpc.client.local import LocalRoom

    items = unit_vectors(rows, dimensions, 0).astype(np.float32)
    asked = unit_vectors(1, dimensions, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.npy"
        np.save(path, items)
        policy = {"analysts": ["*"], "catalogues": {"items": {"analysts": ["*"]}}}
        with LocalRoom(
            {"holder": {}, "other": {}},
            {"holder": policy},
            catalogues={"holder": {"items": {"file": str(path)}}},
        ) as room:
            yield _work(room, items, asked)


def _work(room: "LocalRoom", items: NDArray[np.float32], asked: NDArray[np.float64]) -> Work:
    client = room.client()
    plan = client.explain_score("items")
    score_plan = plan.plan
    assert isinstance(score_plan, ScorePlan)
    wanted = ideal_scores(score_plan, asked, items)[0] / score_plan.scale
    client.score(asked[0], "items", timeout_s=_READY_S)
    tenseal_s = _tenseal_s(items, asked[0])
    single = asked[0].astype(np.float32)

    def fresh() -> None:
        """The owner forgets what was asked: a measurement repeats more often than a budget would allow."""
        budget = QueryBudget(room.folder / "holder" / "state" / "scores.sqlite")
        budget.forget("items")
        budget.close()

    def observe(answer: "ScoreAnswer") -> Observed:
        report = answer.report
        return Observed(
            wire=Wire(up_bytes=report.bytes_sent, down_bytes=report.bytes_received),
            phases=dict(report.phases),
            peak_bytes=peak_bytes(room, {"holder": None, "coordinator": None}),
            figures={
                "items_per_s": report.rows / report.seconds,
                "catalogue_bytes": float(plan.memory_bytes),
                "typical_error": report.typical_error,
                "worst_error": report.worst_error,
                "flooding_bits": report.flooding_bits,
                "tenseal_matmul_s": tenseal_s,
            },
        )

    def numpy_once(_: object) -> Any:
        with threads_limited(1):
            return items @ single

    return Work(
        run=lambda _: client.score(asked[0], "items"),
        fresh=fresh,
        check=lambda answer: expect(np.array_equal(answer.scores, wanted), "scores differ from the exact products"),
        observe=observe,
        twins={"numpy": Twin(numpy_once)},
        values=len(items),
        parameters=score_plan.parameters,
        threads=cores(),
        clock=ClockKind.WALL,
        notes=f"through a room; {plan.dimensions_per_ciphertext} dimensions to a ciphertext; "
        f"{plan.flooding_bits:.0f} bits of flooding; error below {plan.worst_error:.1e}",
    )


def room_cases(level: Level) -> Iterator[Case]:
    """One query through a room by dimensions and items."""
    for dimensions, rows in _SHAPES[level]:
        yield Case(
            path=f"protocols/score-room/d{dimensions}/n{rows}",
            group="protocols/score-room",
            labels={"dimensions": dimensions, "rows": rows},
            prepare=partial(room_prepared, dimensions, rows),
        )


def insecure_cases(level: Level) -> Iterator[Case]:
    """The roles in one process without flooding: insecure, since its noise tells the catalogue to whoever asked."""
    for dimensions, rows in _SHAPES[level]:
        if rows <= 100_000:
            yield Case(
                path=f"protocols/score-insecure/d{dimensions}/n{rows}",
                group="protocols/score-insecure",
                labels={"dimensions": dimensions, "rows": rows, "insecure": "no flooding"},
                prepare=partial(prepared, dimensions, rows, insecure_no_flooding=True),
            )
