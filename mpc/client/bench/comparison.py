"""Two runs side by side: what became slower, what faster, and what is within the noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mpc.client.bench.cases import ClockKind, Level
from mpc.client.bench.drift import DEFAULT_LIMIT
from mpc.client.bench.machine import short_cpu
from mpc.client.bench.records import Results, Row
from mpc.client.bench.units import bytes_text, ratio_text, seconds_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Change", "Comparison", "caveats", "compare", "comparison_table"]

_NOTABLE: Final = 0.10
"""Changes below this are within what two runs of the same code show."""

_NOTABLE_BYTES: Final = 0.001
_NOTABLE_MEMORY: Final = 0.25
_LEAST_MEMORY: Final = 1 << 20
"""Less is the allocator's."""


class Change(StrEnum):
    """What happened to a case; in the order of the table."""

    FAILED = "failed"
    SLOWER = "slower"
    LARGER = "more bytes"
    HEAVIER = "more memory"
    FASTER = "faster"
    SMALLER = "fewer bytes"
    LIGHTER = "less memory"
    OTHER = "other work"
    REMOVED = "removed"
    ADDED = "added"
    SAME = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One case in both runs."""

    path: str
    before: Row | None
    after: Row | None
    time: float
    """Median after over median before, each divided by its run's calibration loop; 1 where they do not compare."""

    changes: tuple[Change, ...]
    """At least one."""

    @property
    def text(self) -> str:
        """In words."""
        return ", ".join(self.changes)


def compare(before: Results, after: Results) -> Iterator[Comparison]:
    """Compare two runs case by case.

    Times are divided by the calibration loop of their run, so that runs at different clock rates can be compared, but
    not where a modelled line is most of the time. A case counts as changed when its median moved by more than a tenth
    and the quartiles of the two do not overlap; the times of a smoke run say nothing. Cases of one name that do
    different work, as those of another level may, do not compare.
    """
    old, new = ({row.path: row for row in results.rows} for results in (before, after))
    failed = {s.path for s in after.skipped if s.failed}
    timed = Level.SMOKE not in {before.level, after.level}
    for path in dict.fromkeys([*old, *new, *failed]):
        was, now = old.get(path), new.get(path)
        if was is None or now is None:
            change = Change.FAILED if path in failed else Change.ADDED if was is None else Change.REMOVED
            yield Comparison(path=path, before=was, after=now, time=1.0, changes=(change,))
        elif not _same_work(was, now):
            yield Comparison(path=path, before=was, after=now, time=1.0, changes=(Change.OTHER,))
        else:
            scale = _scale(before, after, now)
            time = now.timing.median_s * scale / was.timing.median_s if was.timing.median_s else 1.0
            found = [*(_time_changes(was, now, time, scale) if timed else ()), *_size_changes(was, now)]
            yield Comparison(path=path, before=was, after=now, time=time, changes=tuple(found) or (Change.SAME,))


def _same_work(was: Row, now: Row) -> bool:
    return (was.values, was.clock, was.threads, was.labels) == (now.values, now.clock, now.threads, now.labels)


def _scale(before: Results, after: Results, row: Row) -> float:
    """What a second of the later run is in seconds of the earlier one."""
    if row.labels.get("delay_ms"):
        return 1.0
    if row.clock == ClockKind.CPU:
        return before.calibration.cpu_reference_s / after.calibration.cpu_reference_s
    return before.calibration.wall_reference_s / after.calibration.wall_reference_s


def _time_changes(was: Row, now: Row, time: float, scale: float) -> Iterator[Change]:
    if time > 1 + _NOTABLE and now.timing.low_s * scale > was.timing.high_s:
        yield Change.SLOWER
    if time < 1 / (1 + _NOTABLE) and now.timing.high_s * scale < was.timing.low_s:
        yield Change.FASTER


def _size_changes(was: Row, now: Row) -> Iterator[Change]:
    sizes = ((was.wire.up_bytes, now.wire.up_bytes), (was.wire.down_bytes, now.wire.down_bytes))
    if any(b > a * (1 + _NOTABLE_BYTES) for a, b in sizes):
        yield Change.LARGER
    if any(b < a * (1 - _NOTABLE_BYTES) for a, b in sizes):
        yield Change.SMALLER
    more = now.peak_bytes - was.peak_bytes
    if was.peak_bytes and now.peak_bytes and abs(more) > max(_LEAST_MEMORY, _NOTABLE_MEMORY * was.peak_bytes):
        yield Change.HEAVIER if more > 0 else Change.LIGHTER


def caveats(before: Results, after: Results) -> list[str]:
    """Why two runs may differ though the code does not."""
    found = []
    one, two = before.machine, after.machine
    machines = [f"{short_cpu(m)}, {m.cores} cores" for m in (one, two)]
    if machines[0] != machines[1]:
        found.append(
            f"other machine: {machines[0]} and {machines[1]}; times are divided by one loop of integers, which stands "
            "for neither memory nor vector units"
        )
    if before.level != after.level:
        found.append(f"other level: {before.level} and {after.level}; cases that do other work there do not compare")
    if Level.SMOKE in {before.level, after.level}:
        found.append("the times of a smoke run say nothing and were not compared")
    versions = {"python": one.python, **one.versions}, {"python": two.python, **two.versions}
    moved = [
        f"{name} {versions[0].get(name, 'absent')} and {versions[1].get(name, 'absent')}"
        for name in sorted(versions[0] | versions[1])
        if name != "sealroom" and versions[0].get(name) != versions[1].get(name)
    ]
    if moved:
        found.append(f"other versions: {', '.join(moved)}")
    if one.settings != two.settings:
        found.append(f"other settings: {one.settings or 'none'} and {two.settings or 'none'}")
    for results, name in ((before, "first"), (after, "second")):
        if results.calibration.limit > DEFAULT_LIMIT:
            found.append(f"the {name} run accepted a drift of {results.calibration.limit:.0%}")
        if results.machine.dirty:
            found.append(f"the {name} run's checkout differed from its commit")
    return found


_STYLES: Final = {
    Change.FAILED: "bold red",
    Change.SLOWER: "bold red",
    Change.LARGER: "bold red",
    Change.HEAVIER: "bold red",
    Change.FASTER: "green",
    Change.SMALLER: "green",
    Change.LIGHTER: "green",
    Change.SAME: "dim",
}


def comparison_table(found: list[Comparison]) -> "Table":
    """The table for the terminal; what changed comes first."""
    from rich.table import Table

    table = Table(title="Before and after", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("case", "before", "after", "time", "bytes before", "bytes after", ""):
        table.add_column(name, justify="left" if name in {"case", ""} else "right", no_wrap=name == "case")
    order = list(Change)
    for one in sorted(found, key=lambda c: (order.index(c.changes[0]), -abs(c.time - 1))):
        both = one.before is not None and one.after is not None and Change.OTHER not in one.changes
        table.add_row(
            one.path,
            seconds_text(one.before.timing.median_s) if one.before else "-",
            seconds_text(one.after.timing.median_s) if one.after else "-",
            ratio_text(one.time) if both else "-",
            _sizes(one.before),
            _sizes(one.after),
            one.text,
            style=_STYLES.get(one.changes[0], ""),
        )
    return table


def _sizes(row: Row | None) -> str:
    """Bytes up, and down where there are any."""
    if row is None:
        return "-"
    down = f" / {bytes_text(row.wire.down_bytes)}" if row.wire.down_bytes else ""
    return bytes_text(row.wire.up_bytes) + down
