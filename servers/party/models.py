"""Models that were trained here, by digest: what an evaluation measures again. A bounded number; the oldest go."""

import json
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mpc.errors import PlanError
from mpc.learn import FittedModel, Spec, load_model, to_mapping

__all__ = ["TrainedModels"]

_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")


class TrainedModels:
    """The models in a folder of the party's state.

    Args:
        folder: Where they are.
        most: How many stay.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most

    def keep(self, model: FittedModel, spec: Spec) -> str:
        """Save a model with the spec it was trained from, forget the oldest above the limit, and return its digest."""
        digest = model.digest()
        if self._most < 1:
            return digest
        partial = self._folder / f".{secrets.token_hex(8)}"
        partial.mkdir(parents=True, mode=0o700)
        model.save(partial, compressed=False)
        (partial / "spec.json").write_text(json.dumps(to_mapping(spec), sort_keys=True), encoding="utf-8")
        target = self._folder / digest
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        held = [p for p in self._folder.iterdir() if _DIGEST.match(p.name)]
        for old in sorted(held, key=lambda p: p.stat().st_mtime_ns)[: -self._most]:
            shutil.rmtree(old, ignore_errors=True)
        return digest

    def find(self, digest: str) -> tuple[FittedModel, Mapping[str, Any]]:
        """A model and the spec it was trained from.

        Raises:
            PlanError: It is not, or no longer, here.
        """
        folder = self._folder / digest
        if not _DIGEST.match(digest) or not folder.is_dir():
            raise PlanError("", field="model", reason="a party holds no model of that digest, or no longer")
        spec: Mapping[str, Any] = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        return load_model(folder), spec
