"""The opening role: decrypt, check every ciphertext's count, recombine."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.errors import IntegrityError, ParameterError
from mpc.packing.layout import CHECK_SLOTS, VectorLayout
from mpc.packing.limbs import LimbReader
from mpc.packing.segments import IntegerArray
from mpc.schemes.base import Decryptor
from mpc.sum.contributor import position_tags

__all__ = ["Opener"]


@dataclass(slots=True)
class Opener:
    """Opens the sum of one round; the totals leave only after every ciphertext was counted.

    Args:
        layout: The layout of the round.
        decryptor: One opening under the recipient's key.
        transcript: T of the round.
    """

    layout: VectorLayout
    decryptor: Decryptor = field(repr=False)
    transcript: bytes = field(repr=False)
    _reader: LimbReader = field(init=False, repr=False)
    _expected: NDArray[np.uint64] = field(init=False, repr=False)
    """What slot 0 of each ciphertext opens to, `(ciphertexts,)`."""

    _seen: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.decryptor.parameters != self.layout.parameters:
            raise ParameterError("the key's parameter set is not the layout's")
        width = self.layout.width_bits
        self._reader = LimbReader(self.layout.segments, width)
        tags = position_tags(self.transcript, 0, self.layout.ciphertexts, width)
        self._expected = (tags + np.uint64(self.layout.participants)) & np.uint64((1 << width) - 1)

    def take(self, ciphertexts: Sequence[bytes]) -> None:
        """Open the next summed ciphertexts.

        Raises:
            IntegrityError: A contribution was lost, counted twice, swapped, or made under another transcript.
            WireError: A ciphertext breaks the format.
        """
        end = self._seen + len(ciphertexts)
        if end > self.layout.ciphertexts:
            raise IntegrityError("there are more ciphertexts than the layout has")
        slots = self.decryptor.decrypt(ciphertexts)
        checks = slots[:, :CHECK_SLOTS] & np.uint64((1 << self.layout.width_bits) - 1)
        if not bool(np.all(checks[:, 0] == self._expected[self._seen : end])) or bool(np.any(checks[:, 1])):
            raise IntegrityError("a ciphertext does not count every participant once")
        self._seen = end
        self._reader.push(slots[:, CHECK_SLOTS:].reshape(-1))

    def totals(self) -> dict[str, IntegerArray]:
        """The totals by segment.

        Raises:
            IntegrityError: Ciphertexts are missing.
        """
        if self._seen != self.layout.ciphertexts:
            raise IntegrityError("ciphertexts are missing")
        return self._reader.totals()
