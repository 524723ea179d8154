"""Pairwise masks: uniform, and zero in the sum.

Between every two participants stands one stream of uniform `width`-bit words, keyed by their X25519 secret and the
transcript (Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017, section
4, without dropout recovery). The lower name adds the stream, the other subtracts it. Every slot of every ciphertext
has its own word: payload slot j reads word j of the "values" stream, the two check slots of ciphertext c read words
2c and 2c + 1 of the "checks" stream, so no word is used twice within a transcript.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mpc.entropy import Keystream, expand
from mpc.errors import ParameterError
from mpc.packing.layout import CHECK_SLOTS
from mpc.packing.limbs import carry_limbs
from mpc.parties import PartyId

__all__ = ["Masks", "PairwiseMasks", "pair_info"]

Words = NDArray[np.uint64]

_PAIR_LABEL: Final = b"sealroom/v1/pair-mask"


def pair_info(one: PartyId, other: PartyId) -> bytes:
    """The HKDF info of a pair: a label and the length-prefixed sorted names."""
    parts = [_PAIR_LABEL]
    for name in sorted((one, other)):
        encoded = name.encode()
        parts += [len(encoded).to_bytes(4, "little"), encoded]
    return b"".join(parts)


class Masks(Protocol):
    """What a contributor adds to its values and check slots."""

    def mask_values(self, limbs: Words, first_slot: int, width_bits: int) -> Words:
        """Mask values given as limbs `(n, limbs)`, the first of which sits in payload slot `first_slot`."""
        ...

    def mask_checks(self, checks: Words, first_ciphertext: int, width_bits: int) -> Words:
        """Mask check slots `(ciphertexts, CHECK_SLOTS)`."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class PairwiseMasks:
    """The masks of one party in one round."""

    streams: tuple[tuple[Keystream, Keystream, bool], ...]
    """Per peer: the values stream, the checks stream, and whether this party subtracts."""

    @classmethod
    def derive(
        cls, me: PartyId, pair_keys: Mapping[PartyId, bytes], *, stream: Callable[[bytes], Keystream] = Keystream
    ) -> Self:
        """Build the streams from the pair keys of one transcript (see `mpc.keys.secret.MaskKey.pair_key`).

        Args:
            me: This party.
            pair_keys: Peer to the key shared with it.
            stream: Makes a key's stream; all makers give the same words, at different speeds.

        Raises:
            ParameterError: There is no peer, or this party is among its own peers. A party alone has no mask, so its
                sum would be its data.
        """
        if not pair_keys or me in pair_keys:
            raise ParameterError("masks need at least one peer")
        streams = []
        for peer in sorted(pair_keys):
            values = stream(expand(pair_keys[peer], b"sealroom/v1/mask/values"))
            checks = stream(expand(pair_keys[peer], b"sealroom/v1/mask/checks"))
            streams.append((values, checks, me > peer))
        return cls(tuple(streams))

    def __repr__(self) -> str:
        return f"PairwiseMasks(<secret>, peers={len(self.streams)})"

    def mask_values(self, limbs: Words, first_slot: int, width_bits: int) -> Words:
        """Mask values modulo `2**(width_bits * limbs)` as wholes, with carries between limbs."""
        count, per_value = limbs.shape
        if per_value == 1:
            return self._mask_single(limbs, [v for v, _, _ in self.streams], first_slot, width_bits)
        total, word = limbs.reshape(-1).copy(), np.uint64((1 << width_bits) - 1)
        most = max(1, (1 << (63 - width_bits)) - 1)
        borrowed = 0
        for number, (values, _, subtract) in enumerate(self.streams, 1):
            mask = values.bits(first_slot, total.size, width_bits)
            if subtract:  # less m is, modulo 2^(width limbs), the complement of all its limbs and one
                mask ^= word
                borrowed += 1
            total += mask
            if number % most == 0 or number == len(self.streams):
                carry_limbs(total.reshape(count, per_value), width_bits, borrowed)
                borrowed = 0
        return total.reshape(count, per_value)

    def mask_checks(self, checks: Words, first_ciphertext: int, width_bits: int) -> Words:
        """Mask check slots, each modulo `2**width_bits`."""
        start = first_ciphertext * CHECK_SLOTS
        return self._mask_single(checks, [c for _, c, _ in self.streams], start, width_bits)

    def _mask_single(self, words: Words, streams: list[Keystream], start: int, width_bits: int) -> Words:
        """Single words: 2^width divides 2^64, so all peers are added before one reduction."""
        total = words.reshape(-1).copy()
        for stream, (_, _, subtract) in zip(streams, self.streams, strict=True):
            mask = stream.words(start, total.size)
            if subtract:
                total -= mask
            else:
                total += mask
        total &= np.uint64((1 << width_bits) - 1)
        return total.reshape(words.shape)
