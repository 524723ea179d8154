"""An answer as a table, JSON or CSV."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from mpc.client.answer import Answer, Report, table_text

__all__ = ["Format", "csv_text", "duration_s", "render", "report_data"]


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
