"""FedMF's own case, encrypted: 40 items, 7 users who are 7 parties, 100 dimensions.

    python -m benchmarks.learn.fedmf [--iterations 50] [--scheme clear]

The published logs of FedMF (Chai et al. 2019, Paillier of 1,024 bits, the same 109 training ratings' shape) show 7.29 s
per iteration. Here real nodes and a real coordinator exchange wire messages over an in-memory transport; every sum is
encrypted under a key of its own, masked pairwise, receipted and checked as in any job. One process plays all nine
members on one core, so the time is that of all of them one after the other.

Ratings are the seven users with most ratings among the 40 most rated films of ml-latest-small if it is there, else
generated with the same shape.
"""

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mpc.client.infer import infer_dictionary
from mpc.client.training import Step, training_set
from mpc.keys.dictionary import Dictionary
from mpc.learn import GradientFactorization, complete
from tests.simulation.memory_room import MemoryRoom

__all__ = ["main", "measured"]

ITEMS, USERS, RATINGS = 40, 7, 109


def ratings(path: Path) -> list[pa.Table]:
    """One table per user."""
    if path.exists():
        table = pq.read_table(path)
        columns = [table[n].to_numpy() for n in ("userId", "movieId", "rating")]
        popular = np.argsort(-np.bincount(columns[1]), kind="stable")[:ITEMS]
        user, item, rating = (c[np.isin(columns[1], popular)] for c in columns)
        # The published case has 109 training ratings of 7 users: about 16 of the 40 films each.
        wanted = np.argsort(np.abs(np.bincount(user) - RATINGS / USERS), kind="stable")[:USERS]
    else:
        draw = np.random.default_rng(0)
        user = np.repeat(np.arange(USERS), 16)
        item = np.concatenate([draw.choice(ITEMS, 16, replace=False) for _ in range(USERS)])
        rating, wanted = draw.integers(1, 11, len(user)) / 2.0, np.arange(USERS)
    return [pa.table({"user": user[user == u], "item": item[user == u], "rating": rating[user == u]}) for u in wanted]


async def measured(folder: Path, tables: list[pa.Table], iterations: int, scheme: str | None) -> dict[str, Any]:
    """Train once; seconds of every iteration."""
    parties = {f"u{number}": {"ratings": table} for number, table in enumerate(tables)}
    catalogue = sorted({int(i) for t in tables for i in t["item"].to_pylist()})
    dictionary: Dictionary = infer_dictionary(parties)
    spec = GradientFactorization(
        "ratings", "user", "item", 100, minimum_users=1, minimum_parties=1, items=tuple(catalogue), rating="rating",
        rating_range=(0.5, 5.0), iterations=iterations, user_step="gradient", optimizer="sgd", learning_rate=1e-3,
    )  # fmt: skip
    room = MemoryRoom(folder, parties, dictionary=dictionary)
    try:
        table = room.manifest.dictionary.table("ratings")
        assert table is not None
        chosen = training_set(complete(spec, table), len(tables), scheme)
        job = room.analyst.sign_training(spec, await room.analyst.keys.take(chosen), timeout_s=600)
        moments: list[float] = []

        def step(_: Step) -> None:
            moments.append(time.perf_counter())

        done = await room.analyst.train(job, step)
        sent = sum(t.get("bytes_received", 0) for n, t in done.report.traffic.items() if n.startswith("u"))
    finally:
        await room.close()
    each = sorted(b - a for a, b in itertools.pairwise(moments))
    return {
        "set": chosen,
        "ratings": sum(len(t) for t in tables),
        "items": len(catalogue),
        "median_ms": 1000 * statistics.median(each),
        "worst_ms": 1000 * each[-1],
        "kilobytes": sent / 1000 / len(tables) / (iterations + 1),
    }


def main() -> None:
    """Print what one iteration takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--scheme")
    parser.add_argument("--ratings", type=Path, default=Path("../shared/data/ml-latest-small/ratings.parquet"))
    told = parser.parse_args()
    tables = ratings(told.ratings)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measured(Path(folder) / "warm", tables, 3, told.scheme))
        found = asyncio.run(measured(Path(folder) / "timed", tables, told.iterations, told.scheme))
    print(
        f"{found['items']} items x {len(tables)} users, {found['ratings']} ratings, d = 100, {found['set']}: "
        f"median {found['median_ms']:.1f} ms per iteration, worst {found['worst_ms']:.1f} ms, "
        f"{found['kilobytes']:.0f} kB sent per party and iteration (FedMF's logs: 7,290 ms, 1,250 kB)"
    )


if __name__ == "__main__":
    main()
