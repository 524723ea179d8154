"""SecretFlow HEU as its documentation shows it: numpy arrays of values, one ciphertext each, ZPaillier, 2048 bits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.client.bench.cases import Unavailable
from mpc.client.bench.peers.rounds import Values

__all__ = ["HeuValues"]


class HeuValues:
    """`heu.numpy` arrays under ZPaillier, its recommended Paillier."""

    security_bits = 112
    threads = 1
    notes = "ZPaillier, 2048-bit modulus, one value per ciphertext"

    def __init__(self) -> None:
        try:
            from heu import numpy as hnp
            from heu import phe
        except ImportError as error:
            raise Unavailable(f"sf-heu does not load: {error}") from None
        self._hnp = hnp
        self._kit = hnp.setup(phe.SchemaType.ZPaillier, 2048)
        self._encoder = self._kit.bigint_encoder()

    def contribute(self, values: Values) -> list[bytes]:
        """Encode, encrypt and serialise the array."""
        plain = self._kit.array(values, self._encoder)
        return [self._kit.encryptor().encrypt(plain).serialize()]

    def add(self, contributions: Sequence[list[bytes]]) -> list[bytes]:
        """Read and add arrays."""
        arrays = [self._hnp.CiphertextArray.load_from(part) for (part,) in contributions]
        total = arrays[0]
        for array in arrays[1:]:
            total = self._kit.evaluator().add(total, array)
        return [total.serialize()]

    def open(self, summed: list[bytes], length: int) -> NDArray[Any]:
        """Decrypt the array."""
        plain = self._kit.decryptor().decrypt(self._hnp.CiphertextArray.load_from(summed[0]))
        return np.array(plain.to_numpy(self._encoder), dtype=np.int64)[:length]

    def right(self, opened: NDArray[Any], total: Values) -> bool:
        """Paillier is exact."""
        return bool(np.array_equal(opened, total))
