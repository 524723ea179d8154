"""Expressions over opened totals, evaluated by the client with DuckDB's types and three-valued logic.

Values are Python's: int, Decimal, float, str, bool, date, datetime, None for NULL.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from mpc.errors import InternalError, RangeError
from mpc.plan import texts
from mpc.plan.dates import add_interval, date_of, days, micros, part_of, timestamp_of, truncate
from mpc.plan.finishers import nearest, typed_number
from mpc.plan.ir import AggregateRef, Call, Column, KeyRef, Kind, Literal, Op, Scalar, Type

__all__ = ["GroupValues", "evaluate", "sort_key"]

_WIDE: Final = Context(prec=100)


@dataclass(frozen=True, slots=True)
class GroupValues:
    """What is known of one group: its key values and its aggregates."""

    keys: Sequence[Any]
    aggregates: Sequence[Any]


def evaluate(node: Scalar, group: GroupValues) -> Any:
    """The value of an expression in one group."""
    if isinstance(node, AggregateRef):
        return group.aggregates[node.index]
    if isinstance(node, KeyRef):
        return group.keys[node.index]
    if isinstance(node, Literal):
        return _literal(node)
    if isinstance(node, Column):
        raise InternalError("a column of the parties' rows reached the client")
    if (special := _SPECIAL.get(node.op)) is not None:
        return special(node, group)
    values = [evaluate(a, group) for a in node.args]
    if any(v is None for v in values):
        return None
    return _STRICT[node.op](node.type, *values)


def sort_key(value: Any, *, descending: bool, nulls_first: bool) -> tuple[int, Any]:
    """A key for `sorted`: NULL first or last, NaN above every number, texts by their UTF-8 bytes."""
    if value is None:
        return (-1 if nulls_first else 1), 0
    ordered: Any = value.encode() if isinstance(value, str) else value
    if isinstance(value, float):
        ordered = (1, 0.0) if math.isnan(value) else (0, value)
    elif isinstance(value, (int, Decimal)):
        ordered = (0, value)
    elif isinstance(value, datetime):
        ordered = (0, micros(value))
    elif isinstance(value, date):
        ordered = (0, days(value))
    elif isinstance(value, dict):
        ordered = (0, sorted(value.items()))
    return 0, _Descending(ordered) if descending else ordered


class _Descending:
    """Turns the order of a value around."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: "_Descending") -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


def _literal(node: Literal) -> Any:
    value = node.value
    if value is None or isinstance(value, (bool, str, tuple)):
        return value
    if node.type.kind is Kind.DATE:
        return date_of(value)
    if node.type.kind is Kind.TIMESTAMP:
        return timestamp_of(value)
    return typed_number(value, node.type)


def _real(value: Any) -> float:
    return value if isinstance(value, float) else nearest(Fraction(value))


def _arithmetic(exact: Callable[[Any, Any], Any], real: Callable[[float, float], float]) -> Callable[..., Any]:
    def compute(kind: Type, a: Any, b: Any) -> Any:
        if isinstance(a, float) or isinstance(b, float):
            return real(_real(a), _real(b))
        result = exact(Fraction(a), Fraction(b))
        return _exact(result, kind)

    return compute


def _exact(value: Fraction, kind: Type) -> Any:
    if kind.kind is Kind.INTEGER:
        return int(value)
    if kind.kind is Kind.DECIMAL:
        return Decimal(int(value * 10**kind.scale)).scaleb(-kind.scale, context=_WIDE)
    return nearest(value)


def _divide(_: Type, a: Any, b: Any) -> float:
    """Division as DuckDB does it on DOUBLE: by zero gives an infinity or NaN."""
    if b == 0:
        numerator = _real(a)
        negative = isinstance(b, float) and math.copysign(1.0, b) < 0
        if numerator == 0 or math.isnan(numerator):
            return math.nan
        return -math.inf if (numerator < 0) != negative else math.inf
    if isinstance(a, float) or isinstance(b, float):
        return _real(a) / _real(b)
    return nearest(Fraction(a) / Fraction(b))


def _truncated_quotient(_: Type, a: Any, b: Any) -> Any:
    if b == 0:
        return None
    quotient = abs(int(a)) // abs(int(b))
    return quotient if (a < 0) == (b < 0) else -quotient


def _modulo(kind: Type, a: Any, b: Any) -> Any:
    if isinstance(a, float) or isinstance(b, float):
        return math.fmod(_real(a), _real(b)) if b != 0 else math.nan
    if b == 0:
        return None
    left, right = Fraction(a), Fraction(b)
    return _exact(left - right * int(left / right), kind)


_ROUNDING: Final = {
    Op.FLOOR: ROUND_FLOOR,
    Op.CEILING: ROUND_CEILING,
    Op.ROUND: ROUND_HALF_UP,
    Op.TRUNCATE: ROUND_DOWN,
}


def _round(op: Op) -> Callable[..., Any]:
    def compute(kind: Type, value: Any, digits: int = 0) -> Any:
        if isinstance(value, float):
            if not math.isfinite(value):
                return value
            rounded = Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=_ROUNDING[op], context=_FLOATS)
            return float(rounded)
        if isinstance(value, int):
            return value
        return value.quantize(Decimal(1).scaleb(-kind.scale), rounding=_ROUNDING[op], context=_WIDE)

    return compute


_FLOATS: Final = Context(prec=800)


def _cast(kind: Type, value: Any) -> Any:
    match kind.kind:
        case Kind.DOUBLE:
            return _real(value)
        case Kind.INTEGER:
            if isinstance(value, float):
                _require_finite(value)
                return round(value)
            return int(Decimal(value).quantize(Decimal(1), rounding=ROUND_HALF_UP, context=_WIDE))
        case Kind.DECIMAL:
            unit = Decimal(1).scaleb(-kind.scale)
            if isinstance(value, float):
                _require_finite(value)
                scaled = Decimal(value * 10.0**kind.scale).quantize(Decimal(1), rounding=ROUND_HALF_UP, context=_FLOATS)
                return scaled.scaleb(-kind.scale, context=_WIDE)
            return Decimal(value).quantize(unit, rounding=ROUND_HALF_UP, context=_WIDE)
        case Kind.DATE:
            return value.date() if isinstance(value, datetime) else value
        case Kind.TIMESTAMP:
            return value if isinstance(value, datetime) else timestamp_of(days(value) * 86_400_000_000)
        case Kind.VARCHAR:
            return str(value)
        case _:
            raise InternalError(f"no cast to {kind.kind}")


def _require_finite(value: float) -> None:
    if not math.isfinite(value):
        raise RangeError("an infinite value has no exact form", column="the result")


def _check(kind: Type, value: Any) -> Any:
    if kind.low is not None and kind.high is not None:
        unit = 10**kind.scale
        if not kind.low <= Fraction(value) * unit <= kind.high:
            raise RangeError("a cast does not fit its type", column="the result")
    return value


def _compare(test: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    def compute(_: Type, a: Any, b: Any) -> bool:
        return test(*_comparable(a, b))

    return compute


def _comparable(a: Any, b: Any) -> tuple[Any, Any]:
    left, right = (sort_key(v, descending=False, nulls_first=False)[1] for v in (a, b))
    return left, right


def _shift(kind: Type, value: Any, by: Any) -> Any:
    if isinstance(by, tuple):
        return timestamp_of(add_interval(micros(_cast(kind, value)), by))
    return date_of(days(value) + int(by))


def _date_difference(_: Type, part: str, start: datetime, end: datetime) -> int:
    if part in {"month", "year"}:
        months = (end.year - start.year) * 12 + end.month - start.month
        return months if part == "month" else end.year - start.year
    size = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}[part] * 1_000_000
    return micros(end) // size - micros(start) // size


def _function(apply: Callable[[float], float]) -> Callable[..., float]:
    def compute(_: Type, value: Any) -> float:
        number = _real(value)
        try:
            return apply(number)
        except ValueError:
            return -math.inf if number == 0 else math.nan
        except OverflowError:
            return math.inf

    return compute


def _power(_: Type, base: Any, exponent: Any) -> float:
    try:
        return math.pow(_real(base), _real(exponent))
    except ValueError:
        return math.nan
    except OverflowError:
        return math.inf


_STRICT: Final[Mapping[Op, Callable[..., Any]]] = MappingProxyType(
    {
        Op.ADD: _arithmetic(lambda a, b: a + b, lambda a, b: a + b),
        Op.SUBTRACT: _arithmetic(lambda a, b: a - b, lambda a, b: a - b),
        Op.MULTIPLY: _arithmetic(lambda a, b: a * b, lambda a, b: a * b),
        Op.DIVIDE: _divide,
        Op.TRUNCATE_DIVIDE: _truncated_quotient,
        Op.MODULO: _modulo,
        Op.NEGATE: lambda _, a: -a,
        Op.ABSOLUTE: lambda _, a: abs(a),
        Op.SIGN: lambda _, a: (a > 0) - (a < 0),
        Op.FLOOR: _round(Op.FLOOR),
        Op.CEILING: _round(Op.CEILING),
        Op.ROUND: _round(Op.ROUND),
        Op.TRUNCATE: _round(Op.TRUNCATE),
        Op.CAST: _cast,
        Op.CHECK: _check,
        Op.EQUAL: _compare(lambda a, b: a == b),
        Op.NOT_EQUAL: _compare(lambda a, b: a != b),
        Op.LESS: _compare(lambda a, b: a < b),
        Op.LESS_EQUAL: _compare(lambda a, b: a <= b),
        Op.GREATER: _compare(lambda a, b: a > b),
        Op.GREATER_EQUAL: _compare(lambda a, b: a >= b),
        Op.LIKE: lambda _, a, b: texts.like(a, b),
        Op.ILIKE: lambda _, a, b: texts.like(texts.lower(a), texts.lower(b)),
        Op.LOWER: lambda _, a: texts.lower(a),
        Op.UPPER: lambda _, a: texts.upper(a),
        Op.TRIM: lambda _, a: a.strip(texts.SPACES),
        Op.LTRIM: lambda _, a: a.lstrip(texts.SPACES),
        Op.RTRIM: lambda _, a: a.rstrip(texts.SPACES),
        Op.SUBSTRING: lambda _, *args: texts.substring(*args),
        Op.LENGTH: lambda _, a: len(a),
        Op.CONCAT: lambda _, a, b: a + b,
        Op.STARTS_WITH: lambda _, a, b: a.startswith(b),
        Op.ENDS_WITH: lambda _, a, b: a.endswith(b),
        Op.CONTAINS: lambda _, a, b: b in a,
        Op.DATE_TRUNC: lambda _, unit, a: timestamp_of(truncate(unit, micros(a))),
        Op.DATE_PART: lambda _, part, a: part_of(part, micros(a)),
        Op.DATE_DIFF: _date_difference,
        Op.DATE_ADD: _shift,
        Op.SQRT: _function(math.sqrt),
        Op.LN: _function(math.log),
        Op.LOG10: _function(math.log10),
        Op.EXP: _function(math.exp),
        Op.POWER: _power,
    }
)


def _and(node: Call, group: GroupValues) -> Any:
    values = [evaluate(a, group) for a in node.args]
    if any(v is False for v in values):
        return False
    return None if any(v is None for v in values) else True


def _or(node: Call, group: GroupValues) -> Any:
    values = [evaluate(a, group) for a in node.args]
    if any(v is True for v in values):
        return True
    return None if any(v is None for v in values) else False


def _not(node: Call, group: GroupValues) -> Any:
    value = evaluate(node.args[0], group)
    return None if value is None else not value


def _not_distinct(node: Call, group: GroupValues) -> bool:
    a, b = (evaluate(x, group) for x in node.args)
    if a is None or b is None:
        return a is None and b is None
    left, right = _comparable(a, b)
    return bool(left == right)


def _in(node: Call, group: GroupValues) -> Any:
    first, *others = (evaluate(a, group) for a in node.args)
    if first is None:
        return None
    pairs = [_comparable(first, o) for o in others if o is not None]
    if any(a == b for a, b in pairs):
        return True
    return None if len(pairs) < len(others) else False


def _case(node: Call, group: GroupValues) -> Any:
    *pairs, otherwise = node.args
    for i in range(0, len(pairs), 2):
        if evaluate(pairs[i], group) is True:
            return _as(node.type, evaluate(pairs[i + 1], group))
    return _as(node.type, evaluate(otherwise, group))


def _as(kind: Type, value: Any) -> Any:
    """A branch's value in the type of the whole."""
    if value is None or not kind.kind.numeric or isinstance(value, bool):
        return value
    return _cast(kind, value)


def _coalesce(node: Call, group: GroupValues) -> Any:
    return next((_as(node.type, v) for a in node.args if (v := evaluate(a, group)) is not None), None)


def _extreme(pick: Callable[..., Any]) -> Callable[[Call, GroupValues], Any]:
    def compute(node: Call, group: GroupValues) -> Any:
        values = [v for a in node.args if (v := evaluate(a, group)) is not None]
        if not values:
            return None
        return _as(node.type, pick(values, key=lambda v: sort_key(v, descending=False, nulls_first=False)))

    return compute


def _nullif(node: Call, group: GroupValues) -> Any:
    a, b = (evaluate(x, group) for x in node.args)
    if a is None or b is None:
        return a
    left, right = _comparable(a, b)
    return None if left == right else a


_SPECIAL: Final[Mapping[Op, Callable[[Call, GroupValues], Any]]] = MappingProxyType(
    {
        Op.AND: _and,
        Op.OR: _or,
        Op.NOT: _not,
        Op.IS_NULL: lambda n, g: evaluate(n.args[0], g) is None,
        Op.NOT_DISTINCT: _not_distinct,
        Op.IN: _in,
        Op.CASE: _case,
        Op.COALESCE: _coalesce,
        Op.GREATEST: _extreme(max),
        Op.LEAST: _extreme(min),
        Op.NULLIF: _nullif,
    }
)
