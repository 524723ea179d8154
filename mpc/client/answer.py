"""What a query gives back: rows, and a report of what it cost and who learned what."""

import html
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["Answer", "Report"]

_SHOWN = 200
"""Rows that a notebook shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a job cost, and who learned what."""

    job: str
    scheme: str
    parameter_set: str
    security: str
    participants: tuple[str, ...]
    ciphertexts: int
    """Summed ciphertexts that the analyst opened."""

    bytes_received: int
    """Ciphertext and sealed bytes that the analyst downloaded."""

    traffic: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By member: ciphertexts and bytes that the coordinator received from it and sent to it."""

    seconds: float = 0.0
    """From the call to the answer."""

    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds by phase, the coordinator's and the client's own."""

    disclosure: tuple[tuple[str, str], ...] = ()
    """Who learned what."""

    key_exchange: str = ""
    """The key-exchange group that TLS negotiated with the coordinator."""

    def __str__(self) -> str:
        scheme = f"scheme {self.scheme} ({self.parameter_set}, {self.security})"
        lines = [
            f"job {self.job[:8]}: {self.seconds * 1000:.0f} ms, {len(self.participants)} parties, {scheme}",
            f"opened {self.ciphertexts} ciphertexts, received {self.bytes_received:,} bytes",
        ]
        lines += [
            f"  {member}: sent {counts.get('ciphertexts_received', 0)} ciphertexts, "
            f"{counts.get('bytes_received', 0):,} bytes"
            for member, counts in sorted(self.traffic.items())
            if member in self.participants
        ]
        if self.phases:
            lines.append("time: " + ", ".join(f"{name} {s * 1000:.0f} ms" for name, s in self.phases.items()))
        lines += [f"{who} learned: {what}" for who, what in self.disclosure]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """One line of cost, and folded who learned what, for notebooks."""
        from mpc.client.notebook import report_html

        return report_html(self)


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query, in order."""

    columns: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...] = field(repr=False)
    report: Report = field(repr=False)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.values]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def column(self, name: str) -> list[Any]:
        """The values of one column (`KeyError` if there is none)."""
        if name not in self.columns:
            raise KeyError(name)
        index = self.columns.index(name)
        return [row[index] for row in self.values]

    def to_arrow(self) -> "pa.Table":
        """The rows as a `pyarrow.Table`."""
        import pyarrow as pa

        arrays = [pa.array([row[i] for row in self.values]) for i in range(len(self.columns))]
        return pa.Table.from_arrays(arrays, names=list(self.columns))

    def to_pandas(self) -> "pd.DataFrame":
        """The rows as a `pandas.DataFrame`."""
        import pandas as pd

        return pd.DataFrame({name: self.column(name) for name in self.columns}, columns=list(self.columns))

    def to_polars(self) -> "pl.DataFrame":
        """The rows as a `polars.DataFrame`."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def to_parquet(self, path: "str | os.PathLike[str]") -> None:
        """Write the rows as a Parquet file."""
        import pyarrow.parquet as pq

        pq.write_table(self.to_arrow(), path)

    def __str__(self) -> str:
        return table_text(self.columns, self.values)

    def _repr_html_(self) -> str:
        """The rows as a table, and one line of cost, for notebooks."""
        from mpc.client.notebook import report_html

        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell(v))}</td>" for v in row) + "</tr>" for row in self.values[:_SHOWN]
        )
        more = f"<p>{len(self.values) - _SHOWN:,} more rows</p>" if len(self.values) > _SHOWN else ""
        cost = report_html(self.report)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}{cost}"


def cell(value: object) -> str:
    """A value as a person reads it."""
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e-3 or abs(value) >= 1e12 else f"{value:,.4f}".rstrip("0").rstrip(".")
    return str(value)


def table_text(columns: Sequence[str], values: Sequence[Sequence[object]]) -> str:
    """A plain table, numbers to the right."""
    texts = [[cell(v) for v in row] for row in values]
    widths = [max([len(name), *(len(row[i]) for row in texts)]) for i, name in enumerate(columns)]
    first = [next((row[i] for row in values if row[i] is not None), None) for i in range(len(columns))]
    right = [isinstance(value, int | float | Decimal) for value in first]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
        return "  ".join(padded).rstrip()

    return "\n".join([line(columns), line(["-" * w for w in widths]), *(line(row) for row in texts)])
