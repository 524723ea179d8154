"""The ideal functionality: a trusted adder. It is what the protocol must be indistinguishable from, and its oracle."""

from collections.abc import Sequence

import numpy as np

from mpc.packing.segments import IntegerArray, check_bound
from mpc.sum.spec import Sum

__all__ = ["ideal_totals"]


def ideal_totals(requests: Sequence[Sum]) -> dict[str, IntegerArray]:
    """Check every party's bounds, add exactly, give the totals to the recipient and nothing to anybody else."""
    totals: dict[str, IntegerArray] = {}
    for segment in requests[0].header.segments:
        wide = segment.bound * len(requests) >= 1 << 62
        total: IntegerArray = np.zeros(segment.length, dtype=object if wide else np.int64)
        for request in requests:
            values = request.values[segment.name].read(0, segment.length)
            check_bound(segment, values)
            total = total + values
        totals[segment.name] = total
    return totals
