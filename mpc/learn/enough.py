"""Measures of a few people are measures of each of them: nothing of an evaluation is opened below a minimum."""

import numpy as np

from mpc.errors import PlanError
from mpc.primitives import Program, Sum

__all__ = ["enough"]


def enough(label: str, count: int, *, minimum: int, most: int, noun: str, context: bytes = b"") -> Program[int]:
    """Open how many users or rows are held out over all parties, and go on only if they are enough.

    Reveals: to all parties, that number.

    Raises:
        PlanError: They are fewer than `minimum`; nothing else was opened.
    """
    totals = yield Sum.of(f"{label}/held-out", {"count": np.array([count])}, most, context=context)
    assert totals is not None
    found = int(totals["count"][0])
    if found < minimum:
        raise PlanError("", field="holdout", reason=f"fewer than {minimum} {noun} are held out")
    return found
