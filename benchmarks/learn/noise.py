"""What noise on the item statistics costs in quality, and what it guarantees: EASE on MovieLens, three parties.

    python -m benchmarks.learn.noise [--ratings ../shared/data/ml-latest-small/ratings.parquet]

Sums are those of the trusted adder: noise is added before encryption and arrives the same. Every row trains with the
same limit on items per user, so that the first one shows what the limit alone costs.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mpc.learn import ArrayRows, Ease, Holdout, Noise, evaluate, program
from mpc.learn.ease import privacy_of
from mpc.learn.splits import shard
from mpc.primitives import run_ideal

__all__ = ["main"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ratings", type=Path, default=Path("../shared/data/ml-latest-small/ratings.parquet"))
    parser.add_argument("--parties", type=int, default=3)
    told = parser.parse_args()
    table = pq.read_table(told.ratings)
    rows = {
        "user": table["userId"].to_numpy().astype(np.int64),
        "item": table["movieId"].to_numpy().astype(np.int64),
        "rating": table["rating"].to_numpy().astype(np.float64),
    }
    owner = shard(rows["user"], told.parties)
    rooms = [ArrayRows({n: v[owner == p] for n, v in rows.items()}) for p in range(told.parties)]
    items = tuple(np.unique(rows["item"]).tolist())
    print("| items per user | deviation | regularisation | rho | epsilon at 1e-6 | NDCG@100 |")
    print("|---|---|---|---|---|---|")
    for cap in (1 << 20, 50, 20, 10):
        for deviation in (0.0, 1.0, 4.0, 16.0):
            if cap == 1 << 20 and deviation:
                continue
            best = max((_run(rooms, items, cap, deviation, r) for r in (200.0, 800.0)), key=lambda found: found[1])
            spec, ndcg = best
            loss = privacy_of(spec, told.parties)
            guarantee = "- | -" if loss is None else f"{loss.rho:.3g} | {loss.epsilon:.3g}"
            limit = "all" if cap == 1 << 20 else cap
            print(
                f"| {limit} | {deviation or 'none'} | {spec.regularization:g} | {guarantee} | {ndcg:.4f} |", flush=True
            )


def _run(
    rooms: list[ArrayRows], items: tuple[int, ...], cap: int, deviation: float, ridge: float
) -> tuple[Ease, float]:
    spec = Ease(
        "r", "user", "item", ridge, 10, rating="rating", minimum_rating=4.0, minimum_items=5, minimum_parties=1,
        items=items, items_per_user=cap, holdout=Holdout(5), noise=Noise(deviation) if deviation else None,
    )  # fmt: skip
    models = run_ideal([program(spec, data, parties=len(rooms)) for data in rooms])
    quality = run_ideal([evaluate(models[0], spec, data) for data in rooms])[0]
    return spec, quality.ndcg[100]


if __name__ == "__main__":
    main()
