"""Two runs side by side: what became slower, what faster, and what is within the noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mpc.client.bench.records import Results, Row
from mpc.client.bench.units import bytes_text, ratio_text, seconds_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Change", "Comparison", "compare", "comparison_table"]

_NOTABLE: Final = 0.10
"""Changes below this are within what two runs of the same code show."""


class Change(StrEnum):
    """What happened to a case."""

    SLOWER = "slower"
    FASTER = "faster"
    LARGER = "more bytes"
    SMALLER = "fewer bytes"
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One case in both runs."""

    path: str
    before: Row | None
    after: Row | None
    time: float
    """Median after over median before, each divided by its run's calibration loop; 1 where one is missing."""

    change: Change


def compare(before: Results, after: Results) -> Iterator[Comparison]:
    """Compare two runs case by case.

    Times are divided by the calibration loop of their run, so that runs on machines of different speed, or at different
    clock rates, can be compared; a case counts as changed when its median moved by more than a tenth and the quartiles
    of the two do not overlap.
    """
    old, new = ({row.path: row for row in results.rows} for results in (before, after))
    scale = before.calibration.cpu_reference_s / after.calibration.cpu_reference_s
    for path in dict.fromkeys([*old, *new]):
        was, now = old.get(path), new.get(path)
        time = now.timing.median_s * scale / was.timing.median_s if was and now and was.timing.median_s else 1.0
        yield Comparison(path=path, before=was, after=now, time=time, change=_change(was, now, time, scale))


def _change(was: Row | None, now: Row | None, time: float, scale: float) -> Change:
    if was is None:
        return Change.ADDED
    if now is None:
        return Change.REMOVED
    if was.wire.up_bytes and abs(now.wire.up_bytes / was.wire.up_bytes - 1) > 0.001:
        return Change.LARGER if now.wire.up_bytes > was.wire.up_bytes else Change.SMALLER
    if time > 1 + _NOTABLE and now.timing.low_s * scale > was.timing.high_s:
        return Change.SLOWER
    if time < 1 / (1 + _NOTABLE) and now.timing.high_s * scale < was.timing.low_s:
        return Change.FASTER
    return Change.SAME


_STYLES: Final = {
    Change.SLOWER: "bold red",
    Change.LARGER: "bold red",
    Change.FASTER: "green",
    Change.SMALLER: "green",
    Change.SAME: "dim",
}


def comparison_table(found: list[Comparison]) -> "Table":
    """The table for the terminal; what changed comes first."""
    from rich.table import Table

    table = Table(title="Before and after", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("case", "before", "after", "time", "bytes before", "bytes after", ""):
        table.add_column(name, justify="left" if name in {"case", ""} else "right", no_wrap=name == "case")
    order = list(Change)
    for one in sorted(found, key=lambda c: (order.index(c.change), -abs(c.time - 1))):
        table.add_row(
            one.path,
            seconds_text(one.before.timing.median_s) if one.before else "-",
            seconds_text(one.after.timing.median_s) if one.after else "-",
            ratio_text(one.time) if one.before and one.after else "-",
            bytes_text(one.before.wire.up_bytes) if one.before else "-",
            bytes_text(one.after.wire.up_bytes) if one.after else "-",
            one.change.value,
            style=_STYLES.get(one.change, ""),
        )
    return table
