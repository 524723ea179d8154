"""The typed intermediate representation: frozen nodes, exact types, canonical bytes.

Every number is an integer times a power of ten. A `Type` carries the scale and, at row level, the interval in which the
integer lies; bounds of sums follow from it. Nothing of the SQL parser survives in these nodes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import TypeAlias

from mpc.errors import InternalError

__all__ = [
    "AggregateRef",
    "Call",
    "Column",
    "KeyRef",
    "Kind",
    "Literal",
    "Op",
    "Scalar",
    "Type",
    "canonical_bytes",
    "columns_of",
    "walk",
]


class Kind(StrEnum):
    """Families of values."""

    NULL = "NULL"
    BOOLEAN = "BOOLEAN"
    INTEGER = "INTEGER"
    DECIMAL = "DECIMAL"
    DOUBLE = "DOUBLE"
    """Exact inside (an integer at a scale), shown as a float."""

    VARCHAR = "VARCHAR"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"
    INTERVAL = "INTERVAL"
    HISTOGRAM = "HISTOGRAM"
    """Counts by bucket; only ever the value of an output."""

    @property
    def numeric(self) -> bool:
        """Whether arithmetic is defined on it."""
        return self in {Kind.INTEGER, Kind.DECIMAL, Kind.DOUBLE}

    @property
    def temporal(self) -> bool:
        """Whether it is a day or an instant."""
        return self in {Kind.DATE, Kind.TIMESTAMP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """What is known of a value before any data is seen."""

    kind: Kind
    scale: int = 0
    """Numbers: the value is an integer times `10 ** -scale`."""

    low: int | None = None
    """Least integer (numbers: at `scale`; DATE: days, TIMESTAMP: microseconds since 1970)."""

    high: int | None = None
    """Largest integer, inclusive."""

    nullable: bool = True
    max_bytes: int | None = None
    """VARCHAR: longest UTF-8 text."""

    @property
    def magnitude(self) -> int:
        """Largest absolute integer; only for types with an interval."""
        if self.low is None or self.high is None:
            raise InternalError("a number without an interval reached the row level")
        return max(abs(self.low), abs(self.high))


class Op(StrEnum):
    """Everything a statement of ours may compute."""

    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    """Inexact; only over opened totals."""

    FLOOR_DIVIDE = "floor-divide"
    CEILING_DIVIDE = "ceiling-divide"
    TRUNCATE_DIVIDE = "truncate-divide"
    MODULO = "modulo"
    NEGATE = "negate"
    ABSOLUTE = "absolute"
    SIGN = "sign"
    FLOOR = "floor"
    CEILING = "ceiling"
    ROUND = "round"
    ROUND_EVEN = "round-even"
    """Half to even: what a CAST of DOUBLE to an integer does."""

    TRUNCATE = "truncate"
    CAST = "cast"
    CHECK = "check"
    """The value, or an error naming the columns when it leaves the type's interval."""

    EQUAL = "equal"
    NOT_EQUAL = "not-equal"
    LESS = "less"
    LESS_EQUAL = "less-equal"
    GREATER = "greater"
    GREATER_EQUAL = "greater-equal"
    NOT_DISTINCT = "not-distinct"
    AND = "and"
    OR = "or"
    NOT = "not"
    IS_NULL = "is-null"
    IN = "in"
    LIKE = "like"
    ILIKE = "ilike"
    CASE = "case"
    """Arguments: condition, value, condition, value, ..., otherwise."""

    COALESCE = "coalesce"
    NULLIF = "nullif"
    GREATEST = "greatest"
    LEAST = "least"
    LOWER = "lower"
    UPPER = "upper"
    TRIM = "trim"
    LTRIM = "ltrim"
    RTRIM = "rtrim"
    SUBSTRING = "substring"
    LENGTH = "length"
    CONCAT = "concat"
    STARTS_WITH = "starts-with"
    ENDS_WITH = "ends-with"
    CONTAINS = "contains"
    DATE_TRUNC = "date-trunc"
    DATE_PART = "date-part"
    DATE_DIFF = "date-diff"
    DATE_ADD = "date-add"
    """A date or a timestamp plus an interval literal."""

    SQRT = "sqrt"
    LN = "ln"
    LOG10 = "log10"
    EXP = "exp"
    POWER = "power"


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: numbers as the scaled integer, dates as days, timestamps as microseconds, intervals as a triple."""

    value: int | str | bool | tuple[int, int, int] | None
    type: Type


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the relation that a statement reads."""

    name: str
    type: Type
    declared: str
    """The dictionary's type; empty for a column of a subquery, which already is in our integer form."""

    checked: bool = False
    """Whether its interval is narrower than its type, so that reading it in arithmetic needs a check."""

    local: bool = False
    """Whether no value of it occurs at two parties."""

    mass: int | None = None
    """A bound on the sum of absolute values over a party's rows, where one better than rows x magnitude is known."""

    discoverable: bool = False
    capacity: int = 0
    domain: tuple[int | str | bool, ...] | None = None
    """Its declared values, in our integer form."""


@dataclass(frozen=True, slots=True)
class Call:
    """An operation."""

    op: Op
    args: tuple["Scalar", ...]
    type: Type


@dataclass(frozen=True, slots=True)
class KeyRef:
    """The value of a group key, in an expression over opened totals."""

    index: int
    type: Type


@dataclass(frozen=True, slots=True)
class AggregateRef:
    """The value of an aggregate, in an expression over opened totals."""

    index: int
    type: Type


Scalar: TypeAlias = Literal | Column | Call | KeyRef | AggregateRef


def walk(node: Scalar) -> Iterator[Scalar]:
    """The node and everything below it, first the node."""
    yield node
    if isinstance(node, Call):
        for argument in node.args:
            yield from walk(argument)


def columns_of(*nodes: Scalar | None) -> tuple[Column, ...]:
    """The distinct columns that the nodes read, in the order of first use."""
    found: dict[Column, None] = {}
    for node in nodes:
        if node is not None:
            found.update({n: None for n in walk(node) if isinstance(n, Column)})
    return tuple(found)


def canonical_bytes(value: object) -> bytes:
    """An injective encoding of IR values: every party that compiled the same meaning has the same bytes.

    >>> canonical_bytes((1, "a", None, True))
    b'[i1;s1:anT]'
    """
    if value is None:
        return b"n"
    if isinstance(value, bool):
        return b"T" if value else b"F"
    if isinstance(value, int):
        return b"i%d;" % value
    if isinstance(value, str):
        text = str(value).encode()
        return b"s%d:" % len(text) + text
    if isinstance(value, bytes):
        return b"b%d:" % len(value) + value
    if isinstance(value, tuple):
        return b"[" + b"".join(canonical_bytes(v) for v in value) + b"]"
    if is_dataclass(value) and not isinstance(value, type):
        parts = (canonical_bytes(getattr(value, f.name)) for f in fields(value) if f.metadata.get("meaning", True))
        return b"(" + canonical_bytes(type(value).__name__) + b"".join(parts) + b")"
    raise InternalError(f"{type(value).__name__} has no canonical form")
