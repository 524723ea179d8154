"""Rendering typed expressions as SQL of one database.

Numbers are rendered as integers at their type's scale: `BIGINT` where the interval fits 63 bits, the dialect's wide
type otherwise. What is exact here is exact in every database, and 64-bit integers are what databases add fastest.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from mpc.errors import InternalError
from mpc.plan.dates import date_of, timestamp_of
from mpc.plan.dialects import Dialect, identifier, text_literal
from mpc.plan.ir import AggregateRef, Call, Column, KeyRef, Kind, Literal, Op, Scalar, Type, columns_of

__all__ = ["ExpressionWriter", "References", "is_wide"]

_EXACT_REAL: Final = 1 << 52
_AT_LEAST_LONG: Final = frozenset({Op.ADD, Op.SUBTRACT, Op.MULTIPLY, Op.MODULO})
_COMPARISONS: Final = {
    Op.EQUAL: "=",
    Op.NOT_EQUAL: "<>",
    Op.LESS: "<",
    Op.LESS_EQUAL: "<=",
    Op.GREATER: ">",
    Op.GREATER_EQUAL: ">=",
}


References = Mapping[Scalar, str]
"""Sub-expressions that an inner SELECT already computes, in rendered form."""

_NO_REFERENCES: Final[References] = MappingProxyType({})


class ExpressionWriter:
    """Writes expressions in one dialect.

    Args:
        dialect: The database.
        references: Sub-expressions that already have a name.
        raws: Names of columns that an inner SELECT hands on as they are.
        checks_done: Whether whole numbers and decimals were checked by a statement of their own.
    """

    def __init__(
        self,
        dialect: Dialect,
        references: References = _NO_REFERENCES,
        *,
        raws: References = _NO_REFERENCES,
        checks_done: bool = False,
    ) -> None:
        self.dialect = dialect
        self._references = references
        self._raws = raws
        self._checks_done = checks_done

    def write(self, node: Scalar) -> str:
        """The text of an expression; numbers as integers at their scale."""
        if (known := self._references.get(node)) is not None:
            return known
        if isinstance(node, Literal):
            return self._literal(node)
        if isinstance(node, Column):
            return self._column(node)
        if isinstance(node, (KeyRef, AggregateRef)):
            raise InternalError("an opened total reached a party's statement")
        return self._call(node)

    def at_scale(self, node: Scalar, scale: int) -> str:
        """A number as an integer at a finer scale."""
        text = self.write(node)
        by = scale - node.type.scale
        if by == 0 or node.type.kind is Kind.NULL:
            return text
        if isinstance(node, Literal) and isinstance(node.value, int):
            return self.integer(node.value * 10**by)
        if not is_wide(node.type) and node.type.magnitude * 10**by >= 1 << 63:
            return f"(CAST({text} AS {self.dialect.wide}) * {self.integer(10**by)})"
        return f"({self.long(node, text)} * {self.integer(10**by)})"

    def long(self, node: Scalar, text: str) -> str:
        """A number that is at least a BIGINT: literals and columns of subqueries may have a narrower type."""
        return text if _is_long(node) else f"CAST({text} AS BIGINT)"

    def integer(self, value: int) -> str:
        """An integer literal."""
        if -(1 << 63) < value < 1 << 63:
            return str(value) if value >= 0 else f"({value})"
        return f"CAST('{value}' AS {self.dialect.wide})"

    def _literal(self, node: Literal) -> str:
        value = node.value
        if value is None:
            return "NULL"
        if isinstance(value, bool):
            return "TRUE" if value else "FALSE"
        if isinstance(value, str):
            return text_literal(value)
        if isinstance(value, tuple):
            months, days, micros = value
            return f"INTERVAL '{months} months {days} days {micros} microseconds'"
        if node.type.kind is Kind.DATE:
            return f"DATE '{date_of(value).isoformat()}'"
        if node.type.kind is Kind.TIMESTAMP:
            return f"TIMESTAMP '{timestamp_of(value).isoformat(sep=' ')}'"
        return self.integer(value)

    def raw(self, node: Column) -> str:
        """A column in its declared type, unchecked and unscaled."""
        if (known := self._raws.get(node, self._references.get(node))) is not None:
            return known
        if not node.declared:
            return identifier(node.name)
        return self.dialect.column(node.name, node.declared)

    def _column(self, node: Column) -> str:
        text = self.raw(node)
        if not node.type.kind.numeric or not node.declared:
            return text
        if node.type.kind is Kind.DOUBLE:
            return self.real(node, self.rounded(node))
        value = self.dialect.scaled(text, node, wide=is_wide(node.type))
        return value if self._checks_done else self.checked(node, value)

    def rounded(self, node: Column) -> str:
        """A DOUBLE as an integer at its scale, NULL where there is none."""
        return self.dialect.rounded(self.raw(node), node, wide=is_wide(node.type))

    def real(self, node: Column, rounded: str) -> str:
        """A DOUBLE from its rounded form, checked. Always: no statistic of a file speaks of NaN reliably."""
        inside = f"{rounded} BETWEEN {self.integer(node.type.low or 0)} AND {self.integer(node.type.high or 0)}"
        return self.dialect.checked(rounded, inside, node.name, self.raw(node))

    def inside(self, node: Column) -> str:
        """The condition that a whole number or a decimal is in its declared range."""
        unit = 10**node.type.scale
        return f"({self.raw(node)} BETWEEN {(node.type.low or 0) // unit} AND {-(-(node.type.high or 0) // unit)})"

    def checked(self, node: Column, value: str) -> str:
        """A column's value, or an error where it leaves its declared range."""
        unsure = self.dialect.decimals_may_be_nan and node.type.kind is Kind.DECIMAL
        if not (node.checked or unsure) or node.type.low is None:
            return value
        return self.dialect.checked(value, self.inside(node), node.name, self.raw(node))

    def _call(self, node: Call) -> str:
        writer = _WRITERS.get(node.op)
        if writer is None:
            raise InternalError(f"{node.op} has no rendering")
        return writer(self, node)

    def aligned(self, args: tuple[Scalar, ...]) -> list[str]:
        """Values of one family in one form. Whole-number columns are compared as they are: no check, no cast."""
        if not any(a.type.kind.numeric for a in args):
            return [self.write(a) for a in args]
        if all(_plain_integer(a) for a in args):
            return [self.raw(a) if isinstance(a, Column) else self.write(a) for a in args]
        scale = max(a.type.scale for a in args)
        return [self.at_scale(a, scale) for a in args]

    def quotient(self, left: str, right: str) -> str:
        """Truncating division of integers."""
        division = self.dialect.integer_division
        return f"{division}({left}, {right})" if division.isalpha() else f"({left} {division} {right})"

    def branch(self, node: Scalar, kind: Type) -> str:
        """One of several values in the form of the whole."""
        if not kind.kind.numeric:
            return self.write(node)
        text = self.at_scale(node, kind.scale)
        if is_wide(kind) and (node.type.low is None or not is_wide(node.type)):
            return f"CAST({text} AS {self.dialect.wide})"
        return text


def _is_long(node: Scalar) -> bool:
    if isinstance(node, Call) and node.op in {Op.CAST, Op.CHECK}:
        return node.args[0].type.kind.numeric and _is_long(node.args[0])
    arithmetic = isinstance(node, Call) and node.op in _AT_LEAST_LONG
    return arithmetic or is_wide(node.type) or (isinstance(node, Column) and bool(node.declared))


def is_wide(kind: Type) -> bool:
    """Whether a number needs more than 63 bits."""
    return kind.low is not None and kind.magnitude >= 1 << 63


def _plain_integer(node: Scalar) -> bool:
    if isinstance(node, Column):
        return node.type.kind is Kind.INTEGER
    return isinstance(node, Literal) and (node.type.kind is Kind.NULL or not node.type.scale)


def _pair(writer: ExpressionWriter, node: Call) -> tuple[str, str]:
    left, right = node.args
    scale = node.type.scale
    if node.op is Op.MULTIPLY:
        texts = [writer.write(left), writer.write(right)]
    else:
        scale = max(left.type.scale, right.type.scale)
        texts = [writer.at_scale(left, scale), writer.at_scale(right, scale)]
    texts = [t if isinstance(a, Literal) else writer.long(a, t) for a, t in zip((left, right), texts, strict=True)]
    if is_wide(node.type) and not any(is_wide(a.type) for a in (left, right)):
        texts[0] = f"CAST({texts[0]} AS {writer.dialect.wide})"
    return texts[0], texts[1]


def _binary(writer: ExpressionWriter, node: Call) -> str:
    symbol = {Op.ADD: "+", Op.SUBTRACT: "-", Op.MULTIPLY: "*", Op.MODULO: "%"}[node.op]
    left, right = _pair(writer, node)
    return f"({left} {symbol} {right})"


def _comparison(writer: ExpressionWriter, node: Call) -> str:
    first, *others = writer.aligned(node.args)
    if node.op is Op.IN:
        return f"({first} IN ({', '.join(others)}))"
    if node.op is Op.NOT_DISTINCT:
        return f"({first} IS NOT DISTINCT FROM {others[0]})"
    if node.op not in {Op.EQUAL, Op.NOT_EQUAL} and node.args[0].type.kind is Kind.VARCHAR:
        first = writer.dialect.ordered(first)
    return f"({first} {_COMPARISONS[node.op]} {others[0]})"


def _rounded(writer: ExpressionWriter, node: Call) -> str:
    (value,) = node.args
    unit = 10 ** (value.type.scale - node.type.scale)
    return _divided(writer, node.op, writer.write(value), unit, value.type)


def _literal_quotient(writer: ExpressionWriter, node: Call) -> str:
    value, by = node.args
    divisor = by.value if isinstance(by, Literal) and isinstance(by.value, int) else 0
    scale = max(value.type.scale, by.type.scale)
    divisor *= 10 ** (scale - by.type.scale)
    text = writer.at_scale(value, scale)
    negative = divisor < 0
    if negative:
        text, divisor = f"(-{text})", -divisor
    op = {Op.FLOOR_DIVIDE: Op.FLOOR, Op.CEILING_DIVIDE: Op.CEILING, Op.TRUNCATE_DIVIDE: Op.TRUNCATE}[node.op]
    return _divided(writer, op, text, divisor, None if negative else value.type)


def _divided(writer: ExpressionWriter, op: Op, text: str, unit: int, kind: Type | None) -> str:
    by = writer.integer(unit)
    never_negative = kind is not None and kind.low is not None and kind.low >= 0
    if op is Op.ROUND_EVEN:
        away = _divided(writer, Op.ROUND, text, unit, kind)
        whole = writer.quotient(text, by)
        tie = f"ABS({text} % {by}) = {writer.integer(unit // 2)} AND {whole} % 2 = 0"
        return f"CASE WHEN {tie} THEN {whole} ELSE {away} END"
    if op is Op.ROUND:
        half = writer.integer(unit // 2)
        if kind is not None and not is_wide(kind) and kind.magnitude + unit >= 1 << 63:
            text = f"CAST({text} AS {writer.dialect.wide})"
        if never_negative:
            return writer.quotient(f"({text} + {half})", by)
        return writer.quotient(f"({text} + CASE WHEN {text} < 0 THEN -{half} ELSE {half} END)", by)
    if kind is not None and kind.low is not None and max(kind.magnitude, unit) < _EXACT_REAL:
        # Both are exact as DOUBLE and a quotient cannot round up to a whole number: its distance is 1 / unit at least.
        name = {Op.FLOOR: "FLOOR", Op.CEILING: "CEIL", Op.TRUNCATE: "TRUNC"}[op]
        return f"CAST({name}(CAST({text} AS {writer.dialect.real}) / {unit}) AS BIGINT)"
    whole = writer.quotient(text, by)
    if op is Op.TRUNCATE or (op is Op.FLOOR and never_negative):
        return whole
    if op is Op.FLOOR:
        return f"({whole} - CASE WHEN {text} % {by} < 0 THEN 1 ELSE 0 END)"
    return f"({whole} + CASE WHEN {text} % {by} > 0 THEN 1 ELSE 0 END)"


def _cast(writer: ExpressionWriter, node: Call) -> str:
    (value,) = node.args
    have, want = value.type.kind, node.type.kind
    if want.numeric and (have.numeric or have is Kind.NULL):
        return writer.at_scale(value, node.type.scale)
    if want is Kind.INTEGER and have is Kind.BOOLEAN:
        return f"CAST({writer.write(value)} AS INTEGER)"
    if have is Kind.INTEGER and want is Kind.VARCHAR and isinstance(value, Column) and value.declared:
        return f"CAST({writer.raw(value)} AS VARCHAR)"
    return f"CAST({writer.write(value)} AS {want})"


def _check(writer: ExpressionWriter, node: Call) -> str:
    text = writer.write(node.args[0])
    inside = f"{text} BETWEEN {writer.integer(node.type.low or 0)} AND {writer.integer(node.type.high or 0)}"
    return writer.dialect.checked(text, inside, ", ".join(c.name for c in columns_of(node)), text)


def _case(writer: ExpressionWriter, node: Call) -> str:
    *pairs, otherwise = node.args
    branches = zip(pairs[::2], pairs[1::2], strict=True)
    parts = [f"WHEN {writer.write(c)} THEN {writer.branch(v, node.type)}" for c, v in branches]
    return " ".join(["CASE", *parts, f"ELSE {writer.branch(otherwise, node.type)} END"])


def _same_form(writer: ExpressionWriter, name: str, node: Call) -> str:
    if node.type.kind.numeric:
        return f"{name}({', '.join(writer.branch(a, node.type) for a in node.args)})"
    texts = [writer.write(a) for a in node.args]
    if node.type.kind is Kind.VARCHAR and name != "COALESCE":
        texts[0] = writer.dialect.ordered(texts[0])
    return f"{name}({', '.join(texts)})"


def _nullif(writer: ExpressionWriter, node: Call) -> str:
    left, right = writer.aligned(node.args)
    return f"CASE WHEN {left} = {right} THEN NULL ELSE {writer.write(node.args[0])} END"


def _logic(writer: ExpressionWriter, node: Call) -> str:
    symbol = " AND " if node.op is Op.AND else " OR "
    return "(" + symbol.join(writer.write(a) for a in node.args) + ")"


def _is_null(writer: ExpressionWriter, node: Call) -> str:
    (value,) = node.args
    if isinstance(value, Column):
        return f"({writer.raw(value)} IS NULL)"
    return f"({writer.write(value)} IS NULL)"


def _function(writer: ExpressionWriter, name: str, node: Call) -> str:
    return f"{name}({', '.join(writer.write(a) for a in node.args)})"


def _text_test(writer: ExpressionWriter, node: Call) -> str:
    value, literal = node.args
    if node.op in {Op.LIKE, Op.ILIKE}:
        return writer.dialect.like(writer.write(value), writer.write(literal), any_case=node.op is Op.ILIKE)
    return writer.dialect.text_test(node.op, writer.write(value), writer.write(literal))


def _temporal(writer: ExpressionWriter, node: Call) -> str:
    name = str(node.args[0].value) if isinstance(node.args[0], Literal) else ""
    values = [writer.write(a) for a in node.args[1:]]
    if node.op is Op.DATE_TRUNC:
        return writer.dialect.truncated(name, values[0])
    if node.op is Op.DATE_PART:
        return writer.dialect.part(name, values[0])
    return writer.dialect.difference(name, values[0], values[1])


_WRITERS: Final[Mapping[Op, Callable[["ExpressionWriter", Call], str]]] = {
    **dict.fromkeys([*_COMPARISONS, Op.NOT_DISTINCT, Op.IN], _comparison),
    Op.ADD: _binary,
    Op.SUBTRACT: _binary,
    Op.MULTIPLY: _binary,
    Op.MODULO: _binary,
    Op.NEGATE: lambda w, n: f"(-{w.long(n.args[0], w.write(n.args[0]))})",
    Op.ABSOLUTE: lambda w, n: f"ABS({w.long(n.args[0], w.write(n.args[0]))})",
    Op.SIGN: lambda w, n: f"CAST(SIGN({w.write(n.args[0])}) AS BIGINT)",
    Op.FLOOR: _rounded,
    Op.CEILING: _rounded,
    Op.ROUND: _rounded,
    Op.ROUND_EVEN: _rounded,
    Op.TRUNCATE: _rounded,
    Op.FLOOR_DIVIDE: _literal_quotient,
    Op.CEILING_DIVIDE: _literal_quotient,
    Op.TRUNCATE_DIVIDE: _literal_quotient,
    Op.CAST: _cast,
    Op.CHECK: _check,
    Op.AND: _logic,
    Op.OR: _logic,
    Op.NOT: lambda w, n: f"(NOT {w.write(n.args[0])})",
    Op.IS_NULL: _is_null,
    Op.CASE: _case,
    Op.COALESCE: lambda w, n: _same_form(w, "COALESCE", n),
    Op.GREATEST: lambda w, n: _same_form(w, "GREATEST", n),
    Op.LEAST: lambda w, n: _same_form(w, "LEAST", n),
    Op.NULLIF: _nullif,
    Op.LIKE: _text_test,
    Op.ILIKE: _text_test,
    Op.STARTS_WITH: _text_test,
    Op.ENDS_WITH: _text_test,
    Op.CONTAINS: _text_test,
    Op.LOWER: lambda w, n: _function(w, "LOWER", n),
    Op.UPPER: lambda w, n: _function(w, "UPPER", n),
    Op.TRIM: lambda w, n: w.dialect.trimmed(n.op, w.write(n.args[0])),
    Op.LTRIM: lambda w, n: w.dialect.trimmed(n.op, w.write(n.args[0])),
    Op.RTRIM: lambda w, n: w.dialect.trimmed(n.op, w.write(n.args[0])),
    Op.SUBSTRING: lambda w, n: _function(w, "SUBSTR", n),
    Op.LENGTH: lambda w, n: _function(w, "LENGTH", n),
    Op.CONCAT: lambda w, n: "(" + " || ".join(w.write(a) for a in n.args) + ")",
    Op.DATE_TRUNC: _temporal,
    Op.DATE_PART: _temporal,
    Op.DATE_DIFF: _temporal,
    Op.DATE_ADD: lambda w, n: f"({w.write(n.args[0])} + {w.write(n.args[1])})",
}
