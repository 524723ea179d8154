"""Training functions that an owner declares in `party.toml`; a federated average may run one by its name.

    [trainers.risk]
    module = "our_models.risk:train"     # installed beside Sealroom, or in the folder below
    path = "trainers"

The code is the owner's: nothing of it comes from an analyst, who names it in a spec and whom the policy must allow to
(`trainers.risk = ["ana"]`). It runs in the worker's sandbox, and reads the columns that the spec declares, no others.
"""

import importlib
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from numpy.typing import NDArray

from mpc.errors import ConfigurationError, MpcError, PlanError
from mpc.learn import Rows, Trainer

__all__ = ["DeclaredRows", "TrainerSpec", "load_trainer"]

log = logging.getLogger("sealroom.worker")

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
_ENTRY: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")


class TrainerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a training function is."""

    module: str
    """`package.module:function`."""

    path: str = ""
    """A folder to import it from, relative to `party.toml`; the worker may read all of it."""

    def check(self, name: str) -> None:
        """Refuse an impossible declaration (`ConfigurationError`)."""
        if not _NAME.match(name) or not _ENTRY.match(self.module):
            raise ConfigurationError(f"trainers.{name[:60]} is not valid: its module is package.module:function")

    def under(self, base: Path) -> "TrainerSpec":
        """The same with an absolute path."""
        return msgspec.structs.replace(self, path=str((base / self.path).resolve())) if self.path else self


@dataclass(frozen=True, slots=True)
class DeclaredRows:
    """Rows of which only the columns that the spec declares can be read."""

    rows: Rows
    columns: tuple[str, ...]

    def read(self, columns: Sequence[str]) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Read declared columns (`PlanError` naming another one)."""
        folded = {c.lower() for c in self.columns}
        for name in columns:
            if name.lower() not in folded:
                raise PlanError("", column=name, reason="the training function reads a column that the spec omits")
        return self.rows.read(columns)


def load_trainer(name: str, spec: TrainerSpec) -> Trainer:
    """Import a training function, so that whatever fails in it is told without its data.

    Raises:
        PlanError: It cannot be imported. Why is in this party's log.
    """
    if spec.path and spec.path not in sys.path:
        sys.path.insert(0, spec.path)
    module, _, function = spec.module.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception:
        log.exception("trainer %s cannot be loaded", name)
        raise PlanError("", field="trainer", reason="the owner's training function cannot be loaded") from None

    def guarded(number: int, arrays: Mapping[str, NDArray[Any]], data: Rows) -> tuple[Mapping[str, NDArray[Any]], int]:
        try:
            made, weight = found(number, arrays, data)
            return dict(made), int(weight)
        except MpcError:
            raise
        except Exception:
            log.exception("trainer %s failed in round %d", name, number)
            raise PlanError("", field="trainer", reason="the owner's training function failed") from None

    return guarded
