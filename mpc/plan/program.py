"""A party's side of a query, as a program over the sum primitive.

    discover   (where group keys are unknown)  Sum to the parties' group key: opens the union of the keys
    value                                      Sum to the analyst: one segment per statistic

Reveals: to every party, the union of the group keys where they are discovered; to the analyst, the totals of every
statistic in every group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpc.errors import IntegrityError, PlanError, RangeError, SourceError
from mpc.keys.statements import statement_digest
from mpc.plan.discovery import LookupTable
from mpc.plan.ir import columns_of
from mpc.plan.keys import KeyTuple, RawKey
from mpc.plan.local import Encoding, LocalColumns, LocalStatement, RunLocal
from mpc.plan.query import QueryPlan
from mpc.plan.statements import local_query
from mpc.plan.statistics import Measure, Statistic
from mpc.primitives import ArrayValues, Program, Recipient, Segment, Sum, SumHeader, Totals

__all__ = ["QueryResult", "group_context", "lookup_table", "query_program", "value_header"]


MAX_VALUES: Final = 1 << 24
"""Most integers of a value round; each is a limb or more at every party."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a party's program ends with; its keys go to the analyst, sealed."""

    group_keys: tuple[bytes, ...]
    """The encoded keys in the order of the totals; empty where they are enumerated by the plan."""


def lookup_table(plan: QueryPlan) -> LookupTable | None:
    """The table of the discovery round; None where the plan enumerates its groups."""
    if plan.discovery is None:
        return None
    names = ", ".join(k.name for k in plan.keys)
    return LookupTable(plan.discovery.capacity, plan.discovery.key_bytes, plan.digest, names)


def group_context(plan: QueryPlan, keys: Sequence[bytes]) -> bytes:
    """Digest that binds the value round to the list of groups; the analyst checks it against the keys it is given."""
    return statement_digest("sealroom/v1/group-keys", plan.digest, *keys)


def value_header(plan: QueryPlan, keys: Sequence[bytes] | None) -> SumHeader:
    """The header of the value round: one segment per statistic, at least one group so that the round always exists.

    Args:
        plan: The plan.
        keys: The encoded discovered keys in order; None where the plan enumerates its groups.

    Raises:
        PlanError: The groups and buckets need too long a vector.
    """
    groups = len(keys) if keys is not None else len(plan.groups or ())
    values = groups * sum(s.length for s in plan.statistics)
    if values > MAX_VALUES:
        raise PlanError(
            offset=0,
            reason=f"{groups} groups need {values} values, more than {MAX_VALUES}",
            instead="fewer groups, or quantiles and histograms with fewer buckets",
        )
    segments = [Segment(f"s{i}", max(groups, 1) * s.length, s.bound) for i, s in enumerate(plan.statistics)]
    segments += [Segment(f"g{i}", 1, 1) for i in range(len(plan.guards))]
    return SumHeader("value", Recipient.ANALYST, tuple(segments), group_context(plan, keys or ()))


def query_program(plan: QueryPlan, run_local: RunLocal, *, dialect: str = "duckdb") -> Program[QueryResult]:
    """One party's program.

    Args:
        plan: The plan that this party compiled by itself.
        run_local: Runs the statements over the party's pinned snapshot.
        dialect: The party's database.

    Raises:
        RangeError: A value, a key or a number of rows leaves what the dictionary declares; names the column.
        SourceError: The database returned something else than the statements ask for.
    """
    query = local_query(plan, dialect)
    results = run_local(query)
    if len(results) != len(query.statements):
        raise SourceError("the number of results differs from the number of statements")
    read = [_Result(plan, s, r) for s, r in zip(query.statements, results, strict=True) if not s.check]
    if plan.discovery is None:
        index = {key: i for i, key in enumerate(plan.groups or ())}
        yield _value_sum(plan, read, index, None)
        return QueryResult(())
    table = lookup_table(plan)
    if table is None:
        raise IntegrityError("a plan with discovery has a table")
    own = {plan.codec.encode(key) for result in read for key in result.keys}
    arrays = table.insert(own)
    bounds = {name: bound for name, (_, bound) in table.segments.items()}
    totals = yield Sum.of("discover", arrays, bounds, recipient=Recipient.GROUP, context=plan.digest)
    keys = _union(table, totals, parties=len(plan.parties))
    index = {plan.codec.decode(key): i for i, key in enumerate(keys)}
    yield _value_sum(plan, read, index, keys)
    return QueryResult(keys)


def _union(table: LookupTable, totals: Totals | None, *, parties: int) -> tuple[bytes, ...]:
    if totals is None:
        raise IntegrityError("the discovery totals were not opened")
    arrays = {name: np.asarray(values, dtype=np.int64) for name, values in totals.items()}
    return tuple(sorted(table.peel(arrays, parties)))


def _value_sum(
    plan: QueryPlan, results: Sequence["_Result"], index: Mapping[KeyTuple, int], keys: tuple[bytes, ...] | None
) -> Sum:
    header = value_header(plan, keys)
    values: dict[str, NDArray[Any]] = {}
    for segment in header.segments:
        values[segment.name] = np.zeros(segment.length, dtype=object if segment.bound >= 1 << 62 else np.int64)
    for result in results:
        result.place(values, index)
    for number, statistic in enumerate(plan.statistics):
        _check(plan, statistic, values[f"s{number}"])
    return Sum(header, {name: ArrayValues(array) for name, array in values.items()})


def _check(plan: QueryPlan, statistic: Statistic, values: NDArray[Any]) -> None:
    """Refuse before anything is encrypted; the checked reads make this the limit of `rows_at_most` alone."""
    if values.size and (int(values.max()) > statistic.bound or int(values.min()) < -statistic.bound):
        names = [c.name for c in columns_of(statistic.argument)] if statistic.measure is Measure.SUM else []
        raise RangeError("more rows than rows_at_most", column=", ".join(names) or f"{plan.table} (rows_at_most)")


class _Result:
    """One statement's result at one party."""

    def __init__(self, plan: QueryPlan, statement: LocalStatement, columns: LocalColumns) -> None:
        self._plan = plan
        self._statement = statement
        for wanted in statement.columns:
            if wanted.name not in columns:
                raise SourceError(f"the result lacks column {wanted.name}")
        self._columns = {c.name: (c.encoding, columns[c.name]) for c in statement.columns}
        self.keys = [] if statement.guard else self._read_keys()

    def _integers(self, name: str) -> list[int]:
        encoding, values = self._columns[name]
        if encoding is Encoding.DIGITS:
            return [int(str(v).partition(".")[0]) for v in values.tolist()]
        return [int(v) for v in values.tolist()]

    def _read_keys(self) -> list[KeyTuple]:
        parts: list[list[RawKey]] = []
        for i, key in enumerate(self._plan.keys):
            name = f"k{i}"
            raw: list[RawKey] = (
                [str(v) for v in self._columns[name][1].tolist()] if key.text else [*self._integers(name)]
            )
            nulls = self._integers(f"{name}_null")
            parts.append([None if null else value for value, null in zip(raw, nulls, strict=True)])
        if not parts:
            first = next(iter(self._columns.values()), None)
            return [()] * (len(first[1]) if first else 1)
        return list(zip(*parts, strict=True))

    def place(self, values: Mapping[str, NDArray[Any]], index: Mapping[KeyTuple, int]) -> None:
        """Write this result's numbers where their groups are.

        Raises:
            RangeError: A key is outside the declared domain; names the column.
        """
        if self._statement.guard:
            values[self._statement.guard][:] = self._integers(self._statement.guard)
            return
        positions = [self._position(key, index) for key in self.keys]
        if not positions:
            return
        at = np.array(positions, dtype=np.int64)
        for number in self._statement.statistics:
            statistic, target = self._plan.statistics[number], values[f"s{number}"]
            if statistic.buckets is None:
                column = self._integers(f"s{number}")
                target[at] = np.array(column, dtype=target.dtype)
            else:
                buckets = np.array(self._integers("bucket"), dtype=np.int64)
                if ((buckets < 0) | (buckets >= statistic.length)).any():
                    names = ", ".join(c.name for c in columns_of(statistic.argument))
                    raise RangeError("", column=names)
                target[at * statistic.length + buckets] = np.array(self._integers("n"), dtype=np.int64)

    def _position(self, key: KeyTuple, index: Mapping[KeyTuple, int]) -> int:
        found = index.get(key)
        if found is not None:
            return found
        for value, wanted in zip(key, self._plan.keys, strict=True):
            if wanted.domain is not None and value not in wanted.domain:
                raise RangeError("a value is outside the declared domain", column=wanted.name)
        raise RangeError("a group key is not among the groups", column=", ".join(k.name for k in self._plan.keys))
