"""What every trained recommender can do for a user whose history stays where it is."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import ParameterError
from mpc.learn.archive import FittedModel
from mpc.learn.interactions import Ratings
from mpc.learn.vocabulary import Vocabulary

__all__ = ["Recommendation", "RecommenderModel", "top"]

_CHUNK_VALUES = 1 << 22


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One recommended item."""

    item: str | int
    score: float


class RecommenderModel(FittedModel):
    """A trained recommender."""

    vocabulary: Vocabulary
    """The admitted items."""

    @abstractmethod
    def score(self, histories: Ratings) -> NDArray[np.float64]:
        """Scores of all items for each history (columns are item numbers), shape `(histories, items)`."""

    @property
    def items(self) -> NDArray[Any]:
        """Identifiers of the admitted items, sorted; positions are those of every array of the model."""
        return self.vocabulary.values

    def chunks(self, histories: Ratings) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Scores in stretches of users, so that memory stays bounded: (first user, scores)."""
        step = max(1, _CHUNK_VALUES // max(1, len(self.vocabulary)))
        for start in range(0, histories.height, step):
            yield start, self.score(stretch(histories, start, min(start + step, histories.height)))

    def recommend(
        self,
        history: Sequence[str | int],
        *,
        k: int = 10,
        ratings: Sequence[float] | None = None,
        seen: bool = False,
    ) -> list[Recommendation]:
        """The best items for one user, computed where the call is made.

        Args:
            history: The user's items; those the model does not know are passed over.
            k: How many.
            ratings: Ratings of `history`, for a model of explicit ratings.
            seen: Whether items of the history may be recommended again.
        """
        if ratings is not None and len(ratings) != len(history):
            raise ParameterError("a history has one rating per item")
        rows = self._history(history, ratings)
        scores = self.score(rows)[0]
        if not seen:
            scores[rows.columns] = -np.inf
        best = top(scores[None, :], min(k, len(scores)))[0]
        names = self.items[best].tolist()
        return [
            Recommendation(name, float(value))
            for name, value in zip(names, scores[best], strict=True)
            if np.isfinite(value)
        ]

    def _history(self, history: Sequence[str | int], ratings: ArrayLike | None) -> Ratings:
        numbers = self.vocabulary.index(np.array(list(history))) if len(history) else np.empty(0, dtype=np.int64)
        known = numbers >= 0
        values = None if ratings is None else np.asarray(ratings, dtype=np.float64)[known]
        rows = np.zeros(int(known.sum()), dtype=np.int64)
        return Ratings.of(rows, numbers[known], values, shape=(1, len(self.vocabulary)))


def stretch(rows: Ratings, start: int, stop: int) -> Ratings:
    """Rows `start` to `stop`."""
    first, last = int(rows.offsets[start]), int(rows.offsets[stop])
    values = None if rows.values is None else rows.values[first:last]
    return Ratings(rows.offsets[start : stop + 1] - first, rows.columns[first:last], values, rows.width)


def top(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Positions of the `k` largest scores of each row, best first, the lower position first among equals."""
    width = scores.shape[1]
    if k < width // 4:
        # The k-th largest value cuts off; everything above or equal is a candidate, so ties stay deterministic.
        cut = np.partition(scores, width - k, axis=1)[:, width - k]
        out = np.empty((len(scores), k), dtype=np.int64)
        for row, (values, least) in enumerate(zip(scores, cut, strict=True)):
            candidates = np.flatnonzero(values >= least)
            out[row] = candidates[np.argsort(-values[candidates], kind="stable")[:k]]
        return out
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
