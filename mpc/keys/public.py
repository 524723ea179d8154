"""Public halves of keys. Importing this module loads nothing that can decrypt."""

import hashlib
from dataclasses import dataclass, field

from mpc.params.base import SetId

__all__ = ["PublicKey", "public_key_digest"]


def public_key_digest(parameter_set: str, data: bytes) -> bytes:
    """SHA-256 over the set's name and the key's wire bytes."""
    name = parameter_set.encode()
    return hashlib.sha256(b"sealroom/v1/public-key" + bytes([len(name)]) + name + data).digest()


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An encryption key of one parameter set, in wire bytes. It has been validated by its scheme or it is ours."""

    parameter_set: SetId
    data: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """The digest that job requests and transcripts carry."""
        return public_key_digest(self.parameter_set, self.data)
