"""TenSEAL as its tutorials use it: one vector object per full ciphertext, a public context at parties and coordinator.

Parameters: BFV with N = 8192, SEAL's default chain for 128 bits (five primes, 218 bits) and a 60-bit batching prime, in
whose plaintexts sums of 40-bit values have room; CKKS with N = 8192, chain 60-40-40-60 and scale 2^40, as in its CKKS
tutorial.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.peers.rounds import Values

__all__ = ["BfvVectors", "CkksVectors"]

_DEGREE: Final = 8192
_BATCHING_PRIME: Final = 1152921504606830593
_LEAN: Final = (4096, 18014398509309953)
"""The fastest exact setting that `ts.context` takes for these sums: N = 4096 and the largest 54-bit batching prime."""
_REAL_UNIT: Final = float(1 << 40)
"""CKKS gets the 40-bit values as reals below 1."""

_REAL_ERROR: Final = 1e-5


class BfvVectors:
    """`ts.bfv_vector` in chunks of N integers.

    Args:
        lean: The fastest exact setting instead of the tutorials'.
    """

    security_bits = 128
    threads = 1

    def __init__(self, *, lean: bool = False) -> None:
        import tenseal as ts

        self._ts = ts
        self._degree, prime = _LEAN if lean else (_DEGREE, _BATCHING_PRIME)
        self.notes = f"N = {self._degree}, default chain, t of {prime.bit_length()} bits"
        self._secret = ts.context(ts.SCHEME_TYPE.BFV, self._degree, prime)
        self._public = ts.context_from(self._secret.serialize(save_secret_key=False))

    def contribute(self, values: Values) -> list[bytes]:
        """Encrypt and serialise chunk by chunk."""
        chunks = (values[i : i + self._degree] for i in range(0, len(values), self._degree))
        return [self._ts.bfv_vector(self._public, chunk).serialize() for chunk in chunks]

    def add(self, contributions: Sequence[list[bytes]]) -> list[bytes]:
        """Deserialise, add in place, serialise."""
        out = []
        for parts in zip(*contributions, strict=True):
            total = self._ts.bfv_vector_from(self._public, parts[0])
            for part in parts[1:]:
                total += self._ts.bfv_vector_from(self._public, part)
            out.append(total.serialize())
        return out

    def open(self, summed: list[bytes], length: int) -> NDArray[Any]:
        """Deserialise under the secret context and decrypt."""
        opened = [np.array(self._ts.bfv_vector_from(self._secret, part).decrypt()) for part in summed]
        return np.concatenate(opened)[:length]

    def right(self, opened: NDArray[Any], total: Values) -> bool:
        """BFV is exact."""
        return bool(np.array_equal(opened, total))


class CkksVectors:
    """`ts.ckks_vector` in chunks of N/2 reals."""

    security_bits = 128
    threads = 1
    notes = "N = 8192, chain 60-40-40-60, scale 2^40, reals below 1 with an error up to 1e-5"

    def __init__(self) -> None:
        import tenseal as ts

        self._ts = ts
        self._secret = ts.context(ts.SCHEME_TYPE.CKKS, _DEGREE, coeff_mod_bit_sizes=[60, 40, 40, 60])
        self._secret.global_scale = 2**40
        self._public = ts.context_from(self._secret.serialize(save_secret_key=False))

    def contribute(self, values: Values) -> list[bytes]:
        """Encrypt and serialise chunk by chunk."""
        reals, step = values / _REAL_UNIT, _DEGREE // 2
        chunks = (reals[i : i + step] for i in range(0, len(reals), step))
        return [self._ts.ckks_vector(self._public, chunk).serialize() for chunk in chunks]

    def add(self, contributions: Sequence[list[bytes]]) -> list[bytes]:
        """Deserialise, add in place, serialise."""
        out = []
        for parts in zip(*contributions, strict=True):
            total = self._ts.ckks_vector_from(self._public, parts[0])
            for part in parts[1:]:
                total += self._ts.ckks_vector_from(self._public, part)
            out.append(total.serialize())
        return out

    def open(self, summed: list[bytes], length: int) -> NDArray[Any]:
        """Deserialise under the secret context and decrypt."""
        opened = [np.array(self._ts.ckks_vector_from(self._secret, part).decrypt()) for part in summed]
        return np.concatenate(opened)[:length]

    def right(self, opened: NDArray[Any], total: Values) -> bool:
        """Every real within the error."""
        return bool(np.allclose(opened, total / _REAL_UNIT, rtol=0.0, atol=_REAL_ERROR))
