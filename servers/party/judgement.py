"""From a signed request to a verdict: compile the text again, list what it would use, ask the owner's policy."""

from collections.abc import Collection, Iterator

from mpc.errors import PolicyDenied, ProtocolError
from mpc.keys.manifest import Manifest
from mpc.learn import columns_of as columns_read
from mpc.params import parameter_set
from mpc.plan import QueryPlan, compile_query
from mpc.plan.ir import Scalar, columns_of
from mpc.plan.source import GroupedSource, LocalFunction, Rows, TableSource
from mpc.plan.statistics import Measure
from mpc.policy import ColumnUse, Facts, Policy, Use, judge
from mpc.wire.job import JobKind, JobRequest
from servers.party.training import Learning, learning

__all__ = ["compiled_query", "judge_request", "learning_uses", "query_uses"]


def compiled_query(request: JobRequest, manifest: Manifest) -> QueryPlan:
    """The plan of a signed query.

    Raises:
        ProtocolError: It is not the plan whose digest the analyst signed.
        PlanError: The text cannot be answered.
    """
    plan = compile_query(request.body, manifest.dictionary)
    if plan.digest != request.plan_digest:
        raise ProtocolError("", reason="the text compiles to another plan here than the analyst signed")
    return plan


def judge_request(
    policy: Policy,
    manifest: Manifest,
    request: JobRequest,
    analyst: str,
    me: str,
    *,
    trainers: Collection[str] = (),
) -> None:
    """Refuse a request that the owner's policy does not allow.

    Args:
        policy: The owner's rules.
        manifest: The room.
        request: What was signed.
        analyst: Who signed it.
        me: This party.
        trainers: The training functions that the owner declares.

    Raises:
        PolicyDenied: Names the column and the rule.
        ProtocolError: The request's plan or participants are not what its text means.
    """
    if request.kind is JobKind.SQL:
        plan = compiled_query(request, manifest)
        uses, table, opens, trains = tuple(query_uses(plan)), plan.table, plan.discovery is not None, False
        trainer = ""
    else:
        asked = learning(request.kind, request.body, manifest.dictionary, request.plan_digest)
        uses, table, trainer = learning_uses(asked), asked.table, asked.trainer
        opens = trains = True
    found = manifest.dictionary.table(table)
    if found is None or tuple(sorted(found.parties)) != request.participants:
        raise ProtocolError("", reason="the participants are not the parties that hold rows of the table")
    facts = Facts(
        analyst=analyst,
        participants=request.participants,
        me=me,
        uses=uses,
        encrypted=not parameter_set(request.parameter_set).insecure,
        opens_to_parties=opens,
        trains=trains,
        trainer=trainer,
    )
    judge(policy, facts).enforce(me)
    if trainer and trainer not in trainers:
        raise PolicyDenied("", party=me, rule=f"trainers {trainer}", reason="party.toml declares no such function")


def _uses(table: str, use: Use, *nodes: Scalar | None, function: str = "") -> Iterator[ColumnUse]:
    for column in columns_of(*nodes):
        if column.declared:
            yield ColumnUse(table=table, column=column.name, use=use, function=function)


def _row_uses(table: str, rows: Rows) -> Iterator[ColumnUse]:
    yield from _uses(table, Use.FILTER, rows.where)
    if isinstance(rows.source, TableSource):
        return
    if not isinstance(rows.source, GroupedSource):
        raise PolicyDenied("a source of rows that policies do not know", table=table, rule="use join")
    grouped = rows.source
    yield from _row_uses(table, grouped.rows)
    yield from _uses(table, Use.GROUP, *grouped.keys)
    for aggregate in grouped.aggregates:
        function = aggregate.function.value.replace("-", "_")
        if aggregate.function is LocalFunction.COUNT_ROWS:
            yield ColumnUse(table=table, use=Use.AGGREGATE, function="count")
        yield from _uses(table, Use.AGGREGATE, aggregate.argument, function=function)
        yield from _uses(table, Use.FILTER, aggregate.condition)


def query_uses(plan: QueryPlan) -> Iterator[ColumnUse]:
    """Every use that a plan makes of every column, hidden statistics included."""
    table = plan.table
    yield from _row_uses(table, plan.rows)
    for key in plan.keys:
        yield from _uses(table, Use.GROUP, key.value)
    for aggregate in plan.aggregates:
        for _role, index in aggregate.inputs:
            statistic = plan.statistics[index]
            function = aggregate.finisher.value
            if statistic.measure is Measure.ROWS:
                yield ColumnUse(table=table, use=Use.AGGREGATE, function="count")
            yield from _uses(table, Use.AGGREGATE, statistic.argument, function=function)
            yield from _uses(table, Use.FILTER, statistic.condition)
    if plan.presence is not None:
        yield ColumnUse(table=table, use=Use.AGGREGATE, function="count")


def learning_uses(asked: Learning) -> tuple[ColumnUse, ...]:
    """Every column that a learning job reads, used for training."""
    return tuple(ColumnUse(table=asked.table, column=name, use=Use.TRAIN) for name in columns_read(asked.spec))
