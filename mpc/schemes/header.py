"""The eight bytes in front of every key and ciphertext of the schemes `clear`, `bfv` and `paillier`.

    4  magic  "SRHE"
    1  version of this layout
    1  kind: public key or ciphertext
    2  number of the parameter set, little-endian

What follows has exactly one length per parameter set and kind, so a parser reads nothing it has not counted.
"""

import struct
from enum import IntEnum
from typing import Final

from mpc.errors import WireError
from mpc.params.base import ParameterSet

__all__ = ["HEADER_BYTES", "Kind", "check_header", "header"]

_LAYOUT: Final = struct.Struct("<4sBBH")
_MAGIC: Final = b"SRHE"
_VERSION: Final = 1

HEADER_BYTES: Final = _LAYOUT.size


class Kind(IntEnum):
    """What the bytes after the header are."""

    PUBLIC_KEY = 1
    CIPHERTEXT = 2


def header(parameters: ParameterSet, kind: Kind) -> bytes:
    """The header of an object of ours."""
    return _LAYOUT.pack(_MAGIC, _VERSION, kind, parameters.wire_id)


def check_header(data: bytes, parameters: ParameterSet, kind: Kind, *, size: int) -> None:
    """Refuse bytes that are not one `kind` object of `parameters` with `size` bytes in all.

    Raises:
        WireError: Another type, length, magic, version, kind or parameter set.
    """
    if len(data) != size:
        raise WireError(f"a {kind.name.lower()} of {parameters.id} has exactly {size} bytes")
    if data[:HEADER_BYTES] != header(parameters, kind):
        raise WireError(f"the header is not that of a {kind.name.lower()} of {parameters.id}")
