"""Fitted models on disk: a folder with `model.json` (what it is) and `arrays.npz` (its numbers). No pickle anywhere."""

import hashlib
import json
import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mpc.errors import SourceError
from mpc.learn.splits import splitmix64

__all__ = ["FittedModel", "read_folder", "safetensors"]

_FORMAT: Final = "sealroom-model-1"

_SIGNS: Final = 16
_AT_ONCE: Final = 1 << 15


class FittedModel(ABC):
    """A trained model: equal at all parties, made of opened totals and public numbers only."""

    kind: ClassVar[str]

    evidence: bytes = bytes(32)
    """Hash chain over all opened totals (`mpc.learn.witness`); zeros for a model that no program made."""

    @abstractmethod
    def numbers(self) -> dict[str, NDArray[Any]]:
        """The model's arrays by name."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Everything else, as JSON values."""

    @classmethod
    @abstractmethod
    def rebuild(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Build the model back from `numbers` and `description`."""

    @abstractmethod
    def explain(self) -> str:
        """What the model is, in sentences for a person."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The model's arrays and its evidence, by name: what is written and sent."""
        return self.numbers() | {"evidence": np.frombuffer(self.evidence, dtype=np.uint8)}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Build the model back from `arrays` and `description`."""
        numbers = {name: array for name, array in arrays.items() if name != "evidence"}
        return cls.rebuild(numbers, description).with_evidence(arrays["evidence"].tobytes())

    def with_evidence(self, evidence: bytes) -> Self:
        """This model, carrying evidence."""
        # Subclasses are frozen; the evidence is the one thing that is known only after they are made.
        object.__setattr__(self, "evidence", evidence)
        return self

    def bits(self) -> str:
        """SHA-256 over all of it: equal for models that are equal to the last bit."""
        state = hashlib.sha256(json.dumps([self.kind, self.description()], sort_keys=True).encode())
        for name, array in sorted(self.arrays().items()):
            state.update(f"{name}{array.dtype.str}{array.shape}".encode())
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()

    def digest(self) -> str:
        """What parties and the analyst compare: SHA-256 over the evidence, the exact arrays and sketches of the others.

        Floating-point results of equal totals may differ in the last bits between processors. A sketch is the norm of
        an array and sixteen signed sums of it, to three digits: it survives such differences, and shows another model.
        """
        state = hashlib.sha256(self.kind.encode() + self.evidence)
        for name, array in sorted(self.numbers().items()):
            state.update(f"{name}{array.dtype.kind}{array.shape}".encode())
            state.update(_sketch(array) if array.dtype.kind == "f" else np.ascontiguousarray(array).tobytes())
        return state.hexdigest()

    def save(self, folder: str | Path, *, compressed: bool = True) -> None:
        """Write the model into a folder, which is made if needed; without compression it is much faster."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        with (target / "arrays.npz").open("wb") as sink:
            write = np.savez_compressed if compressed else np.savez
            write(sink, allow_pickle=False, **self.arrays())
        header = {"format": _FORMAT, "kind": self.kind, "description": self.description()}
        (target / "model.json").write_text(json.dumps(header, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _sketch(array: NDArray[Any]) -> bytes:
    flat = np.ascontiguousarray(array, dtype=np.float64).reshape(-1)
    total, squares, chosen = 0.0, 0.0, np.zeros(_SIGNS)
    for start in range(0, flat.size, _AT_ONCE):
        part = flat[start : start + _AT_ONCE]
        words = splitmix64(np.arange(start, start + part.size, dtype=np.uint64)).astype("<u8")
        bits = np.unpackbits(words.view(np.uint8).reshape(-1, 8)[:, : _SIGNS // 8], axis=1, bitorder="little")
        chosen += part @ bits.astype(np.float64)
        total += float(part.sum())
        squares += float(part @ part)
    norm = float(np.sqrt(squares))
    # A sum with signs, plus where a word's bit is set: twice what the set bits choose, less everything.
    sums = (2.0 * chosen - total).tolist()
    # Thousandths of the norm, off the grid by an odd offset so that exact zeros do not sit on a boundary.
    coarse = [math.floor(1000.0 * v / norm + 0.371) if norm > 0.0 else 0 for v in sums]
    exponent = math.floor(1000.0 * math.log2(norm) + 0.371) if norm > 0.0 else 0
    return json.dumps([exponent, *coarse]).encode()


def safetensors(model: FittedModel) -> bytes:
    """The model as one safetensors file (huggingface/safetensors, format description in its README).

    A little-endian length, a JSON header, the raw numbers. Texts are no tensors: they stand in the header's metadata,
    as JSON, with the kind and the description.
    """
    header: dict[str, Any] = {}
    metadata = {"kind": model.kind, "description": json.dumps(model.description(), sort_keys=True)}
    body: list[bytes] = []
    position = 0
    for name, array in sorted(model.arrays().items()):
        if array.dtype.kind == "U":
            metadata[name] = json.dumps(array.tolist())
            continue
        data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        dtype = {"f": "F", "i": "I", "u": "U", "b": "BOOL"}[array.dtype.kind]
        dtype += "" if array.dtype.kind == "b" else str(8 * array.dtype.itemsize)
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [position, position + len(data)]}
        position += len(data)
        body.append(data)
    encoded = json.dumps({"__metadata__": metadata, **header}).encode()
    encoded += b" " * (-len(encoded) % 8)
    return struct.pack("<Q", len(encoded)) + encoded + b"".join(body)


def read_folder(folder: str | Path) -> tuple[str, dict[str, NDArray[Any]], dict[str, Any]]:
    """Kind, arrays and description of a saved model.

    Raises:
        SourceError: The folder does not hold a model of this format.
    """
    source = Path(folder)
    try:
        header = json.loads((source / "model.json").read_text(encoding="utf-8"))
        with np.load(source / "arrays.npz", allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if header["format"] != _FORMAT:
            raise SourceError("another format", reason="the model was written in an unknown format")
        return str(header["kind"]), arrays, dict(header["description"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise SourceError(repr(error), reason="the folder holds no model") from None
