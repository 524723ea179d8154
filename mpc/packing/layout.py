"""The layout of one sum's vector.

A value `x` with `|x| <= bound` is a residue modulo `M = 2**(width * limbs)`, where `width = floor(log2(t / k))` for
plaintext modulus t and k participants, and `M > 2 k (bound + noise)`. The whole residue is masked modulo M and *then*
cut into limbs of `width` bits, one per slot: a sum of k limbs is below t, so slots never wrap, and the opened limb
sums are a function of the masked residues alone, whose joint distribution depends on the total only. (Masking limbs
one by one would leave the opened limb sums independent of each other: they tell more than the total.)

Every ciphertext begins with two check slots: slot 0 counts the contributors, slot 1 is reserved for the linear check
against additive tampering and carries a masked zero. The remaining slots carry the limbs of all segments, one after the
other; the tail of the last ciphertext carries masked zeros.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from mpc.errors import ParameterError, RangeError
from mpc.packing.segments import MAX_BOUND_BITS, Segment
from mpc.params.base import ParameterSet

__all__ = ["CHECK_SLOTS", "SegmentLayout", "VectorLayout"]

CHECK_SLOTS: Final = 2
_MAX_WIDTH: Final = 62
_MAX_MODULUS_BITS: Final = 190


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLayout:
    """One segment's place in the stream of payload slots."""

    name: str
    length: int
    bound: int
    limbs: int
    first_slot: int
    """Index of its first payload slot."""

    @property
    def slots(self) -> int:
        """Payload slots that it takes."""
        return self.length * self.limbs


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorLayout:
    """Where every value of a sum sits, for one parameter set and one number of participants."""

    parameters: ParameterSet
    participants: int
    width_bits: int
    segments: tuple[SegmentLayout, ...]

    @classmethod
    def compile(
        cls, segments: Sequence[Segment], parameters: ParameterSet, participants: int, *, noise_bound: int = 0
    ) -> Self:
        """Place the segments of a sum.

        Args:
            segments: The segments that all parties agreed on, in order; at least one.
            parameters: The set chosen for it.
            participants: Number of parties k.
            noise_bound: Largest absolute value of privacy noise that one party may add to a value.

        Raises:
            ParameterError: The set carries too few bits or additions for k parties, or a segment cannot be.
            RangeError: A total may need more than 126 bits and a sign.
        """
        if not 1 <= participants <= parameters.max_additions:
            raise ParameterError(f"{parameters.id} does not carry the sum of {participants} contributions")
        if not segments or noise_bound < 0 or any(s.length < 0 or s.bound < 0 for s in segments):
            raise ParameterError("a layout has segments, and no negative length or bound")
        width = min(_MAX_WIDTH, (parameters.plain_modulus // participants).bit_length() - 1)
        if width < 8 or parameters.slots <= CHECK_SLOTS:
            raise ParameterError(f"{parameters.id} leaves {width} bits a slot for {participants} participants")
        placed, position = [], 0
        for segment in segments:
            largest = participants * (segment.bound + noise_bound)
            if segment.bound.bit_length() > MAX_BOUND_BITS + 1:
                raise RangeError("", segment=segment.name, bits=segment.bound.bit_length())
            bits = (2 * largest).bit_length() or 1
            limbs = -(-bits // width)
            if limbs * width > _MAX_MODULUS_BITS + width:
                raise RangeError("", segment=segment.name, bits=bits)
            placed.append(
                SegmentLayout(
                    name=segment.name, length=segment.length, bound=segment.bound, limbs=limbs, first_slot=position
                )
            )
            position += segment.length * limbs
        return cls(parameters=parameters, participants=participants, width_bits=width, segments=tuple(placed))

    @property
    def payload_slots(self) -> int:
        """Payload slots in use."""
        last = self.segments[-1]
        return last.first_slot + last.slots

    @property
    def slots_per_ciphertext(self) -> int:
        """Payload slots of one ciphertext."""
        return self.parameters.slots - CHECK_SLOTS

    @property
    def ciphertexts(self) -> int:
        """Ciphertexts of the vector; at least one, so that an empty vector is still counted."""
        return max(1, -(-self.payload_slots // self.slots_per_ciphertext))

    def upload_bytes(self, *, symmetric: bool = False) -> int:
        """Ciphertext bytes that one party sends."""
        one = self.parameters.symmetric_ciphertext_bytes if symmetric else self.parameters.ciphertext_bytes
        return self.ciphertexts * one
