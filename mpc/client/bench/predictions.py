"""How good the planner's predictions were in a run, and the least that is accepted of them."""

from dataclasses import dataclass
from typing import Final

from mpc.client.bench.records import Results

__all__ = ["FACTOR", "Predictions", "predictions_of"]

FACTOR: Final = 1.5
_SHARE: Final = 0.9
_BYTES: Final = 0.02


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predicted against measured, over the SQL set."""

    good: int
    """Queries whose median is within `FACTOR` of the prediction, either way."""

    queries: int
    bytes_off: float
    """Largest relative distance of what parties sent from what was predicted."""

    @property
    def accepted(self) -> bool:
        """Nine tenths within the factor, and every size to 2 %."""
        return self.good >= _SHARE * self.queries and self.bytes_off <= _BYTES

    def text(self) -> str:
        """In words."""
        return (
            f"EXPLAIN predicted {self.good} of {self.queries} queries within a factor of {FACTOR}, and the ciphertexts "
            f"that each party sends to {self.bytes_off:.1%} of their bytes."
        )


def predictions_of(results: Results) -> Predictions | None:
    """The judgement of a run; None where it measured no query against its prediction."""
    found = [r.figures for r in results.rows if r.path.startswith("planner/query/") and r.figures.get("predicted_s")]
    if not found:
        return None
    ratios = [f["measured_s"] / f["predicted_s"] for f in found]
    off = max(abs(f["measured_bytes"] / f["predicted_bytes"] - 1) for f in found)
    return Predictions(sum(1 / FACTOR <= r <= FACTOR for r in ratios), len(found), off)
