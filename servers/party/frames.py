"""Frames between a node and its worker: a four-byte length and MessagePack, over the worker's stdin and stdout."""

import struct
from enum import StrEnum
from typing import Any, BinaryIO, Final

import msgspec

__all__ = ["MAX_FRAME_BYTES", "Command", "Operation", "Reply", "ReplyKind", "pack", "read_frame", "write_frame"]

LENGTH: Final = struct.Struct("<I")
MAX_FRAME_BYTES: Final = 1 << 31


class Operation(StrEnum):
    """What a node asks of its worker."""

    OPEN = "open"
    ADVANCE = "advance"
    GROUP_KEY = "group-key"
    CONTRIBUTE = "contribute"
    TAKE = "take"
    COMPLETE = "complete"
    CLOSE = "close"
    WARM = "warm"
    TABLE = "table"
    KEEP = "keep"
    SCORE = "score"


class Command(msgspec.Struct, frozen=True, array_like=True):
    """One request."""

    operation: Operation
    payload: msgspec.Raw = msgspec.Raw(b"\xc0")


class ReplyKind(StrEnum):
    """What a worker answers; a stream is `PART`s and one `DONE`."""

    DONE = "done"
    PART = "part"
    FAILED = "failed"


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """One answer."""

    kind: ReplyKind
    payload: msgspec.Raw = msgspec.Raw(b"\xc0")


def pack(value: Any) -> bytes:
    """A frame's bytes."""
    body = msgspec.msgpack.encode(value)
    return LENGTH.pack(len(body)) + body


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame's body; None at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    body = stream.read(size)
    return body if len(body) == size else None


def write_frame(stream: BinaryIO, value: Any) -> None:
    """Send a value as one frame."""
    stream.write(pack(value))
    stream.flush()
