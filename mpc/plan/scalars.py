"""Binding scalar expressions: an allow-list from the parser's nodes to our typed ones.

A node whose class is not in the table is refused, and so is a listed node with an argument that its handler does not
read: an option of SQL that we overlook can never be dropped silently.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from mpc.errors import PlanError
from mpc.plan.algebra import number
from mpc.plan.ir import Kind, Literal, Scalar, Type
from mpc.plan.text import QueryText

__all__ = ["Binder", "Handler", "Resolve", "Special", "refusal_of"]

Resolve = Callable[[exp.Column], Scalar]
Special = Callable[[exp.Expr], Scalar | None]

_INTERNAL = {"big_int", "safe", "typed", "_type", "date_part_boundary", "is_string", "nested", "quoted"}
"""Arguments that the parser sets by itself."""

_AGGREGATES = (exp.AggFunc, exp.WithinGroup, exp.Filter)


@dataclass(frozen=True, slots=True)
class Handler:
    """How one class of parser nodes is bound."""

    build: Callable[["Binder", Any], Scalar]
    reads: frozenset[str]
    """The arguments that `build` takes into account; a node with any other is refused."""


class Binder:
    """Turns parser nodes into typed nodes.

    Args:
        text: The analyst's text, for offsets.
        resolve: Finds a column by name.
        special: Is asked first for every node; aggregates and group keys are recognised there.
        opened: Whether the expression is over opened totals, where intervals are unknown and any division is fine.
        handlers: The allow-list.
    """

    def __init__(
        self,
        text: QueryText,
        resolve: Resolve,
        handlers: Mapping[type[exp.Expr], Handler],
        *,
        special: Special | None = None,
        opened: bool = False,
    ) -> None:
        self.text = text
        self.opened = opened
        self._resolve = resolve
        self._special = special
        self._handlers = handlers

    def bind(self, node: exp.Expr) -> Scalar:
        """Bind a node.

        Raises:
            PlanError: With offset, reason and alternative.
        """
        try:
            if self._special is not None and (found := self._special(node)) is not None:
                return found
            if isinstance(node, exp.Column):
                return self._resolve(node)
            if isinstance(node, exp.Paren):
                return self.bind(node.this)
            return self._dispatch(node)
        except PlanError as error:
            if "offset" in error.fields:
                raise
            raise PlanError(error.detail, offset=self.text.offset(node), **error.fields) from None
        except RecursionError:
            raise PlanError(offset=0, reason="the expression is nested too deeply", instead="a simpler one") from None

    def _dispatch(self, node: exp.Expr) -> Scalar:
        if isinstance(node, exp.Literal):
            return self.literal(node)
        handler = self._handlers.get(type(node))
        if handler is None:
            raise refusal_of(node)
        unread = {k for k, v in node.args.items() if v not in (None, False, [], ())} - handler.reads - _INTERNAL
        if unread:
            raise PlanError(reason=f"this form of {node.key.upper()} is not supported", instead="its plain form")
        return handler.build(self, node)

    @staticmethod
    def literal(node: exp.Literal) -> Literal:
        """A string or a number."""
        text = str(node.this)
        if node.is_string:
            size = len(text.encode())
            return Literal(text, Type(kind=Kind.VARCHAR, nullable=False, max_bytes=size))
        return number(text.replace("_", ""))

    def integer_literal(self, node: exp.Expr | None, *, default: int | None = None) -> int:
        """A literal whole number where the grammar wants one."""
        if node is None:
            if default is None:
                raise PlanError(reason="an argument is missing", instead="a literal whole number")
            return default
        value = self.bind(node)
        if not isinstance(value, Literal) or not isinstance(value.value, int) or value.type.scale:
            raise self.text.refuse(node, "this must be a literal whole number", "a number")
        return value.value

    def string_literal(self, node: Any) -> str:
        """A literal string where the grammar wants one."""
        value = self.bind(node) if isinstance(node, exp.Expr) else None
        if not isinstance(value, Literal) or not isinstance(value.value, str):
            raise PlanError(reason="the pattern must be a literal", instead="a quoted string")
        return value.value


def refusal_of(node: exp.Expr) -> PlanError:
    """Why a node outside the allow-list is refused, and what to write instead."""
    for kinds, reason, instead in _REFUSALS:
        if isinstance(node, kinds):
            return PlanError(reason=reason, instead=instead)
    if isinstance(node, exp.Anonymous):
        name = str(node.this)[:40]
        if name.lower() in _CLOCK:
            return PlanError(reason=f"{name}() differs from party to party", instead="a literal date or timestamp")
        return PlanError(reason=f"the function {name} is not on the list", instead="a listed function")
    if isinstance(node, _AGGREGATES):
        return PlanError(
            reason=f"the aggregate {node.key.upper()} is not supported here", instead="COUNT, SUM, AVG, ..."
        )
    return PlanError(
        reason=f"{node.key.upper()} is not supported", instead="arithmetic, CASE, comparisons, listed functions"
    )


_CLOCK = {"now", "get_current_timestamp", "transaction_timestamp", "current_timestamp", "today", "clock_timestamp"}

_REFUSALS: tuple[tuple[Any, str, str], ...] = (
    (
        (exp.Subquery, exp.Select, exp.Exists),
        "a subquery inside an expression would be evaluated by each party on its own rows",
        "two queries, the second with the first one's result as a literal",
    ),
    ((exp.Rollup, exp.Cube, exp.GroupingSets), "grouping sets", "one query per set of keys"),
    (exp.Window, "a window runs over rows of all parties", "GROUP BY, or ORDER BY and LIMIT over aggregates"),
    ((exp.Rand,), "random() gives every party another plan", "a literal, or a bucket of a column"),
    (
        (
            exp.CurrentDate,
            exp.CurrentTimestamp,
            exp.CurrentTime,
            exp.CurrentDatetime,
            exp.Localtimestamp,
            exp.Localtime,
        ),
        "the clock differs from party to party",
        "a literal date or timestamp",
    ),
    (
        (exp.Min, exp.Max, exp.ArgMax, exp.ArgMin),
        "MIN and MAX are not sums of local statistics",
        "QUANTILE_CONT(x, 0.01) or 0.99 from the declared range, or a HISTOGRAM",
    ),
    (
        (exp.GroupConcat, exp.ArrayAgg, exp.List, exp.AnyValue, exp.IgnoreNulls, exp.First, exp.Last, exp.Mode),
        "this aggregate shows single rows",
        "COUNT, SUM, AVG, VAR, QUANTILE_CONT, HISTOGRAM",
    ),
    (exp.ApproxDistinct, "distinct values are not a sum over parties", "COUNT(DISTINCT u) of a local key"),
    ((exp.RegexpLike, exp.SimilarTo, exp.Glob), "regular expressions differ between databases", "LIKE or ILIKE"),
    ((exp.Placeholder, exp.Parameter), "a parameter has no value here", "the literal"),
    (exp.Star, "* names no columns", "the columns by name, or COUNT(*)"),
    (exp.TryCast, "TRY_CAST hides values that do not fit", "CAST, or CASE WHEN x BETWEEN ... THEN x END"),
    ((exp.Array, exp.Struct, exp.Bracket), "nested values are not supported", "plain columns"),
)
