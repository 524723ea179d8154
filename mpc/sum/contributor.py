"""The contributing role: bound, cut, mask, pack, encrypt; a stream of batches, bounded in memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Keystream, expand
from mpc.errors import ParameterError
from mpc.packing.layout import CHECK_SLOTS, SegmentLayout, VectorLayout
from mpc.packing.limbs import LimbWriter, to_limbs
from mpc.packing.segments import Segment, SegmentValues, check_bound
from mpc.params.base import ParameterSet
from mpc.schemes.base import Encryptor
from mpc.sum.masks import Masks
from mpc.sum.messages import ciphertext_digest, ciphertext_list_digest

__all__ = ["Contributor", "batch_ciphertexts", "position_tags"]

_BATCH_BYTES = 2 << 20
_MOST_AT_ONCE = 128

_READ_VALUES = 1 << 15


def batch_ciphertexts(parameters: ParameterSet) -> int:
    """Ciphertexts that are made, travel and are added together: two megabytes, in the blocks of eight of our kernels.

    Every role's memory is a few batches.
    """
    return max(8, min(_MOST_AT_ONCE, _BATCH_BYTES // parameters.ciphertext_bytes // 8 * 8))


def position_tags(transcript: bytes, first_ciphertext: int, count: int, width_bits: int) -> NDArray[np.uint64]:
    """What slot 0 opens to beyond the number of parties, one word a ciphertext.

    Derived from the transcript, added by the first party alone: two ciphertexts that change places open to the wrong
    tags even when all parties' ciphertexts were swapped alike.
    """
    return Keystream(expand(transcript, b"sealroom/v1/position-tags")).bits(first_ciphertext, count, width_bits)


@dataclass(slots=True)
class Contributor:
    """One party's contribution to one round.

    Reveals: to the coordinator, the number and size of ciphertexts, which the header fixes; to the recipient with all
    other contributions, the totals.

    Args:
        layout: The layout of the round.
        values: This party's values by segment.
        masks: This party's masks.
        encryptor: Encryption under the recipient's key.
        transcript: T of the round.
        first: Whether this is the participant with the lowest name, which adds the position tags.
    """

    layout: VectorLayout
    values: Mapping[str, SegmentValues] = field(repr=False)
    masks: Masks = field(repr=False)
    encryptor: Encryptor = field(repr=False)
    transcript: bytes = field(repr=False)
    first: bool
    digests: list[bytes] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.encryptor.parameters != self.layout.parameters:
            raise ParameterError("the key's parameter set is not the layout's")

    def batches(self) -> Iterator[list[bytes]]:
        """Encrypt the vector batch by batch.

        Raises:
            RangeError: A value leaves its segment's bound; nothing of the batch was encrypted.
        """
        checks, done = self._checks(), 0
        for payload in self._payload_rows():
            rows = np.concatenate([checks[done : done + len(payload)], payload], axis=1)
            ciphertexts = self.encryptor.encrypt(rows)
            self.digests += map(ciphertext_digest, ciphertexts)
            done += len(payload)
            yield ciphertexts

    def list_digest(self) -> bytes:
        """Digest of the ordered list of all ciphertexts, once `batches` is exhausted."""
        if len(self.digests) != self.layout.ciphertexts:
            raise ParameterError("the contribution is not complete")
        return ciphertext_list_digest(self.digests)

    def _checks(self) -> NDArray[np.uint64]:
        """The masked check slots of all ciphertexts: 16 bytes each, and a stream costs more to begin than to read."""
        width, count = self.layout.width_bits, self.layout.ciphertexts
        checks = np.zeros((count, CHECK_SLOTS), dtype=np.uint64)
        checks[:, 0] = 1
        if self.first:
            checks[:, 0] += position_tags(self.transcript, 0, count, width)
        return self.masks.mask_checks(checks, 0, width)

    def _payload_rows(self) -> Iterator[NDArray[np.uint64]]:
        writer = LimbWriter(self.layout.slots_per_ciphertext)
        batch = batch_ciphertexts(self.layout.parameters)
        full = batch * self.layout.slots_per_ciphertext
        for slots in self._masked_slots():
            writer.push(slots)
            while writer.held >= full:
                yield writer.rows(batch)
        while writer.held:
            yield writer.rows(batch)

    def _masked_slots(self) -> Iterator[NDArray[np.uint64]]:
        width = self.layout.width_bits
        for segment in self.layout.segments:
            for start in range(0, segment.length, _READ_VALUES):
                limbs = self._read(segment, start, min(segment.length, start + _READ_VALUES))
                first_slot = segment.first_slot + start * segment.limbs
                yield self.masks.mask_values(limbs, first_slot, width).reshape(-1)
        used = self.layout.payload_slots
        padding = self.layout.ciphertexts * self.layout.slots_per_ciphertext - used
        yield self.masks.mask_values(np.zeros((padding, 1), dtype=np.uint64), used, width).reshape(-1)

    def _read(self, segment: SegmentLayout, start: int, stop: int) -> NDArray[np.uint64]:
        values = self.values[segment.name].read(start, stop)
        if len(values) != stop - start:
            raise ParameterError(f"segment {segment.name} gave too few values")
        check_bound(Segment(segment.name, segment.length, segment.bound), values)
        return to_limbs(values, self.layout.width_bits, segment.limbs)
