"""Every model under every scheme, over processes, on the real data sets: time and bytes in all and per round.

    python -m benchmarks.learn.table                 the table of the closing notes; needs the data sets, half an hour
    python -m benchmarks.learn.table --small         the same in two minutes, on a tenth of the rows
    python -m benchmarks.learn.table --only ease als-16 --schemes rlwe clear

Three party nodes with sandboxed workers, a coordinator and an analyst on this machine. `clear` runs the same messages,
masks included, without encryption: what the federated run costs by itself. The last column is what a straightforward
implementation with python-paillier (2,048 bits, one ciphertext per value) would take for the same sums: measured on a
slice of values and extrapolated, arithmetic alone.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.client import LocalRoom
from mpc.client.client import Client
from mpc.client.training import Step
from mpc.learn import (
    Als,
    Category,
    Ease,
    FittedModel,
    GradientFactorization,
    Holdout,
    ImplicitAls,
    KMeans,
    LinearRegression,
    LogisticRegression,
    Numeric,
    Pca,
    PoissonRegression,
    RecommenderModel,
    RegressionModel,
    Spec,
    forecast,
)
from mpc.learn.splits import shard
from tests.unit.learn.learn_datasets import LEVELS, NUMBERS, movielens, readmission

__all__ = ["main", "phe_seconds_per_value", "specs"]

Columns = Mapping[str, NDArray[Any]]

PARTIES = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One training."""

    seconds: float
    rounds: int
    megabytes: float
    """Sent by one party."""

    values: int
    parameters: str
    quality: str


def specs(films: Columns, stays: Columns, *, small: bool) -> dict[str, Spec]:
    """The models, with the settings under which they reach their published figures."""
    items = tuple(np.unique(films["item"]).tolist())
    shop: dict[str, Any] = {"items": items, "minimum_parties": 2, "minimum_users": 5, "rating": "rating"}
    likes = shop | {"minimum_rating": 4.0, "minimum_items": 5, "holdout": Holdout(5)}
    stars = shop | {"rating_range": (0.5, 5.0), "holdout": Holdout(10)}
    turns, rows = (2, 20) if small else (16, 200)
    numbers = tuple(Numeric(n, "log1p" if n.startswith("number_") else "none", 0, 1000) for n in NUMBERS)
    levels = tuple(
        Category(n, levels=tuple(np.unique(stays[n]).tolist()), minimum_rows=rows)
        for n in (x.replace("-", "_") for x in LEVELS)
    )
    held = Holdout(5, columns=("patient_nbr",))
    risk = (*numbers, *levels)
    few = tuple(n for n in numbers if n.column != "time_in_hospital")
    implicit = {f"ials-{d}": ImplicitAls("films", "user", "item", d, iterations=turns, **likes) for d in (32, 64, 128)}
    return {
        "ease": Ease("films", "user", "item", 200.0, **likes),
        "als-16": Als("films", "user", "item", 16, 0.18, iterations=turns, **stars),
        **implicit,
        "gradient-16": GradientFactorization("films", "user", "item", 16, iterations=2 * turns, **stars),
        "linear": LinearRegression(
            "stays", "time_in_hospital", few, target_minimum=0, target_maximum=100, holdout=held
        ),
        "logistic": LogisticRegression("stays", "readmitted", risk, 1.0, holdout=held, rounds=8),
        "poisson": PoissonRegression("stays", "number_inpatient", few[:4], target_maximum=100.0, holdout=held),
        "k-means": KMeans(table="stays", features=numbers, clusters=8, iterations=turns),
        "pca": Pca(table="stays", features=numbers, components=4),
    }  # fmt: skip


def rooms(films: Columns, stays: Columns) -> dict[str, dict[str, pa.Table]]:
    """The rows of each party."""
    owner, ward = shard(films["user"], PARTIES), shard(stays["patient_nbr"], PARTIES)
    return {
        f"p{p}": {
            "films": pa.table({n: v[owner == p] for n, v in films.items()}),
            "stays": pa.table({n: v[ward == p] for n, v in stays.items()}),
        }
        for p in range(PARTIES)
    }


def train(client: Client, spec: Spec, scheme: str) -> Row:
    """One training, timed from the call to the model."""
    steps: list[Step] = []
    begun = time.monotonic()
    done = client.train(spec, scheme=scheme, on_step=steps.append).wait()
    seconds = time.monotonic() - begun
    sent = [t.get("bytes_received", 0) for n, t in done.report.traffic.items() if n in done.report.participants]
    rounds = max(1, len(steps))
    values = opened_values(spec, done.model, rounds)
    quality = ", ".join(f"{k} {v}" for k, v in _measures(done.quality or {}))
    return Row(seconds, rounds, max(sent, default=0) / 1e6, values, done.report.parameter_set, quality)


def opened_values(spec: Spec, model: FittedModel, rounds: int) -> int:
    """How many values the rounds of a training opened."""
    if isinstance(model, RegressionModel):
        width = len(model.beta)
        return rounds * (width * (width + 1) // 2 + width + 1)
    items = len(model.vocabulary) if isinstance(model, RecommenderModel) else None
    return sum(line.values * min(line.rounds, rounds) for line in forecast(spec, items=items))


def _measures(quality: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in quality.items():
        if name == "ndcg":
            yield "NDCG@100", f"{value['100']:.4f}"
        elif name in {"rmse", "auc"}:
            yield name.upper(), f"{value:.4f}"


def phe_seconds_per_value(slice_values: int = 24) -> float:
    """One value by python-paillier: every party encrypts, the coordinator adds, one opens."""
    from phe import paillier

    public, private = paillier.generate_paillier_keypair(n_length=2048)
    begun = time.monotonic()
    for value in range(slice_values):
        boxes = [public.encrypt(value + p) for p in range(PARTIES)]
        private.decrypt(sum(boxes[1:], boxes[0]))
    return (time.monotonic() - begun) / slice_values


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--schemes", nargs="*", default=["rlwe", "bfv", "clear"])
    told = parser.parse_args()
    films, stays = movielens(), {n.replace("-", "_"): v for n, v in readmission().items()}
    if told.small:
        films, stays = _part(films, "user"), _part(stays, "patient_nbr")
    chosen = {n: s for n, s in specs(films, stays, small=told.small).items() if not told.only or n in told.only}
    per_value = phe_seconds_per_value()
    print(f"phe, 2,048 bits, {PARTIES} parties one after the other: {1000 * per_value:.0f} ms per value\n")
    print("| model | scheme | seconds | rounds | s per round | MB per party | MB per round | x clear | phe | quality |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with LocalRoom(rooms(films, stays)) as room:
        client = room.client()
        for name, spec in chosen.items():
            train(client, spec, told.schemes[0])  # the first touches the disk and compiles
            found = {scheme: train(client, spec, scheme) for scheme in told.schemes}
            for scheme, row in found.items():
                print(_line(name, scheme, row, found.get("clear"), per_value), flush=True)


def _line(name: str, scheme: str, row: Row, clear: Row | None, per_value: float) -> str:
    ratio = f"{row.seconds / clear.seconds:.2f}" if clear is not None else "-"
    phe = row.values * per_value
    naive = f"{phe / 3600:.1f} h" if phe > 3600 else f"{phe:.0f} s"
    cells = (
        name, f"{scheme} ({row.parameters})", f"{row.seconds:.2f}", row.rounds, f"{row.seconds / row.rounds:.3f}",
        f"{row.megabytes:.1f}", f"{row.megabytes / row.rounds:.2f}", ratio, naive, row.quality,
    )  # fmt: skip
    return "| " + " | ".join(str(c) for c in cells) + " |"


def _part(columns: Columns, key: str) -> dict[str, NDArray[Any]]:
    kept = shard(columns[key], 10) == 0
    return {n: v[kept] for n, v in columns.items()}


if __name__ == "__main__":
    main()
