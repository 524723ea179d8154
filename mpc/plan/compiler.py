"""From SQL text and dictionary to a plan: pure, so that every party obtains the same one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlglot import exp

from mpc.errors import PlanError
from mpc.keys.dictionary import Dictionary
from mpc.plan.aggregates import AggregateBinder, contains_aggregate
from mpc.plan.clauses import item_name, plain
from mpc.plan.clock import fold_now
from mpc.plan.handlers import HANDLERS
from mpc.plan.ir import Call, Column, KeyRef, Kind, Op, Scalar, Type, columns_of, walk
from mpc.plan.keys import GroupKey, GroupKeyCodec, domain_of, enumerated, require_discoverable
from mpc.plan.query import DiscoverySpec, OrderKey, Output, PlanOptions, QueryPlan
from mpc.plan.relation import Relation, find_column
from mpc.plan.scalars import Binder
from mpc.plan.statistics import Registry
from mpc.plan.subquery import Subqueries
from mpc.plan.text import QueryText

__all__ = ["compile_query"]

_MAX_CAPACITY = 1 << 16
_BUCKETED = {Op.FLOOR, Op.CEILING, Op.ROUND, Op.TRUNCATE, Op.FLOOR_DIVIDE, Op.CEILING_DIVIDE, Op.TRUNCATE_DIVIDE}


def compile_query(
    sql: str, dictionary: Dictionary, *, now: datetime | None = None, options: PlanOptions | None = None
) -> QueryPlan:
    """Compile the analyst's SQL.

    Args:
        sql: One SELECT over one logical table.
        dictionary: The room's logical tables.
        now: Folded into the text first; the analyst gives it once, then signs the folded text (`plan.sql`).
        options: Choices that change meaning.

    Raises:
        PlanError: With `offset` (characters into the text), `reason` and `instead`.
    """
    folded = fold_now(sql, now) if now is not None else sql
    try:
        return _Compiler(folded, dictionary, options or PlanOptions()).compile()
    except RecursionError:
        raise PlanError(offset=0, reason="the text is nested too deeply", instead="a simpler query") from None


@dataclass(frozen=True, slots=True)
class _Item:
    name: str
    node: exp.Expr


class _Compiler:
    def __init__(self, sql: str, dictionary: Dictionary, options: PlanOptions) -> None:
        self._text = QueryText(sql)
        self._options = options
        self._subqueries = Subqueries(self._text, dictionary)
        self._select = plain(self._text, self._text.statement)
        self._relation: Relation = self._subqueries.relation(self._select, {})
        self._rows = self._subqueries.binder(self._relation)
        self._registry = Registry(self._relation.table.rows_at_most)
        self._aggregates = AggregateBinder(self._rows, self._registry, buckets=options.buckets)
        self._outputs = Binder(self._text, self._alias, HANDLERS, special=self._special, opened=True)
        self._items: list[_Item] = []
        self._keys: tuple[GroupKey, ...] = ()
        self._resolving: set[str] = set()

    def compile(self) -> QueryPlan:
        """The plan."""
        self._items = [self._item(e) for e in self._select.expressions]
        self._keys = self._bind_keys()
        outputs = tuple(Output(i.name, self._outputs.bind(i.node)) for i in self._items)
        having = self._having()
        order = self._order(outputs)
        discovery = self._discovery()
        presence = self._registry.rows() if self._keys and discovery is None else None
        if not self._registry.statistics:
            presence = self._registry.rows()
        table = self._relation.table
        return QueryPlan(
            sql=self._text.sql,
            table=table.name,
            local_keys=table.local_keys,
            parties=table.parties,
            rows_at_most=table.rows_at_most,
            rows=self._relation.rows,
            relied_on=self._registry.relied_on,
            guards=self._relation.guards,
            keys=self._keys,
            statistics=self._registry.statistics,
            aggregates=self._aggregates.specs,
            presence=presence if discovery is None else None,
            discovery=discovery,
            outputs=outputs,
            having=having,
            order=order,
            limit=self._count("limit"),
            offset=self._count("offset") or 0,
            distinct=self._distinct is not None and any(contains_aggregate(i.node) for i in self._items),
            options=self._options,
        )

    @property
    def _distinct(self) -> Any:
        return self._select.args.get("distinct")

    def _item(self, node: exp.Expr) -> _Item:
        if node.is_star:
            raise self._text.refuse(node, "SELECT * shows rows", "aggregates: COUNT(*), SUM(x), ... GROUP BY keys")
        return _Item(item_name(node), node.unalias())

    def _bind_keys(self) -> tuple[GroupKey, ...]:
        nodes = self._key_nodes()
        if not nodes and not any(contains_aggregate(i.node) for i in self._items):
            having = self._select.args.get("having")
            if having is None or not contains_aggregate(having):
                first = self._items[0].node
                where = self._text.offset(first)
                for item in self._items:
                    self._outputs_row_check(item.node)
                raise self._text.refuse(where, "the query shows single rows", "aggregates, or GROUP BY the columns")
        keys: dict[Scalar, GroupKey] = {}
        for node in nodes:
            value = self._rows.bind(node)
            if value not in keys:
                keys[value] = self._key(node, value)
        return tuple(keys.values())

    def _outputs_row_check(self, node: exp.Expr) -> None:
        """Report an unknown name or function before reporting that rows are shown."""
        if not any(isinstance(n, (exp.Window, exp.Select)) for n in node.walk()):
            self._rows.bind(node)
        else:
            self._outputs.bind(node)

    def _key_nodes(self) -> list[exp.Expr]:
        if self._distinct is not None and self._distinct.args.get("on") is not None:
            raise self._text.refuse(self._text.keyword("DISTINCT"), "DISTINCT ON shows rows", "GROUP BY")
        group = self._select.args.get("group")
        if group is not None:
            unread = {k for k, v in group.args.items() if v and k not in {"expressions", "all"}}
            if unread:
                raise self._text.refuse(group, "grouping sets", "one query per set of keys")
            if group.args.get("all"):
                return [i.node for i in self._items if not contains_aggregate(i.node)]
            return [self._pointed(node) for node in group.expressions]
        if self._distinct is not None and not any(contains_aggregate(i.node) for i in self._items):
            return [i.node for i in self._items]
        return []

    def _pointed(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Literal) and not node.is_string:
            return self._ordinal(node)
        if isinstance(node, exp.Column) and not node.table and node.name.lower() not in self._relation.columns:
            found = next((i.node for i in self._items if i.name.lower() == node.name.lower()), None)
            if found is not None and contains_aggregate(found):
                raise self._text.refuse(node, "GROUP BY an aggregate", "a column or an expression of columns")
            return found or node
        return node

    def _ordinal(self, node: exp.Literal) -> exp.Expr:
        index = int(str(node.this)) - 1 if str(node.this).isdigit() else -1
        if not 0 <= index < len(self._items):
            raise self._text.refuse(node, "this position is not in the SELECT list", "a position from 1")
        return self._items[index].node

    def _key(self, node: exp.Expr, value: Scalar) -> GroupKey:
        if value.type.kind is Kind.DOUBLE and not (isinstance(value, Call) and value.op in _BUCKETED):
            raise self._text.refuse(
                node, "GROUP BY on a DOUBLE without buckets", "FLOOR(x / 10), ROUND(x, 1) or CAST(x AS DECIMAL(p, s))"
            )
        if value.type.kind in {Kind.NULL, Kind.INTERVAL}:
            raise self._text.refuse(node, "this is not a group key", "a column or an expression of columns")
        domain = domain_of(value)
        if domain is not None and value.type.nullable:
            domain = (*domain, None)
        names = ", ".join(c.name for c in columns_of(value)) or item_name(node)
        key = GroupKey(names, value, domain)
        if domain is None:
            try:
                require_discoverable(key)
            except PlanError as error:
                raise PlanError(offset=self._text.offset(node), **error.fields) from None
        return key

    def _special(self, node: exp.Expr) -> Scalar | None:
        found = self._aggregates.special(node)
        if found is not None:
            return found
        if isinstance(node, (exp.Literal, exp.Window)) or contains_aggregate(node) or not self._keys:
            return None
        try:
            value = self._rows.bind(node)
        except PlanError:
            return None
        for index, key in enumerate(self._keys):
            if key.value == value:
                return KeyRef(index, _opened(value.type))
        return None

    def _alias(self, node: exp.Column) -> Scalar:
        """A name that is no key: an alias of the SELECT list, or a refusal."""
        name = node.name.lower()
        item = next((i for i in self._items if i.name.lower() == name and not node.table), None)
        if item is not None and name not in self._resolving and not isinstance(item.node, exp.Column):
            self._resolving.add(name)
            try:
                return self._outputs.bind(item.node)
            finally:
                self._resolving.discard(name)
        find_column(self._relation, node)
        raise PlanError(
            reason=f"{node.name[:60]} is neither a group key nor inside an aggregate",
            instead=f"GROUP BY {node.name[:60]}, or an aggregate of it",
        )

    def _having(self) -> Scalar | None:
        having = self._select.args.get("having")
        if having is None:
            return None
        condition = self._outputs.bind(having.this)
        if condition.type.kind not in {Kind.BOOLEAN, Kind.NULL}:
            raise self._text.refuse(having, "HAVING needs a condition", "a comparison of aggregates")
        return condition

    def _order(self, outputs: tuple[Output, ...]) -> tuple[OrderKey, ...]:
        order = self._select.args.get("order")
        keys = []
        for item in order.expressions if order is not None else ():
            node = item.this
            if {k for k, v in item.args.items() if v} - {"this", "desc", "nulls_first"}:
                raise self._text.refuse(item, "this form of ORDER BY", "ORDER BY x [DESC] [NULLS FIRST]")
            if isinstance(node, exp.Literal) and not node.is_string:
                value = self._outputs.bind(self._ordinal(node))
            elif (named := self._output_named(node, outputs)) is not None:
                value = named
            else:
                value = self._outputs.bind(node)
            keys.append(OrderKey(value, bool(item.args.get("desc")), bool(item.args.get("nulls_first"))))
        return tuple(keys)

    def _output_named(self, node: exp.Expr, outputs: tuple[Output, ...]) -> Scalar | None:
        if not isinstance(node, exp.Column) or node.table:
            return None
        return next((o.value for o in outputs if o.name.lower() == node.name.lower()), None)

    def _count(self, clause: str) -> int | None:
        node = self._select.args.get(clause)
        if node is None:
            return None
        where = self._text.keyword(clause)
        value = node.expression if isinstance(node, (exp.Limit, exp.Offset)) else None
        if {k for k, v in node.args.items() if v} - {"expression"}:
            value = None
        if not isinstance(value, exp.Literal) or not str(value.this).isdigit():
            raise self._text.refuse(where, f"{clause.upper()} takes a literal whole number", f"{clause.upper()} 10")
        return int(str(value.this))

    def _discovery(self) -> DiscoverySpec | None:
        if not self._keys or enumerated(self._keys) is not None:
            return None
        capacity = 1
        for key in self._keys:
            if key.domain is not None:
                capacity *= len(key.domain)
            else:
                require_discoverable(key)
                capacity *= _capacity(key.value)
        chosen = self._options.discovery_capacity or min(capacity, _MAX_CAPACITY)
        if not 1 <= chosen <= 1 << 20:
            raise PlanError(offset=0, reason="the discovery capacity is out of bounds", instead="1 to 1,048,576")
        return DiscoverySpec(chosen, GroupKeyCodec(self._keys).size)


def _capacity(value: Scalar) -> int:
    capacity = 1
    for node in walk(value):
        if isinstance(node, Column):
            capacity *= len(node.domain) if node.domain is not None else max(node.capacity, 2)
    return capacity


def _opened(kind: Type) -> Type:
    return Type(kind=kind.kind, scale=kind.scale, nullable=kind.nullable, max_bytes=kind.max_bytes)
