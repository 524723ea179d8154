"""Keyed streams at the speed of the kernels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Keystream
from mpc.errors import ParameterError
from mpc.schemes.rlwe.kernels import pipeline

__all__ = ["VectorKeystream"]


class VectorKeystream(Keystream):
    """The same stream under the same key, by vector instructions where the processor has them.

    Args:
        key: 32 bytes, used for this stream alone.
    """

    __slots__ = ("_kernels", "_words")

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self._words = np.frombuffer(key, dtype=np.uint64).copy()
        self._kernels: Any = pipeline()

    def __repr__(self) -> str:
        return "VectorKeystream(<secret>)"

    def fill(self, start: int, out: NDArray[np.uint64]) -> None:
        """Write words `start`, an even number, and following into a C-contiguous array of an even size."""
        if not self._kernels.host_has_vaes():
            super().fill(start, out)
            return
        if start < 0 or start & 1 or out.size & 1 or start + out.size > 1 << 60 or not out.flags.c_contiguous:
            raise ParameterError("a keystream fills whole blocks of a contiguous array")
        self._kernels.fill_keystream(self._words, start, out.reshape(-1))
