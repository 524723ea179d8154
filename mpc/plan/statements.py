"""The statements of a plan: one pass for all statistics, one more per histogram.

Each statement has three layers. The innermost filters the party's rows, evaluates the group keys and reads every column
once, checked and scaled. The middle one groups. The outer one turns keys and totals into BIGINT and VARCHAR columns
without NULL, so that nothing is lost or guessed on the way out of the database.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from mpc.errors import InternalError, ParameterError
from mpc.plan.dialects import Dialect, identifier
from mpc.plan.duckdb import DUCKDB
from mpc.plan.expressions import ExpressionWriter
from mpc.plan.ir import AggregateRef, Column, KeyRef, Kind, Scalar, columns_of, walk
from mpc.plan.local import Encoding, LocalQuery, LocalStatement, OutputColumn
from mpc.plan.postgres import POSTGRES
from mpc.plan.query import QueryPlan
from mpc.plan.source import GroupedSource, LocalAggregate, LocalFunction, NullGuard, Rows, TableSource
from mpc.plan.statistics import Buckets, Measure, Statistic

__all__ = ["DIALECTS", "local_query"]

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType({"duckdb": DUCKDB, "postgres": POSTGRES})

_RELATION: Final = "\x00"
"""Stands for the party's relation until the text is cut; it occurs in no accepted SQL."""


def local_query(plan: QueryPlan, dialect: str = "duckdb") -> LocalQuery:
    """The statements that a party runs over its own table.

    Raises:
        ParameterError: The dialect is unknown.
    """
    chosen = DIALECTS.get(dialect)
    if chosen is None:
        raise ParameterError(f"no dialect is named {dialect[:40]!r}")
    return _StatementWriter(plan, chosen).build()


class _StatementWriter:
    def __init__(self, plan: QueryPlan, dialect: Dialect) -> None:
        self._plan = plan
        self._dialect = dialect
        self._checks: dict[str, None] = {}

    def build(self) -> LocalQuery:
        statistics = list(enumerate(self._plan.statistics))
        plain = [(i, s) for i, s in statistics if s.buckets is None]
        statements = [self._totals(plain)] if plain or self._plan.keys else []
        statements += [self._histogram(i, s, s.buckets) for i, s in statistics if s.buckets is not None]
        statements += [self._null_check(guard, f"g{i}") for i, guard in enumerate(self._plan.guards)]
        ok = (OutputColumn("ok", Encoding.INT64),)
        checks = [LocalStatement(tuple(text.split(_RELATION)), ok, (), check=True) for text in self._checks]
        return LocalQuery(self._dialect.name, (*checks, *statements))

    def _null_check(self, guard: NullGuard, name: str) -> LocalStatement:
        """1 if the party holds a row without any of the local keys, else 0."""
        writer = ExpressionWriter(self._dialect)
        conditions = [writer.write(guard.rows.where)] if guard.rows.where is not None else []
        conditions += [f"({writer.raw(key)} IS NULL)" for key in guard.keys]
        inner = f"{_select(['1 AS one'], _where(self._source(guard.rows), conditions))} LIMIT 1"
        text = _select([f"CAST(COUNT(*) AS BIGINT) AS {name}"], f"({inner}) AS r")
        return LocalStatement(tuple(text.split(_RELATION)), (OutputColumn(name, Encoding.INT64),), (), guard=name)

    def _totals(self, statistics: Sequence[tuple[int, Statistic]]) -> LocalStatement:
        inner, writer, bare = self._reads([s for _, s in statistics])
        keys, columns = self._key_outputs()
        sums, outputs = [], []
        for index, statistic in statistics:
            plain = bare.get(statistic.argument) if isinstance(statistic.argument, Column) else None
            as_it_is = plain is not None and statistic.measure is Measure.SUM
            sums.append(f"{self._measured(statistic, writer, plain)} AS s{index}")
            wide = statistic.bound >= 1 << 63
            kind = "VARCHAR" if wide else "BIGINT"
            total = f"CAST(COALESCE(s{index}, 0) AS {kind})"
            if as_it_is:
                total = self._dialect.unscaled(f"COALESCE(s{index}, 0)", statistic.scale, wide=wide)
            outputs.append(f"{total} AS s{index}")
            columns.append(OutputColumn(f"s{index}", Encoding.DIGITS if wide else Encoding.INT64))
        grouping = [f"k{i}" for i in range(len(self._plan.keys))]
        middle = _select([*grouping, *sums], f"({inner}) AS r") + _group_by(grouping)
        text = _select([*keys, *outputs], f"({middle}) AS g")
        return LocalStatement(tuple(text.split(_RELATION)), tuple(columns), tuple(i for i, _ in statistics))

    def _histogram(self, index: int, statistic: Statistic, buckets: Buckets) -> LocalStatement:
        inner, writer, _ = self._reads([statistic])
        keys, columns = self._key_outputs()
        if statistic.argument is None:
            raise InternalError("a histogram has an argument")
        value = writer.write(statistic.argument)
        bucket = writer.quotient(f"({value} - ({buckets.low}))", str(buckets.width))
        grouping = [f"k{i}" for i in range(len(self._plan.keys))]
        conditions = [f"{value} IS NOT NULL"]
        if statistic.condition is not None:
            conditions.append(writer.write(statistic.condition))
        middle = _select([*grouping, f"{bucket} AS bucket", "COUNT(*) AS n"], f"({inner}) AS r")
        middle += f" WHERE {' AND '.join(conditions)}{_group_by([*grouping, 'bucket'])}"
        outputs = ["CAST(bucket AS BIGINT) AS bucket", "CAST(n AS BIGINT) AS n"]
        columns += [OutputColumn("bucket", Encoding.INT64), OutputColumn("n", Encoding.INT64)]
        text = _select([*keys, *outputs], f"({middle}) AS g")
        return LocalStatement(tuple(text.split(_RELATION)), tuple(columns), (index,))

    def _reads(self, statistics: Sequence[Statistic]) -> tuple[str, ExpressionWriter, dict[Column, str]]:
        """The layer that reads: text, a writer over its columns, and the names of decimals handed on as they are."""
        needed = columns_of(*(node for s in statistics for node in (s.argument, s.condition)))
        nodes = [*(k.value for k in self._plan.keys), *needed]
        relation, outside = self._input(self._plan.rows, nodes, relied_on=self._plan.relied_on)
        names: dict[Scalar, str] = {column: f"v{i}" for i, column in enumerate(needed)}
        as_they_are = statistics if self._dialect.checks_ahead else ()
        decimals = {s.argument: f"d{i}" for i, s in enumerate(as_they_are) if _plain_decimal(s)}
        bare = {column: name for column, name in decimals.items() if isinstance(column, Column)}
        items = [f"{_key_text(key.value, outside)} AS k{i}" for i, key in enumerate(self._plan.keys)]
        items += [f"{outside.write(column)} AS {name}" for column, name in names.items()]
        items += [f"{outside.raw(column)} AS {name}" for column, name in bare.items()]
        return _select(items or ["1 AS one"], relation), ExpressionWriter(self._dialect, names), bare

    def _input(
        self, rows: Rows, nodes: Sequence[Scalar], *, relied_on: Sequence[Column] = ()
    ) -> tuple[str, ExpressionWriter]:
        """FROM and WHERE, and a writer of row-level expressions over them.

        A DOUBLE is rounded in a layer of its own, so that the rounded form is computed once.
        """
        columns = columns_of(*nodes)
        source = self._source(rows)
        conditions = [ExpressionWriter(self._dialect).write(rows.where)] if rows.where is not None else []
        relation = _where(source, conditions)
        self._nulls_ahead(
            source, conditions, [c for c in columns_of(*nodes, *relied_on) if c.declared and not c.type.nullable]
        )
        ahead = self._dialect.checks_ahead
        if ahead:
            checked = [c for c in columns if c.checked and c.type.kind is not Kind.DOUBLE]
            self._check_ahead(source, conditions, checked)
        outside = ExpressionWriter(self._dialect, checks_done=ahead)
        reals = [c for c in columns if c.type.kind is Kind.DOUBLE and c.declared]
        if not reals:
            return relation, outside
        raws: dict[Scalar, str] = {column: f"r{i}" for i, column in enumerate(columns)}
        items = [f"{outside.raw(column)} AS r{i}" for i, column in enumerate(columns)]
        items += [f"{outside.rounded(column)} AS f{i}" for i, column in enumerate(reals)]
        within = ExpressionWriter(self._dialect, raws=raws)
        references: dict[Scalar, str] = {column: within.real(column, f"f{i}") for i, column in enumerate(reals)}
        writer = ExpressionWriter(self._dialect, references, raws=raws, checks_done=ahead)
        return f"({_select(items, relation)}) AS z", writer

    def _nulls_ahead(self, source: str, conditions: Sequence[str], columns: Sequence[Column]) -> None:
        """One statement that stops at a NULL where the dictionary has none: counts and means rely on it."""
        if not columns:
            return
        writer = ExpressionWriter(self._dialect)
        missing = [f"{writer.raw(column)} IS NULL" for column in columns]
        parts = [
            f"WHEN COUNT(*) FILTER (WHERE {test}) > 0 THEN {self._dialect.failure(column.name, 'COUNT(*)')}"
            for column, test in zip(columns, missing, strict=True)
        ]
        failing = " ".join(["CASE", *parts, "ELSE 0 END"])
        relation = _where(source, [*conditions, f"({' OR '.join(missing)})"])
        self._checks.setdefault(_select([f"CAST({failing} AS BIGINT) AS ok"], relation))

    def _check_ahead(self, source: str, conditions: Sequence[str], columns: Sequence[Column]) -> None:
        """One statement per checked column, which costs nothing where the database's statistics show it in range."""
        writer = ExpressionWriter(self._dialect)
        for column in columns:
            failing = f"CASE WHEN COUNT(*) > 0 THEN {self._dialect.failure(column.name, 'COUNT(*)')} ELSE 0 END"
            relation = _where(source, [*conditions, f"(NOT {writer.inside(column)})"])
            self._checks.setdefault(_select([f"CAST({failing} AS BIGINT) AS ok"], relation))

    def _source(self, rows: Rows) -> str:
        source = rows.source
        if isinstance(source, TableSource):
            return f"{_RELATION} AS t"
        return f"({self._grouped(source)}) AS q"

    def _grouped(self, source: GroupedSource) -> str:
        needed = columns_of(*(node for a in source.aggregates for node in (a.argument, a.condition)))
        relation, outside = self._input(source.rows, [*source.keys, *needed])
        names: dict[Scalar, str] = {column: f"v{i}" for i, column in enumerate(needed)}
        writer = ExpressionWriter(self._dialect, names)
        items = [f"{_key_text(key, outside)} AS k{i}" for i, key in enumerate(source.keys)]
        items += [f"{outside.write(column)} AS {name}" for column, name in names.items()]
        grouping = [f"k{i}" for i in range(len(source.keys))]
        sums = [f"{self._local(a, writer)} AS a{i}" for i, a in enumerate(source.aggregates)]
        inner = _select(items, relation)
        middle = _select([*grouping, *sums], f"({inner}) AS r") + _group_by(grouping)
        having = [source.having] if source.having is not None else []
        references: dict[Scalar, str] = {}
        for top in (*(value for _, value in source.outputs), *having):
            for node in walk(top):
                if isinstance(node, KeyRef):
                    references[node] = f"k{node.index}"
                elif isinstance(node, AggregateRef):
                    references[node] = f"a{node.index}"
        outer = ExpressionWriter(self._dialect, references)
        outputs = [f"{outer.write(value)} AS {identifier(name)}" for name, value in source.outputs]
        text = _select(outputs, f"({middle}) AS g")
        return f"{text} WHERE {outer.write(source.having)}" if source.having is not None else text

    def _local(self, aggregate: LocalAggregate, writer: ExpressionWriter) -> str:
        argument = writer.write(aggregate.argument) if aggregate.argument is not None else "*"
        name = {
            LocalFunction.COUNT_ROWS: "COUNT(*)",
            LocalFunction.COUNT: f"COUNT({argument})",
            LocalFunction.COUNT_DISTINCT: f"COUNT(DISTINCT {argument})",
            LocalFunction.SUM: f"SUM({argument})",
            LocalFunction.MINIMUM: f"MIN({self._ordered(aggregate, argument)})",
            LocalFunction.MAXIMUM: f"MAX({self._ordered(aggregate, argument)})",
        }[aggregate.function]
        text = name + self._filter(aggregate.condition, writer)
        if aggregate.function is not LocalFunction.SUM:
            return text
        kind = self._dialect.wide if aggregate.type.magnitude >= 1 << 63 else "BIGINT"
        return f"CAST({text} AS {kind})"

    def _ordered(self, aggregate: LocalAggregate, argument: str) -> str:
        return self._dialect.ordered(argument) if aggregate.type.kind is Kind.VARCHAR else argument

    def _measured(self, statistic: Statistic, writer: ExpressionWriter, plain: str | None) -> str:
        argument = plain or (writer.write(statistic.argument) if statistic.argument is not None else "*")
        name = {
            Measure.ROWS: "COUNT(*)",
            Measure.COUNT: f"COUNT({argument})",
            Measure.DISTINCT: f"COUNT(DISTINCT {argument})",
            Measure.SUM: f"SUM({argument})",
        }[statistic.measure]
        return name + self._filter(statistic.condition, writer)

    @staticmethod
    def _filter(condition: Scalar | None, writer: ExpressionWriter) -> str:
        return f" FILTER (WHERE {writer.write(condition)})" if condition is not None else ""

    def _key_outputs(self) -> tuple[list[str], list[OutputColumn]]:
        items: list[str] = []
        columns: list[OutputColumn] = []
        for i, key in enumerate(self._plan.keys):
            name = f"k{i}"
            raw = self._dialect.raw_key(name, key.type)
            if key.text:
                items.append(f"COALESCE({raw}, '') AS {name}")
            elif key.word_bytes > 8:
                items.append(f"CAST(COALESCE({name}, 0) AS VARCHAR) AS {name}")
            else:
                items.append(f"COALESCE({raw}, 0) AS {name}")
            wide = Encoding.DIGITS if key.word_bytes > 8 else Encoding.INT64
            columns.append(OutputColumn(name, Encoding.TEXT if key.text else wide))
            items.append(f"CAST(CASE WHEN {name} IS NULL THEN 1 ELSE 0 END AS BIGINT) AS {name}_null")
            columns.append(OutputColumn(f"{name}_null", Encoding.INT64))
        return items, columns


def _select(items: Sequence[str], source: str) -> str:
    return " ".join(("SELECT", ", ".join(items), "FROM", source))


def _where(source: str, conditions: Sequence[str]) -> str:
    return f"{source} WHERE {' AND '.join(conditions)}" if conditions else source


def _key_text(key: Scalar, writer: ExpressionWriter) -> str:
    """A group key.

    A whole-number column stays as it is: databases group those fastest, and its range is checked ahead.
    """
    if isinstance(key, Column) and key.type.kind is Kind.INTEGER and (writer.dialect.checks_ahead or not key.checked):
        return writer.raw(key)
    return writer.write(key)


def _plain_decimal(statistic: Statistic) -> bool:
    """Whether a statistic is the SUM of a DECIMAL column of at most 18 digits, which databases add fastest as it is."""
    argument = statistic.argument
    if not isinstance(argument, Column) or not argument.declared or statistic.measure is not Measure.SUM:
        return False
    return argument.type.kind is Kind.DECIMAL and argument.type.scale > 0 and argument.type.magnitude < 10**18


def _group_by(names: Sequence[str]) -> str:
    return f" GROUP BY {', '.join(names)}" if names else ""
