"""The allow-list of scalar SQL: which parser nodes exist for us and how each is typed."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from sqlglot import exp

from mpc.errors import PlanError
from mpc.plan import algebra, temporal
from mpc.plan.algebra import BOOLEAN, hull, integer
from mpc.plan.casts import bind_cast, coerced
from mpc.plan.ir import Call, Kind, Literal, Op, Scalar, Type
from mpc.plan.scalars import Binder, Handler

__all__ = ["HANDLERS"]

_NULL: Final = Literal(None, Type(kind=Kind.NULL))


def _comparison(op: Op) -> Callable[[Binder, Any], Scalar]:
    def build(binder: Binder, node: Any) -> Scalar:
        return compare(op, binder.bind(node.this), binder.bind(node.expression))

    return build


def compare(op: Op, left: Scalar, right: Scalar) -> Scalar:
    """A comparison of two values of one family; a string literal beside a date is read as a date."""
    left, right = coerced(left, right)
    if left.type.kind is Kind.INTERVAL or right.type.kind is Kind.INTERVAL:
        raise PlanError(reason="intervals are not compared", instead="DATE_DIFF('day', a, b)")
    return Call(op, (left, right), Type(kind=Kind.BOOLEAN, nullable=left.type.nullable or right.type.nullable))


def _logic(op: Op) -> Callable[[Binder, Any], Scalar]:
    def build(binder: Binder, node: Any) -> Scalar:
        flat: list[Scalar] = []
        for part in (node.this, node.expression):
            value = _truth(binder, part)
            flat += value.args if isinstance(value, Call) and value.op is op else (value,)
        return Call(op, tuple(flat), BOOLEAN)

    return build


def _truth(binder: Binder, node: Any) -> Scalar:
    value = binder.bind(node)
    if value.type.kind not in {Kind.BOOLEAN, Kind.NULL}:
        raise binder.text.refuse(node, f"a condition is needed, not {value.type.kind}", "a comparison")
    return value


def _not(binder: Binder, node: exp.Not) -> Scalar:
    return Call(Op.NOT, (_truth(binder, node.this),), BOOLEAN)


def _is(binder: Binder, node: exp.Is) -> Scalar:
    value, other = binder.bind(node.this), node.expression
    certain = Type(kind=Kind.BOOLEAN, nullable=False)
    if isinstance(other, exp.Null):
        return Call(Op.IS_NULL, (value,), certain)
    if isinstance(other, exp.Boolean) and value.type.kind is Kind.BOOLEAN:
        wanted = Literal(bool(other.this), certain)
        return Call(Op.NOT_DISTINCT, (value, wanted), certain)
    raise PlanError(reason="IS takes NULL, TRUE or FALSE", instead="IS [NOT] NULL")


def _not_distinct(binder: Binder, node: Any) -> Scalar:
    left, right = coerced(binder.bind(node.this), binder.bind(node.expression))
    return Call(Op.NOT_DISTINCT, (left, right), Type(kind=Kind.BOOLEAN, nullable=False))


def _distinct(binder: Binder, node: Any) -> Scalar:
    return Call(Op.NOT, (_not_distinct(binder, node),), Type(kind=Kind.BOOLEAN, nullable=False))


def _in(binder: Binder, node: exp.In) -> Scalar:
    if node.args.get("query") is not None:
        raise PlanError(
            reason="IN with a subquery would be evaluated by each party on its own rows",
            instead="a list of literals",
        )
    value = binder.bind(node.this)
    values = [coerced(value, binder.bind(item)) for item in node.expressions]
    if not values or not all(isinstance(v, Literal) for _, v in values):
        raise PlanError(reason="IN takes a list of literals", instead="a = b OR a = c")
    return Call(Op.IN, (values[0][0], *(v for _, v in values)), BOOLEAN)


def _between(binder: Binder, node: exp.Between) -> Scalar:
    value = binder.bind(node.this)
    low = compare(Op.GREATER_EQUAL, value, binder.bind(node.args["low"]))
    high = compare(Op.LESS_EQUAL, value, binder.bind(node.args["high"]))
    return Call(Op.AND, (low, high), BOOLEAN)


def _like(op: Op) -> Callable[[Binder, Any], Scalar]:
    def build(binder: Binder, node: Any) -> Scalar:
        value = _text(binder.bind(node.this))
        pattern = binder.string_literal(node.expression)
        if "\\" in pattern:
            raise PlanError(reason="a backslash in a pattern differs between databases", instead="CONTAINS(s, '\\')")
        literal = Literal(pattern, Type(kind=Kind.VARCHAR, nullable=False))
        found: Scalar = Call(op, (value, literal), BOOLEAN)
        return Call(Op.NOT, (found,), BOOLEAN) if node.args.get("negate") else found

    return build


def _text(value: Scalar) -> Scalar:
    if value.type.kind not in {Kind.VARCHAR, Kind.NULL}:
        raise PlanError(reason=f"text is needed, not {value.type.kind}", instead="a VARCHAR column")
    return value


def _case(binder: Binder, node: exp.Case) -> Scalar:
    subject = binder.bind(node.this) if node.this is not None else None
    conditions: list[Scalar] = []
    values: list[Scalar] = []
    for branch in node.args["ifs"]:
        if subject is None:
            conditions.append(_truth(binder, branch.this))
        else:
            conditions.append(compare(Op.EQUAL, subject, binder.bind(branch.this)))
        values.append(binder.bind(branch.args["true"]))
    default = node.args.get("default")
    values.append(binder.bind(default) if default is not None else _NULL)
    return _case_call(conditions, values)


def _case_call(conditions: list[Scalar], values: list[Scalar]) -> Scalar:
    pairs = [part for pair in zip(conditions, values, strict=False) for part in pair]
    return Call(Op.CASE, (*pairs, values[-1]), hull(values))


def _if(binder: Binder, node: exp.If) -> Scalar:
    otherwise = node.args.get("false")
    values = [binder.bind(node.args["true"]), binder.bind(otherwise) if otherwise is not None else _NULL]
    return _case_call([_truth(binder, node.this)], values)


def _coalesce(binder: Binder, node: exp.Coalesce) -> Scalar:
    args = tuple(binder.bind(a) for a in (node.this, *node.expressions))
    kind = hull(args)
    certain = any(not a.type.nullable for a in args)
    return Call(Op.COALESCE, args, _with_nullable(kind, nullable=not certain))


def _with_nullable(kind: Type, *, nullable: bool) -> Type:
    return Type(
        kind=kind.kind, scale=kind.scale, low=kind.low, high=kind.high, nullable=nullable, max_bytes=kind.max_bytes
    )


def _extreme(op: Op) -> Callable[[Binder, Any], Scalar]:
    def build(binder: Binder, node: Any) -> Scalar:
        args = tuple(binder.bind(a) for a in (node.this, *node.expressions))
        nullable = all(a.type.nullable for a in args)
        return Call(op, args, _with_nullable(hull(args), nullable=nullable))

    return build


def _nullif(binder: Binder, node: exp.Nullif) -> Scalar:
    left, right = coerced(binder.bind(node.this), binder.bind(node.expression))
    return Call(Op.NULLIF, (left, right), _with_nullable(left.type, nullable=True))


def _arithmetic(build: Callable[[Scalar, Scalar], Scalar], op: Op) -> Callable[[Binder, Any], Scalar]:
    def bound(binder: Binder, node: Any) -> Scalar:
        left, right = binder.bind(node.this), binder.bind(node.expression)
        if left.type.kind.temporal or right.type.kind.temporal:
            return temporal.shifted(op, left, right)
        return build(left, right)

    return bound


def _divide(binder: Binder, node: exp.Div) -> Scalar:
    return algebra.divide(binder.bind(node.this), binder.bind(node.expression), opened=binder.opened)


def _integer_divide(binder: Binder, node: exp.IntDiv) -> Scalar:
    left, right = binder.bind(node.this), binder.bind(node.expression)
    if left.type.kind is Kind.DOUBLE or left.type.scale or right.type.scale:
        raise PlanError(reason="// of numbers with decimals", instead="FLOOR(a / literal)")
    if binder.opened:
        return Call(Op.TRUNCATE_DIVIDE, (left, right), Type(kind=Kind.INTEGER))
    return algebra.floor_quotient(Op.TRUNCATE_DIVIDE, left, right, Kind.INTEGER)


def _modulo(binder: Binder, node: exp.Mod) -> Scalar:
    left, right = binder.bind(node.this), binder.bind(node.expression)
    if binder.opened and not isinstance(right, Literal):
        kind = algebra.wider(left.type.kind, right.type.kind)
        return Call(Op.MODULO, (left, right), Type(kind=kind, scale=max(left.type.scale, right.type.scale)))
    return algebra.modulo(left, right)


def _rounding(op: Op, quotient: Op | None) -> Callable[[Binder, Any], Scalar]:
    def build(binder: Binder, node: Any) -> Scalar:
        inner = node.this.this if isinstance(node.this, exp.Paren) else node.this
        digits = binder.integer_literal(node.args.get("decimals"), default=0)
        if quotient is not None and isinstance(inner, exp.Div) and not binder.opened and digits == 0:
            left, right = binder.bind(inner.this), binder.bind(inner.expression)
            return algebra.floor_quotient(quotient, left, right, Kind.DOUBLE)
        value = binder.bind(node.this)
        if binder.opened and value.type.kind is Kind.DOUBLE:
            return Call(op, (value, integer(digits)), Type(kind=Kind.DOUBLE))
        return algebra.round_to(op, value, digits)

    return build


def _power(binder: Binder, node: exp.Pow) -> Scalar:
    value = binder.bind(node.this)
    if binder.opened:
        return Call(Op.POWER, (value, binder.bind(node.expression)), Type(kind=Kind.DOUBLE))
    exponent = binder.integer_literal(node.expression)
    if not 1 <= exponent <= 6:
        raise PlanError(reason="a power is exact for exponents 1 to 6 only", instead="x * x")
    result = value
    for _ in range(exponent - 1):
        result = algebra.multiply(result, value) if result is not value else algebra.multiply(value, value)
    return result


def _real(op: Op) -> Callable[[Binder, Any], Scalar]:
    def build(binder: Binder, node: Any) -> Scalar:
        if not binder.opened:
            raise PlanError(reason=f"{op.upper()} is inexact per row", instead=f"{op.upper()} of an aggregate")
        argument = node.expression if isinstance(node, exp.Log) else node.this
        if isinstance(node, exp.Log) and str(node.this.this) != "10":
            raise PlanError(reason="a logarithm to this base", instead="LN(x) or LOG10(x)")
        return Call(op, (binder.bind(argument),), Type(kind=Kind.DOUBLE))

    return build


def _unary(build: Callable[[Scalar], Scalar]) -> Callable[[Binder, Any], Scalar]:
    return lambda binder, node: build(binder.bind(node.this))


def _sign(value: Scalar) -> Scalar:
    return Call(Op.SIGN, (value,), Type(kind=Kind.INTEGER, low=-1, high=1, nullable=value.type.nullable))


def _change_case(op: Op) -> Callable[[Binder, Any], Scalar]:
    def build(binder: Binder, node: Any) -> Scalar:
        value = _text(binder.bind(node.this))
        return Call(op, (value,), value.type)

    return build


def _trim(binder: Binder, node: exp.Trim) -> Scalar:
    value = _text(binder.bind(node.this))
    op = {"LEADING": Op.LTRIM, "TRAILING": Op.RTRIM}.get(str(node.args.get("position") or "BOTH").upper(), Op.TRIM)
    return Call(op, (value,), value.type)


def _substring(binder: Binder, node: exp.Substring) -> Scalar:
    value = _text(binder.bind(node.this))
    start = binder.integer_literal(node.args.get("start"), default=1)
    length = node.args.get("length")
    size = binder.integer_literal(length) if length is not None else None
    if start < 1 or (size is not None and size < 0):
        raise PlanError(reason="SUBSTR from before the first character", instead="SUBSTR(s, 1, n)")
    args = (value, integer(start)) if size is None else (value, integer(start), integer(size))
    most = value.type.max_bytes if size is None else min(4 * size, value.type.max_bytes or 4 * size)
    return Call(Op.SUBSTRING, args, Type(kind=Kind.VARCHAR, nullable=value.type.nullable, max_bytes=most))


def _left(binder: Binder, node: exp.Left) -> Scalar:
    value, size = _text(binder.bind(node.this)), binder.integer_literal(node.expression)
    if size < 0:
        raise PlanError(reason="LEFT with a negative length", instead="SUBSTR(s, 1, n)")
    kind = Type(
        kind=Kind.VARCHAR, nullable=value.type.nullable, max_bytes=min(4 * size, value.type.max_bytes or 4 * size)
    )
    return Call(Op.SUBSTRING, (value, integer(1), integer(size)), kind)


def _length(binder: Binder, node: exp.Length) -> Scalar:
    value = _text(binder.bind(node.this))
    kind = Type(kind=Kind.INTEGER, low=0, high=1 << 31, nullable=value.type.nullable)
    return Call(Op.LENGTH, (value,), kind)


def _concat(binder: Binder, node: Any) -> Scalar:
    args = tuple(_text(binder.bind(a)) for a in (node.this, node.expression))
    sizes = [a.type.max_bytes for a in args]
    most = None if None in sizes else sum(s for s in sizes if s is not None)
    nullable = any(a.type.nullable for a in args)
    return Call(Op.CONCAT, args, Type(kind=Kind.VARCHAR, nullable=nullable, max_bytes=most))


def _test_text(op: Op) -> Callable[[Binder, Any], Scalar]:
    def build(binder: Binder, node: Any) -> Scalar:
        literal = Literal(binder.string_literal(node.expression), Type(kind=Kind.VARCHAR, nullable=False))
        return Call(op, (_text(binder.bind(node.this)), literal), BOOLEAN)

    return build


def _boolean(_: Binder, node: exp.Boolean) -> Scalar:
    return Literal(bool(node.this), Type(kind=Kind.BOOLEAN, nullable=False))


def _handler(build: Callable[[Binder, Any], Scalar], *reads: str) -> Handler:
    return Handler(build, frozenset(reads))


_TWO = ("this", "expression")

HANDLERS: Final[Mapping[type[exp.Expr], Handler]] = MappingProxyType(
    {
        exp.Null: _handler(lambda _b, _n: _NULL),
        exp.Boolean: _handler(_boolean, "this"),
        exp.EQ: _handler(_comparison(Op.EQUAL), *_TWO),
        exp.NEQ: _handler(_comparison(Op.NOT_EQUAL), *_TWO),
        exp.LT: _handler(_comparison(Op.LESS), *_TWO),
        exp.LTE: _handler(_comparison(Op.LESS_EQUAL), *_TWO),
        exp.GT: _handler(_comparison(Op.GREATER), *_TWO),
        exp.GTE: _handler(_comparison(Op.GREATER_EQUAL), *_TWO),
        exp.And: _handler(_logic(Op.AND), *_TWO),
        exp.Or: _handler(_logic(Op.OR), *_TWO),
        exp.Not: _handler(_not, "this"),
        exp.Is: _handler(_is, *_TWO),
        exp.NullSafeEQ: _handler(_not_distinct, *_TWO),
        exp.NullSafeNEQ: _handler(_distinct, *_TWO),
        exp.In: _handler(_in, "this", "expressions", "query"),
        exp.Between: _handler(_between, "this", "low", "high"),
        exp.Like: _handler(_like(Op.LIKE), *_TWO, "negate"),
        exp.ILike: _handler(_like(Op.ILIKE), *_TWO, "negate"),
        exp.Case: _handler(_case, "this", "ifs", "default"),
        exp.If: _handler(_if, "this", "true", "false"),
        exp.Coalesce: _handler(_coalesce, "this", "expressions"),
        exp.Greatest: _handler(_extreme(Op.GREATEST), "this", "expressions", "ignore_nulls"),
        exp.Least: _handler(_extreme(Op.LEAST), "this", "expressions", "ignore_nulls"),
        exp.Nullif: _handler(_nullif, *_TWO),
        exp.Add: _handler(_arithmetic(algebra.add, Op.ADD), *_TWO),
        exp.Sub: _handler(_arithmetic(algebra.subtract, Op.SUBTRACT), *_TWO),
        exp.Mul: _handler(_arithmetic(algebra.multiply, Op.MULTIPLY), *_TWO),
        exp.Div: _handler(_divide, *_TWO),
        exp.IntDiv: _handler(_integer_divide, *_TWO),
        exp.Mod: _handler(_modulo, *_TWO),
        exp.Neg: _handler(_unary(algebra.negate), "this"),
        exp.Abs: _handler(_unary(algebra.absolute), "this"),
        exp.Sign: _handler(_unary(_sign), "this"),
        exp.Floor: _handler(_rounding(Op.FLOOR, Op.FLOOR_DIVIDE), "this", "decimals"),
        exp.Ceil: _handler(_rounding(Op.CEILING, Op.CEILING_DIVIDE), "this", "decimals"),
        exp.Round: _handler(_rounding(Op.ROUND, None), "this", "decimals"),
        exp.Trunc: _handler(_rounding(Op.TRUNCATE, Op.TRUNCATE_DIVIDE), "this"),
        exp.Pow: _handler(_power, *_TWO),
        exp.Sqrt: _handler(_real(Op.SQRT), "this"),
        exp.Ln: _handler(_real(Op.LN), "this"),
        exp.Log: _handler(_real(Op.LOG10), *_TWO),
        exp.Exp: _handler(_real(Op.EXP), "this"),
        exp.Lower: _handler(_change_case(Op.LOWER), "this"),
        exp.Upper: _handler(_change_case(Op.UPPER), "this"),
        exp.Trim: _handler(_trim, "this", "position"),
        exp.Substring: _handler(_substring, "this", "start", "length"),
        exp.Left: _handler(_left, *_TWO),
        exp.Length: _handler(_length, "this"),
        exp.DPipe: _handler(_concat, *_TWO),
        exp.Contains: _handler(_test_text(Op.CONTAINS), *_TWO),
        exp.StartsWith: _handler(_test_text(Op.STARTS_WITH), *_TWO),
        exp.EndsWith: _handler(_test_text(Op.ENDS_WITH), *_TWO),
        exp.Cast: _handler(bind_cast, "this", "to"),
        **temporal.TEMPORAL_HANDLERS,
    }
)
