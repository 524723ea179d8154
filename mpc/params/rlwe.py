"""Parameter sets of the `rlwe` scheme."""

from typing import Final

from mpc.params.base import ParameterSet

__all__ = ["RLWE_SETS"]

RLWE_SETS: Final[tuple[ParameterSet, ...]] = ()
