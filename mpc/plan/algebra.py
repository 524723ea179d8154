"""Typed construction of expressions: result types, scales and intervals of every numeric operation.

At row level all intervals are known, so each function either returns a node whose interval holds whatever the data, or
refuses. Over opened totals intervals are unknown (None) and only kinds and scales matter. Refusals raised here have no
offset; the binder adds it.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction

from mpc.errors import PlanError
from mpc.plan.ir import Call, Column, Kind, Literal, Op, Scalar, Type, columns_of

__all__ = [
    "BOOLEAN",
    "MAX_MAGNITUDE",
    "absolute",
    "add",
    "check_magnitude",
    "divide",
    "floor_quotient",
    "hull",
    "integer",
    "modulo",
    "multiply",
    "negate",
    "number",
    "numeric_cast",
    "rescaled",
    "round_to",
    "subtract",
    "wider",
]

MAX_MAGNITUDE = 1 << 126
_MAX_SCALE = 30
BOOLEAN = Type(kind=Kind.BOOLEAN)

_RANK = {Kind.NULL: 0, Kind.INTEGER: 1, Kind.DECIMAL: 2, Kind.DOUBLE: 3}


def wider(a: Kind, b: Kind) -> Kind:
    """The numeric kind of a result of both."""
    return a if _RANK[a] >= _RANK[b] else b


def integer(value: int) -> Literal:
    """An integer literal."""
    return Literal(value, Type(kind=Kind.INTEGER, low=value, high=value, nullable=False))


def number(text: str) -> Literal:
    """A numeric literal, exact as written.

    >>> number("1.50").value, number("1.50").type.scale
    (150, 2)
    """
    value = Fraction(text)
    scale = 0
    if "e" not in text.lower():
        scale = len(text.partition(".")[2])
        kind = Kind.DECIMAL if "." in text else Kind.INTEGER
    else:
        kind = Kind.DOUBLE
        while (value * 10**scale).denominator != 1:
            scale += 1
    scaled = int(value * 10**scale)
    if scale > _MAX_SCALE or abs(scaled) > MAX_MAGNITUDE:
        raise PlanError(
            reason="the number has too many digits", instead="a number of at most 30 decimals and 37 digits"
        )
    return Literal(scaled, Type(kind=kind, scale=scale, low=scaled, high=scaled, nullable=False))


def rescaled(value: int | None, by: int) -> int | None:
    """A bound at a finer scale."""
    return None if value is None else value * 10**by


def check_magnitude(node: Scalar) -> Scalar:
    """Refuse a row-level number that may need more than 126 bits.

    Raises:
        PlanError: Names the widest column.
    """
    kind = node.type
    if kind.scale > _MAX_SCALE:
        raise PlanError(
            reason=f"the exact result needs {kind.scale} decimals", instead="CAST a factor to fewer decimals"
        )
    if kind.low is None or kind.magnitude <= MAX_MAGNITUDE:
        return node
    raise PlanError(reason="the exact result may need more than 126 bits", instead=tighten(columns_of(node)))


def tighten(columns: Iterable[Column]) -> str:
    """What to write so that a bound becomes smaller: names the column with the widest interval."""
    numbers = [c for c in columns if c.type.kind.numeric and c.type.low is not None]
    if not numbers:
        return "fewer or smaller factors"
    name = max(numbers, key=lambda c: c.type.magnitude).name
    return f"declare a narrower range for {name} in the dictionary, or CAST({name} AS DECIMAL(12, 2))"


def _require_numbers(*nodes: Scalar) -> None:
    for node in nodes:
        if not node.type.kind.numeric and node.type.kind is not Kind.NULL:
            raise PlanError(reason=f"arithmetic on {node.type.kind} values", instead="numeric columns and literals")


def _nullable(*nodes: Scalar) -> bool:
    return any(n.type.nullable for n in nodes)


def _aligned(a: Type, b: Type) -> tuple[int, list[int | None], list[int | None]]:
    scale = max(a.scale, b.scale)
    return (
        scale,
        [rescaled(a.low, scale - a.scale), rescaled(a.high, scale - a.scale)],
        [rescaled(b.low, scale - b.scale), rescaled(b.high, scale - b.scale)],
    )


def _literal_fold(value: int, kind: Kind, scale: int) -> Literal:
    return Literal(value, Type(kind=kind, scale=scale, low=value, high=value, nullable=False))


def _combine(op: Op, a: Scalar, b: Scalar, bounds: Callable[..., tuple[int, int]]) -> Scalar:
    _require_numbers(a, b)
    kind = wider(a.type.kind, b.type.kind)
    scale, (a_low, a_high), (b_low, b_high) = _aligned(a.type, b.type)
    if op is Op.MULTIPLY:
        scale = a.type.scale + b.type.scale
        a_low, a_high, b_low, b_high = a.type.low, a.type.high, b.type.low, b.type.high
    low = high = None
    if a_low is not None and a_high is not None and b_low is not None and b_high is not None:
        low, high = bounds(a_low, a_high, b_low, b_high)
    if isinstance(a, Literal) and isinstance(b, Literal) and low is not None:
        return check_magnitude(_literal_fold(low, kind, scale))
    result = Type(kind=kind, scale=scale, low=low, high=high, nullable=_nullable(a, b))
    return check_magnitude(Call(op, (a, b), result))


def add(a: Scalar, b: Scalar) -> Scalar:
    """`a + b`."""
    return _combine(Op.ADD, a, b, lambda al, ah, bl, bh: (al + bl, ah + bh))


def subtract(a: Scalar, b: Scalar) -> Scalar:
    """`a - b`."""
    return _combine(Op.SUBTRACT, a, b, lambda al, ah, bl, bh: (al - bh, ah - bl))


def multiply(a: Scalar, b: Scalar) -> Scalar:
    """`a * b`; a square is never negative."""

    def bounds(al: int, ah: int, bl: int, bh: int) -> tuple[int, int]:
        products = (al * bl, al * bh, ah * bl, ah * bh)
        low = min(products)
        return (max(low, 0) if a == b else low), max(products)

    return _combine(Op.MULTIPLY, a, b, bounds)


def negate(a: Scalar) -> Scalar:
    """`-a`."""
    _require_numbers(a)
    low, high = (None if a.type.high is None else -a.type.high), (None if a.type.low is None else -a.type.low)
    kind = Type(kind=a.type.kind, scale=a.type.scale, low=low, high=high, nullable=a.type.nullable)
    if isinstance(a, Literal) and isinstance(a.value, int):
        return Literal(-a.value, kind)
    return Call(Op.NEGATE, (a,), kind)


def absolute(a: Scalar) -> Scalar:
    """`abs(a)`."""
    _require_numbers(a)
    low = high = None
    if a.type.low is not None and a.type.high is not None:
        low = 0 if a.type.low <= 0 <= a.type.high else min(abs(a.type.low), abs(a.type.high))
        high = a.type.magnitude
    kind = Type(kind=a.type.kind, scale=a.type.scale, low=low, high=high, nullable=a.type.nullable)
    return Call(Op.ABSOLUTE, (a,), kind)


def divide(a: Scalar, b: Scalar, *, opened: bool) -> Scalar:
    """`a / b`: exact by a literal of the form 2^i 5^j at row level; any over opened totals."""
    _require_numbers(a, b)
    if opened:
        return Call(Op.DIVIDE, (a, b), Type(kind=Kind.DOUBLE))
    instead = "divide the aggregates, SUM(a) / SUM(b), or CAST and FLOOR into buckets"
    if not isinstance(b, Literal) or not isinstance(b.value, int):
        raise PlanError(reason="division by a column is inexact per row", instead=instead)
    if b.value == 0:
        raise PlanError(reason="division by zero", instead=instead)
    divisor = Fraction(b.value, 10**b.type.scale)
    reciprocal, scale = 1 / divisor, 0
    while (reciprocal * 10**scale).denominator != 1:
        scale += 1
        if scale > _MAX_SCALE:
            raise PlanError(reason=f"division by {float(divisor):g} has no exact decimal result", instead=instead)
    factor = int(reciprocal * 10**scale)
    return multiply(a, _literal_fold(factor, Kind.DOUBLE, scale))


def floor_quotient(op: Op, a: Scalar, b: Scalar, kind: Kind) -> Scalar:
    """`floor`, `ceiling` or truncation of `a / literal`: exact for any literal but zero."""
    _require_numbers(a, b)
    if not isinstance(b, Literal) or not isinstance(b.value, int) or b.value == 0:
        raise PlanError(reason="integer division by a column or by zero", instead="a literal divisor")
    low = high = None
    if a.type.low is not None and a.type.high is not None:
        divisor = Fraction(b.value * 10**a.type.scale, 10**b.type.scale)
        ends = sorted((a.type.low / divisor, a.type.high / divisor))
        low, high = ends[0].__floor__(), ends[1].__ceil__()
    return Call(op, (a, b), Type(kind=kind, low=low, high=high, nullable=a.type.nullable))


def modulo(a: Scalar, b: Scalar) -> Scalar:
    """`a % b` with the sign of `a`, by a literal."""
    _require_numbers(a, b)
    if not isinstance(b, Literal) or not isinstance(b.value, int) or b.value == 0:
        raise PlanError(reason="the remainder by a column or by zero", instead="a literal divisor")
    scale, (low, high), (divisor, _) = _aligned(a.type, b.type)
    if low is not None and high is not None and divisor is not None:
        most = abs(divisor) - 1
        low, high = max(min(low, 0), -most), min(max(high, 0), most)
    kind = Type(kind=wider(a.type.kind, b.type.kind), scale=scale, low=low, high=high, nullable=a.type.nullable)
    return Call(Op.MODULO, (a, b), kind)


def _half_away(value: int, unit: int) -> int:
    quotient = (abs(value) + unit // 2) // unit
    return quotient if value >= 0 else -quotient


def round_to(op: Op, a: Scalar, digits: int) -> Scalar:
    """FLOOR, CEILING, ROUND (half away from zero) or TRUNCATE to some decimals; exact."""
    _require_numbers(a)
    if digits >= a.type.scale:
        return a
    if digits < 0:
        raise PlanError(reason="rounding to tens or more", instead="ROUND(x / 100) * 100")
    unit = 10 ** (a.type.scale - digits)
    low = high = None
    if a.type.low is not None and a.type.high is not None:
        if op in {Op.ROUND, Op.ROUND_EVEN}:
            low, high = _half_away(a.type.low, unit), _half_away(a.type.high, unit)
        else:
            low, high = a.type.low // unit, -(-a.type.high // unit)
    kind = Type(kind=a.type.kind, scale=digits, low=low, high=high, nullable=a.type.nullable)
    return Call(op, (a,), kind)


def numeric_cast(a: Scalar, kind: Kind, scale: int, low: int, high: int) -> Scalar:
    """CAST of a number (or a truth value) to INTEGER or DECIMAL, rounded half away, checked where it may not fit.

    A DOUBLE becomes an integer half to even, as in DuckDB.
    """
    if a.type.kind is Kind.BOOLEAN:
        a = Call(Op.CAST, (a,), Type(kind=Kind.INTEGER, low=0, high=1, nullable=a.type.nullable))
    _require_numbers(a)
    if a.type.scale > scale:
        to_even = a.type.kind is Kind.DOUBLE and kind is Kind.INTEGER
        a = round_to(Op.ROUND_EVEN if to_even else Op.ROUND, a, scale)
    have_low, have_high = rescaled(a.type.low, scale - a.type.scale), rescaled(a.type.high, scale - a.type.scale)
    fits = have_low is not None and have_high is not None and low <= have_low and have_high <= high
    new_low = new_high = None
    if have_low is not None and have_high is not None:
        new_low, new_high = max(low, min(have_low, high)), min(high, max(have_high, low))
    kinds = Type(kind=kind, scale=scale, low=new_low, high=new_high, nullable=a.type.nullable)
    if isinstance(a, Literal) and isinstance(a.value, int) and fits:
        return Literal(a.value * 10 ** (scale - a.type.scale), kinds)
    cast = Call(Op.CAST, (a,), kinds)
    return cast if fits else Call(Op.CHECK, (cast,), kinds)


def hull(nodes: Iterable[Scalar]) -> Type:
    """The type that holds any of several values (CASE, COALESCE, GREATEST)."""
    types = [n.type for n in nodes]
    known = [t for t in types if t.kind is not Kind.NULL]
    nullable = any(t.nullable for t in types)
    if not known:
        return Type(kind=Kind.NULL)
    if all(t.kind.numeric for t in known):
        scale = max(t.scale for t in known)
        kind = Kind.INTEGER
        for t in known:
            kind = wider(kind, t.kind)
        lows = [rescaled(t.low, scale - t.scale) for t in known]
        highs = [rescaled(t.high, scale - t.scale) for t in known]
        low = None if None in lows else min(v for v in lows if v is not None)
        high = None if None in highs else max(v for v in highs if v is not None)
        return Type(kind=kind, scale=scale, low=low, high=high, nullable=nullable)
    if len({t.kind for t in known}) > 1:
        names = " and ".join(sorted({str(t.kind) for t in known}))
        raise PlanError(reason=f"the branches mix {names}", instead="branches of one type, with CAST")
    kind = known[0].kind
    sizes = [t.max_bytes for t in known]
    size = None if None in sizes else max(s for s in sizes if s is not None)
    lows, highs = [t.low for t in known], [t.high for t in known]
    low = None if None in lows else min(v for v in lows if v is not None)
    high = None if None in highs else max(v for v in highs if v is not None)
    return Type(kind=kind, low=low, high=high, nullable=nullable, max_bytes=size)
