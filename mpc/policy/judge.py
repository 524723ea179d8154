"""The judge: facts and rules in, a verdict with reasons out. It reads nothing else and raises nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

from mpc.errors import PolicyDenied
from mpc.policy.rules import ColumnRule, ColumnUse, Policy, Use

__all__ = ["Facts", "Reason", "Verdict", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a policy decides on."""

    analyst: str
    participants: tuple[str, ...]
    me: str
    uses: tuple[ColumnUse, ...]
    encrypted: bool
    opens_to_parties: bool
    """Whether a total opens to the parties themselves (discovery, training)."""

    trains: bool = False
    trainer: str = ""
    """Name of the owner's training function that the job would run, if it runs one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why not: the rule, and the column it is about."""

    rule: str
    table: str = ""
    column: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement; it is allowed when there is no reason against it."""

    reasons: tuple[Reason, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the job may run."""
        return not self.reasons

    def enforce(self, party: str) -> None:
        """Raise the first reason (`PolicyDenied`), naming column and rule."""
        if self.reasons:
            first = self.reasons[0]
            where = {k: v for k, v in (("table", first.table), ("column", first.column)) if v}
            raise PolicyDenied("", party=party, **where, rule=first.rule)


def judge(policy: Policy, facts: Facts) -> Verdict:
    """Every reason against a job."""
    return Verdict((*_job_reasons(policy, facts), *_use_reasons(policy, facts.uses)))


def _job_reasons(policy: Policy, facts: Facts) -> Iterable[Reason]:
    if facts.analyst not in policy.analysts and "*" not in policy.analysts:
        yield Reason(rule="analysts")
    if len(facts.participants) < policy.minimum_parties:
        yield Reason(rule="minimum_parties")
    if set(policy.required_parties) - set(facts.participants):
        yield Reason(rule="required_parties")
    if len(facts.participants) == 2 and facts.opens_to_parties and not policy.two_party:
        yield Reason(rule="two_party")
    if facts.analyst in facts.participants and len(facts.participants) == 2 and not policy.two_party:
        yield Reason(rule="two_party")
    if not facts.encrypted and not policy.allow_clear:
        yield Reason(rule="allow_clear")
    if facts.trains and not policy.train:
        yield Reason(rule="train")
    if facts.trainer and not {facts.analyst, "*"} & set(policy.trainers.get(facts.trainer, ())):
        yield Reason(rule=f"trainers {facts.trainer}")


def _use_reasons(policy: Policy, uses: Iterable[ColumnUse]) -> Iterable[Reason]:
    for use in uses:
        table = policy.table(use.table)
        if table is None:
            yield Reason(rule="tables", table=use.table)
        elif table.allow_all:
            continue
        elif not use.column:
            if use.use is not Use.AGGREGATE or not table.count:
                yield Reason(rule="count", table=use.table)
        else:
            folded = use.column.lower()
            rule = next((r for name, r in table.columns.items() if name.lower() == folded), ColumnRule())
            if use.use not in rule.use:
                yield Reason(rule=f"use {use.use.value}", table=use.table, column=use.column)
            elif use.use is Use.AGGREGATE and rule.functions and use.function not in rule.functions:
                yield Reason(rule=f"function {use.function}", table=use.table, column=use.column)
