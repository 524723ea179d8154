"""FROM: filters and projections are inlined; a grouping subquery stays within a party or is refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlglot import exp

from mpc.errors import PlanError
from mpc.keys.dictionary import Dictionary, Table
from mpc.plan.aggregates import contains_aggregate, is_aggregate
from mpc.plan.algebra import MAX_MAGNITUDE, numeric_cast, tighten
from mpc.plan.clauses import item_name, plain
from mpc.plan.handlers import HANDLERS
from mpc.plan.ir import AggregateRef, Call, Column, KeyRef, Kind, Op, Scalar, Type, columns_of
from mpc.plan.relation import Relation, find_column, subquery_column, table_relation
from mpc.plan.scalars import Binder
from mpc.plan.source import GroupedSource, LocalAggregate, LocalFunction, NullGuard, Rows
from mpc.plan.statistics import both
from mpc.plan.text import QueryText

__all__ = ["Environment", "Subqueries"]

_STRICT: Final = frozenset(
    {Op.EQUAL, Op.NOT_EQUAL, Op.LESS, Op.LESS_EQUAL, Op.GREATER, Op.GREATER_EQUAL, Op.IN, Op.LIKE, Op.ILIKE}
)
"""Conditions that are never true for NULL."""


@dataclass(frozen=True, slots=True)
class _Cte:
    body: exp.Expr
    environment: "Environment"


Environment = Mapping[str, _Cte]
"""The WITH names in reach."""


class Subqueries:
    """Resolves FROM clauses.

    Args:
        text: The analyst's text.
        dictionary: The logical tables.
    """

    def __init__(self, text: QueryText, dictionary: Dictionary) -> None:
        self._text = text
        self._dictionary = dictionary

    def binder(self, relation: Relation) -> Binder:
        """A row-level binder over a relation."""
        return Binder(self._text, lambda node: find_column(relation, node), HANDLERS)

    def relation(self, select: exp.Select, outer: Environment) -> Relation:
        """The relation of a SELECT's WITH, FROM and WHERE.

        Raises:
            PlanError: With offset, reason and alternative.
        """
        environment = self._environment(select, outer)
        source = select.args.get("from_")
        if source is None:
            raise self._text.refuse(select, "there is no FROM", "FROM a logical table")
        relation = self._source(source.this, environment)
        where = select.args.get("where")
        if where is None:
            return relation
        if contains_aggregate(where.this):
            raise self._text.refuse(where, "an aggregate in WHERE", "HAVING")
        condition = self.binder(relation).bind(where.this)
        if condition.type.kind not in {Kind.BOOLEAN, Kind.NULL}:
            raise self._text.refuse(where, "WHERE needs a condition", "a comparison")
        return replace(relation, rows=replace(relation.rows, where=both(relation.rows.where, condition)))

    def _environment(self, select: exp.Select, outer: Environment) -> Environment:
        with_ = select.args.get("with_")
        if with_ is None:
            return outer
        if with_.args.get("recursive"):
            raise self._text.refuse(self._text.keyword("RECURSIVE"), "a recursive query", "a plain WITH")
        environment = dict(outer)
        for cte in with_.expressions:
            if cte.args["alias"].columns:
                raise self._text.refuse(cte, "a WITH name with a column list", "aliases inside the subquery")
            environment[str(cte.alias).lower()] = _Cte(cte.this, dict(environment))
        return environment

    def _source(self, node: Any, environment: Environment) -> Relation:
        alias = str(node.alias or "")
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            unread = {k for k, v in node.args.items() if v and k not in {"this", "alias", "db", "catalog"}}
            if unread or (node.args.get("alias") and node.args["alias"].columns):
                reason = "a join" if "joins" in unread else "this form of FROM"
                raise self._text.refuse(node, f"{reason} is not supported", "FROM table AS alias")
            cte = environment.get(node.name.lower())
            if cte is not None and node.args.get("db") is None:
                return self._inner(cte.body, cte.environment, alias or node.name)
            try:
                return table_relation(self._dictionary, node, alias)
            except PlanError as error:
                raise PlanError(offset=self._text.offset(node), **error.fields) from None
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            if node.args["alias"] and node.args["alias"].columns:
                raise self._text.refuse(node, "a subquery with a column list", "aliases inside the subquery")
            return self._inner(node.this, environment, alias or "subquery")
        raise self._text.refuse(node, "this FROM does not name a logical table", "FROM table")

    def _inner(self, body: exp.Expr, environment: Environment, alias: str) -> Relation:
        select = plain(self._text, body)
        for clause in ("limit", "offset"):
            if (node := select.args.get(clause)) is not None:
                where = self._text.keyword(clause, after=self._text.offset(select))
                raise self._text.refuse(
                    where or self._text.offset(node),
                    f"{clause.upper()} inside a subquery would be applied by each party to its own rows",
                    f"{clause.upper()} at the end of the query",
                )
        relation = self.relation(select, environment)
        grouped = select.args.get("group") or select.args.get("distinct") or select.args.get("having")
        if not grouped and not any(contains_aggregate(e) for e in select.expressions):
            return self._projected(select, relation, alias)
        return _Grouped(self, self._text, select, relation).build(alias)

    def _projected(self, select: exp.Select, relation: Relation, alias: str) -> Relation:
        binder = self.binder(relation)
        columns: dict[str, tuple[str, Scalar]] = {}
        for item in select.expressions:
            if isinstance(item, exp.Star) and not any(item.args.values()):
                columns.update(relation.columns)
                continue
            name = item_name(item)
            columns[name.lower()] = (name, binder.bind(item.unalias()))
        return replace(relation, columns=columns, alias=alias)


class _Grouped:
    """One subquery with GROUP BY or DISTINCT."""

    def __init__(self, owner: Subqueries, text: QueryText, select: exp.Select, relation: Relation) -> None:
        self._text = text
        self._select = select
        self._relation = relation
        self._rows = owner.binder(relation)
        self._keys: tuple[Scalar, ...] = ()
        self._aggregates: dict[LocalAggregate, int] = {}
        self._masses: list[int | None] = []

    def build(self, alias: str) -> Relation:
        """The relation of the groups.

        Raises:
            PlanError: No key is a local key, so a group may span parties.
        """
        items = [(item_name(e), e.unalias()) for e in self._select.expressions]
        self._keys = tuple(self._rows.bind(node) for node in self._key_nodes(items))
        guards = (*self._relation.guards, *self._null_guard(self._local_keys()))
        binder = Binder(self._text, self._no_column, HANDLERS, special=self._special)
        names = _own_names([name for name, _ in items])
        outputs = [(own, binder.bind(node)) for own, (_, node) in zip(names, items, strict=True)]
        having = self._select.args.get("having")
        condition = binder.bind(having.this) if having is not None else None
        aggregates = tuple(self._aggregates)
        source = GroupedSource(self._relation.rows, self._keys, aggregates, condition, tuple(outputs))
        columns = {
            name.lower(): (name, self._column(own, value))
            for (name, _), (own, value) in zip(items, outputs, strict=True)
        }
        rows = Rows(source, None)
        return Relation(table=self._relation.table, rows=rows, columns=columns, alias=alias, guards=guards)

    def _column(self, name: str, value: Scalar) -> Scalar:
        if isinstance(value, KeyRef):
            key = self._keys[value.index]
            local = isinstance(key, Column) and key.local
            return subquery_column(name, key, local=local, mass=None)
        mass = self._masses[value.index] if isinstance(value, AggregateRef) else None
        return subquery_column(name, value, local=False, mass=mass)

    def _key_nodes(self, items: list[tuple[str, exp.Expr]]) -> list[exp.Expr]:
        group = self._select.args.get("group")
        if group is None:
            if self._select.args.get("distinct") is None:
                raise self._text.refuse(
                    self._select, "a total over all parties inside a subquery", "the aggregate in the outer query"
                )
            if self._select.args["distinct"].args.get("on") is not None:
                raise self._text.refuse(self._select, "DISTINCT ON", "GROUP BY")
            return [node for _, node in items]
        unread = {k for k, v in group.args.items() if v and k not in {"expressions", "all"}}
        if unread:
            raise self._text.refuse(group, "grouping sets", "one query per set of keys")
        if group.args.get("all"):
            return [node for _, node in items if not contains_aggregate(node)]
        return [_pointed(node, items, self._relation) for node in group.expressions]

    def _local_keys(self) -> tuple[Column, ...]:
        local = tuple(k for k in self._keys if isinstance(k, Column) and k.local)
        names = ", ".join(self._relation.table.local_keys) or "none is declared for this table"
        where = self._text.keyword("GROUP", "DISTINCT", after=self._text.offset(self._select))
        if not local:
            raise self._text.refuse(
                where or self._text.offset(self._select),
                "a group of the subquery may have rows at several parties",
                f"keys that include a local key ({names})",
            )
        return local

    def _null_guard(self, local: tuple[Column, ...]) -> tuple[NullGuard, ...]:
        """NULL is not a value that the dictionary speaks of: unless WHERE excludes it, it is checked at run time."""
        if any(not k.type.nullable or _excludes_null(self._relation.rows.where, k) for k in local):
            return ()
        return (NullGuard(self._relation.rows, local),)

    def _no_column(self, node: exp.Column) -> Scalar:
        find_column(self._relation, node)
        raise PlanError(reason=f"{node.name[:60]} is neither a key nor inside an aggregate", instead="GROUP BY it")

    def _special(self, node: exp.Expr) -> Scalar | None:
        if is_aggregate(node):
            return self._aggregate(node)
        if isinstance(node, exp.Literal) or contains_aggregate(node):
            return None
        try:
            value = self._rows.bind(node)
        except PlanError:
            if isinstance(node, exp.Column):
                raise
            return None
        return KeyRef(self._keys.index(value), value.type) if value in self._keys else None

    def _aggregate(self, node: exp.Expr) -> Scalar:
        condition = None
        if isinstance(node, exp.Filter):
            condition = self._rows.bind(node.expression.this)
            node = node.this
        build = _LOCAL.get(type(node))
        if build is None or node.expressions:
            raise PlanError(
                reason=f"{node.key.upper()} in a subquery is inexact or not supported",
                instead="COUNT, SUM, MIN, MAX; an average as SUM and COUNT in the outer query",
            )
        aggregate, mass = build(self._rows, node, condition, self._relation.table)
        index = self._aggregates.setdefault(aggregate, len(self._aggregates))
        if index == len(self._masses):
            self._masses.append(mass)
        return AggregateRef(index, aggregate.type)


def _own_names(names: list[str]) -> list[str]:
    """Names for the columns of a generated subquery: the analyst's where they are plain and unique."""
    folded = [n.lower() for n in names]
    return [
        name
        if name.isascii() and name.isidentifier() and len(name) < 64 and folded.count(name.lower()) == 1
        else f"c{i}"
        for i, name in enumerate(names)
    ]


def _pointed(node: exp.Expr, items: list[tuple[str, exp.Expr]], relation: Relation) -> exp.Expr:
    """What an ordinal or an alias in GROUP BY points to."""
    if isinstance(node, exp.Literal) and not node.is_string:
        index = int(str(node.this)) - 1 if str(node.this).isdigit() else -1
        if 0 <= index < len(items):
            return items[index][1]
        raise PlanError(reason="this position is not in the SELECT list", instead="a position from 1")
    if isinstance(node, exp.Column) and not node.table and node.name.lower() not in relation.columns:
        return next((n for name, n in items if name.lower() == node.name.lower()), node)
    return node


def _excludes_null(where: Scalar | None, column: Column) -> bool:
    """Whether a WHERE lets no row without the column's value through."""
    parts = where.args if isinstance(where, Call) and where.op is Op.AND else (where,)
    for part in parts:
        if not isinstance(part, Call):
            continue
        inner = part.args[0] if part.args else None
        if part.op is Op.NOT and isinstance(inner, Call) and inner.op is Op.IS_NULL and inner.args[0] == column:
            return True
        if part.op in _STRICT and column in part.args[:2]:
            return True
    return False


_Built = tuple[LocalAggregate, int | None]


def _local_count(rows: Binder, node: Any, condition: Scalar | None, table: Table) -> _Built:
    most = table.rows_at_most
    kind = Type(kind=Kind.INTEGER, low=0, high=most, nullable=False)
    if isinstance(node.this, exp.Distinct):
        values = [rows.bind(e) for e in node.this.expressions]
        if len(values) != 1:
            raise PlanError(reason="COUNT(DISTINCT ...) of several columns", instead="one column")
        return LocalAggregate(LocalFunction.COUNT_DISTINCT, values[0], condition, kind), most
    if isinstance(node.this, exp.Star) or node.this is None:
        return LocalAggregate(LocalFunction.COUNT_ROWS, None, condition, kind), most
    return LocalAggregate(LocalFunction.COUNT, rows.bind(node.this), condition, kind), most


def _local_sum(rows: Binder, node: Any, condition: Scalar | None, table: Table) -> _Built:
    value = rows.bind(node.this)
    if value.type.kind is Kind.BOOLEAN:
        value = numeric_cast(value, Kind.INTEGER, 0, 0, 1)
    if not value.type.kind.numeric or isinstance(node.this, exp.Distinct):
        raise PlanError(reason="SUM needs a number", instead="a numeric column")
    low, high = value.type.low or 0, value.type.high or 0
    most = table.rows_at_most
    kind = Type(kind=value.type.kind, scale=value.type.scale, low=min(low * most, low), high=max(high * most, high))
    if kind.magnitude > MAX_MAGNITUDE:
        bits = kind.magnitude.bit_length()
        raise PlanError(reason=f"the exact sum may need {bits} bits", instead=tighten(columns_of(value)))
    return LocalAggregate(LocalFunction.SUM, value, condition, kind), kind.magnitude


def _local_extreme(function: LocalFunction) -> Callable[[Binder, Any, Scalar | None, Table], _Built]:
    def build(rows: Binder, node: Any, condition: Scalar | None, table: Table) -> _Built:
        value = rows.bind(node.this)
        kind = replace(value.type, nullable=True)
        mass = value.type.magnitude * table.rows_at_most if value.type.kind.numeric else None
        return LocalAggregate(function, value, condition, kind), mass

    return build


_LOCAL: Final[Mapping[type[exp.Expr], Callable[[Binder, Any, Scalar | None, Table], _Built]]] = {
    exp.Count: _local_count,
    exp.Sum: _local_sum,
    exp.Min: _local_extreme(LocalFunction.MINIMUM),
    exp.Max: _local_extreme(LocalFunction.MAXIMUM),
}
