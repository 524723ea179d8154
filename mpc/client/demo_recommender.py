"""The demo's recommender: baskets of the three retailers, one model over all, and the two checks that matter."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mpc.client.demo_data import RETAILERS, Retailer
from mpc.learn import ArrayRows, Ease, EaseModel, Holdout, complete, evaluate, program
from mpc.learn.digest import training_digest
from mpc.learn.union import union_program
from mpc.primitives import run_ideal

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.keys.dictionary import Table

__all__ = ["SPEC", "Comparison", "compare", "write_baskets"]

_PRODUCTS: Final = 160
_TASTES: Final = 8
_SHOPPERS: Final = {"aurora": 900, "borealis": 600, "cascade": 400}

SPEC: Final = Ease(
    table="baskets", user="shopper", item="product", regularization=60.0, minimum_users=5, holdout=Holdout(5)
)
"""EASE over who bought what; products enter with five shoppers and two retailers; a fifth is held out to measure."""


def baskets(retailer: Retailer, seed: int = 2024) -> "pa.Table":
    """Who bought which product at one retailer: everybody has a taste or two, and buys outside it now and then."""
    import pyarrow as pa

    rng = np.random.default_rng([seed, 7, *retailer.name.encode()])
    popularity = 1.0 / (3.0 + np.arange(_PRODUCTS))
    taste_of = np.arange(_PRODUCTS) % _TASTES
    shoppers, products = [], []
    for number in range(_SHOPPERS[retailer.name]):
        liked = rng.choice(_TASTES, size=1 + int(rng.random() < 0.35), replace=False)
        weights = popularity * np.where(np.isin(taste_of, liked), 1.0, 0.06)
        size = 5 + int(rng.integers(0, 12))
        for product in rng.choice(_PRODUCTS, size=size, replace=False, p=weights / weights.sum()):
            shoppers.append(f"{retailer.name[0]}{number:05d}")
            products.append(f"sku-{product:03d}")
    return pa.table({"shopper": shoppers, "product": products})


def write_baskets(folder: Path) -> dict[str, Path]:
    """Write every retailer's baskets as Parquet and return the files by retailer."""
    import pyarrow.parquet as pq

    files = {}
    for retailer in RETAILERS:
        files[retailer.name] = folder / f"{retailer.name}-baskets.parquet"
        pq.write_table(baskets(retailer), files[retailer.name])
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The trained model beside what plaintext gives."""

    identical: bool
    """Whether the weights equal, bit for bit, those computed from all baskets in one place."""

    together: float
    """NDCG@100 on the held-out purchases, of the joint model."""

    alone: Mapping[str, float]
    """The same of a model that each retailer trains by itself."""


def _rows(file: Path) -> ArrayRows:
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    return ArrayRows({name: table[name].to_numpy(zero_copy_only=False).astype(str) for name in table.column_names})


def _ndcg(quality: Any) -> float:
    return float(quality.ndcg[100] if 100 in quality.ndcg else quality.ndcg["100"])


def compare(model: EaseModel, quality: Mapping[str, Any], files: Mapping[str, Path], table: "Table") -> Comparison:
    """Train on all baskets in one place, and at each retailer by itself, and compare.

    Args:
        model: The model trained over the room.
        quality: Its metrics, as the run reports them.
        files: Everybody's baskets, which nobody in a real room holds.
        table: The dictionary's table.
    """
    completed = complete(SPEC, table)
    rows = {name: _rows(file) for name, file in files.items()}
    discovery = union_program(training_digest(completed))
    pooled = run_ideal([program(completed, r, parties=len(rows), discovery=discovery) for r in rows.values()])[0]
    same = all(np.array_equal(a, pooled.arrays()[n]) for n, a in model.arrays().items())
    lonely = complete(Ease(**{f: getattr(SPEC, f) for f in SPEC.__struct_fields__} | {"minimum_parties": 1}), table)
    alone = {}
    for name, own in rows.items():
        (trained,) = run_ideal([program(lonely, own, parties=1, discovery=discovery)])
        (found,) = run_ideal([evaluate(trained, lonely, own)])
        alone[name] = _ndcg(found)
    return Comparison(identical=same, together=float(quality["ndcg"]["100"]), alone=alone)
