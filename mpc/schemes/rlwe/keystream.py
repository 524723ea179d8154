"""Keyed streams at the speed of the kernels."""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Keystream
from mpc.errors import KeyAccessError, ParameterError
from mpc.schemes.rlwe.kernels import pipeline

__all__ = ["VectorKeystream"]


class VectorKeystream:
    """The stream of `mpc.entropy.Keystream` under the same key, by vector instructions where the processor has them.

    Args:
        key: 32 bytes, used for this stream alone.
    """

    __slots__ = ("_kernels", "_key", "_words")

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ParameterError("a keystream's key has 32 bytes")
        self._key = key
        self._words = np.frombuffer(key, dtype=np.uint64).copy()
        self._kernels: Any = pipeline()

    def __repr__(self) -> str:
        return "VectorKeystream(<secret>)"

    def __reduce__(self) -> NoReturn:
        raise KeyAccessError("a keystream is secret and is not pickled")

    def fill(self, start: int, out: NDArray[np.uint64]) -> None:
        """Write words `start`, an even number, and following into a C-contiguous array of an even size."""
        if start < 0 or start & 1 or out.size & 1 or start + out.size > 1 << 60 or not out.flags.c_contiguous:
            raise ParameterError("a keystream fills whole blocks of a contiguous array")
        if self._kernels.host_has_vaes():
            self._kernels.fill_keystream(self._words, start, out.reshape(-1))
        else:
            Keystream(self._key).fill(start, out)
