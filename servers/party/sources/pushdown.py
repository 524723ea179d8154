"""The gate before a remote database, and how a generated statement meets its relations there.

As `statement.py` does for the embedded engine, this refuses whatever is not one query over declared tables made of
allow-listed parts. Here the parser is sqlglot's, because the database's own is out of reach; a difference between the
two is met by the read-only role, the read-only transaction, the prepared statement (one command only) and by sending
sqlglot's own rendering of the tree that was checked, never the text that came in.
"""

from collections.abc import Collection, Mapping
from typing import Any

from mpc.errors import PlanError
from servers.party.sources.spec import quoted

__all__ = ["checked_query", "with_relations"]

MAX_STATEMENT_BYTES = 4 << 20

_NODE_NAMES = """
Alias All And Any Between Boolean CTE Case Coalesce Collate Column ColumnDef Concat DPipe DataType DataTypeParam
Distinct EQ Escape Exists Filter From GT GTE Group Having Identifier If ILike In IntDiv Interval Is Join LT LTE Like
Limit Literal NEQ Neg Not Null NullSafeEQ NullSafeNEQ Nullif Offset Or Order Ordered Paren RegexpLike Select Star
Subquery Table TableAlias Tuple Union Values Var Where With
Abs Add BitwiseAnd BitwiseLeftShift BitwiseOr BitwiseRightShift BitwiseXor Cast Ceil Div Exp Floor Greatest IsInf IsNan
Least Ln Log Mod Mul Pow Round Sign Sqrt Sub Trunc TryCast
Ascii Chr Left Length Lower MD5 Replace Right StrPosition Substring Trim Upper
AtTimeZone Date DateAdd DateDiff DateSub DateTrunc Day DayOfWeek DayOfWeekIso DayOfYear Extract Month Quarter TimeToStr
TimestampTrunc TsOrDsToDate ToChar Week WeekOfYear Year
ArrayAgg Avg BitwiseAndAgg BitwiseOrAgg BitwiseXorAgg Count CountIf CovarPop CovarSamp LogicalAnd LogicalOr Max Min
Stddev StddevPop StddevSamp Sum Variance VariancePop
"""
"""sqlglot's node classes that a generated statement is made of: structure; arithmetic; text; dates; aggregates."""

_FUNCTION_NAMES = """
btrim char_length ceiling date_part div make_date ltrim mod octet_length power round rtrim sha256 starts_with trunc
width_bucket
"""
"""Functions without a node class of their own."""

_NODES = frozenset(_NODE_NAMES.split())
_NAMED_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())


def checked_query(statement: str, relations: Collection[str], dialect: str) -> str:
    """The statement, rendered again from its checked tree.

    Args:
        statement: The generated text.
        relations: Logical table names that may stand in FROM.
        dialect: sqlglot's name of the database's dialect.

    Raises:
        PlanError: Says what kind of thing was refused.
    """
    import sqlglot
    from sqlglot import exp

    if len(statement.encode()) > MAX_STATEMENT_BYTES or "\0" in statement:
        raise PlanError("the generated statement is too long or not text")
    try:
        trees: list[Any] = sqlglot.parse(statement, dialect=dialect)
    except (sqlglot.ParseError, sqlglot.TokenError, RecursionError):
        raise PlanError("the generated statement is not a query") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise PlanError("a generated statement is exactly one query")
    for node in trees[0].walk():
        _check(node)
    _check_tables(trees[0], frozenset(name.lower() for name in relations))
    text: str = trees[0].sql(dialect=dialect, comments=False)
    return text


def with_relations(statement: str, relations: Mapping[str, str]) -> str:
    """Let the statement's table names mean the relations' queries (valid in every dialect with CTEs).

    >>> with_relations('SELECT 1 FROM "t"', {"t": "SELECT 1"})
    'WITH "t" AS (SELECT 1) SELECT * FROM (SELECT 1 FROM "t") AS "result"'
    """
    named = ", ".join(f"{quoted(name)} AS ({query})" for name, query in relations.items())
    return f'WITH {named} SELECT * FROM ({statement}) AS "result"'  # noqa: S608


def _check(node: Any) -> None:
    """Refuse a node that is not on the lists."""
    kind = type(node).__name__
    if kind == "Anonymous":
        if str(node.name).lower() not in _NAMED_FUNCTIONS:
            _refuse(f"the function {str(node.name)[:40]}")
    elif kind not in _NODES:
        _refuse(kind)
    if kind == "DataType" and node.this.name in {"USERDEFINED", "UNKNOWN"}:
        _refuse("a type of the database's own")
    if kind == "Table":
        plain = type(node.this).__name__ == "Identifier" and not node.args.get("db") and not node.args.get("catalog")
        if not plain or set(_given(node)) - {"this", "alias"}:
            _refuse("a table that is not a plain name")
    if kind == "Select" and set(_given(node)) & {"into", "locks", "laterals", "sample", "hint", "connect"}:
        _refuse("a clause of SELECT")


def _given(node: Any) -> list[str]:
    return [key for key, value in node.args.items() if value]


def _check_tables(query: Any, scope: frozenset[str]) -> None:
    """Refuse table names that mean nothing here; a query sees its own CTEs, a CTE those before it."""
    with_ = next((node for key, node in query.args.items() if key.startswith("with") and node is not None), None)
    if with_ is not None:
        if with_.args.get("recursive"):
            _refuse("a recursive query")
        for cte in with_.expressions:
            _check_tables(cte.this, scope)
            scope |= {cte.alias.lower()}
    for node in query.iter_expressions():
        if node is not with_:
            _descend(node, scope)


def _descend(node: Any, scope: frozenset[str]) -> None:
    kind = type(node).__name__
    if kind == "Table" and node.name.lower() not in scope:
        _refuse("a table that is not declared")
    if kind in {"Select", "Union", "Subquery"}:
        _check_tables(node, scope)
        return
    for child in node.iter_expressions():
        _descend(child, scope)


def _refuse(what: str) -> None:
    raise PlanError(f"a generated statement may not hold {what}")
