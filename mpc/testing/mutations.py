"""Hostile versions of a well-formed message, for tests of parsers."""

import random
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["header_flips", "mutate", "wrong_lengths"]

_EDGES: Final = (0, 1, 2, 3, 255, 4095, 4096, 4097, 8192, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, (1 << 64) - 1)


def wrong_lengths(message: bytes) -> Iterator[bytes]:
    """Truncations and extensions: every one has another length."""
    for length in (0, 1, 7, 8, len(message) // 2, len(message) - 8, len(message) - 1):
        if 0 <= length < len(message):
            yield message[:length]
    for tail in (b"\x00", bytes(8), message[-8:], message):
        yield message + tail


def header_flips(message: bytes, *, header_bytes: int) -> Iterator[bytes]:
    """Every version of a message with one bit of its first bytes changed."""
    for bit in range(8 * header_bytes):
        changed = bytearray(message)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def mutate(message: bytes, source: random.Random) -> bytes:
    """One to eight changes of a message, half of them near its beginning. The source is seeded by the test."""
    data = bytearray(message)
    for _ in range(source.choice((1, 1, 1, 2, 4, 8))):
        if not data:
            break
        near = source.random() < 0.5
        at = source.randrange(min(len(data), 64) if near else len(data))
        source.choice(_CHANGES)(data, at, source)
    return bytes(data)


def _flip(data: bytearray, at: int, source: random.Random) -> None:
    data[at] ^= 1 << source.randrange(8)


def _replace(data: bytearray, at: int, source: random.Random) -> None:
    data[at] = source.randrange(256)


def _edge_word(data: bytearray, at: int, source: random.Random) -> None:
    word = source.choice(_EDGES).to_bytes(8, "little")
    data[at : at + 8] = word[: len(data) - at]


def _fill(data: bytearray, at: int, source: random.Random) -> None:
    length = min(source.choice((8, 64, 1024)), len(data) - at)
    data[at : at + length] = bytes([source.choice((0, 255))]) * length


def _copy(data: bytearray, at: int, source: random.Random) -> None:
    start, length = source.randrange(len(data)), source.choice((1, 8, 64))
    piece = data[start : start + length]
    data[at : at + len(piece)] = piece


def _remove(data: bytearray, at: int, source: random.Random) -> None:
    del data[at : at + source.choice((1, 2, 8, 64, 1024))]


def _insert(data: bytearray, at: int, source: random.Random) -> None:
    data[at:at] = source.randbytes(source.choice((1, 2, 8, 64)))


def _truncate(data: bytearray, at: int, _source: random.Random) -> None:
    del data[at:]


_CHANGES: Final[tuple[Callable[[bytearray, int, random.Random], None], ...]] = (
    _flip,
    _flip,
    _replace,
    _edge_word,
    _edge_word,
    _fill,
    _copy,
    _remove,
    _insert,
    _truncate,
)
