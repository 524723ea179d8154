"""CAST, and the implicit reading of literals beside typed values."""

from dataclasses import replace
from typing import Any

from mpc.errors import ConfigurationError, PlanError
from mpc.keys.dictionary import ColumnKind, ColumnType, parse_column_type
from mpc.plan.algebra import MAX_MAGNITUDE, numeric_cast
from mpc.plan.dates import DAY_US, parse_date, parse_timestamp
from mpc.plan.ir import Call, Column, Kind, Literal, Op, Scalar, Type
from mpc.plan.scalars import Binder

__all__ = ["bind_cast", "cast", "coerced", "integer_range"]

_SYNONYMS = {
    "INT": "INTEGER",
    "INT4": "INTEGER",
    "INT8": "BIGINT",
    "LONG": "BIGINT",
    "INT2": "SMALLINT",
    "INT1": "TINYINT",
    "TEXT": "VARCHAR",
    "STRING": "VARCHAR",
    "TIMESTAMPNTZ": "TIMESTAMP",
    "DATETIME": "TIMESTAMP",
    "BOOL": "BOOLEAN",
    "FLOAT8": "DOUBLE",
    "DECIMAL": "DECIMAL(18,3)",
    "INT128": "HUGEINT",
}

_BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 127}


def integer_range(name: str) -> tuple[int, int]:
    """The interval of an integer type."""
    bits = _BITS[name]
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def coerced(left: Scalar, right: Scalar) -> tuple[Scalar, Scalar]:
    """Both sides of a comparison in one family.

    Raises:
        PlanError: They cannot be compared.
    """
    for kind in (Kind.TIMESTAMP, Kind.DATE):
        if left.type.kind is kind and _is_text(right):
            return coerced(left, cast(right, kind))
        if right.type.kind is kind and _is_text(left):
            return coerced(cast(left, kind), right)
    kinds = {left.type.kind, right.type.kind}
    if kinds == {Kind.DATE, Kind.TIMESTAMP}:
        return cast(left, Kind.TIMESTAMP), cast(right, Kind.TIMESTAMP)
    if Kind.NULL in kinds or len(kinds) == 1 or all(k.numeric for k in kinds):
        return left, right
    names = f"{left.type.kind} with {right.type.kind}"
    raise PlanError(reason=f"comparing {names}", instead="values of one type, with CAST")


def _is_text(value: Scalar) -> bool:
    return isinstance(value, Literal) and value.type.kind is Kind.VARCHAR


def bind_cast(binder: Binder, node: Any) -> Scalar:
    """CAST(x AS type), x::type and typed literals such as DATE '2010-01-01'."""
    target = node.args["to"]
    text = target.sql(dialect="duckdb").upper()
    name = _SYNONYMS.get(text, text)
    value = binder.bind(node.this)
    if name == "HUGEINT":
        low, high = integer_range(name)
        return numeric_cast(value, Kind.INTEGER, 0, low, high)
    try:
        parsed = parse_column_type(name)
    except ConfigurationError:
        instead = "INTEGER, BIGINT, DECIMAL(p, s), DOUBLE, VARCHAR, DATE, TIMESTAMP or BOOLEAN"
        raise PlanError(reason=f"CAST to {text[:30]}", instead=instead) from None
    return _cast_to(value, parsed, opened=binder.opened)


def _cast_to(value: Scalar, target: ColumnType, *, opened: bool) -> Scalar:
    if target.kind is ColumnKind.INTEGER:
        low, high = integer_range(target.name)
        return numeric_cast(value, Kind.INTEGER, 0, low, high)
    if target.kind is ColumnKind.DECIMAL:
        most = min(10**target.precision - 1, MAX_MAGNITUDE)
        return numeric_cast(_read_at(value, target.scale), Kind.DECIMAL, target.scale, -most, most)
    if target.kind is ColumnKind.DOUBLE:
        if not value.type.kind.numeric:
            raise PlanError(reason=f"CAST of {value.type.kind} to DOUBLE", instead="a numeric column")
        if opened and value.type.kind is Kind.DOUBLE:
            return value
        return Call(Op.CAST, (value,), replace(value.type, kind=Kind.DOUBLE))
    return cast(value, Kind(target.kind.value))


def _read_at(value: Scalar, scale: int) -> Scalar:
    """A DOUBLE column under a CAST is quantised once, at the coarser of both scales."""
    if not isinstance(value, Column) or value.type.kind is not Kind.DOUBLE or value.type.scale <= scale:
        return value
    if not value.declared:
        return value
    by = 10 ** (value.type.scale - scale)
    low, high = value.type.low, value.type.high
    if low is None or high is None or low % by or high % by:
        return value
    return replace(value, type=replace(value.type, scale=scale, low=low // by, high=high // by))


def cast(value: Scalar, kind: Kind) -> Scalar:
    """CAST to a type that is not a number."""
    have = value.type.kind
    if have is kind:
        return value
    if have is Kind.NULL:
        return Literal(None, Type(kind=kind))
    if isinstance(value, Literal) and isinstance(value.value, str) and kind.temporal:
        read = parse_date if kind is Kind.DATE else parse_timestamp
        at = read(value.value)
        return Literal(at, Type(kind=kind, low=at, high=at, nullable=False))
    if have is Kind.DATE and kind is Kind.TIMESTAMP:
        return _days(value, kind, lambda at: at * DAY_US)
    if have is Kind.TIMESTAMP and kind is Kind.DATE:
        return _days(value, kind, lambda at: at // DAY_US)
    if kind is Kind.VARCHAR and have in {Kind.INTEGER, Kind.DATE}:
        return Call(Op.CAST, (value,), Type(kind=kind, nullable=value.type.nullable, max_bytes=40))
    raise PlanError(reason=f"CAST of {have} to {kind}", instead="a column of that type")


def _days(value: Scalar, kind: Kind, convert: Any) -> Scalar:
    low = None if value.type.low is None else convert(value.type.low)
    high = None if value.type.high is None else convert(value.type.high)
    new = Type(kind=kind, low=low, high=high, nullable=value.type.nullable)
    if isinstance(value, Literal) and isinstance(value.value, int):
        return Literal(convert(value.value), new)
    return Call(Op.CAST, (value,), new)
