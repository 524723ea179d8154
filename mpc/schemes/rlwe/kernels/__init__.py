"""The compiled kernels. Importing this package loads neither numba nor LLVM; `pipeline()` does, once."""

import importlib
from types import ModuleType

__all__ = ["pipeline"]


def pipeline() -> ModuleType:
    """The module `mpc.schemes.rlwe.kernels.pipeline`, which loads the compiler on first use."""
    return importlib.import_module("mpc.schemes.rlwe.kernels.pipeline")
