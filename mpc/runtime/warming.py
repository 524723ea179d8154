"""Compiled kernels before their first use: one process of a user compiles, the others wait and load what it made."""

import fcntl
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mpc.params import ParameterSet, SchemeId, parameter_set

__all__ = ["kernel_cache", "warm_kernels"]

log = logging.getLogger(__name__)


def kernel_cache() -> Path | None:
    """The folder where compiled kernels are kept, or None where no place is writable."""
    from mpc.schemes.rlwe.kernels.compiled import cache_directory

    return cache_directory()


@contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    """Hold the cache's lock, so that a machine's processes do not all compile the same at once."""
    if folder is None:
        yield
        return
    with (folder / "compiling.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


Warmer = Callable[[Iterable[ParameterSet]], None]


def warm_kernels(names: Iterable[str], warmer: Warmer | None = None) -> None:
    """Load or compile the kernels of the parameter sets that have any.

    Args:
        names: Parameter sets.
        warmer: What exercises the kernels; encryption and addition if not given. A key holder gives
            `mpc.schemes.rlwe.secret.warm_up`, which this module must not know.
    """
    wanted = [s for s in map(parameter_set, names) if s.scheme is SchemeId.RLWE]
    if not wanted:
        return
    started = time.monotonic()
    with _alone(kernel_cache()):
        if warmer is not None:
            warmer(wanted)
        else:
            from mpc.schemes.rlwe.warm import warm_up

            warm_up(wanted)
    log.info("kernels ready after %.1f s", time.monotonic() - started)
