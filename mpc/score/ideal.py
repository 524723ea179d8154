"""The ideal functionality: a trusted multiplier. The protocol must be indistinguishable from it; it is the oracle."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.score.encoding import item_integers, query_integers
from mpc.score.spec import ScorePlan

__all__ = ["ideal_scores"]


def ideal_scores(plan: ScorePlan, queries: NDArray[Any], items: NDArray[Any]) -> NDArray[np.int64]:
    """Take both sides' vectors, give the exact products of their integers to the querier, nothing to anybody else."""
    return query_integers(plan, queries) @ item_integers(plan, items).T
