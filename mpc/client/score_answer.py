"""What a scoring gives back: the best items, all scores, and what it cost and told."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.client.answer import Answer, Report
from mpc.score.querier import Scores

__all__ = ["ScoreAnswer", "ScoreReport", "ranked_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReport(Report):
    """What a scoring cost, and who learned what."""

    catalogue: str
    holder: str
    queries: int
    rows: int
    bytes_sent: int
    remaining: int
    """Queries that may still be asked of this item set."""

    flooding_bits: float
    """Bits by which the reply's noise exceeds all that depends on the catalogue."""

    worst_error: float
    typical_error: float
    """Largest error and standard deviation of a score, through rounding coordinates."""

    def __str__(self) -> str:
        asked = f"{self.queries} queries against {self.rows:,} items of {self.holder}/{self.catalogue}"
        scheme = f"scheme {self.scheme} ({self.parameter_set}, {self.security})"
        moved = f"sent {self.bytes_sent:,} bytes, received {self.bytes_received:,}"
        lines = [
            f"job {self.job[:8]}: {self.seconds * 1000:.0f} ms, {asked}, {scheme}",
            f"{moved}; {self.flooding_bits:.0f} bits of flooding",
            f"scores are right to within {self.worst_error:.1e}, typically {self.typical_error:.1e}",
            f"{self.remaining} queries left",
            "time: " + ", ".join(f"{name} {s * 1000:.0f} ms" for name, s in self.phases.items()),
        ]
        lines += [f"{who} learned: {what}" for who, what in self.disclosure]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class ScoreAnswer(Answer):
    """The best items of each query, in order. Columns: `query` (of a batch), `item`, `label` (where told), `score`."""

    scores: NDArray[np.float64] = field(repr=False)
    """Every score, `(rows,)`, or `(queries, rows)` of a batch."""

    report: ScoreReport = field(repr=False)

    def labels(self) -> list[Any]:
        """Labels of the best items, in order; their row numbers where labels are not told."""
        return self.column("label" if "label" in self.columns else "item")


def ranked_rows(
    scores: Scores, values: NDArray[np.float64], k: int, labels: list[Any] | None, *, batch: bool
) -> tuple[tuple[Any, ...], ...]:
    """The k best items of each query, best first, with their labels where they are told."""
    best, _ = scores.top(k)
    rows: list[tuple[Any, ...]] = []
    for number, (items, row) in enumerate(zip(best.tolist(), values, strict=True)):
        for item in items:
            named = () if labels is None else (labels[item],)
            rows.append((*((number,) if batch else ()), item, *named, float(row[item])))
    return tuple(rows)
