"""Learning cases: every model, trained over encrypted sums, against the same programs over a trusted adder.

Both trainings do the same local work and must end with the same model to the bit: the ratio is what encryption costs.
One process plays every role, so elapsed time is that of all parties one after the other. Keys are made afresh for every
sum, as in a job, and so are their transcripts. The generated data have structure, so that iterations converge.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.cases import Case, Level, Observed, Resources, Twin, Work, expect
from mpc.client.bench.micro import threads_limited
from mpc.client.bench.records import Wire
from mpc.client.bench.sums import RoundRunner
from mpc.errors import ProtocolError
from mpc.learn import (
    Als,
    ArrayRows,
    Category,
    Ease,
    FittedModel,
    GradientFactorization,
    ImplicitAls,
    KMeans,
    LinearRegression,
    LogisticRegression,
    Numeric,
    Pca,
    PoissonRegression,
    Spec,
    program,
)
from mpc.params import parameter_set
from mpc.plan import choose_parameters
from mpc.primitives import Program, Sum, Totals, run_ideal

__all__ = ["Ledger", "run_encrypted", "training_cases"]

_PARTIES: Final = 3


@dataclass(slots=True)
class Ledger:
    """What the sums of a training took."""

    rounds: int = 0
    values: int = 0
    up_bytes: int = 0
    down_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    sets: set[str] = field(default_factory=set)


def run_encrypted(programs: Sequence[Program[Any]], ledger: Ledger) -> list[Any]:
    """Run one program per party, every sum by the protocol under the planner's parameter set.

    Raises:
        ProtocolError: The parties asked for different things.
    """
    replies: list[Totals | None] = [None] * len(programs)
    results: list[Any] = []
    while True:
        asked = []
        for program_, reply in zip(programs, replies, strict=True):
            try:
                asked.append(program_.send(reply))
            except StopIteration as stop:
                results.append(stop.value)
        if results:
            if asked:
                raise ProtocolError("the parties' programs ended at different steps")
            return results
        sums = [step for step in asked if isinstance(step, Sum)]
        replies = [None] * len(programs)
        if sums:
            replies = [_sum(sums, ledger)] * len(programs)


def _sum(requests: Sequence[Sum], ledger: Ledger) -> Totals:
    chosen = choose_parameters(requests[0].header.segments, len(requests)).parameters
    opened = RoundRunner(chosen, requests).run()
    ledger.rounds += 1
    ledger.sets.add(chosen.id)
    ledger.values += sum(s.length for s in requests[0].header.segments)
    ledger.up_bytes += opened.wire.up_bytes
    ledger.down_bytes += opened.wire.down_bytes
    for name, seconds in opened.phases.items():
        ledger.seconds[name] = ledger.seconds.get(name, 0.0) + seconds
    return opened.totals


def noted(program_: Program[FittedModel], ledger: Ledger, parties: int) -> Program[FittedModel]:
    """A program that writes down what it asks to be summed, and under which set it would be."""
    reply: Totals | None = None
    while True:
        try:
            step = program_.send(reply) if reply is not None else next(program_)
        except StopIteration as stop:
            model: FittedModel = stop.value
            return model
        if isinstance(step, Sum):
            ledger.rounds += 1
            ledger.sets.add(choose_parameters(step.header.segments, parties).parameters.id)
            ledger.values += sum(s.length for s in step.header.segments)
        reply = yield step


Columns = Mapping[str, NDArray[Any]]


def ratings(users: int, items: int) -> Columns:
    """Ratings of popular items after tastes in four dimensions."""
    draw = np.random.default_rng(23)
    taste, trait = draw.normal(size=(users, 4)), draw.normal(size=(items, 4))
    chance = np.clip(0.6 / np.arange(1, items + 1) ** 0.6 + 0.05 * (taste @ trait.T > 1.0), 0.0, 0.9)
    user, item = np.nonzero(draw.random((users, items)) < chance)
    stars = 3.5 + 0.5 * (taste @ trait.T)[user, item] + 0.3 * draw.normal(size=len(user))
    return {"user": user, "item": item, "rating": np.clip(np.round(2.0 * stars) / 2.0, 0.5, 5.0)}


def patients(rows: int) -> Columns:
    """Rows of a risk model: four numbers, two categories, a 0/1 outcome, a cost, a count."""
    draw = np.random.default_rng(29)
    numbers = {f"x{i}": draw.normal(size=rows).clip(-6, 6) for i in range(6)}
    ward, drug = draw.integers(0, 8, rows), draw.integers(0, 4, rows)
    eta = -1.0 + 0.6 * numbers["x0"] - 0.4 * numbers["x1"] + 0.1 * ward - 0.2 * drug
    return {
        **numbers,
        "user": np.arange(rows),
        "ward": ward,
        "drug": drug,
        "back": (draw.random(rows) < 1.0 / (1.0 + np.exp(-eta))).astype(np.int64),
        "cost": 100.0 + 10.0 * eta + draw.normal(size=rows),
        "calls": draw.poisson(np.exp(0.2 * eta)).astype(np.float64),
    }


_NUMBERS: Final = tuple(Numeric(f"x{i}", minimum=-6.0, maximum=6.0) for i in range(6))
_FEATURES: Final[tuple[str | Numeric | Category, ...]] = (
    *_NUMBERS,
    Category("ward", levels=tuple(range(8))),
    Category("drug", levels=tuple(range(4))),
)


def _recommenders(items: int, *, small: bool) -> dict[str, Spec]:
    catalogue = tuple(range(items))
    dimension, iterations = (4, 2) if small else (16, 5)
    ease = Ease("ratings", "user", "item", items=catalogue, minimum_users=1)
    als = Als("ratings", "user", "item", rating="rating", items=catalogue, rating_range=(0.5, 5.0), minimum_users=1,
              dimension=dimension, iterations=iterations)  # fmt: skip
    implicit = ImplicitAls("ratings", "user", "item", items=catalogue, minimum_users=1, dimension=dimension,
                           iterations=iterations)  # fmt: skip
    gradient = GradientFactorization("ratings", "user", "item", rating="rating", items=catalogue,
                                     rating_range=(0.5, 5.0), minimum_users=1, dimension=dimension,
                                     iterations=2 * iterations)  # fmt: skip
    return {"ease": ease, "als": als, "implicit-als": implicit, "gradient-factorization": gradient}


def _tabular(*, small: bool) -> dict[str, Spec]:
    rounds = 3 if small else 25
    return {
        "linear-regression": LinearRegression(
            table="rows", target="cost", features=_FEATURES, target_minimum=-1e3, target_maximum=1e3
        ),
        "logistic-regression": LogisticRegression(table="rows", target="back", features=_FEATURES, rounds=rounds),
        "poisson-regression": PoissonRegression(table="rows", target="calls", features=_FEATURES, rounds=rounds),
        "pca": Pca(table="rows", features=_NUMBERS, components=3),
        "k-means": KMeans(table="rows", features=_NUMBERS, clusters=5, iterations=2 if small else 10),
    }


def divided(columns: Columns) -> list[ArrayRows]:
    """Rows by user, to the parties in turn."""
    owner = columns["user"].astype(np.int64) % _PARTIES
    return [ArrayRows({name: values[owner == p] for name, values in columns.items()}) for p in range(_PARTIES)]


@contextlib.contextmanager
def _prepared(spec: Spec, name: str, make: Callable[[], Columns], resources: Resources) -> Iterator[Work]:
    rooms = resources.get(name, lambda: divided(make()))
    rows = sum(len(room) for room in rooms)

    def programs() -> list[Program[FittedModel]]:
        return [program(spec, data, parties=len(rooms)) for data in rooms]

    def train(_: object) -> tuple[FittedModel, Ledger]:
        ledger = Ledger()
        return run_encrypted(programs(), ledger)[0], ledger

    # The plain training tells what will be summed, so that the first encrypted one is the cold one.
    first, (watched, *others) = Ledger(), programs()
    wanted = run_ideal([noted(watched, first, len(rooms)), *others])[0].digest()

    def observe(result: tuple[FittedModel, Ledger]) -> Observed:
        ledger = result[1]
        return Observed(
            wire=Wire(up_bytes=ledger.up_bytes, down_bytes=ledger.down_bytes),
            phases=ledger.seconds,
            figures={"sums": float(ledger.rounds), "summed_values": float(ledger.values)},
        )

    with threads_limited(1):
        yield Work(
            run=train,
            check=lambda result: expect(result[0].digest() == wanted, "the model differs from the ideal one"),
            observe=observe,
            twins={"ideal": Twin(lambda _: run_ideal(programs()))},
            values=first.values * len(rooms),
            parameters=parameter_set(max(first.sets)),
            notes=f"{rows} rows, {first.rounds} sums, {first.values} values in all; {', '.join(sorted(first.sets))}",
        )


def training_cases(level: Level) -> Iterator[Case]:
    """Every model."""
    small = level is Level.SMOKE
    users, items, rows = {Level.SMOKE: (60, 12, 600), Level.QUICK: (2_000, 200, 20_000)}.get(
        level, (20_000, 1_000, 200_000)
    )
    recommenders = _recommenders(items, small=small)
    for name, spec in {**recommenders, **_tabular(small=small)}.items():
        make = partial(ratings, users, items) if name in recommenders else partial(patients, rows)
        kind = "ratings" if name in recommenders else "rows"
        yield Case(
            path=f"learn/{name}",
            group="learn",
            labels={"model": name, "parties": _PARTIES},
            prepare=partial(_prepared, spec, kind, make),
        )
