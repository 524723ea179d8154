"""Group keys: their finite domains, and the canonical bytes of a tuple of key values.

A raw key value is an integer (numbers at the key's scale, truth values as 0 and 1, days, microseconds), a string, or
None for the group of NULL.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from mpc.errors import PlanError, RangeError, WireError
from mpc.plan.dates import DAY_US, UNITS, add_interval, date_of, timestamp_of
from mpc.plan.ir import Call, Column, Kind, Literal, Op, Scalar, Type, columns_of

__all__ = [
    "MAX_ENUMERATED",
    "GroupKey",
    "GroupKeyCodec",
    "KeyTuple",
    "RawKey",
    "domain_of",
    "enumerated",
    "shown",
]

RawKey: TypeAlias = int | str | None
KeyTuple: TypeAlias = tuple[RawKey, ...]

MAX_ENUMERATED = 1 << 16
_MAX_INTERVAL = 1 << 12


@dataclass(frozen=True, slots=True)
class GroupKey:
    """One expression of GROUP BY."""

    name: str
    """How errors and EXPLAIN call it: the columns it reads."""

    value: Scalar
    domain: tuple[RawKey, ...] | None = field(metadata={"meaning": False})
    """Every raw value it may have, NULL last; None if that is not known. It follows from `value` alone."""

    @property
    def type(self) -> Type:
        """The key's type."""
        return self.value.type

    @property
    def text(self) -> bool:
        """Whether raw values are strings."""
        return self.type.kind is Kind.VARCHAR

    @property
    def word_bytes(self) -> int:
        """Bytes of an encoded integer value."""
        low, high = self.type.low, self.type.high
        wide = low is not None and high is not None and max(abs(low), abs(high)) >= 1 << 63
        return 17 if wide else 8


def shown(value: RawKey, kind: Type) -> object:
    """A raw key value as the Python value that a result row holds."""
    if value is None or isinstance(value, str):
        return value
    match kind.kind:
        case Kind.BOOLEAN:
            return bool(value)
        case Kind.DATE:
            return date_of(value)
        case Kind.TIMESTAMP:
            return timestamp_of(value)
        case Kind.DECIMAL:
            return Decimal(value).scaleb(-kind.scale)
        case Kind.DOUBLE:
            return value / 10**kind.scale
        case _:
            return value


def domain_of(value: Scalar) -> tuple[RawKey, ...] | None:
    """Every raw value of a key expression, when declarations tell; without NULL.

    From a declared domain, a truth value, a part of a date, a date truncated between declared days, literal branches of
    a CASE, or an interval of integers that is small, or has no other way of being known.
    """
    if isinstance(value, Column) and value.domain is not None:
        return tuple(int(v) if isinstance(v, bool) else v for v in value.domain)
    if value.type.kind is Kind.BOOLEAN:
        return (0, 1)
    if isinstance(value, Call):
        if value.op is Op.DATE_TRUNC:
            return _truncated(value)
        if value.op in {Op.CASE, Op.COALESCE}:
            return _branches(value)
        if value.op is Op.CAST and value.type.kind.temporal and (found := _recast(value)) is not None:
            return found
    low, high = value.type.low, value.type.high
    discoverable = all(c.discoverable for c in columns_of(value))
    if value.type.kind is Kind.VARCHAR or low is None or high is None:
        return None
    if high - low >= (_MAX_INTERVAL if discoverable else MAX_ENUMERATED):
        return None
    return tuple(range(low, high + 1)) if value.type.kind is not Kind.TIMESTAMP else None


def _truncated(value: Call) -> tuple[RawKey, ...] | None:
    unit, (low, high) = value.args[0], (value.type.low, value.type.high)
    if low is None or high is None or not isinstance(unit, Literal):
        return None
    found: list[int] = []
    at = low
    while at <= high:
        if len(found) == MAX_ENUMERATED:
            return None
        found.append(at)
        at = add_interval(at, UNITS[str(unit.value)])
    return tuple(found)


def _recast(value: Call) -> tuple[RawKey, ...] | None:
    """The domain of a date read as a timestamp or the other way round, where that of its argument is known."""
    inner, days = value.args[0], value.type.kind is Kind.DATE
    if not inner.type.kind.temporal or (known := domain_of(inner)) is None:
        return None
    whole = (at for at in known if isinstance(at, int))
    return tuple(dict.fromkeys(at // DAY_US if days else at * DAY_US for at in whole))


def _branches(value: Call) -> tuple[RawKey, ...] | None:
    parts = value.args if value.op is Op.COALESCE else (*value.args[1:-1:2], value.args[-1])
    found: dict[RawKey, None] = {}
    for part in parts:
        if isinstance(part, Literal):
            if part.value is not None and not isinstance(part.value, tuple):
                by = value.type.scale - part.type.scale
                found[int(part.value) * 10**by if isinstance(part.value, int) else part.value] = None
            continue
        inner = domain_of(part)
        if inner is None:
            return None
        by = value.type.scale - part.type.scale
        found.update({(v * 10**by if isinstance(v, int) else v): None for v in inner})
    return tuple(found)


def enumerated(keys: Sequence[GroupKey]) -> list[KeyTuple] | None:
    """All tuples of key values in canonical order, or None where some domain is unknown or the product too large.

    >>> enumerated([])
    [()]
    """
    size = 1
    for key in keys:
        if key.domain is None:
            return None
        size *= len(key.domain)
    if size > MAX_ENUMERATED:
        return None
    return list(itertools.product(*(k.domain or () for k in keys)))


def require_discoverable(key: GroupKey) -> None:
    """Refuse a key whose values neither the dictionary nor a discovery round may tell.

    Raises:
        PlanError: Names the column.
    """
    for column in columns_of(key.value):
        if column.domain is None and not column.discoverable and column.type.kind is not Kind.BOOLEAN:
            raise PlanError(
                reason=f"{column.name} is neither discoverable nor has it a declared domain",
                instead="a key with a declared domain or range, or a bucket such as DATE_TRUNC or FLOOR",
            )


class GroupKeyCodec:
    """Canonical bytes of a tuple of raw key values, of fixed size, and back.

    Each value is one byte (0 for NULL, else 1) and its body: integers in big-endian two's complement offset so that
    order is kept, strings as a two-byte length and UTF-8 padded with zeros.

    Args:
        keys: The group keys in order.
    """

    def __init__(self, keys: Sequence[GroupKey]) -> None:
        self._keys = tuple(keys)
        self._sizes = tuple(2 + (k.type.max_bytes or 64) if k.text else k.word_bytes for k in keys)
        self.size = sum(1 + s for s in self._sizes)
        """Bytes of every encoded tuple."""

    def encode(self, values: Iterable[RawKey]) -> bytes:
        """The bytes of a tuple.

        Raises:
            RangeError: A text is longer than the dictionary allows; names the column.
        """
        parts: list[bytes] = []
        for key, size, value in zip(self._keys, self._sizes, values, strict=True):
            if value is None:
                parts.append(bytes(1 + size))
            elif isinstance(value, str):
                body = value.encode()
                if len(body) > size - 2:
                    raise RangeError("a group key is longer than max_bytes", column=key.name)
                parts.append(b"\x01" + len(body).to_bytes(2, "big") + body.ljust(size - 2, b"\x00"))
            else:
                parts.append(b"\x01" + (int(value) + (1 << (8 * size - 1))).to_bytes(size, "big"))
        return b"".join(parts)

    def decode(self, data: bytes) -> KeyTuple:
        """The tuple of some bytes, checked strictly.

        Raises:
            WireError: The bytes are not the canonical encoding of a tuple.
        """
        if len(data) != self.size:
            raise WireError("a group key has the wrong length")
        values: list[RawKey] = []
        at = 0
        for key, size in zip(self._keys, self._sizes, strict=True):
            values.append(_decoded(key, data[at], data[at + 1 : at + 1 + size]))
            at += 1 + size
        return tuple(values)


def _decoded(key: GroupKey, flag: int, body: bytes) -> RawKey:
    if flag == 0:
        if any(body):
            raise WireError("a NULL group key carries bytes")
        return None
    if flag != 1:
        raise WireError("a group key's flag is unknown")
    if not key.text:
        return int.from_bytes(body, "big") - (1 << (8 * len(body) - 1))
    length = int.from_bytes(body[:2], "big")
    if length > len(body) - 2 or any(body[2 + length :]):
        raise WireError("a group key's text is not in canonical form")
    try:
        return body[2 : 2 + length].decode()
    except UnicodeDecodeError:
        raise WireError("a group key's text is not UTF-8") from None
