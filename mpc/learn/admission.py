"""Which items enter: those with enough users and enough parties. Everything else about an item stays where it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PlanError, RangeError
from mpc.fixedpoint import Encoding
from mpc.learn.interactions import Interactions
from mpc.learn.noise import NoiseMaker
from mpc.learn.recommender_specs import Recommender
from mpc.learn.vocabulary import Discovery, Vocabulary, agree, contributors
from mpc.primitives import Program, Sum

__all__ = ["Admission", "admit"]


@dataclass(frozen=True, slots=True, eq=False)
class Admission:
    """The items whose statistics may enter, and public totals about them."""

    items: Vocabulary
    users: NDArray[np.int64]
    """Users (training rows, for explicit ratings) of each admitted item over all parties."""

    population: int
    """Users of all parties with a training row."""

    rating_mean: float

    @property
    def entries(self) -> int:
        """Users of all admitted items, each counted once per item (or ratings) over all parties."""
        return int(self.users.sum())

    def context(self) -> bytes:
        """Digest bound into every later sum."""
        return self.items.digest()

    def save(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        numbers = np.array([float(self.population), self.rating_mean])
        return {"items": self.items.values, "users": self.users, "numbers": numbers}

    @classmethod
    def resume(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Read `save` back."""
        population, mean = state["numbers"].tolist()
        return cls(Vocabulary(state["items"]), state["users"], int(population), mean)


def admit(
    spec: Recommender,
    local: Interactions,
    *,
    label: str,
    minimum_users: int,
    parties: int,
    rating_range: tuple[float, float] | None = None,
    discovery: Discovery | None = None,
    noise: NoiseMaker | None = None,
) -> Program[Admission]:
    """Agree on the items, and admit those with enough users and enough parties that have them.

    Reveals: to all parties, what `agree` reveals; for every item of the vocabulary the number of users and (if asked
    for) of parties; the number of users; the sum of the ratings. With `noise`, the counts of users with noise.

    Raises:
        PlanError: More parties are asked for than there are, or no item is admitted.
        RangeError: An item is outside a declared catalogue, or a rating outside its declared range.
    """
    needed = contributors(spec.minimum_parties, parties)
    vocabulary = yield from agree(
        f"{label}/items",
        spec.items,
        local.items.values,
        capacity=spec.capacity,
        minimum_parties=needed,
        discovery=discovery,
    )
    if spec.items is not None:
        vocabulary.require(local.items.values, spec.item)
    train = local.train.renumbered(local.numbered(vocabulary), len(vocabulary))
    count = np.bincount(train.columns, minlength=len(vocabulary))
    arrays: dict[str, NDArray[Any]] = {"users": count, "population": np.array([int((train.counts > 0).sum())])}
    bounds = {"users": spec.users_at_most, "population": spec.users_at_most}
    if noise is not None:
        arrays = dict(noise.add(f"{label}/support", arrays))
        bounds = {name: bound + noise.reach() for name, bound in bounds.items()}
    if needed > 1:
        arrays["holders"], bounds["holders"] = (count > 0).astype(np.int64), 1
    largest = max(abs(v) for v in rating_range) if rating_range else 0.0
    encoding = Encoding(scale_bits=20, range=float(spec.users_at_most * len(vocabulary)) * largest)
    if rating_range and train.values is not None:
        _check_ratings(train.values, rating_range, spec.rating or "")
        arrays["ratings"] = encoding.encode(np.array([train.values.sum()]), statistic="rating sum")
        bounds["ratings"] = encoding.bound
    totals = yield Sum.of(f"{label}/support", arrays, bounds, context=vocabulary.digest())
    assert totals is not None
    users = totals["users"].astype(np.int64)
    admitted = users >= minimum_users
    if needed > 1:
        admitted &= totals["holders"].astype(np.int64) >= needed
    if not admitted.any():
        raise PlanError("", reason="no item has enough users and parties", column=spec.item)
    mean = float(encoding.decode(totals["ratings"])[0]) / max(1, int(users.sum())) if "ratings" in totals else 0.0
    return Admission(vocabulary.subset(admitted), users[admitted], int(totals["population"][0]), mean)


def _check_ratings(values: NDArray[np.float64], span: tuple[float, float], column: str) -> None:
    """Refuse a rating outside the declared range (`RangeError` naming the column)."""
    if values.size and (float(values.min()) < span[0] or float(values.max()) > span[1]):
        raise RangeError("", column=column)
