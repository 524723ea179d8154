"""Orders of three retailers that do not exist, the same for the same seed: the demo's and the examples' data.

Each retailer sells in some of the regions, at its own price level, with seasons, returns (negative quantities), guests
(no customer), unknown regions and missing ratings, as real order books have them.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RETAILERS", "Retailer", "orders", "write_orders"]

_FIRST_DAY: Final = dt.date(2024, 1, 1)
_DAYS: Final = 366
_CATEGORIES: Final = ("books", "electronics", "garden", "grocery", "kitchen", "shoes", "sports", "toys")
_TYPICAL_PRICE: Final = (14.0, 180.0, 32.0, 6.5, 28.0, 65.0, 42.0, 19.0)
_MONTHLY_DEMAND: Final = (0.8, 0.75, 0.9, 0.95, 1.05, 1.0, 0.9, 0.85, 1.0, 1.05, 1.45, 1.7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retailer:
    """One company of the demo."""

    name: str
    rows: int
    customers: int
    regions: Mapping[str, float]
    """Region -> share of its orders."""

    price_level: float


RETAILERS: Final = (
    Retailer(
        name="aurora",
        rows=60_000,
        customers=9_000,
        regions={"Northlands": 5.0, "Lakes": 3.0, "Capital": 4.0, "Coast": 1.0},
        price_level=1.0,
    ),
    Retailer(
        name="borealis",
        rows=38_000,
        customers=7_000,
        regions={"Capital": 3.0, "Coast": 4.0, "Isles": 1.0, "Vineyards": 2.0},
        price_level=1.15,
    ),
    Retailer(
        name="cascade",
        rows=27_000,
        customers=4_500,
        regions={"Lakes": 2.0, "Highlands": 3.0, "Vineyards": 1.0},
        price_level=0.9,
    ),
)


def orders(retailer: Retailer, seed: int = 2024) -> "pa.Table":
    """One retailer's order lines.

    Args:
        retailer: Whose.
        seed: The same seed gives the same rows. They are examples, not secrets, so a numerical generator serves.
    """
    import pyarrow as pa

    rng = np.random.default_rng([seed, *retailer.name.encode()])
    count = retailer.rows
    categories = rng.choice(len(_CATEGORIES), size=count, p=_shares((4, 2, 1, 6, 2, 2, 1.5, 2)))
    quantity = 1 + rng.poisson(0.7, size=count)
    quantity = np.where(rng.random(count) < 0.035, -quantity, quantity)
    cents = (
        np.exp(rng.normal(0.0, 0.45, size=count)) * np.array(_TYPICAL_PRICE)[categories] * retailer.price_level * 100
    )
    region = rng.choice(len(retailer.regions), size=count, p=_shares(tuple(retailer.regions.values())))
    # A few customers order often, most rarely: a Zipf-like rank, cut at the number of customers.
    customer = (retailer.customers * rng.random(count) ** 1.8).astype(np.int64)
    days = _days(rng, count)
    columns: dict[str, Any] = {
        "order_id": pa.array(np.arange(1, count + 1), pa.int64()),
        "customer": _text([f"{retailer.name[0]}-{c:05d}" for c in customer], rng.random(count) < 0.08),
        "region": _text(np.array(list(retailer.regions))[region].tolist(), rng.random(count) < 0.01),
        "category": _text(np.array(_CATEGORIES)[categories].tolist(), np.zeros(count, bool)),
        "placed": pa.array((np.datetime64(_FIRST_DAY) + days).astype("datetime64[D]"), pa.date32()),
        "quantity": pa.array(quantity.astype(np.int32)),
        "price": pa.array([Decimal(int(c)).scaleb(-2) for c in np.maximum(cents, 49)], pa.decimal128(9, 2)),
        "rating": pa.array(rng.choice(5, size=count, p=_shares((1, 1, 2, 5, 6))).astype(np.int32) + 1,
                           mask=rng.random(count) < 0.6),
    }  # fmt: skip
    return pa.table(columns)


def _days(rng: np.random.Generator, count: int) -> Any:
    """Days of the year after the demand of their month, more at week's end."""
    all_days = [_FIRST_DAY + dt.timedelta(days=d) for d in range(_DAYS)]
    weights = tuple(_MONTHLY_DEMAND[d.month - 1] * (1.35 if d.weekday() >= 4 else 1.0) for d in all_days)
    return rng.choice(_DAYS, size=count, p=_shares(weights))


def _shares(weights: Iterable[float]) -> Any:
    array = np.array(tuple(weights), float)
    return array / array.sum()


def _text(values: list[str], missing: Any) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.string(), mask=np.asarray(missing))


def write_orders(folder: Path, seed: int = 2024) -> dict[str, Path]:
    """Write every retailer's orders as Parquet and return the files by retailer."""
    import pyarrow.parquet as pq

    files = {}
    for retailer in RETAILERS:
        files[retailer.name] = folder / f"{retailer.name}.parquet"
        pq.write_table(orders(retailer, seed), files[retailer.name])
    return files
