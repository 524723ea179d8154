"""Compiled kernels before their first use: a user's processes share the compiling, and each loads what it needs.

Kernels come in stages. A stage is compiled under its own lock beside the cache: a process that finds one taken does
another first, so that nodes and an analyst on one machine compile different stages at the same time.
"""

import fcntl
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mpc.params import ParameterSet, SchemeId, parameter_set

if TYPE_CHECKING:
    from mpc.schemes.rlwe.warm import Warmer

__all__ = ["kernel_cache", "warm_kernels"]

log = logging.getLogger(__name__)


def kernel_cache() -> Path | None:
    """The folder where compiled kernels are kept, or None where no place is writable."""
    from mpc.schemes.rlwe.kernels.compiled import cache_directory

    return cache_directory()


@contextmanager
def _held(folder: Path | None, stage: str, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a stage, or say that another process does."""
    if folder is None:
        yield True
        return
    with (folder / f"{stage}.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def warm_kernels(names: Iterable[str], stages: "Mapping[str, Warmer] | None" = None) -> None:
    """Load or compile the kernels of the parameter sets that have any.

    Args:
        names: Parameter sets.
        stages: What exercises the kernels, by name; addition if not given. A key holder gives
            `mpc.schemes.rlwe.secret.STAGES`, which this module must not know.
    """
    wanted = [s for s in map(parameter_set, names) if s.scheme is SchemeId.RLWE]
    if not wanted:
        return
    if stages is None:
        from mpc.schemes.rlwe.warm import STAGES

        stages = STAGES
    started, folder = time.monotonic(), kernel_cache()
    taken = [stage for stage in stages if not _run(folder, stage, stages[stage], wanted, wait=False)]
    for stage in taken:
        _run(folder, stage, stages[stage], wanted, wait=True)
    log.info("kernels ready after %.1f s", time.monotonic() - started)


def _run(folder: Path | None, stage: str, warmer: "Warmer", wanted: list[ParameterSet], *, wait: bool) -> bool:
    with _held(folder, stage, wait=wait) as mine:
        if mine:
            warmer(wanted)
    return mine
