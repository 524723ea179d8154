"""Wire format of `clear`: header, the key's number (8 bytes), then the slots as little-endian 64-bit words."""

from typing import Final

import numpy as np

from mpc.errors import WireError
from mpc.params.base import ParameterSet
from mpc.schemes.base import Slots
from mpc.schemes.header import HEADER_BYTES, Kind, check_header, header

__all__ = ["KEY_NUMBER_BYTES", "join", "pack_key", "split", "unpack_key"]

KEY_NUMBER_BYTES: Final = 8


def pack_key(number: bytes, parameters: ParameterSet) -> bytes:
    """Wire bytes of a key."""
    return header(parameters, Kind.PUBLIC_KEY) + number


def unpack_key(data: bytes, parameters: ParameterSet) -> bytes:
    """The number in a key's wire bytes (`WireError` on anything else)."""
    check_header(data, parameters, Kind.PUBLIC_KEY, size=HEADER_BYTES + KEY_NUMBER_BYTES)
    return data[HEADER_BYTES:]


def join(number: bytes, row: Slots, parameters: ParameterSet) -> bytes:
    """Wire bytes of one row of slots, shape `(slots,)`."""
    return header(parameters, Kind.CIPHERTEXT) + number + row.astype("<u8", copy=False).tobytes()


def split(data: bytes, parameters: ParameterSet) -> tuple[bytes, Slots]:
    """Key number and slots, shape `(slots,)`, every one below the plaintext modulus.

    Raises:
        WireError: The bytes break the format.
    """
    start = HEADER_BYTES + KEY_NUMBER_BYTES
    check_header(data, parameters, Kind.CIPHERTEXT, size=start + 8 * parameters.slots)
    row: Slots = np.frombuffer(data, dtype="<u8", offset=start)
    if int(row.max()) >= parameters.plain_modulus:
        raise WireError("a residue is not below its modulus")
    return data[HEADER_BYTES:start], row
