"""Add the vectors of many parties so that only the total opens. See the page `mpc/sum/README.md`."""

from mpc.sum.ideal import ideal_totals
from mpc.sum.spec import Recipient, Sum, SumHeader, Totals

__all__ = ["Recipient", "Sum", "SumHeader", "Totals", "ideal_totals"]
