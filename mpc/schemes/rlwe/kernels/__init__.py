"""The compiled kernels. Importing this package loads neither numba nor LLVM; `pipeline()` does, once."""

import functools
import importlib
from types import ModuleType

__all__ = ["pipeline"]


@functools.cache
def pipeline() -> ModuleType:
    """The module `mpc.schemes.rlwe.kernels.pipeline`, which loads the compiler on first use."""
    module = importlib.import_module("mpc.schemes.rlwe.kernels.pipeline")
    globals()["pipeline"] = _loader  # the import has just put the module in the place of this function
    return module


_loader = pipeline
