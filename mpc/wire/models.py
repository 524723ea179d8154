"""A fitted model as bytes: what a party seals to the analyst. Numbers with their type and shape, the rest as JSON.

No archive and no pickle: an array takes exactly the bytes that its shape says, so a message cannot unpack to more than
it is.
"""

import json
import math
import re
import sys
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import WireError
from mpc.learn import FittedModel
from mpc.learn.programs import MODELS

__all__ = ["pack_model", "unpack_model"]

_FORMAT: Final = "sealroom-model-2"
_TYPE: Final = re.compile(r"(<[iuf][248]|\|[iub]1|<U[0-9]{1,6})\Z")


class _Array(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    name: str
    type: str
    """Numpy's own name: little-endian integers, floats, booleans, or texts of fixed width."""

    shape: tuple[int, ...]
    data: bytes

    def read(self) -> NDArray[Any]:
        if not _TYPE.match(self.type) or len(self.shape) > 8 or any(n < 0 for n in self.shape):
            raise WireError("a model's array has another type or shape than models have")
        dtype = np.dtype(self.type)
        if math.prod(self.shape) * dtype.itemsize != len(self.data):
            raise WireError("a model's array has another size than its shape says")
        if dtype.kind == "U" and bool(np.any(np.frombuffer(self.data, dtype="<u4") > sys.maxunicode)):
            raise WireError("a model's text holds what is no character")
        return np.frombuffer(self.data, dtype=dtype).reshape(self.shape).copy()


class _Packed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    format: str
    kind: str
    description: bytes
    arrays: tuple[_Array, ...]


def pack_model(model: FittedModel) -> bytes:
    """The bytes of a model."""
    arrays = []
    for name, array in sorted(model.arrays().items()):
        dtype = array.dtype.newbyteorder("<")
        data = np.ascontiguousarray(array, dtype=dtype).tobytes()
        arrays.append(_Array(name, dtype.str, array.shape, data))
    description = json.dumps(model.description(), sort_keys=True).encode()
    return msgspec.msgpack.encode(_Packed(_FORMAT, model.kind, description, tuple(arrays)))


def unpack_model(data: bytes) -> FittedModel:
    """The model in the bytes.

    Raises:
        WireError: They are not a model of a known kind.
    """
    try:
        packed = msgspec.msgpack.decode(data, type=_Packed)
        if packed.format != _FORMAT:
            raise WireError("a model in an unknown format")
        arrays = {a.name: a.read() for a in packed.arrays}
        return MODELS[packed.kind].restore(arrays, json.loads(packed.description))
    # What a model's own code makes of another model's numbers is open; none of it may leave as anything else.
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        raise WireError("a model's bytes cannot be read") from None
