"""The allow-list of SQL on dates and timestamps."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from sqlglot import exp

from mpc.errors import PlanError
from mpc.plan.dates import DAY_US, PARTS, TRUNCATIONS, add_interval, parse_interval, part_of, truncate
from mpc.plan.ir import Call, Kind, Literal, Op, Scalar, Type
from mpc.plan.scalars import Binder, Handler

__all__ = ["TEMPORAL_HANDLERS", "as_timestamp", "shifted"]

_ALIASES = {
    "years": "year",
    "yr": "year",
    "mon": "month",
    "months": "month",
    "days": "day",
    "weeks": "week",
    "dayofmonth": "day",
    "dayofweek": "dow",
    "weekday": "dow",
    "dayofyear": "doy",
    "weekofyear": "week",
    "hours": "hour",
    "minutes": "minute",
    "quarters": "quarter",
}


def as_timestamp(value: Scalar) -> Scalar:
    """A date as the timestamp of its midnight."""
    if value.type.kind is not Kind.DATE:
        return value
    low = None if value.type.low is None else value.type.low * DAY_US
    high = None if value.type.high is None else value.type.high * DAY_US
    kind = Type(kind=Kind.TIMESTAMP, low=low, high=high, nullable=value.type.nullable)
    if isinstance(value, Literal) and isinstance(value.value, int):
        return Literal(value.value * DAY_US, kind)
    return Call(Op.CAST, (value,), kind)


def _temporal(value: Scalar) -> Scalar:
    if not value.type.kind.temporal:
        raise PlanError(reason=f"a date or timestamp is needed, not {value.type.kind}", instead="a DATE column")
    return value


def shifted(op: Op, left: Scalar, right: Scalar) -> Scalar:
    """Dates plus or minus days and intervals, and the days between two dates."""
    if op is Op.ADD and right.type.kind.temporal:
        left, right = right, left
    kinds = (left.type.kind, right.type.kind)
    if op is Op.SUBTRACT and kinds == (Kind.DATE, Kind.DATE):
        return difference("day", right, left)
    sign = {Op.ADD: 1, Op.SUBTRACT: -1}.get(op)
    if sign is None or not isinstance(right, Literal):
        raise PlanError(reason="this arithmetic on dates", instead="date + INTERVAL 3 DAY, or DATE_DIFF('day', a, b)")
    if kinds == (Kind.DATE, Kind.INTEGER) and isinstance(right.value, int):
        days = sign * right.value
        kind = _shifted_type(left.type, lambda at: at + days)
        if isinstance(left, Literal) and isinstance(left.value, int):
            return Literal(left.value + days, kind)
        return Call(Op.DATE_ADD, (left, Literal(days, right.type)), kind)
    if not isinstance(right.value, tuple) or not left.type.kind.temporal:
        raise PlanError(reason="this arithmetic on dates", instead="date + INTERVAL 3 DAY, or DATE_DIFF('day', a, b)")
    months, days, micros = right.value
    return add_literal(as_timestamp(left), (sign * months, sign * days, sign * micros))


def add_literal(value: Scalar, interval: tuple[int, int, int]) -> Scalar:
    """A timestamp plus a literal interval."""
    kind = _shifted_type(value.type, lambda at: _inside(at, interval))
    if isinstance(value, Literal) and isinstance(value.value, int):
        return Literal(_inside(value.value, interval), kind)
    return Call(Op.DATE_ADD, (value, Literal(interval, Type(kind=Kind.INTERVAL, nullable=False))), kind)


def _inside(at: int, interval: tuple[int, int, int]) -> int:
    try:
        return add_interval(at, interval)
    except (OverflowError, ValueError):
        raise PlanError(reason="the date leaves the calendar", instead="a shorter interval") from None


def _shifted_type(kind: Type, move: Callable[[int], int]) -> Type:
    low = None if kind.low is None else move(kind.low)
    high = None if kind.high is None else move(kind.high)
    return replace(kind, low=low, high=high)


def difference(part: str, start: Scalar, end: Scalar) -> Scalar:
    """DATE_DIFF: boundaries of a part crossed from start to end."""
    if part not in {"day", "month", "year", "hour", "minute", "second"}:
        raise PlanError(reason=f"DATE_DIFF by {part}", instead="day, month, year, hour, minute or second")
    most = {"second": 86_400 * 366 * 20_000, "minute": 1440 * 366 * 20_000, "hour": 24 * 366 * 20_000}
    bound = most.get(part, 366 * 20_000)
    nullable = start.type.nullable or end.type.nullable
    args = (_name(part), as_timestamp(_temporal(start)), as_timestamp(_temporal(end)))
    return Call(Op.DATE_DIFF, args, Type(kind=Kind.INTEGER, low=-bound, high=bound, nullable=nullable))


def _name(text: str) -> Literal:
    return Literal(text, Type(kind=Kind.VARCHAR, nullable=False))


def _unit(node: Any) -> str:
    text = str(getattr(node, "this", node) or "").lower()
    if isinstance(node, exp.WeekStart):
        return "week"
    return _ALIASES.get(text, text)


def _truncation(binder: Binder, node: Any) -> Scalar:
    unit = _unit(node.args.get("unit"))
    if unit not in TRUNCATIONS:
        raise PlanError(reason=f"DATE_TRUNC to {unit[:20]}", instead=", ".join(TRUNCATIONS))
    value = as_timestamp(_temporal(binder.bind(node.this)))
    kind = _shifted_type(value.type, lambda at: truncate(unit, at))
    if isinstance(value, Literal) and isinstance(value.value, int):
        return Literal(truncate(unit, value.value), kind)
    return Call(Op.DATE_TRUNC, (_name(unit), value), kind)


def part(name: str, value: Scalar) -> Scalar:
    """DATE_PART with its interval; narrower where first and last day are declared."""
    if name not in PARTS:
        raise PlanError(reason=f"the part {name[:20]} of a date", instead=", ".join(PARTS))
    value = as_timestamp(_temporal(value))
    low, high = PARTS[name]
    if value.type.low is not None and value.type.high is not None and name == "year":
        low, high = part_of(name, value.type.low), part_of(name, value.type.high)
    kind = Type(kind=Kind.INTEGER, low=low, high=high, nullable=value.type.nullable)
    return Call(Op.DATE_PART, (_name(name), value), kind)


def _extract(binder: Binder, node: exp.Extract) -> Scalar:
    return part(_unit(node.this), binder.bind(node.expression))


def _date_part(name: str) -> Handler:
    return Handler(lambda binder, node: part(name, binder.bind(node.this)), frozenset({"this"}))


def _date_diff(binder: Binder, node: exp.DateDiff) -> Scalar:
    return difference(_unit(node.args.get("unit")), binder.bind(node.expression), binder.bind(node.this))


def _interval(_: Binder, node: exp.Interval) -> Scalar:
    text = node.this
    if isinstance(text, exp.Neg):
        amount = f"-{text.this.this}"
    elif isinstance(text, exp.Literal):
        amount = str(text.this)
    else:
        raise PlanError(reason="an interval is a literal", instead="INTERVAL 3 DAY")
    unit = node.args.get("unit")
    value = parse_interval(amount, str(unit.this) if unit is not None else None)
    return Literal(value, Type(kind=Kind.INTERVAL, nullable=False))


def _date_add(binder: Binder, node: exp.DateAdd) -> Scalar:
    return shifted(Op.ADD, binder.bind(node.this), binder.bind(node.expression))


def _anonymous(binder: Binder, node: exp.Anonymous) -> Scalar:
    from mpc.plan.scalars import refusal_of

    if str(node.this).lower() == "date_part" and len(node.expressions) == 2:
        return part(_unit(binder.string_literal(node.expressions[0])), binder.bind(node.expressions[1]))
    raise refusal_of(node)


TEMPORAL_HANDLERS: Final[Mapping[type[exp.Expr], Handler]] = MappingProxyType(
    {
        exp.TimestampTrunc: Handler(_truncation, frozenset({"this", "unit"})),
        exp.DateTrunc: Handler(_truncation, frozenset({"this", "unit"})),
        exp.Extract: Handler(_extract, frozenset({"this", "expression"})),
        exp.Year: _date_part("year"),
        exp.Quarter: _date_part("quarter"),
        exp.Month: _date_part("month"),
        exp.Week: _date_part("week"),
        exp.WeekOfYear: _date_part("week"),
        exp.Day: _date_part("day"),
        exp.DayOfMonth: _date_part("day"),
        exp.DayOfWeek: _date_part("dow"),
        exp.DayOfWeekIso: _date_part("isodow"),
        exp.DayOfYear: _date_part("doy"),
        exp.Hour: _date_part("hour"),
        exp.Minute: _date_part("minute"),
        exp.DateDiff: Handler(_date_diff, frozenset({"this", "expression", "unit"})),
        exp.DateAdd: Handler(_date_add, frozenset({"this", "expression"})),
        exp.Interval: Handler(_interval, frozenset({"this", "unit"})),
        exp.Anonymous: Handler(_anonymous, frozenset({"this", "expressions"})),
    }
)
