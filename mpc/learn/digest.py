"""The digest of a training job: what the analyst signs and every owner recomputes."""

from mpc.keys.statements import canonical_digest
from mpc.learn.specs import Spec, to_mapping

__all__ = ["training_digest"]


def training_digest(completed: Spec) -> bytes:
    """SHA-256 over the completed spec in canonical form."""
    return canonical_digest("sealroom/v1/training-plan", to_mapping(completed))
