"""Randomness: the operating system, and keyed streams seeded by it. Nothing else may feed a secret.

`Keystream` is AES-256 in counter mode (NIST SP 800-38A, section 6.5) under a 32-byte key used for this stream alone.
Its counter starts at zero, and any position can be read directly, so a stream of any length needs no memory.
"""

import hashlib
import hmac
import secrets
from typing import Final, Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from mpc.errors import ParameterError

__all__ = ["Entropy", "FixedEntropy", "Keystream", "SystemEntropy", "expand", "uniform_below"]

_BLOCK: Final = 16
_ZEROS: Final = memoryview(bytes(1 << 16))
_MAX_WORDS: Final = 1 << 60


class Entropy(Protocol):
    """A source of uniform bytes."""

    def token(self, size: int) -> bytes:
        """Return `size` uniform bytes."""
        ...


class SystemEntropy:
    """The operating system's generator: the only source for anything secret."""

    def token(self, size: int) -> bytes:
        """Return `size` bytes from the operating system."""
        return secrets.token_bytes(size)


class FixedEntropy:
    """A deterministic source for known-answer tests; never for real keys.

    >>> FixedEntropy(b"x").token(4) == FixedEntropy(b"x").token(4)
    True
    """

    def __init__(self, insecure_seed: bytes) -> None:
        self._state = hashlib.sha256(b"sealroom/v1/insecure-fixed-entropy" + insecure_seed).digest()
        self._stream = Keystream(self._state)
        self._offset = 0

    def token(self, size: int) -> bytes:
        """Return the next `size` bytes of the fixed stream."""
        words = -(-size // 8)
        out = self._stream.words(self._offset, words).tobytes()[:size]
        self._offset += words + (words & 1)
        return out


def expand(key: bytes, info: bytes, size: int = 32) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869, section 2.3).

    Raises:
        ParameterError: `key` is shorter than 32 bytes or `size` exceeds 255 x 32.
    """
    if len(key) < 32 or not 0 < size <= 255 * 32:
        raise ParameterError("HKDF-Expand takes a key of 32 bytes or more and gives at most 8160")
    out, block = b"", b""
    counter = 1
    while len(out) < size:
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha256).digest()
        out += block
        counter += 1
    return out[:size]


class Keystream:
    """A seekable stream of uniform 64-bit words under one key.

    Args:
        key: 32 bytes, used for this stream alone.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ParameterError("a keystream's key has 32 bytes")
        self._key = key

    def __repr__(self) -> str:
        return "Keystream(<secret>)"

    def __reduce__(self) -> tuple[object, ...]:
        raise ParameterError("a keystream is secret and is not pickled")

    def words(self, start: int, count: int) -> NDArray[np.uint64]:
        """Words `start` to `start + count` of the stream, little-endian, shape `(count,)`."""
        if start < 0 or count < 0 or start + count > _MAX_WORDS:
            raise ParameterError("a keystream position lies outside the stream")
        skip = start & 1
        buffer = np.empty((skip + count + 1) & ~1, dtype="<u8")
        self.fill(start - skip, buffer)
        return buffer[skip : skip + count]

    def fill(self, start: int, out: NDArray[np.uint64]) -> None:
        """Write words `start` to `start + out.size` into a C-contiguous array: `words` without new memory."""
        if start < 0 or start & 1 or out.size & 1 or start + out.size > _MAX_WORDS or not out.flags.c_contiguous:
            raise ParameterError("a keystream fills whole blocks of a contiguous array")
        cipher = Cipher(algorithms.AES(self._key), modes.CTR((start // 2).to_bytes(_BLOCK, "big"))).encryptor()
        target: memoryview = out.reshape(-1).view(np.uint8).data
        for position in range(0, len(target), len(_ZEROS)):
            piece = target[position : position + len(_ZEROS)]
            cipher.update_into(_ZEROS[: len(piece)], piece)

    def bits(self, start: int, count: int, width_bits: int) -> NDArray[np.uint64]:
        """`count` uniform integers of `width_bits` (1 to 64) from word `start` on: one word each, no rejection."""
        if not 1 <= width_bits <= 64:
            raise ParameterError("a word carries between 1 and 64 bits")
        words = self.words(start, count)
        words &= np.uint64((1 << width_bits) - 1)
        return words


def uniform_below(stream: Keystream, count: int, modulus: int) -> NDArray[np.uint64]:
    """`count` residues, exactly uniform in `[0, modulus)`, by rejection from the stream's first words.

    The words read are a function of the stream alone, so two holders of one key derive the same residues.

    Raises:
        ParameterError: The modulus is not in `[1, 2**64]`.
    """
    if not 1 <= modulus <= 1 << 64:
        raise ParameterError("a residue modulus lies in [1, 2**64]")
    limit = (1 << 64) // modulus * modulus
    parts: list[NDArray[np.uint64]] = []
    have, position = 0, 0
    while have < count:
        draw = (count - have) + max(16, (count - have) // 8)
        words = stream.words(position, draw)
        position += draw
        if limit < 1 << 64:
            words = words[words < np.uint64(limit)]
        parts.append(words % np.uint64(modulus) if modulus < 1 << 64 else words)
        have += words.size
    return np.concatenate(parts)[:count] if parts else np.empty(0, dtype=np.uint64)
