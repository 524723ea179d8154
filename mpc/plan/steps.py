"""A plan as a sequence of steps: what runs where, and what each step opens to whom.

Other plans add their own kinds: a group threshold stands between discovery and the value round, a match before the
value round, training plans repeat sums.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mpc.plan.program import lookup_table, value_header
from mpc.plan.query import QueryPlan
from mpc.primitives import Recipient, Segment

__all__ = ["FinishStep", "LocalStep", "Step", "SumStep", "query_steps"]

ASSUMED_GROUPS: Final = 256
"""Groups assumed for a prediction while the number of discovered keys is unknown."""


@dataclass(frozen=True, slots=True)
class LocalStep:
    """Statements at every party's own database."""

    statements: int
    kind: Literal["local"] = "local"


@dataclass(frozen=True, slots=True)
class SumStep:
    """One encrypted sum."""

    label: str
    recipient: Recipient
    segments: tuple[Segment, ...]
    groups: int
    assumed: bool
    """Whether `groups` is an assumption, because discovery has yet to tell."""

    kind: Literal["sum"] = "sum"


@dataclass(frozen=True, slots=True)
class FinishStep:
    """What the analyst computes from opened totals."""

    having: bool
    ordered: bool
    limited: bool
    kind: Literal["finish"] = "finish"


Step: TypeAlias = LocalStep | SumStep | FinishStep


def query_steps(plan: QueryPlan, *, expected_groups: int | None = None) -> tuple[Step, ...]:
    """The steps of a query.

    Args:
        plan: The plan.
        expected_groups: How many groups a discovery may find; only predictions depend on it.
    """
    from mpc.plan.statements import local_query

    steps: list[Step] = [LocalStep(len(local_query(plan).statements))]
    keys: list[bytes] | None = None
    table = lookup_table(plan)
    if table is not None:
        segments = tuple(Segment(name, length, bound) for name, (length, bound) in table.segments.items())
        steps.append(SumStep("discover", Recipient.GROUP, segments, table.capacity, assumed=False))
        count = min(expected_groups or ASSUMED_GROUPS, table.capacity)
        keys = [b""] * count
    header = value_header(plan, keys)
    groups = len(keys) if keys is not None else len(plan.groups or ())
    steps.append(SumStep("value", Recipient.ANALYST, header.segments, groups, assumed=keys is not None))
    limited = plan.limit is not None or plan.offset > 0
    steps.append(FinishStep(plan.having is not None, bool(plan.order), limited))
    return tuple(steps)
