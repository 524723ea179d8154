"""Fitted models on disk: a folder with `model.json` (what it is) and `arrays.npz` (its numbers). No pickle anywhere."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mpc.errors import SourceError

__all__ = ["FittedModel", "read_folder"]

_FORMAT: Final = "sealroom-model-1"


class FittedModel(ABC):
    """A trained model: equal at all parties, made of opened totals and public numbers only."""

    kind: ClassVar[str]

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The model's numbers by name."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Everything else, as JSON values."""

    @classmethod
    @abstractmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Self:
        """Build the model back from `arrays` and `description`."""

    @abstractmethod
    def explain(self) -> str:
        """What the model is, in sentences for a person."""

    def digest(self) -> str:
        """SHA-256 over all of it, so that parties can compare what they obtained."""
        state = hashlib.sha256(json.dumps([self.kind, self.description()], sort_keys=True).encode())
        for name, array in sorted(self.arrays().items()):
            state.update(f"{name}{array.dtype.str}{array.shape}".encode())
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write the model into a folder, which is made if needed."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        with (target / "arrays.npz").open("wb") as sink:
            np.savez_compressed(sink, allow_pickle=False, **self.arrays())
        header = {"format": _FORMAT, "kind": self.kind, "description": self.description()}
        (target / "model.json").write_text(json.dumps(header, indent=2, sort_keys=True) + "\n", encoding="utf-8")


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
