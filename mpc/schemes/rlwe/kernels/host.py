"""What this processor can do, as far as the compiler will use it."""

import functools

from llvmlite import binding
from numba import config

__all__ = ["host_has_ifma", "host_has_vaes"]


@functools.cache
def _host_has(*features: str) -> bool:
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None:
        allowed = (config.CPU_FEATURES or "").split(",")
        return all(f"+{feature}" in allowed for feature in features)
    present = binding.get_host_cpu_features()
    return all(present.get(feature) for feature in features)


def host_has_ifma() -> bool:
    """Whether code may use the AVX-512 IFMA instructions.

    `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` restrict the compiler, so they restrict us.
    """
    return _host_has("avx512f", "avx512ifma")


def host_has_vaes() -> bool:
    """Whether code may use the AES instructions on 512-bit vectors."""
    return _host_has("aes", "avx512f", "vaes")
