"""Digests of learning jobs: what the analyst signs and every owner recomputes."""

from mpc.keys.statements import canonical_digest
from mpc.learn.specs import Spec, to_mapping

__all__ = ["evaluation_digest", "training_digest"]


def training_digest(completed: Spec) -> bytes:
    """SHA-256 over the completed spec in canonical form."""
    return canonical_digest("sealroom/v1/training-plan", to_mapping(completed))


def evaluation_digest(model: str, completed: Spec) -> bytes:
    """SHA-256 over a model's digest and the completed spec whose hold-out it is measured on."""
    return canonical_digest("sealroom/v1/evaluation-plan", {"model": model, "spec": to_mapping(completed)})
