"""Parameter sets of the `bfv` scheme."""

from typing import Final

from mpc.params.base import ParameterSet

__all__ = ["BFV_SETS"]

BFV_SETS: Final[tuple[ParameterSet, ...]] = ()
