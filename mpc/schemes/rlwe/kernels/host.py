"""What this processor can do, as far as the compiler will use it."""

import functools

from llvmlite import binding
from numba import config

__all__ = ["host_has_ifma"]


@functools.cache
def host_has_ifma() -> bool:
    """Whether code may use the AVX-512 IFMA instructions.

    `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` restrict the compiler, so they restrict us.
    """
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None:
        return "+avx512ifma" in (config.CPU_FEATURES or "").split(",")
    features = binding.get_host_cpu_features()
    return bool(features.get("avx512ifma") and features.get("avx512f"))
