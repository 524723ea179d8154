"""iALS on generated data of the shape of MovieLens-20M, over processes: time and peak memory of every one.

    python -m benchmarks.learn.large                       the full shape: 138,000 users, 27,000 items, 20 M ratings
    python -m benchmarks.learn.large --users 14000 --items 5000 --ratings 1000000 --iterations 2

Three party nodes with their sandboxed workers, a coordinator and an analyst; Parquet files, gRPC, mutual TLS, every
item statistic encrypted. Popularity follows a power law, activity a log-normal.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mpc.client import LocalRoom
from mpc.client.training import Step
from mpc.learn import ImplicitAls
from mpc.learn.splits import shard

__all__ = ["Peaks", "interactions", "main"]


def interactions(users: int, items: int, ratings: int, seed: int = 0) -> dict[str, NDArray[np.int32]]:
    """Distinct pairs with power-law item popularity and log-normal user activity."""
    draw = np.random.default_rng(seed)
    activity = np.exp(draw.normal(0.0, 1.0, users))
    counts = np.maximum(5, activity / activity.sum() * ratings * 1.25).astype(np.int64)
    user = np.repeat(np.arange(users, dtype=np.int64), counts)
    popular = 1.0 / (np.arange(items) + 30.0) ** 1.1
    item = np.searchsorted(np.cumsum(popular) / popular.sum(), draw.random(len(user))).astype(np.int64)
    pairs = np.unique(user * items + np.minimum(item, items - 1))
    pairs = np.sort(draw.permutation(pairs)[:ratings])
    return {"user": (pairs // items).astype(np.int32), "item": (pairs % items).astype(np.int32)}


class Peaks:
    """Watches the resident memory of the processes below this one; the kernel keeps each one's peak."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[str, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            parents: dict[int, int] = {}
            told: dict[int, tuple[str, float]] = {}
            for folder in Path("/proc").iterdir():
                if not folder.name.isdigit():
                    continue
                try:
                    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
                    command = (folder / "cmdline").read_bytes().split(b"\0")
                except (OSError, ValueError):
                    continue
                number = int(folder.name)
                parents[number] = int(fields["PPid"])
                told[number] = (_role(command), float(fields.get("VmHWM", "0 kB").split()[0]) / 1e6)
            for number, what in told.items():
                above = number
                while above not in {0, os.getpid()}:
                    above = parents.get(above, 0)
                if above == os.getpid() and number != os.getpid() and what[0]:
                    self.found[number] = what


def _role(command: list[bytes]) -> str:
    words = [w.decode(errors="replace") for w in command]
    module = next((w for w in words if w.startswith("servers.")), "")
    config = next((Path(w) for w in words if w.endswith(".toml")), None)
    return module + (f" {config.parent.name}" if config is not None else "")


def _tables(told: argparse.Namespace, folder: Path) -> dict[str, dict[str, Path]]:
    rows = interactions(told.users, told.items, told.ratings)
    owner = shard(rows["user"], told.parties)
    out = {}
    for number in range(told.parties):
        path = folder / f"p{number}.parquet"
        pq.write_table(pa.table({n: v[owner == number] for n, v in rows.items()}), path)
        out[f"p{number}"] = {"views": path}
    return out


def main() -> None:
    """Train, and print what it took."""
    parser = argparse.ArgumentParser()
    for name, default in (
        ("users", 138_000), ("items", 27_000), ("ratings", 20_000_000), ("parties", 3), ("iterations", 5),
        ("dimension", 64), ("block", 16), ("block-values", 1 << 23),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--solver", default="normal")
    parser.add_argument("--scheme", help="clear: the same without encryption")
    told = parser.parse_args()
    spec = ImplicitAls(
        "views", "user", "item", told.dimension, iterations=told.iterations, solver=told.solver, block=told.block,
        items=tuple(range(told.items)), minimum_parties=1, block_values=told.block_values,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, Peaks() as peaks:
        begun = time.monotonic()
        tables = _tables(told, Path(folder))
        print(f"generated in {time.monotonic() - begun:.0f} s", flush=True)
        with LocalRoom(tables) as room:
            print(f"room open after {time.monotonic() - begun:.0f} s", flush=True)
            _train(room, spec, told.scheme)
    for role, gigabytes in sorted(peaks.found.values()):
        print(f"peak memory {role}: {gigabytes:.2f} GB")


def _train(room: LocalRoom, spec: ImplicitAls, scheme: str | None) -> None:
    begun = time.monotonic()

    def tell(step: Step) -> None:
        metrics: dict[str, Any] = dict(step.metrics)
        print(f"iteration {step.step}/{step.of}: {time.monotonic() - begun:.0f} s, {metrics}", flush=True)

    run = room.client().train(spec, scheme=scheme, on_step=tell, timeout_s=3600)
    report = run.wait().report
    sent = {n: round(t.get("bytes_received", 0) / 1e6) for n, t in report.traffic.items()}
    print(f"{report.parameter_set}: {time.monotonic() - begun:.0f} s in all; megabytes sent by member: {sent}")


if __name__ == "__main__":
    main()
