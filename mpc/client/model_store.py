"""Trained models on this machine: a folder each, under `$XDG_DATA_HOME/sealroom/models`."""

import datetime as dt
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mpc.client.training import Trained
from mpc.errors import ConfigurationError
from mpc.learn import FittedModel, load_model, safetensors

__all__ = ["ModelStore", "StoredModel", "export_model"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_ABOUT: Final = "about.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model in its folder."""

    name: str
    folder: Path
    kind: str
    job: str
    trained_at: str
    spec: Mapping[str, Any]
    quality: Mapping[str, Any]

    def load(self) -> FittedModel:
        """The model."""
        return load_model(self.folder)


class ModelStore:
    """The models of this user.

    Args:
        folder: Where they are; the user's data folder if not given.
    """

    def __init__(self, folder: Path | None = None) -> None:
        base = Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser()
        self._folder = folder or base / "sealroom" / "models"

    def keep(self, name: str, trained: Trained, *, job: str, spec: Mapping[str, Any]) -> StoredModel:
        """Save a trained model under a name; a model of that name is replaced."""
        if not _NAME.match(name):
            raise ConfigurationError(f"{name[:60]!r} is not a model's name: letters, digits, dots and dashes")
        target = self._folder / name
        trained.model.save(target)
        about = {
            "job": job,
            "trained_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "spec": spec,
            "quality": dict(trained.quality or {}),
            "participants": list(trained.report.participants),
        }
        (target / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        return self.find(name)

    def find(self, name: str) -> StoredModel:
        """A model by name or folder (`ConfigurationError` if there is none)."""
        for folder in (self._folder / name, Path(name)):
            if (folder / "model.json").is_file():
                return _described(folder)
        raise ConfigurationError(f"no model is called {name}: `sealroom model list` shows what is here")

    def all(self) -> list[StoredModel]:
        """Every model, by name."""
        if not self._folder.is_dir():
            return []
        return [_described(f) for f in sorted(self._folder.iterdir()) if (f / "model.json").is_file()]


def _described(folder: Path) -> StoredModel:
    try:
        kind = str(json.loads((folder / "model.json").read_text(encoding="utf-8"))["kind"])
        path = folder / _ABOUT
        about = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(f"{folder.name} is not a model's folder: {error}") from None
    return StoredModel(
        name=folder.name,
        folder=folder,
        kind=kind,
        job=str(about.get("job", "")),
        trained_at=str(about.get("trained_at", "")),
        spec=about.get("spec", {}),
        quality=about.get("quality", {}),
    )


def export_model(stored: StoredModel, target: Path) -> Path:
    """Write a model's arrays as npz or safetensors, and a JSON description beside them; returns the description's path.

    Raises:
        ConfigurationError: The file's ending is neither.
    """
    found = stored.load()
    arrays = {name: np.ascontiguousarray(a) for name, a in found.arrays().items()}
    texts = {n: a.tolist() for n, a in arrays.items() if a.dtype.kind == "U"}
    if target.suffix == ".npz":
        with target.open("wb") as sink:
            np.savez_compressed(sink, allow_pickle=False, **arrays)
    elif target.suffix == ".safetensors":
        target.write_bytes(safetensors(found))
    else:
        raise ConfigurationError(f"{target.name}: write to .npz or .safetensors")
    described = target.with_suffix(target.suffix + ".json")
    body = {
        "format": "sealroom-model-description-1",
        "kind": found.kind,
        "description": found.description(),
        "explanation": found.explain(),
        "arrays": {n: {"dtype": str(a.dtype), "shape": list(a.shape)} for n, a in arrays.items()},
        "texts": texts,
        "spec": stored.spec,
        "quality": stored.quality,
    }
    described.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    return described
