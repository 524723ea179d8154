"""Parameter sets of the `paillier` scheme."""

from typing import Final

from mpc.params.base import ParameterSet

__all__ = ["PAILLIER_SETS"]

PAILLIER_SETS: Final[tuple[ParameterSet, ...]] = ()
