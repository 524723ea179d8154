"""The clauses of a SELECT that exist for us."""

from typing import Any, Final

from sqlglot import exp

from mpc.plan.text import QueryText

__all__ = ["item_name", "plain"]

_JOIN: Final = "one logical table per query; private joins of two parties' tables are not part of SELECT yet"
_FORBIDDEN: Final = {
    "joins": ("a join", _JOIN),
    "laterals": ("a lateral join", _JOIN),
    "qualify": ("QUALIFY filters by a window", "HAVING"),
    "windows": ("a window", "GROUP BY"),
    "sample": ("a sample differs from run to run", "a filter on a column"),
    "pivots": ("PIVOT", "CASE inside aggregates"),
    "match": ("MATCH", "a filter"),
    "into": ("SELECT INTO writes", "SELECT"),
    "locks": ("locking rows", "SELECT"),
    "hint": ("a hint", "the plain query"),
    "kind": ("SELECT AS", "the plain query"),
    "prewhere": ("PREWHERE", "WHERE"),
    "connect": ("CONNECT BY", "the plain query"),
    "cluster": ("CLUSTER BY", "GROUP BY"),
    "distribute": ("DISTRIBUTE BY", "GROUP BY"),
    "sort": ("SORT BY", "ORDER BY"),
    "operation_modifiers": ("a modifier of SELECT", "the plain query"),
    "exclude": ("EXCLUDE", "the columns by name"),
}
_CLAUSES: Final = {"expressions", "from_", "where", "group", "having", "distinct", "with_", "order", "limit", "offset"}


def plain(text: QueryText, node: Any) -> exp.Select:
    """A SELECT whose clauses are all on the list.

    Raises:
        PlanError: Names the clause.
    """
    if isinstance(node, exp.SetOperation):
        where = text.keyword("UNION", "INTERSECT", "EXCEPT")
        raise text.refuse(where, f"{node.key.upper()} of two queries", "two queries, or one with OR in its WHERE")
    while isinstance(node, exp.Subquery) and node.args.get("alias") is None:
        node = node.this
    if not isinstance(node, exp.Select):
        raise text.refuse(0, "only SELECT is answered", "one SELECT over one logical table")
    for clause, value in node.args.items():
        if value in (None, False, [], ()) or clause in _CLAUSES:
            continue
        reason, instead = _FORBIDDEN.get(clause, (f"the clause {clause.strip('_').upper()}", "a plain SELECT"))
        parts = value if isinstance(value, list) else [value]
        first = next((p for p in parts if isinstance(p, exp.Expr)), node)
        raise text.refuse(first, reason, instead)
    return node


def item_name(node: exp.Expr) -> str:
    """The name of a SELECT item: its alias, its column, or its text."""
    if isinstance(node, (exp.Alias, exp.Column)):
        return str(node.alias_or_name)
    if isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
        return "count_star()"
    return node.sql(dialect="duckdb", comments=False, normalize_functions="lower")
