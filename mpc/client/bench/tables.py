"""Rows as tables: the same cells for the terminal and the report."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from mpc.client.bench.records import Results, Row
from mpc.client.bench.units import bytes_text, ratio_text, seconds_text, significant

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Sheet", "align", "arithmetic_sheet", "rich_tables", "sheets"]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Column = tuple[str, Callable[[Row], str]]


def _section(row: Row) -> str:
    """The first two parts of a path, or the first where the second is a coordinate."""
    first, second, *_ = (*row.path.split("/"), "")
    return f"{first}/{second}" if first in {"micro", "protocols", "planner"} else first


def _name(row: Row) -> str:
    return row.path.removeprefix(_section(row) + "/")


def _spread(row: Row) -> str:
    return f"±{row.timing.spread * 50:.0f}%"


def _ratios(row: Row) -> str:
    return ", ".join(f"{ratio_text(ratio)} {name}" for name, ratio in row.ratios.items()) or "-"


def _security(row: Row) -> str:
    return str(row.security_bits) if row.security_bits else "none"


def _phases(row: Row) -> str:
    return ", ".join(f"{name} {seconds_text(s)}" for name, s in row.phases.items() if s >= 5e-7)


def _predicted(row: Row) -> str:
    return seconds_text(row.figures["predicted_s"]) if "predicted_s" in row.figures else "-"


def _measured_over_predicted(row: Row) -> str:
    predicted = row.figures.get("predicted_s", 0.0)
    return ratio_text(row.figures["measured_s"] / predicted) if predicted else "-"


def _predicted_bytes(row: Row) -> str:
    predicted = row.figures.get("predicted_bytes", 0.0)
    return f"{(row.figures['measured_bytes'] / predicted - 1) * 100:+.2f}%" if predicted else "-"


_CASE: Final[Column] = ("case", _name)
_MEDIAN: Final[Column] = ("median", lambda r: seconds_text(r.timing.median_s))
_SPREAD: Final[Column] = ("spread", _spread)
_COLD: Final[Column] = ("cold", lambda r: seconds_text(r.timing.cold_s))
_PER_VALUE: Final[Column] = ("ns/value", lambda r: significant(r.ns_per_value))
_BYTES: Final[Column] = ("B/value", lambda r: significant(r.bytes_per_value))
_UP: Final[Column] = ("upload", lambda r: bytes_text(r.wire.up_bytes))
_PEAK: Final[Column] = ("peak memory", lambda r: bytes_text(r.peak_bytes) if r.peak_bytes else "-")
_RATIO: Final[Column] = ("ratio", _ratios)
_SECURITY: Final[Column] = ("security", _security)
_THREADS: Final[Column] = ("threads", lambda r: str(r.threads))
_SET: Final[Column] = ("set", lambda r: r.parameter_set or r.scheme)
_PHASES: Final[Column] = ("parts", _phases)
_NOTES: Final[Column] = ("notes", lambda r: r.notes)

_LAYOUTS: Final[dict[str, tuple[Column, ...]]] = {
    "micro": (_CASE, _MEDIAN, _SPREAD, _COLD, _PER_VALUE, _BYTES, _RATIO, _PEAK, _SECURITY),
    "protocols": (_CASE, _MEDIAN, _SPREAD, _COLD, _PER_VALUE, _BYTES, _RATIO, _PEAK, _SECURITY, _THREADS, _PHASES),
    "queries": (_CASE, _SET, _MEDIAN, _SPREAD, _COLD, _UP, _RATIO, _PEAK, _PHASES),
    "learn": (_CASE, _MEDIAN, _SPREAD, _COLD, _UP, _RATIO, _PEAK, _NOTES),
    "planner": (
        _CASE,
        _SET,
        ("predicted", _predicted),
        ("measured", lambda r: seconds_text(r.figures.get("measured_s", 0.0))),
        ("measured/predicted", _measured_over_predicted),
        ("bytes off by", _predicted_bytes),
    ),
    "peers": (_CASE, ("version", lambda r: r.scheme), _MEDIAN, _SPREAD, _PER_VALUE, _BYTES, _RATIO, _SECURITY, _NOTES),
}
_LEFT: Final = frozenset({"case", "subject", "set", "parts", "notes", "version", "ratio"})


_ARITHMETIC: Final = "micro/arithmetic"
_WHOLE: Final = ("keygen", "table")
"""Operations that are not per value."""


def arithmetic_sheet(results: Results) -> Sheet | None:
    """One line per library, path and number of threads; one column per operation."""
    lines: dict[str, dict[str, Row]] = {}
    operations: dict[str, None] = {}
    for row in results.rows:
        if row.path.startswith(_ARITHMETIC + "/"):
            operation = str(row.labels["operation"])
            lines.setdefault(str(row.labels["subject"]), {})[operation] = row
            operations[operation] = None
    if not lines:
        return None
    each = [o for o in operations if o not in _WHOLE]
    head = (
        "subject",
        "bits",
        "security",
        "threads",
        *(f"{o} ns" for o in each),
        "B/value",
        "B/value symmetric",
        *_WHOLE,
    )
    cells = []
    for name, found in lines.items():
        first = next(iter(found.values()))
        sizes = (found.get("encrypt") or found.get("serialise"), found.get("encrypt-symmetric"))
        cells.append(
            (
                name,
                str(first.payload_bits),
                _security(first),
                str(first.threads),
                *(significant(found[o].ns_per_value) if o in found else "-" for o in each),
                *(significant(r.bytes_per_value) if r else "-" for r in sizes),
                *(_once(found[o]) if o in found else "-" for o in _WHOLE),
            )
        )
    return Sheet("micro/arithmetic: ns per value of a full ciphertext", head, tuple(cells))


def _once(row: Row) -> str:
    """What is made once: its time, and the memory it keeps where that is of note."""
    kept = row.figures.get("table_bytes")
    return seconds_text(row.timing.median_s) + (f", {bytes_text(kept)}" if kept else "")


def sheets(results: Results) -> Iterator[Sheet]:
    """One table per section."""
    arithmetic = arithmetic_sheet(results)
    if arithmetic is not None:
        yield arithmetic
    for section, rows in groupby((r for r in results.rows if _section(r) != _ARITHMETIC), key=_section):
        columns = _LAYOUTS.get(section.partition("/")[0], _LAYOUTS["micro"])
        yield Sheet(
            section, tuple(name for name, _ in columns), tuple(tuple(cell(r) for _, cell in columns) for r in rows)
        )


def align(column: str) -> str:
    """`left` or `right`."""
    return "left" if column in _LEFT else "right"


_ROOMY: Final = frozenset({"parts", "notes", "cold", "peak memory"})
_SPARE: Final = frozenset({"security", "threads", "set", "version", "spread"})
_NARROW: Final = 110


def rich_tables(found: Sequence[Sheet], *, width: int) -> "Iterator[Table]":
    """Tables for the terminal, with the columns that its width has room for; a report has them all."""
    from rich.table import Table

    left_out = _ROOMY | (_SPARE if width < _NARROW else frozenset())
    for sheet in found:
        kept = [i for i, name in enumerate(sheet.columns) if name not in left_out]
        table = Table(title=sheet.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for i in kept:
            # Figures are never cut; where the terminal is too narrow, names are.
            longest = max(len(cells[i]) for cells in (sheet.columns, *sheet.rows)) if i else 12
            right = align(sheet.columns[i]) == "right"
            table.add_column(sheet.columns[i], justify="right" if right else "left", no_wrap=True, min_width=longest)
        for row in sheet.rows:
            table.add_row(*(row[i] for i in kept))
        yield table
