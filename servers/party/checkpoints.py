"""Training checkpoints: the last two states of a job, from which a later attempt goes on bit for bit."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ProtocolError

__all__ = ["Checkpoints"]

_KEEP = 2


class Checkpoints:
    """The checkpoints of one job at one party; arrays only, nothing is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = self.latest() + 1

    def _numbers(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(p.stem) for p in self._folder.glob("*.npz") if p.stem.isdigit())

    def latest(self) -> int:
        """Number of the newest checkpoint; 0 if there is none."""
        return max(self._numbers(), default=0)

    def save(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Write a state durably, then forget the ones before the last two."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = self._folder / f"{self._next}.npz"
        partial = target.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **{k: np.asarray(v) for k, v in state.items()})
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        self._next += 1
        for number in self._numbers()[:-_KEEP]:
            (self._folder / f"{number}.npz").unlink(missing_ok=True)

    def load(self, number: int) -> dict[str, NDArray[Any]]:
        """Read a state and make it the newest.

        Raises:
            ProtocolError: It is no longer there.
        """
        path = self._folder / f"{number}.npz"
        if not path.is_file():
            raise ProtocolError("", reason="the checkpoint to resume from is no longer held")
        for later in self._numbers():
            if later > number:
                (self._folder / f"{later}.npz").unlink(missing_ok=True)
        self._next = number + 1
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def clear(self) -> None:
        """Forget everything."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)
            self._folder.rmdir()
