"""The FROM clause: a logical table's columns, inlined subqueries, and subqueries that stay within a party."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import exp

from mpc.errors import PlanError
from mpc.keys.dictionary import Column as DictionaryColumn
from mpc.keys.dictionary import ColumnKind, Dictionary, Table
from mpc.plan.algebra import MAX_MAGNITUDE
from mpc.plan.casts import integer_range
from mpc.plan.dates import DAY_US, parse_date
from mpc.plan.ir import Column, Kind, Scalar, Type
from mpc.plan.source import NullGuard, Rows, TableSource

__all__ = ["Relation", "column_of", "find_column", "table_relation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What a SELECT reads: filtered rows, and the expressions that its column names stand for."""

    table: Table
    rows: Rows
    columns: Mapping[str, tuple[str, Scalar]]
    """By folded name: the name as written, and the expression over the source's own columns."""

    alias: str
    guards: tuple[NullGuard, ...] = ()
    """What must hold of NULL keys for the subqueries to stay within parties."""


def column_of(table: Table, column: DictionaryColumn) -> Column:
    """The typed form of a dictionary's column.

    A number without a declared range gets its type's; a BIGINT 2^47 and a DOUBLE 2^40, checked on read.
    """
    parsed = column.parsed
    low: int | None = None
    high: int | None = None
    checked, scale, domain = False, 0, None
    if parsed.kind in {ColumnKind.INTEGER, ColumnKind.DECIMAL, ColumnKind.DOUBLE}:
        scale = parsed.scale if parsed.kind is ColumnKind.DECIMAL else column.scale
        domain = _domain(column, scale)
        low, high, checked = _interval(column, scale, domain)
    elif parsed.kind in {ColumnKind.DATE, ColumnKind.TIMESTAMP} and column.earliest and column.latest:
        low, high = parse_date(column.earliest), parse_date(column.latest)
        if parsed.kind is ColumnKind.TIMESTAMP:
            low, high = low * DAY_US, (high + 1) * DAY_US - 1
    kind = Type(
        kind=Kind(parsed.kind.value),
        scale=scale,
        low=low,
        high=high,
        nullable=column.nullable,
        max_bytes=column.max_bytes if parsed.kind is ColumnKind.VARCHAR else None,
    )
    domain = _domain(column, scale) if domain is None else domain
    local = column.name.lower() in {k.lower() for k in table.local_keys}
    return Column(
        name=column.name,
        type=kind,
        declared=parsed.name,
        checked=checked,
        local=local,
        discoverable=column.discoverable,
        capacity=column.capacity,
        domain=domain,
    )


def _interval(
    column: DictionaryColumn, scale: int, domain: tuple[int | str | bool, ...] | None
) -> tuple[int, int, bool]:
    parsed, unit = column.parsed, 10**scale
    if parsed.kind is ColumnKind.DOUBLE:
        natural, default = None, ((-(1 << 40)) * unit, (1 << 40) * unit)
    elif parsed.kind is ColumnKind.DECIMAL:
        most = min(10**parsed.precision - 1, MAX_MAGNITUDE)
        natural = default = (-most, most)
    else:
        natural = integer_range(parsed.name)
        default = (-(1 << 47), 1 << 47) if parsed.name == "BIGINT" else natural
    low, high = default
    if column.minimum is not None and column.maximum is not None:
        low, high = column.minimum * unit, column.maximum * unit
    if domain:
        numbers = [int(v) for v in domain]
        low, high = max(low, min(numbers)), min(high, max(numbers))
    if natural is not None:
        low, high = max(low, natural[0]), min(high, natural[1])
    return low, high, natural is None or (low, high) != natural


def _domain(column: DictionaryColumn, scale: int) -> tuple[int | str | bool, ...] | None:
    if column.domain is None:
        return None
    # Domains are long and read at every compilation: what does not depend on the value stays outside the loop.
    kind, unit = column.parsed.kind, 10**scale
    if kind is ColumnKind.DATE:
        return tuple(parse_date(v) if isinstance(v, str) else v for v in column.domain)
    if kind is ColumnKind.INTEGER or kind is ColumnKind.DECIMAL:
        return tuple(v if isinstance(v, str) else int(v) * unit for v in column.domain)
    return tuple(column.domain)


def table_relation(dictionary: Dictionary, node: exp.Table, alias: str) -> Relation:
    """The relation of one logical table.

    Raises:
        PlanError: The dictionary has no such table; the nearest name is proposed.
    """
    if node.args.get("db") is not None or node.args.get("catalog") is not None:
        raise PlanError(reason="a table of one party", instead="the logical table's name, without a prefix")
    name = str(node.this.this) if isinstance(node.this, exp.Identifier) else ""
    table = dictionary.table(name)
    if table is None:
        raise PlanError(reason=f"there is no table {name[:60]!r}", instead=_nearest(name, dictionary.names()))
    columns = {c.name.lower(): (c.name, column_of(table, c)) for c in table.columns}
    rows = Rows(TableSource(table.name), None)
    return Relation(table=table, rows=rows, columns=columns, alias=alias or table.name)


def find_column(relation: Relation, node: exp.Column) -> Scalar:
    """Resolve a column name.

    Raises:
        PlanError: There is no such column; the nearest name is proposed.
    """
    if isinstance(node.this, exp.Star):
        raise PlanError(reason="* names no columns", instead="the columns by name, or COUNT(*)")
    name, qualifier = node.name, node.table
    if qualifier and qualifier.lower() != relation.alias.lower():
        raise PlanError(reason=f"there is no table {qualifier[:60]!r} here", instead=f"{relation.alias}.{name[:60]}")
    if node.args.get("db") is not None:
        raise PlanError(reason="a column of one party's table", instead=f"{relation.alias}.{name[:60]}")
    found = relation.columns.get(name.lower())
    if found is None:
        names = [written for written, _ in relation.columns.values()]
        raise PlanError(reason=f"there is no column {name[:60]!r}", instead=_nearest(name, names))
    return found[1]


def _nearest(name: str, names: Iterable[str]) -> str:
    known = list(names)
    folded = {n.lower(): n for n in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    return folded[near[0]] if near else f"one of {', '.join(known[:12])}"


def subquery_column(name: str, value: Scalar, *, local: bool, mass: int | None) -> Column:
    """A column of a subquery: already in integer form, its interval known."""
    inner: Any = value if isinstance(value, Column) else None
    return Column(
        name=name,
        type=replace(value.type),
        declared="",
        local=local,
        mass=mass,
        discoverable=bool(inner and inner.discoverable),
        capacity=inner.capacity if inner else 0,
        domain=inner.domain if inner else None,
    )
