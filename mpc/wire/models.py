"""A fitted model as bytes: what a party seals to the analyst. Arrays in npz without pickles, the rest as JSON."""

import io
import json
from typing import Any, Final
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from mpc.errors import WireError
from mpc.learn import FittedModel
from mpc.learn.programs import MODELS

__all__ = ["pack_model", "unpack_model"]

_FORMAT: Final = "sealroom-model-1"


class _Packed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    format: str
    kind: str
    description: bytes
    arrays: bytes


def pack_model(model: FittedModel) -> bytes:
    """The bytes of a model."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **model.arrays())
    description = json.dumps(model.description(), sort_keys=True).encode()
    return msgspec.msgpack.encode(_Packed(_FORMAT, model.kind, description, buffer.getvalue()))


def unpack_model(data: bytes) -> FittedModel:
    """The model in the bytes.

    Raises:
        WireError: They are not a model of a known kind.
    """
    try:
        packed = msgspec.msgpack.decode(data, type=_Packed)
        with np.load(io.BytesIO(packed.arrays), allow_pickle=False) as file:
            arrays: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
        if packed.format != _FORMAT:
            raise WireError("a model in an unknown format")
        return MODELS[packed.kind].restore(arrays, json.loads(packed.description))
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError, ValueError, OSError, BadZipFile):
        raise WireError("a model's bytes cannot be read") from None
