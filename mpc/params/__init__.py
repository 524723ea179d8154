"""Named parameter sets: what is secure, in one place, reviewable alone.

A peer sends a set's number, never its parameters. Every set is checked against the table in `mpc.params.security`
when the module is imported.
"""

from mpc.params.base import LatticeParameters, ParameterSet, SchemeId, SetId
from mpc.params.catalogue import PARAMETER_SETS, parameter_set, parameter_set_by_wire_id
from mpc.params.security import SecurityLevel

__all__ = [
    "PARAMETER_SETS",
    "LatticeParameters",
    "ParameterSet",
    "SchemeId",
    "SecurityLevel",
    "SetId",
    "parameter_set",
    "parameter_set_by_wire_id",
]
