"""An answer as a table, JSON or CSV."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from mpc.client.answer import Answer, Report, table_text
from mpc.plan.cost import Line

__all__ = ["Format", "csv_text", "duration_s", "line_of", "render", "report_data"]


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def render(answer: Answer, wanted: Format) -> str:
    """The rows as text, ending without a newline."""
    if wanted is Format.CSV:
        return csv_text(answer.columns, answer.values)
    if wanted is Format.JSON:
        import msgspec

        rows = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode(answer.rows)
        return msgspec.json.format(rows, indent=2).decode()
    return table_text(answer.columns, answer.values)


def csv_text(columns: Sequence[str], values: Iterable[Sequence[object]]) -> str:
    """RFC 4180 with a header; NULL is an empty field and an empty text is `""`, so that the two stay apart."""
    return "\n".join(",".join(map(_field, row)) for row in (columns, *values))


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value.isoformat(" ") if isinstance(value, dt.datetime) else str(value)
    if text == "" or any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def report_data(report: Report) -> Mapping[str, Any]:
    """The report for machines."""
    data = {name: value for name, value in asdict(report).items() if name != "disclosure"}
    return {**data, "disclosure": [{"who": who, "learned": what} for who, what in report.disclosure]}


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def duration_s(text: str) -> float:
    """Seconds of a duration like `90`, `90s`, `2m` or `1h` (`ValueError` if it is none).

    >>> duration_s("2m")
    120.0
    """
    unit = _UNITS.get(text[-1:])
    number = float(text[:-1]) * unit if unit is not None else float(text)
    if not 0 < number < 1e6:
        raise ValueError(text)
    return number


_RATES = {"kbit": 0.001, "mbit": 1.0, "gbit": 1000.0}


def line_of(bandwidth: str | None, latency: str | None) -> Line | None:
    """The line that was stated; None if nothing was (`ValueError` if it is none).

    Args:
        bandwidth: `500kbit`, `20Mbit` or `1Gbit` a second.
        latency: One way, in `ms` or `s`.

    >>> line_of("20Mbit", "50ms")
    Line(megabits_per_s=20.0, latency_s=0.05)
    """
    if bandwidth is None and latency is None:
        return None
    stated = {}
    if bandwidth is not None:
        rate = bandwidth.removesuffix("/s")
        number, unit = rate[:-4], rate[-4:].lower()
        stated["megabits_per_s"] = _measure(number, _RATES.get(unit), bandwidth)
    if latency is not None:
        scale = 0.001 if latency.endswith("ms") else 1.0 if latency.endswith("s") else None
        stated["latency_s"] = _measure(latency.rstrip("ms"), scale, latency)
    return Line(**stated)


def _measure(number: str, scale: float | None, text: str) -> float:
    value = float(number) * scale if scale is not None else 0.0
    if not 0 < value < 1e6:
        raise ValueError(text)
    return value
