"""How many threads numpy's linear algebra uses: twins that multiply matrices are to use one core where they say so.

Processor time counts every thread, and those of OpenBLAS wait by spinning: a product that uses two of them for a
tenth of a millisecond costs several times what it costs on one, and the twin in the clear would look that much dearer.
"""

import contextlib
import ctypes
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

__all__ = ["blas_threads_limited", "threads_of_blas"]

_NAMES: Final = tuple(
    (f"{prefix}openblas_get_num_threads{suffix}", f"{prefix}openblas_set_num_threads{suffix}")
    for prefix in ("scipy_", "")
    for suffix in ("64_", "")
)
"""As numpy's wheels name them, and as systems do."""


class _Control(NamedTuple):
    get: Callable[[], int]
    set: Callable[[int], None]


@functools.cache
def _control() -> _Control | None:
    """OpenBLAS's own functions, found through the module of numpy that is linked with it; None with another library."""
    library = ctypes.CDLL(str(importlib.import_module("numpy._core._multiarray_umath").__file__))
    for get, change in _NAMES:
        with contextlib.suppress(AttributeError):
            return _Control(getattr(library, get), getattr(library, change))
    return None


def threads_of_blas() -> int:
    """Threads that numpy's products use; 0 where the library does not tell."""
    control = _control()
    return control.get() if control else 0


@contextlib.contextmanager
def blas_threads_limited(count: int) -> Iterator[None]:
    """Multiply with at most so many threads; without effect on libraries other than OpenBLAS."""
    control = _control()
    if control is None:
        yield
        return
    before = control.get()
    control.set(min(count, before))
    try:
        yield
    finally:
        control.set(before)
