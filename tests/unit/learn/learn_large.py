"""Generated interactions of the shape of MovieLens-20M, and one timed training on them.

python -m tests.unit.learn.learn_large --parties 3 --iterations 1 --dimension 64
"""

import argparse
import resource
import time

import numpy as np

from mpc.learn import ArrayRows, ImplicitAls, program
from mpc.learn.splits import shard
from mpc.primitives import Progress, Sum, ideal_totals


def interactions(users: int, items: int, ratings: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Distinct pairs with power-law item popularity and log-normal user activity."""
    rng = np.random.default_rng(seed)
    activity = np.exp(rng.normal(0.0, 1.0, users))
    counts = np.maximum(5, activity / activity.sum() * ratings * 1.25).astype(np.int64)
    user = np.repeat(np.arange(users, dtype=np.int64), counts)
    popular = 1.0 / (np.arange(items) + 30.0) ** 1.1
    item = np.searchsorted(np.cumsum(popular) / popular.sum(), rng.random(len(user))).astype(np.int64)
    pairs = np.unique(user * items + np.minimum(item, items - 1))
    pairs = np.sort(rng.permutation(pairs)[:ratings])
    return {"user": (pairs // items).astype(np.int32), "item": (pairs % items).astype(np.int32)}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("users", 138_000), ("items", 27_000), ("ratings", 20_000_000), ("parties", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--solver", default="normal")
    parser.add_argument("--block", type=int, default=16)
    told = parser.parse_args()
    begin = time.monotonic()
    rows = interactions(told.users, told.items, told.ratings)
    owner = shard(rows["user"], told.parties)
    rooms = [ArrayRows({n: v[owner == p] for n, v in rows.items()}) for p in range(told.parties)]
    del rows, owner
    print(f"generated {sum(len(r) for r in rooms):,} rows in {time.monotonic() - begin:.0f} s")
    spec = ImplicitAls(
        "t", "user", "item", told.dimension, iterations=told.iterations, solver=told.solver, block=told.block,
        items=tuple(range(told.items)), minimum_parties=1, scale_bits=20,
    )  # fmt: skip
    programs = [program(spec, data, parties=told.parties) for data in rooms]
    replies, values, begin = [None] * len(programs), 0, time.monotonic()
    while True:
        try:
            asked = [p.send(r) for p, r in zip(programs, replies, strict=True)]
        except StopIteration as stop:
            print(stop.value.explain())
            break
        replies = [None] * len(programs)
        if isinstance(asked[0], Sum):
            values += sum(s.length for s in asked[0].header.segments)
            replies = [ideal_totals(asked)] * len(programs)
        elif isinstance(asked[0], Progress):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            step = asked[0]
            spent = time.monotonic() - begin
            print(f"{step.step}/{step.of} {dict(step.metrics)} {values:,} values, {spent:.0f} s, {peak:.1f} GB")


if __name__ == "__main__":
    main()
