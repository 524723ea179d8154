"""Compilation on first call, with the machine code kept on disk for the next process.

The code is kept in a directory per user and per content of these source files: numba notices a change in the file of a
function, but not in the files it calls into. The directory is `NUMBA_CACHE_DIR`, else the user's cache directory, else
a private one under the system's temporary directory; where none is writable (a read-only container) every process
compiles for itself, which takes some seconds. Loading machine code from a directory that others may write to would be
running their code, so such a directory is passed over.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, cast

from numba import config, njit
from numba.core.compiler_lock import global_compiler_lock

from mpc.errors import ConfigurationError

__all__ = ["Static", "cache_directory", "compiled"]

F = TypeVar("F", bound=Callable[..., Any])

Static: TypeAlias = Literal[True] | None
"""A flag that is known when a kernel is compiled. The code for None and the code for True are compiled apart, each when
it is first called; that for None has nothing of what follows `is not None`."""

_claimed: set[str] = set()

_decorating = threading.Lock()
"""The directory is a setting of the whole process: threads that import kernels at once would exchange theirs."""

if sys.byteorder != "little":
    raise ConfigurationError("the rlwe scheme runs on little-endian machines")


def _private(directory: Path) -> bool:
    """Make a directory that only this user may write to; False if that cannot be."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            return False
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _candidates() -> list[Path]:
    places = []
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        places.append(Path(chosen))
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        places.append(Path(chosen) / "sealroom")
    if home := os.environ.get("HOME"):
        places.append(Path(home) / ".cache" / "sealroom")
    return [*places, Path(tempfile.gettempdir()) / f"sealroom-{os.getuid()}"]


@functools.cache
def cache_directory() -> Path | None:
    """Where machine code is kept, or None where nothing is writable."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(hashlib.sha256(p.read_bytes()).digest() for p in sources)).hexdigest()[:16]
    places = (base / f"rlwe-{digest}" for base in _candidates() if _private(base))
    return next((place for place in places if _private(place)), None)


def compiled(function: F) -> F:
    """Compile a kernel, or a part of kernels, on its first call; without the interpreter's lock.

    The code is kept if there is a place. A process that finds a function being compiled by another waits, and loads
    what it made.
    """
    _claim(function)
    directory = cache_directory()
    if directory is None:
        alone: F = njit(nogil=True)(function)
        return alone
    with _decorating:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(directory)  # numba reads it while the function is decorated, and not later
        try:
            kept: Any = njit(nogil=True, cache=True)(function)
        finally:
            config.CACHE_DIR = before
    kept.compile = _one_at_a_time(kept.compile, directory / f"{function.__module__}.{function.__name__}.lock")
    return cast("F", kept)


def _one_at_a_time(compile_: Callable[[Any], Any], lock: Path) -> Callable[[Any], Any]:
    """Load or compile for types of arguments while no other process does, as far as a lock can be had.

    The compiler's own lock is taken first, so that threads cannot hold the two crosswise; nor can processes, since
    functions wait only for those that they call.
    """

    def locked(types: Any) -> Any:
        with global_compiler_lock, contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):  # a worker that has given up its rights compiles all the same
                fcntl.flock(held.enter_context(lock.open("ab")), fcntl.LOCK_EX)
            return compile_(types)

    return locked


def _claim(function: Callable[..., Any]) -> None:
    """Refuse a second function of one name.

    Kernels that different processes compiled come together in one process, each with its copies of its parts. The
    loader takes parts of one symbol for one function, and a symbol is a name, types of arguments and a number that
    counts within the compiling process. So a name must say all.

    Raises:
        ConfigurationError: Another function has the name.
    """
    name = f"{function.__module__}.{function.__qualname__}"
    if name in _claimed:
        raise ConfigurationError(f"two compiled functions are called {name}")
    _claimed.add(name)
