"""One party's user-item rows as compressed sparse rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mpc.learn.data import Codes, Rows, identifiers, reals
from mpc.learn.recommender_specs import Recommender
from mpc.learn.splits import key_hash, pair_bucket, splitmix64
from mpc.learn.vocabulary import Vocabulary

__all__ = ["Interactions", "Ratings", "load"]


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """Compressed sparse rows: row `r` holds columns `columns[offsets[r]:offsets[r + 1]]`, increasing."""

    offsets: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float64] | None
    width: int
    """Number of columns."""

    @classmethod
    def of(
        cls, rows: NDArray[Any], columns: NDArray[Any], values: NDArray[np.float64] | None, *, shape: tuple[int, int]
    ) -> Self:
        """Sort triples into rows."""
        order = np.lexsort((columns, rows))
        offsets = np.zeros(shape[0] + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=shape[0]), out=offsets[1:])
        return cls(offsets, columns[order].astype(np.int32), None if values is None else values[order], shape[1])

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Entries of each row."""
        return np.diff(self.offsets)

    def rows(self) -> NDArray[np.int64]:
        """Row of every entry."""
        return np.repeat(np.arange(self.height), self.counts)

    def transposed(self) -> "Ratings":
        """The same entries by column."""
        return Ratings.of(self.columns, self.rows(), self.values, shape=(self.width, self.height))

    def renumbered(self, numbers: NDArray[np.int64], width: int) -> "Ratings":
        """The entries whose column keeps a number (not -1); numbers grow with the columns."""
        columns = numbers[self.columns]
        kept = columns >= 0
        offsets = np.zeros(self.height + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.rows()[kept], minlength=self.height), out=offsets[1:])
        values = None if self.values is None else self.values[kept]
        return Ratings(offsets, columns[kept].astype(np.int32), values, width)


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """One party's rows. Users are local: their names never leave, nor (before a discovery) do the items'."""

    users: NDArray[Any]
    items: Vocabulary
    """The items of this party."""

    train: Ratings
    test: Ratings
    """The declared hold-out (no entries without one)."""

    def numbered(self, vocabulary: Vocabulary) -> NDArray[np.int64]:
        """Number in `vocabulary` of each of this party's items, -1 where it has none."""
        return vocabulary.index(self.items.values)


def _batches(spec: Recommender, data: Rows, *, implicit: bool) -> Iterator[tuple[Any, Any, NDArray[np.float64]]]:
    columns = [spec.user, spec.item, *([spec.rating] if spec.rating else [])]
    for batch in data.read(columns):
        users, user_present = identifiers(batch[spec.user], spec.user)
        items, item_present = identifiers(batch[spec.item], spec.item)
        kept = user_present & item_present
        rating = np.ones(len(kept))
        if spec.rating:
            rating = reals(batch[spec.rating], spec.rating)
            kept &= ~np.isnan(rating)
            if implicit and spec.minimum_rating is not None:
                kept &= rating >= spec.minimum_rating
        yield users[kept[user_present]], items[kept[item_present]], rating[kept]


def load(spec: Recommender, data: Rows, *, implicit: bool) -> Interactions:
    """Read this party's rows: a function of its own data and the spec alone.

    Args:
        spec: Columns, filters and hold-out.
        data: The rows.
        implicit: Positives only, one per pair of user and item; otherwise ratings as they are.
    """
    user_codes, item_codes = Codes(spec.user), Codes(spec.item)
    parts = [(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0), np.empty(0, dtype=bool))]
    for users, items, ratings in _batches(spec, data, implicit=implicit):
        out = np.zeros(len(items), dtype=bool)
        if spec.holdout is not None:
            out = pair_bucket(users, items, spec.holdout.seed, spec.holdout.buckets) == 0
        parts.append((user_codes.add(users), item_codes.add(items), ratings, out))
    user, item, rating, held = (np.concatenate(column) for column in zip(*parts, strict=True))
    # Numbered by rank, so that the order in which a source happens to deliver rows does not matter.
    names, user = _ranked(user_codes, user)
    listed, item = _ranked(item_codes, item)
    vocabulary = Vocabulary(listed)
    if implicit:
        user, item, rating, held = _distinct_pairs(user, item, held, max(1, len(vocabulary)))
    user, item, rating, held, names = _active(user, item, rating, held, names, spec.minimum_items)
    train = ~held
    if spec.items_per_user is not None:
        train &= _chosen(user, item, train, names, vocabulary, spec.items_per_user)
    shape = (len(names), len(vocabulary))
    values = [None if implicit else rating[m] for m in (train, held)]
    pick = [Ratings.of(user[m], item[m], v, shape=shape) for m, v in zip((train, held), values, strict=True)]
    return Interactions(names, vocabulary, pick[0], pick[1])


def _ranked(codes: Codes, numbers: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Sorted identifiers, and the numbers as ranks among them."""
    values = codes.values()
    order = np.argsort(values)
    ranks = np.empty(len(order), dtype=np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    return values[order], ranks[numbers]


def _distinct_pairs(user: Any, item: Any, held: Any, width: int) -> tuple[Any, Any, Any, Any]:
    _, first = np.unique(user.astype(np.int64) * width + item, return_index=True)
    return user[first], item[first], np.ones(len(first)), held[first]


def _active(user: Any, item: Any, rating: Any, held: Any, names: Any, minimum: int) -> tuple[Any, Any, Any, Any, Any]:
    """Leave out users with too few rows, and renumber."""
    active = np.bincount(user, minlength=len(names)) >= minimum
    number = np.cumsum(active) - 1
    kept = active[user]
    return number[user[kept]].astype(np.int32), item[kept], rating[kept], held[kept], names[active]


def _chosen(user: Any, item: Any, train: Any, names: Any, vocabulary: Vocabulary, most: int) -> NDArray[np.bool_]:
    """The `most` training rows of each user with the smallest hash."""
    mixed = splitmix64(splitmix64(key_hash(names))[user] + key_hash(vocabulary.values)[item])
    order = np.lexsort((mixed, ~train, user))
    starts = np.searchsorted(user[order], np.arange(len(names)))
    rank = np.empty(len(user), dtype=np.int64)
    rank[order] = np.arange(len(user)) - starts[user[order]]
    return rank < most
