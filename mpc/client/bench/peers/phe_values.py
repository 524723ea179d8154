"""phe as its documentation shows it: one `EncryptedNumber` per value, 2048-bit keys (its default: 112 bits).

Serialisation after its documentation: ciphertext and exponent as text; here the ciphertext as bytes, which is shorter.
`be_secure=True` (its default) re-randomises sums before they leave.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.peers.rounds import Values

__all__ = ["PheValues"]

_BYTES: Final = 512


class PheValues:
    """One ciphertext per value."""

    security_bits = 112
    threads = 1
    notes = "2048-bit modulus, one value per ciphertext"

    def __init__(self) -> None:
        from phe import paillier

        self._paillier = paillier
        self._public, self._private = paillier.generate_paillier_keypair(n_length=2048)

    def contribute(self, values: Values) -> list[bytes]:
        """Encrypt every value."""
        made = [self._public.encrypt(int(v)) for v in values]
        return [c.ciphertext().to_bytes(_BYTES, "big") for c in made]

    def add(self, contributions: Sequence[list[bytes]]) -> list[bytes]:
        """Add value by value."""
        out = []
        for parts in zip(*contributions, strict=True):
            numbers = [self._read(part) for part in parts]
            total = numbers[0]
            for number in numbers[1:]:
                total = total + number
            out.append(total.ciphertext(be_secure=False).to_bytes(_BYTES, "big"))
        return out

    def open(self, summed: list[bytes], length: int) -> NDArray[Any]:
        """Decrypt every value."""
        return np.array([self._private.decrypt(self._read(part)) for part in summed[:length]], dtype=np.int64)

    def right(self, opened: NDArray[Any], total: Values) -> bool:
        """Paillier is exact."""
        return bool(np.array_equal(opened, total))

    def _read(self, data: bytes) -> Any:
        return self._paillier.EncryptedNumber(self._public, int.from_bytes(data, "big"))
