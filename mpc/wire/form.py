"""The strict form of a protobuf message, checked on its bytes before anything is made of them.

Protobuf's own parser is lenient: it keeps unknown fields, lets the last of several values win, merges repeated
messages, cuts numbers to their type, and spends seventy times their size on a list of empty messages. Here every field
must be known and of its declared form, singular fields come once and not with their default, numbers are shortest and
in range, and the number of fields is bounded. Encoding: protobuf.dev, "Encoding".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mpc.errors import WireError

__all__ = ["EIGHT_BYTES", "LENGTH", "MAX_FIELDS", "VARINT", "Field", "check_form"]

MAX_FIELDS: Final = 1 << 16
"""Most fields of one message, those of its nested messages and the elements of its lists included."""

VARINT: Final = 0
EIGHT_BYTES: Final = 1
LENGTH: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What the bytes of a field must look like."""

    wire_type: int
    repeated: bool
    largest: int = 0
    """Largest value of a number."""

    nested: Mapping[int, "Field"] | None = None
    """The fields of a message by number; None for everything else."""


def check_form(data: bytes, fields: Mapping[int, Field]) -> None:
    """Refuse bytes that are not the one strict form of a message with these fields.

    Raises:
        WireError: They are not.
    """
    try:
        _walk(data, fields, 0, len(data), MAX_FIELDS)
    except IndexError:
        raise WireError("a message ends within a number") from None


def _walk(data: bytes, fields: Mapping[int, Field], at: int, end: int, left: int) -> int:
    """Check `data[at:end]`; how many of `left` fields remain."""
    seen: set[int] = set()
    while at < end:
        tag, at = _varint(data, at)
        number, field = tag >> 3, fields.get(tag >> 3)
        if field is None or tag & 7 != field.wire_type:
            raise WireError("a field is unknown or of another form")
        if number in seen and not field.repeated:
            raise WireError("a field is given twice")
        seen.add(number)
        left -= 1
        if left < 0:
            raise WireError("a message has too many fields")
        size = 8
        if field.wire_type != EIGHT_BYTES:
            value, at = _varint(data, at)
            size = value if field.wire_type == LENGTH else 0
        if at + size > end:
            raise WireError("a message ends within a field")
        if field.wire_type == EIGHT_BYTES:
            value = _finite(data[at : at + 8])
        if field.nested is not None:
            left = _walk(data, field.nested, at, at + size, left)
        elif field.wire_type == VARINT and value > field.largest:
            raise WireError("a number is out of range")
        elif not value and not field.repeated:
            raise WireError("a default value is spelt out")
        at += size
    return left


def _finite(data: bytes) -> int:
    """The bits of a finite double without its sign (IEEE 754), so that both zeros are zero."""
    value = int.from_bytes(data, "little") & ((1 << 63) - 1)
    if value >= 0x7FF << 52:
        raise WireError("a number is not finite")
    return value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in its shortest form, and the position behind it."""
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte:
                break
            return value, at
    raise WireError("a number is not in its shortest form")
