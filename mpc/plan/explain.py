"""EXPLAIN: what will run, what it will cost, and who learns what."""

from collections.abc import Sequence
from typing import Final

import msgspec

from mpc.params import ParameterSet
from mpc.plan.cost import DEFAULT_MODEL, CostModel, SumCost, SumShape, choose_for_sums
from mpc.plan.ir import Scalar, columns_of
from mpc.plan.query import QueryPlan
from mpc.plan.statistics import Finisher, Measure, Statistic
from mpc.plan.steps import FinishStep, LocalStep, SumStep, query_steps
from mpc.primitives import Recipient

__all__ = ["Disclosure", "Explanation", "StatisticLine", "StepLine", "explain"]


class StatisticLine(msgspec.Struct, frozen=True, kw_only=True):
    """One statistic that the analyst opens per group."""

    name: str
    what: str
    bits: int
    """Bits of its planned bound at one party."""

    hidden: bool
    """Whether the query does not ask for it by name."""


class StepLine(msgspec.Struct, frozen=True, kw_only=True):
    """One step."""

    step: str
    what: str
    recipient: str = ""
    values: int = 0
    slots: int = 0
    ciphertexts: int = 0
    upload_bytes: int = 0
    """Ciphertext bytes that each party sends."""

    seconds: float = 0.0


class Disclosure(msgspec.Struct, frozen=True, kw_only=True):
    """What one member learns."""

    who: str
    what: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, its cost and its disclosures; `to_json` and `text` render it."""

    sql: str
    table: str
    digest: str
    participants: int
    scheme: str
    parameter_set: str
    why: str
    groups: str
    statistics: tuple[StatisticLine, ...]
    steps: tuple[StepLine, ...]
    disclosures: tuple[Disclosure, ...]
    notes: tuple[str, ...]
    local_sql: tuple[str, ...]
    bytes_per_party: int
    seconds: float

    def to_json(self) -> bytes:
        """The explanation as JSON."""
        return msgspec.json.encode(self)

    def text(self) -> str:
        """The explanation as plain text."""
        lines = [
            f"plan {self.digest[:16]} over {self.table}, {self.participants} parties",
            f"scheme {self.scheme} ({self.parameter_set}): {self.why}",
            f"groups: {self.groups}",
            "steps",
            *(f"  {i}. {_step_text(s)}" for i, s in enumerate(self.steps, 1)),
            "statistics per group, opened to the analyst",
            *(f"  {s.name}: {s.what}, {s.bits} bits{' (hidden)' if s.hidden else ''}" for s in self.statistics),
            "who learns what",
            *(f"  {d.who}: {d.what}" for d in self.disclosures),
            *(["notes", *(f"  {n}" for n in self.notes)] if self.notes else []),
            f"total: {_size(self.bytes_per_party)} per party, {self.seconds:.3f} s beside the databases' own work",
        ]
        return "\n".join(lines)


def explain(
    plan: QueryPlan,
    *,
    participants: Sequence[str] | None = None,
    analyst_is_party: bool = False,
    scheme: str | None = None,
    sets: Sequence[ParameterSet] | None = None,
    model: CostModel = DEFAULT_MODEL,
    expected_groups: int | None = None,
) -> Explanation:
    """Explain a plan.

    Args:
        plan: The plan.
        participants: The parties that take part; the table's holders by default.
        analyst_is_party: Whether the analyst also holds rows, and so knows the total minus its own share.
        scheme: A scheme or parameter set instead of the planner's choice.
        sets: The parameter sets to choose from.
        model: Constants of machine and network.
        expected_groups: How many groups a discovery may find.
    """
    names = tuple(participants) if participants is not None else plan.parties
    steps = query_steps(plan, expected_groups=expected_groups)
    sums = [s for s in steps if isinstance(s, SumStep)]
    shapes = [SumShape(segments=s.segments, group=s.recipient is Recipient.GROUP) for s in sums]
    found = choose_for_sums(shapes, len(names), scheme=scheme, sets=sets, model=model)
    costs, chosen = dict(zip((s.label for s in sums), found, strict=True)), found[0].parameters
    hidden = set(plan.hidden_statistics)
    return Explanation(
        sql=plan.sql,
        table=plan.table,
        digest=plan.digest.hex(),
        participants=len(names),
        scheme=chosen.scheme.value,
        parameter_set=chosen.id,
        why=_why(scheme, found),
        groups=_groups(plan),
        statistics=tuple(
            StatisticLine(name=f"s{i}", what=describe(s), bits=s.bound.bit_length(), hidden=i in hidden)
            for i, s in enumerate(plan.statistics)
        ),
        steps=tuple(_line(s, costs) for s in steps),
        disclosures=_disclosures(plan, names, analyst_is_party=analyst_is_party),
        notes=_notes(plan),
        local_sql=_local_sql(plan),
        bytes_per_party=sum(c.upload_bytes for c in found),
        seconds=model.fixed_s + sum(c.seconds for c in found),
    )


def _local_sql(plan: QueryPlan) -> tuple[str, ...]:
    from mpc.plan.statements import local_query

    return tuple(s.text(f'"{plan.table}"') for s in local_query(plan).statements)


def _line(step: LocalStep | SumStep | FinishStep, costs: dict[str, SumCost]) -> StepLine:
    if isinstance(step, LocalStep):
        return StepLine(step="local", what=f"{step.statements} statement(s) at each party's own database")
    if isinstance(step, FinishStep):
        parts = [n for n, on in (("HAVING", step.having), ("ORDER BY", step.ordered), ("LIMIT", step.limited)) if on]
        work = ", ".join(["aggregates from totals", *parts])
        return StepLine(step="finish", what=f"{work} at the analyst")
    cost = costs[step.label]
    about = "about " if step.assumed else ""
    what = f"{about}{step.groups} groups" if step.label == "value" else f"group keys, up to {step.groups}"
    return StepLine(
        step=f"sum {step.label}",
        what=what,
        recipient="the analyst" if step.recipient is Recipient.ANALYST else "all parties (group key)",
        values=cost.values,
        slots=cost.slots,
        ciphertexts=cost.ciphertexts,
        upload_bytes=cost.upload_bytes,
        seconds=round(cost.seconds, 6),
    )


def _step_text(line: StepLine) -> str:
    text = f"{line.step}: {line.what}"
    if not line.recipient:
        return text
    return (
        f"{text} -> {line.recipient}: {line.values} values in {line.slots} slots, {line.ciphertexts} ciphertexts, "
        f"{_size(line.upload_bytes)} per party, {line.seconds:.3f} s"
    )


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count} B"
    return f"{count / 1000:.0f} kB" if count < 10_000_000 else f"{count / 1e6:.1f} MB"


def _why(scheme: str | None, costs: Sequence[SumCost]) -> str:
    if scheme is not None:
        return "as asked"
    seconds, cost = sum(c.seconds for c in costs), max(costs, key=lambda c: c.values)
    network = sum(c.network_s for c in costs) / seconds if seconds else 0.0
    shape = f"{cost.values} values in {cost.ciphertexts} ciphertexts of {cost.width_bits}-bit slots"
    return f"least predicted time for {shape} ({network:.0%} of it on the network)"


def _groups(plan: QueryPlan) -> str:
    if not plan.grouped:
        return "one total"
    names = ", ".join(k.name for k in plan.keys)
    if plan.discovery is not None:
        return f"keys of {names} found by a discovery round, at most {plan.discovery.capacity}"
    return f"{len(plan.groups or ())} from declared domains of {names}; empty ones do not appear"


_MEASURES: Final = {
    Measure.ROWS: "number of rows",
    Measure.COUNT: "number of values of",
    Measure.DISTINCT: "number of distinct values of",
    Measure.SUM: "sum over",
    Measure.HISTOGRAM: "rows per bucket of",
}


def describe(statistic: Statistic) -> str:
    """A statistic in words."""
    text = _MEASURES[statistic.measure]
    if statistic.argument is not None:
        text = f"{text} {_names(statistic.argument)}"
    if statistic.buckets is not None:
        text = f"{text} ({statistic.buckets.count} buckets)"
    return f"{text}, where a condition on {_names(statistic.condition)} holds" if statistic.condition else text


def _names(value: Scalar | None) -> str:
    names = [c.name for c in columns_of(value)]
    plain = value is not None and len(names) == 1 and columns_of(value)[0] == value
    return names[0] if plain else f"an expression of {', '.join(names) or 'constants'}"


def _disclosures(plan: QueryPlan, names: Sequence[str], *, analyst_is_party: bool) -> tuple[Disclosure, ...]:
    lines: list[Disclosure] = []
    if plan.discovery is not None:
        keys = ", ".join(k.name for k in plan.keys)
        what = f"the union of the values of {keys} that occur at any of them, and for each the number of holders"
        lines.append(Disclosure(who="every party", what=what))
    what = f"the totals of {len(plan.statistics)} statistics in every group"
    if plan.having is not None or plan.limit is not None or plan.offset:
        what += ", also of the groups that HAVING, LIMIT or OFFSET leaves out of the answer"
    lines.append(Disclosure(who="the analyst", what=what))
    for guard in plan.guards:
        missing = ", ".join(k.name for k in guard.keys)
        lines.append(Disclosure(who="the analyst", what=f"the number of parties that hold rows without {missing}"))
    lines += _remaining(names, analyst_is_party=analyst_is_party, discovery=plan.discovery is not None)
    lines.append(Disclosure(who="the coordinator", what="sizes, timing and participants; no value and no total"))
    return tuple(lines)


def _remaining(names: Sequence[str], *, analyst_is_party: bool, discovery: bool) -> list[Disclosure]:
    """What a member learns by subtracting what it already knows."""
    lines: list[Disclosure] = []
    others = len(names) - 1
    if len(names) == 1:
        what = f"with one party, the analyst learns the totals of {names[0]} alone"
        lines.append(Disclosure(who="the analyst", what=what))
    if analyst_is_party and others >= 1:
        what = "as a party itself, the totals of the others without its own share"
        if others == 1:
            what = "with two parties, each learns the other's total: the analyst, a party itself, learns the other's"
        lines.append(Disclosure(who="the analyst", what=what))
    elif len(names) == 2:
        what = "with two parties, each learns the other's total if the analyst shows it the answer"
        lines.append(Disclosure(who="each party", what=what))
    if discovery and len(names) == 2:
        what = "with two parties, each learns the other's group keys exactly"
        lines.append(Disclosure(who="each party", what=what))
    return lines


def _notes(plan: QueryPlan) -> tuple[str, ...]:
    notes = []
    hidden = plan.hidden_statistics
    if hidden:
        names = ", ".join(f"s{i} ({describe(plan.statistics[i])})" for i in hidden)
        notes.append(f"hidden statistics, needed for NULL, means or empty groups: {names}")
    for spec in plan.aggregates:
        if spec.finisher in {Finisher.QUANTILE, Finisher.HISTOGRAM}:
            statistic = plan.statistics[dict(spec.inputs)["h"]]
            if statistic.buckets is not None:
                width = statistic.buckets.width / 10**statistic.scale
                notes.append(f"{spec.text} is answered from {statistic.buckets.count} buckets of width {width:g}")
    return tuple(notes)
