"""The rooms of the two stories of this folder's page, with generated data.

    python -m benchmarks.learn.stories shops        opens the room and waits; the commands go into another terminal
    python -m benchmarks.learn.stories hospitals

A link `shops-room` (`hospitals-room`) to the room's folder is made where the command is typed, and removed at the end.
"""

import argparse
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mpc.client import LocalRoom
from mpc.client.demo_data import RETAILERS
from mpc.client.demo_recommender import baskets

__all__ = ["main", "opened"]

HOSPITALS = ("general", "lakeside", "mercy")


def stays(number: int, rows: int = 4000) -> pa.Table:
    """One hospital group's stays: age, earlier visits, ward, drug, and whether the patient came back."""
    draw = np.random.default_rng([7, number])
    age = draw.normal(60.0, 12.0, rows).clip(18, 99).round()
    visits = draw.poisson(1.5, rows)
    ward = draw.choice(["east", "north", "south", "west"], rows, p=[0.3, 0.4, 0.2, 0.1])
    drug = draw.choice(["no", "steady", "up"], rows)
    effect = {"east": 0.1, "north": 0.0, "south": -0.6, "west": 0.7}
    odds = (
        -2.0 + 0.03 * (age - 60) + 0.5 * np.log1p(visits) + np.array([effect[w] for w in ward]) + 0.4 * (drug == "up")
    )
    back = draw.random(rows) < 1.0 / (1.0 + np.exp(-odds))
    patient = np.arange(rows) + 10_000 * number
    columns = {"patient": patient, "age": age, "visits": visits, "ward": ward, "drug": drug}
    return pa.table(columns | {"back": back.astype(np.int64)})


def _owner(table: str, columns: tuple[str, ...]) -> dict[str, Any]:
    """What an owner of the stories writes into `policy.toml`."""
    allowed = {name: {"use": ["train"]} for name in columns}
    return {"analysts": ["analyst"], "minimum_parties": 3, "train": True, "tables": {table: {"columns": allowed}}}


@contextlib.contextmanager
def opened(story: str, place: Path) -> Iterator[LocalRoom]:
    """The room of a story, linked from a place."""
    if story == "shops":
        tables = {retailer.name: {"baskets": baskets(retailer)} for retailer in RETAILERS}
        policy = _owner("baskets", ("shopper", "product"))
    else:
        tables = {name: {"stays": stays(number)} for number, name in enumerate(HOSPITALS)}
        policy = _owner("stays", ("patient", "age", "visits", "ward", "drug", "back"))
    link = place / f"{story}-room"
    with LocalRoom(tables, dict.fromkeys(tables, policy)) as room:
        link.symlink_to(room.folder)
        try:
            yield room
        finally:
            link.unlink()


def main() -> None:
    """Hold the room open until interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("story", choices=["shops", "hospitals"])
    told = parser.parse_args()
    with opened(told.story, Path.cwd()), contextlib.suppress(KeyboardInterrupt):
        print(f"the room is open as {told.story}-room; Ctrl-C ends it", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
