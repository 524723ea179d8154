"""The demo without its words: questions, the pooled plaintext beside them, and the comparison."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from mpc.client.answer import Answer, Report

__all__ = ["QUESTIONS", "Agreement", "Question", "Seen", "agreement", "plaintext_answer", "what_was_seen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of the demo."""

    title: str
    about: str
    sql: str
    bars: str = ""
    """Column to draw as bars."""


QUESTIONS: Final = (
    Question(
        title="Revenue by region",
        about="No retailer knows which regions the others serve: the keys are discovered.",
        sql="""\
SELECT region, COUNT(*) AS orders, SUM(quantity * price) AS revenue,
       AVG(rating) AS rating
FROM orders
GROUP BY region
ORDER BY revenue DESC""",
    ),
    Question(
        title="Prices by category",
        about="Means and spreads come from sums and sums of squares, exact under encryption.",
        sql="""\
SELECT category, COUNT(*) AS sold,
       AVG(price) AS mean, STDDEV_SAMP(price) AS spread
FROM orders
WHERE quantity > 0
GROUP BY category
ORDER BY category""",
    ),
    Question(
        title="Orders and returns by month",
        about="Days have a declared range, so that no discovery is needed.",
        sql="""\
SELECT DATE_TRUNC('month', placed) AS month, COUNT(*) AS orders,
       COUNT(*) FILTER (WHERE quantity < 0) AS returns
FROM orders
GROUP BY DATE_TRUNC('month', placed)
ORDER BY month""",
        bars="orders",
    ),
)

ROUNDING: Final = 1e-12
"""Largest relative difference of a mean or a spread: DuckDB itself adds them up in floating point."""


def plaintext_answer(sql: str, table: str, files: Sequence[Path]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The same query over all rows in one place, by DuckDB: what nobody in a real room could compute."""
    import duckdb

    listed = ", ".join("'" + str(f).replace("'", "''") + "'" for f in files)
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'; SET default_null_order = 'nulls_last'")
        connection.execute(f'CREATE VIEW "{table}" AS SELECT * FROM read_parquet([{listed}])')  # noqa: S608 - our files
        found = connection.execute(sql)
        return tuple(column[0] for column in found.description), found.fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How an answer compares with the plaintext one."""

    exact: int
    """Values that are identical."""

    close: int
    """Means and spreads that are equal but for floating-point rounding."""

    largest: float
    """Largest relative difference among those."""

    wrong: tuple[str, ...]
    """Columns with a value that differs."""

    @property
    def holds(self) -> bool:
        """Whether the answers agree."""
        return not self.wrong


def agreement(answer: Answer, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Agreement:
    """Compare value by value: whole numbers, decimals, text and dates must be identical."""
    if tuple(answer.columns) != tuple(columns) or len(answer) != len(rows):
        return Agreement(exact=0, close=0, largest=0.0, wrong=tuple(answer.columns))
    exact = close = 0
    largest, wrong = 0.0, []
    for ours, theirs in zip(answer.values, rows, strict=True):
        for name, one, other in zip(columns, ours, theirs, strict=True):
            difference = _difference(one, other)
            if difference == 0.0:
                exact += 1
            elif difference <= ROUNDING:
                close, largest = close + 1, max(largest, difference)
            else:
                wrong.append(name)
    return Agreement(exact=exact, close=close, largest=largest, wrong=tuple(dict.fromkeys(wrong)))


def _difference(one: Any, other: Any) -> float:
    """0 if identical, the relative difference of floating-point numbers, infinity otherwise."""
    if one == other and (one is None) == (other is None):
        return 0.0
    numbers = isinstance(one, float | int | Decimal) and isinstance(other, float | int | Decimal)
    if not numbers or not (isinstance(one, float) or isinstance(other, float)):
        return math.inf
    scale = max(abs(float(one)), abs(float(other)))
    return abs(float(one) - float(other)) / scale if math.isfinite(scale) else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one member handled in all jobs together."""

    member: str
    sent_ciphertexts: int = 0
    sent_bytes: int = 0
    received_ciphertexts: int = 0
    received_bytes: int = 0
    opened: int = 0
    """Ciphertexts that it could open: totals, never a party's own."""

    opened_what: str = ""


def what_was_seen(
    reports: Sequence[Report], parties: Sequence[str], analyst: str, coordinator: str
) -> tuple[Seen, ...]:
    """Every member's ciphertexts and bytes, from the coordinator's counters."""
    seen = []
    totals = {name: _totals(reports, name) for name in (*parties, analyst)}
    for party in parties:
        sent, sent_bytes, received, received_bytes = totals[party]
        what = "union of group keys" if received else ""
        seen.append(_seen(party, sent, sent_bytes, received, received_bytes, received, what))
    _, _, received, received_bytes = totals[analyst]
    opened = sum(r.ciphertexts for r in reports)
    seen.append(_seen(analyst, 0, 0, received, received_bytes, opened, "totals of every group"))
    arrived = [sum(totals[p][i] for p in parties) for i in (0, 1)]
    left = [sum(totals[m][i] for m in (*parties, analyst)) for i in (2, 3)]
    seen.append(_seen(coordinator, left[0], left[1], arrived[0], arrived[1], 0, "it has no key"))
    return tuple(seen)


def _totals(reports: Sequence[Report], member: str) -> tuple[int, int, int, int]:
    """Sent and received by a member; the coordinator's counters name its own side."""
    counts: list[Mapping[str, int]] = [r.traffic.get(member, {}) for r in reports]
    names = ("ciphertexts_received", "bytes_received", "ciphertexts_sent", "bytes_sent")
    sent, sent_bytes, received, received_bytes = (sum(c.get(name, 0) for c in counts) for name in names)
    return sent, sent_bytes, received, received_bytes


def _seen(member: str, sent: int, sent_bytes: int, got: int, got_bytes: int, opened: int, what: str) -> Seen:
    return Seen(
        member=member,
        sent_ciphertexts=sent,
        sent_bytes=sent_bytes,
        received_ciphertexts=got,
        received_bytes=got_bytes,
        opened=opened,
        opened_what=what,
    )
