"""Values to masked limbs and back, in arrays, with carries.

Residues modulo `M = 2**(width * limbs)` are handled as `limbs` arrays of `width`-bit words. All arithmetic is on
unsigned 64-bit words of at most 62 bits, so nothing overflows and no float is involved.
"""

import numpy as np
from numpy.typing import NDArray

from mpc.packing.layout import SegmentLayout
from mpc.packing.segments import IntegerArray

__all__ = ["LimbReader", "LimbWriter", "carry_limbs", "from_limbs", "to_limbs"]

Words = NDArray[np.uint64]


def to_limbs(values: IntegerArray, width_bits: int, limbs: int) -> Words:
    """Cut values into two's complement limbs modulo `2**(width_bits * limbs)`, shape `(n, limbs)`, least first."""
    out = np.empty((len(values), limbs), dtype=np.uint64)
    word = (1 << width_bits) - 1
    if values.dtype == object:
        for j in range(limbs):
            out[:, j] = [(int(v) >> (j * width_bits)) & word for v in values]
        return out
    signed = values.astype(np.int64, copy=False)
    for j in range(limbs):
        shift = min(63, j * width_bits)
        out[:, j] = (signed >> np.int64(shift)).view(np.uint64) & np.uint64(word)
    return out


def carry_limbs(sums: Words, width_bits: int, borrowed: int) -> None:
    """Bring sums of limbs, shape `(n, limbs)`, and `borrowed` in the least one below `2**width_bits`, in place.

    Values are residues modulo `2**(width_bits * limbs)`: what the last limb carries is dropped. Sums are below 2^63.
    """
    word, width = np.uint64((1 << width_bits) - 1), np.uint64(width_bits)
    carry: Words | np.uint64 = np.uint64(borrowed)
    for j in range(sums.shape[1]):
        limb = sums[:, j]
        limb += carry
        carry = limb >> width
        limb &= word


def from_limbs(opened: Words, width_bits: int) -> IntegerArray:
    """Recombine opened limb sums, shape `(n, limbs)`, into centred integers modulo `2**(width_bits * limbs)`."""
    limbs = opened.shape[1]
    bits = width_bits * limbs
    if bits < 64:  # 2^bits divides 2^64: the carries take care of themselves
        total = opened[:, 0].copy()
        for j in range(1, limbs):
            total += opened[:, j] << np.uint64(j * width_bits)
        total &= np.uint64((1 << bits) - 1)
        total ^= np.uint64(1 << (bits - 1))
        return total.view(np.int64) - np.int64(1 << (bits - 1))
    normal = np.empty_like(opened)
    carry = np.zeros(len(opened), dtype=np.uint64)
    word, width = np.uint64((1 << width_bits) - 1), np.uint64(width_bits)
    for j in range(limbs):
        total = opened[:, j] + carry
        normal[:, j] = total & word
        carry = total >> width
    return _join(normal, width_bits, bits)


def _join(normal: Words, width_bits: int, bits: int) -> IntegerArray:
    """Join normalised limbs into centred integers; int64 where every value of the array fits."""
    high = normal[:, -1]
    sign = (high >> np.uint64(width_bits - 1)).astype(bool)
    low_bits = min(62, bits - 1)
    value = np.zeros(len(normal), dtype=np.uint64)
    narrow = np.ones(len(normal), dtype=bool)
    word = np.uint64((1 << width_bits) - 1)
    for j in range(normal.shape[1]):
        limb = normal[:, j]
        fill = np.where(sign, word, np.uint64(0))
        shift = j * width_bits
        if shift < low_bits:
            keep = min(width_bits, low_bits - shift)
            value |= (limb & np.uint64((1 << keep) - 1)) << np.uint64(shift)
            narrow &= (limb >> np.uint64(keep)) == (fill >> np.uint64(keep))
        else:
            narrow &= limb == fill
    if bool(narrow.all()):
        signed = value.view(np.int64)
        return np.where(sign, signed - np.int64(1 << low_bits), signed)
    wide = np.empty(len(normal), dtype=object)
    modulus, half = 1 << bits, 1 << (bits - 1)
    columns = [normal[:, j].tolist() for j in range(normal.shape[1])]
    for i, parts in enumerate(zip(*columns, strict=True)):
        total = sum(part << (j * width_bits) for j, part in enumerate(parts))
        wide[i] = total - modulus if total >= half else total
    return wide


class LimbWriter:
    """Collects payload slots in stream order and releases full rows of one ciphertext's payload."""

    def __init__(self, row_slots: int) -> None:
        self._row = row_slots
        self._parts: list[Words] = []
        self._held = 0

    def push(self, slots: Words) -> None:
        """Append slots, shape `(n,)`."""
        if slots.size:
            self._parts.append(slots)
            self._held += slots.size

    @property
    def held(self) -> int:
        """Slots not yet released."""
        return self._held

    def rows(self, most: int) -> Words:
        """Release up to `most` full rows, shape `(rows, row_slots)`."""
        count = min(most, self._held // self._row)
        flat = np.concatenate(self._parts) if self._parts else np.empty(0, dtype=np.uint64)
        cut = count * self._row
        self._parts = [flat[cut:]] if flat.size > cut else []
        self._held = flat.size - cut
        return flat[:cut].reshape(count, self._row)


class LimbReader:
    """Takes opened payload slots in stream order and fills the totals of the segments."""

    def __init__(self, segments: tuple[SegmentLayout, ...], width_bits: int) -> None:
        self._segments = segments
        self._width = width_bits
        self._opened: dict[str, list[IntegerArray]] = {s.name: [] for s in segments}
        self._rest: Words = np.empty(0, dtype=np.uint64)
        self._current = 0
        self._done = 0

    def push(self, slots: Words) -> None:
        """Take the next opened payload slots, shape `(n,)`; slots after the last segment are padding."""
        self._rest = np.concatenate([self._rest, slots]) if self._rest.size else slots
        while self._current < len(self._segments):
            segment = self._segments[self._current]
            count = min(segment.length - self._done, self._rest.size // segment.limbs)
            if count:
                cut = count * segment.limbs
                self._opened[segment.name].append(
                    from_limbs(self._rest[:cut].reshape(count, segment.limbs), self._width)
                )
                self._rest = self._rest[cut:]
                self._done += count
            if self._done < segment.length:
                return
            self._current, self._done = self._current + 1, 0
        self._rest = np.empty(0, dtype=np.uint64)

    def totals(self) -> dict[str, IntegerArray]:
        """The totals by segment, shape `(length,)` each."""
        return {name: _concatenate(parts) for name, parts in self._opened.items()}


def _concatenate(parts: list[IntegerArray]) -> IntegerArray:
    """Join stretches; Python integers if any stretch needs them."""
    if not parts:
        return np.empty(0, dtype=np.int64)
    if any(p.dtype == object for p in parts):
        wide: NDArray[np.object_] = np.concatenate([p.astype(object) for p in parts])
        return wide
    narrow: NDArray[np.int64] = np.concatenate(parts)
    return narrow
