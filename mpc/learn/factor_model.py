"""A trained factor model: item vectors only. A user's vector is solved where the user's history is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mpc.learn.interactions import Ratings
from mpc.learn.recommending import RecommenderModel
from mpc.learn.solving import Problem, solve_rows
from mpc.learn.vocabulary import Vocabulary

__all__ = ["FactorModel"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FactorModel(RecommenderModel):
    """Item factors (and biases) of explicit or implicit feedback."""

    kind: ClassVar[str] = "factors"

    vocabulary: Vocabulary
    vectors: NDArray[np.float64]
    """Shape `(items, width)`; in a model with biases column 0 is the bias."""

    users: NDArray[np.int64]
    """Entries of each item over all parties."""

    problem: Problem
    rating_range: tuple[float, float] | None = None

    @property
    def factors(self) -> NDArray[np.float64]:
        """Item factors, shape `(items, dimension)`."""
        return self.vectors[:, 1:] if self.problem.biased else self.vectors

    @property
    def biases(self) -> NDArray[np.float64]:
        """Item biases (zeros in a model without)."""
        return self.vectors[:, 0] if self.problem.biased else np.zeros(len(self.vectors))

    @property
    def mean(self) -> float:
        """Mean rating over all parties."""
        return self.problem.mean

    def fold_in(self, histories: Ratings) -> NDArray[np.float64]:
        """The exact vector of each user with such a history, shape `(histories, width)`."""
        return solve_rows(self.problem, histories, self.vectors, others=len(self.vocabulary))

    def score(self, histories: Ratings) -> NDArray[np.float64]:
        """Predicted ratings (explicit) or preferences (implicit) of all items, shape `(histories, items)`."""
        people = self.fold_in(histories)
        bias = int(self.problem.biased)
        out: NDArray[np.float64] = np.matmul(people[:, bias:], self.factors.T)
        out += self.mean
        if bias:
            out += people[:, :1] + self.biases[None, :]
        return out

    def predict(
        self, people: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Predicted ratings of pairs; an item that was not admitted (-1) gets the mean and the user's bias."""
        known = columns >= 0
        at = np.where(known, columns, 0)
        bias = int(self.problem.biased)
        pairs = np.einsum("ij,ij->i", people[rows, bias:], self.factors[at]) + self.biases[at]
        own = people[rows, 0] if bias else 0.0
        out: NDArray[np.float64] = self.mean + own + np.where(known, pairs, 0.0)
        if self.rating_range:
            np.clip(out, self.rating_range[0], self.rating_range[1], out=out)
        return out

    def numbers(self) -> dict[str, NDArray[Any]]:
        """Items, vectors and item support."""
        return {"items": self.items, "vectors": self.vectors, "users": self.users}

    def description(self) -> dict[str, Any]:
        """What was minimised, and the range of the ratings."""
        return {"problem": asdict(self.problem), "rating_range": list(self.rating_range or ())}

    @classmethod
    def rebuild(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Build the model back."""
        span = description["rating_range"]
        return cls(
            vocabulary=Vocabulary(arrays["items"]),
            vectors=arrays["vectors"],
            users=arrays["users"],
            problem=Problem(**description["problem"]),
            rating_range=(span[0], span[1]) if span else None,
        )

    def explain(self) -> str:
        """What the model is."""
        kind = "implicit feedback" if self.rating_range is None else "explicit ratings"
        return (
            f"{self.problem.dimension} factors for {len(self.vocabulary)} items, {kind}. It holds item vectors only: a "
            "user's vector is solved from the user's history, where that history is. Items entered with "
            f"{int(self.users.min())} to {int(self.users.max())} users."
        )
