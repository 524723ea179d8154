"""EXPLAIN of a training: what would be summed, at what price, and who would learn what.

A function of the completed spec, the room's parties and the planner's constants. The text is what the analyst reads
before starting and what an owner reads before approving: the same words for both.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from mpc.learn.design import typed
from mpc.learn.digest import training_digest
from mpc.learn.forecast import SumForecast, disclosures, evaluation_forecast, forecast
from mpc.learn.recommender_specs import Als, Ease, GradientFactorization, ImplicitAls, Recommender
from mpc.learn.regression_specs import Category, FederatedAverage, KMeans, Tabular
from mpc.learn.specs import Spec, columns_of, kind_of
from mpc.params.base import ParameterSet
from mpc.plan import choose_parameters
from mpc.plan.cost import DEFAULT_MODEL, CostModel, cost_of
from mpc.primitives import Segment

__all__ = ["RoundLine", "TrainingExplanation", "chosen_set", "explain_training"]

_TWO: Final = (
    "two parties: every owner's policy must say two_party = true. Each of the two can subtract its own part from every "
    "opened total, and so learns what the other put in"
)


class RoundLine(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of one kind."""

    statistic: str
    rounds: int
    values: int
    """Of one round, at most."""

    bits: int
    upload_bytes: int
    """Of one party in one round."""

    download_bytes: int
    seconds: float
    """Of one round, predicted."""


class TrainingExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a training would do."""

    digest: str
    kind: str
    table: str
    columns: tuple[str, ...]
    participants: tuple[str, ...]
    scheme: str
    parameter_set: str
    why: str
    sums: tuple[RoundLine, ...]
    contributors: tuple[str, ...]
    """How many users, rows and parties a statistic needs to enter."""

    disclosures: tuple[tuple[str, str], ...]
    """Who learns what."""

    notes: tuple[str, ...]
    bytes_per_party: int
    seconds: float

    def to_json(self) -> bytes:
        """The explanation as JSON."""
        return msgspec.json.encode(self)

    def text(self) -> str:
        """The explanation as plain text."""
        parties = f"{len(self.participants)} parties ({', '.join(self.participants)})"
        total = f"{_size(self.bytes_per_party)} sent per party, {self.seconds:.1f} s beside the parties' own work"
        lines = [
            f"training {self.digest[:16]}: {self.kind} over {self.table}, {parties}",
            f"reads {', '.join(self.columns) or 'no column'}",
            f"scheme {self.scheme} ({self.parameter_set}): {self.why}",
            "sums, at most",
            *(f"  {_sum_text(s)}" for s in self.sums),
            "what enters",
            *(f"  {line}" for line in self.contributors),
            "who learns what",
            *(f"  {who}: {what}" for who, what in self.disclosures),
            *(["notes", *(f"  {n}" for n in self.notes)] if self.notes else []),
            f"total, at most: {total}",
        ]
        return "\n".join(lines)


def chosen_set(sums: Sequence[SumForecast], parties: int, scheme: str | None, model: CostModel) -> ParameterSet:
    """The parameter set of a job with these sums: the planner's choice for the longest."""
    longest = max(sums, key=lambda s: s.values * s.rounds)
    return choose_parameters(_segments(longest), parties, scheme=scheme, model=model, group=True).parameters


def explain_training(
    spec: Spec,
    participants: Sequence[str],
    *,
    scheme: str | None = None,
    model: CostModel = DEFAULT_MODEL,
) -> TrainingExplanation:
    """Explain a completed spec.

    Args:
        spec: Completed from the room's dictionary.
        participants: The parties that hold rows of its table.
        scheme: A scheme or parameter set instead of the planner's choice.
        model: Constants of machine and network.
    """
    parties = len(participants)
    sums = list(forecast(spec))
    chosen = chosen_set(sums, parties, scheme, model)
    longest = max(sums, key=lambda s: s.values * s.rounds)
    if getattr(spec, "holdout", None) is not None:
        sums.append(evaluation_forecast(spec))
    lines = tuple(_line(s, parties, chosen, model) for s in sums)
    why = "as asked" if scheme is not None else f"least time for the longest sum, {longest.values:,} values"
    return TrainingExplanation(
        digest=training_digest(spec).hex(),
        kind=kind_of(spec),
        table=str(spec.table),
        columns=columns_of(spec),
        participants=tuple(sorted(participants)),
        scheme=chosen.scheme.value,
        parameter_set=chosen.id,
        why=why,
        sums=lines,
        contributors=_contributors(spec),
        disclosures=_learned(spec, parties),
        notes=_notes(spec, parties),
        bytes_per_party=sum(line.rounds * line.upload_bytes for line in lines),
        seconds=model.fixed_s + sum(line.rounds * line.seconds for line in lines),
    )


def _segments(told: SumForecast) -> tuple[Segment, ...]:
    return (Segment("values", told.values, 1 << max(1, told.bits)),)


def _line(told: SumForecast, parties: int, chosen: ParameterSet, model: CostModel) -> RoundLine:
    cost = cost_of(_segments(told), parties, chosen, model, group=True)
    return RoundLine(
        statistic=told.statistic,
        rounds=told.rounds,
        values=told.values,
        bits=told.bits,
        upload_bytes=cost.upload_bytes,
        download_bytes=cost.download_bytes,
        seconds=cost.seconds,
    )


def _contributors(spec: Spec) -> tuple[str, ...]:
    """The thresholds, as sentences."""
    out: list[str] = []
    if isinstance(spec, Ease | Als | ImplicitAls | GradientFactorization):
        out.append(f"an item, from {_many(spec.minimum_users, 'user')} and {_parties(spec.minimum_parties)} on")
        out.append(f"a user, from {_many(spec.minimum_items, 'row')} on")
        if spec.items_per_user is not None:
            out.append(f"of a user, at most {_many(spec.items_per_user, 'row')}")
    elif isinstance(spec, Tabular):
        out.append(f"all complete rows; {spec.rows_per_feature} rows for every column of the design, or nothing")
        kinds = typed(getattr(spec, "features", ()))
        out += [
            f"a level of {f.column}, from {_many(f.minimum_rows, 'row')} and {_parties(f.minimum_parties)} on"
            for f in kinds
            if isinstance(f, Category)
        ]
        if isinstance(spec, KMeans):
            out.append(f"a cluster's column sums, from {_many(spec.minimum_rows, 'row')} on")
    elif isinstance(spec, FederatedAverage):
        out.append(
            f"what each owner's own function {spec.trainer} makes of the columns above; nothing of it is checked"
        )
    return tuple(out)


def _learned(spec: Spec, parties: int) -> tuple[tuple[str, str], ...]:
    return (
        *(("every party", what) for what in disclosures(spec, parties)),
        ("the analyst", "the model, which is computed from these totals, its quality, and the progress"),
        ("the coordinator", "who takes part; the number, length and time of the sums; no value of any"),
    )


def _notes(spec: Spec, parties: int) -> tuple[str, ...]:
    out: list[str] = []
    if parties == 2:
        out.append(_TWO)
    if isinstance(spec, FederatedAverage):
        out.append(f"every owner's policy must allow the analyst under trainers.{spec.trainer}")
    if isinstance(spec, Recommender) and spec.items is None:
        out.append(
            "items are discovered first, a sum by itself; their number is not known yet: the capacity is taken here"
        )
    if isinstance(spec, Tabular):
        kinds = typed(getattr(spec, "features", ()))
        found = [f.column for f in kinds if isinstance(f, Category) and f.levels is None]
        out += [f"the levels of {column} are discovered first, a sum by itself" for column in found]
    if isinstance(spec, Als | ImplicitAls) and spec.solver == "auto":
        out.append("the solver of the item side is chosen again when items and ratings are known")
    return tuple(out)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _parties(count: int) -> str:
    return "1 party" if count == 1 else f"{count} parties"


def _sum_text(line: RoundLine) -> str:
    times = "once" if line.rounds == 1 else f"{line.rounds} rounds"
    moved = f"{_size(line.upload_bytes)} per party and {_size(line.download_bytes)} back"
    return f"{line.statistic}: {times}, {line.values:,} values of {line.bits} bits, {moved}, {line.seconds:.2f} s each"


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count} B"
    return f"{count / 1000:.0f} kB" if count < 10_000_000 else f"{count / 1e6:.1f} MB"
