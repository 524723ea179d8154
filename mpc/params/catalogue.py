"""Every named parameter set of every scheme, with unique names and numbers."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mpc.errors import ParameterError, WireError
from mpc.params.base import ParameterSet, SetId
from mpc.params.bfv import BFV_SETS
from mpc.params.clear import CLEAR_SETS
from mpc.params.paillier import PAILLIER_SETS
from mpc.params.rlwe import RLWE_SETS

__all__ = ["PARAMETER_SETS", "parameter_set", "parameter_set_by_wire_id"]

_ALL: Final = (*CLEAR_SETS, *PAILLIER_SETS, *BFV_SETS, *RLWE_SETS)

PARAMETER_SETS: Final[Mapping[SetId, ParameterSet]] = MappingProxyType({s.id: s for s in _ALL})
_BY_WIRE_ID: Final[Mapping[int, ParameterSet]] = MappingProxyType({s.wire_id: s for s in _ALL})

if len(PARAMETER_SETS) != len(_ALL) or len(_BY_WIRE_ID) != len(_ALL):
    raise ParameterError("two parameter sets share a name or a number")


def parameter_set(name: str) -> ParameterSet:
    """Find a set by name.

    Raises:
        ParameterError: No set has this name.
    """
    try:
        return PARAMETER_SETS[SetId(name)]
    except KeyError:
        raise ParameterError(f"no parameter set is named {name[:60]!r}") from None


def parameter_set_by_wire_id(number: int) -> ParameterSet:
    """Find a set by its number on the wire.

    Raises:
        WireError: No set has this number.
    """
    try:
        return _BY_WIRE_ID[number]
    except KeyError:
        raise WireError("an unknown parameter set number") from None
