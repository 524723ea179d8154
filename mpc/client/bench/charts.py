"""Charts as SVG text, written by hand: lines, horizontal bars, and points, on linear or logarithmic axes.

A chart carries its own title, axes and labels, so that it stands alone in a slide. Series are labelled at their ends
instead of in a legend. All text is escaped.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from mpc.client.bench.units import count_text, significant

__all__ = ["Bar", "BarChart", "LineChart", "Mark", "Series"]

_WIDTH: Final = 760
_INK: Final = "#1f2933"
_SOFT: Final = "#7b8794"
_GRID: Final = "#e4e7eb"
_FONT: Final = "Inter,'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif"
_LINE_HEIGHT: Final = 15.0
_EARLY_END: Final = 110.0
"""A line that ends so far from the right edge is named where it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A line or a set of points."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    dash: str = ""
    """SVG dash pattern."""

    line: bool = True
    dots: bool = True
    labelled: bool = True


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that is named inside the plot."""

    x: float
    y: float
    text: str
    colour: str = _INK


@dataclass(frozen=True, slots=True)
class _Axis:
    """A scale from data to pixels, with ticks."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        if self.log:
            low, high, value = math.log10(self.low), math.log10(self.high), math.log10(max(value, 1e-300))
        else:
            low, high = self.low, self.high
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        if not self.log:
            step = _nice((self.high - self.low) / 5)
            first = math.ceil(self.low / step - 1e-9)
            return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        every = max(1, (last - first) // 7)
        whole = [10.0**e for e in range(first, last + 1, every)]
        if len(whole) < 3:
            factors = (1, 2, 5)
            whole = [f * 10.0**e for e in range(first - 1, last + 1) for f in factors]
        return [t for t in whole if self.low * 0.999 <= t <= self.high * 1.001]


def _nice(step: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is at least `step`."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= step * 0.999)


def _span(values: Sequence[float], *, log: bool, zero: bool = False) -> tuple[float, float]:
    """A range that holds the values with a little room."""
    low, high = min(values), max(values)
    if log:
        if high / low < 10:
            return low / 1.6, high * 1.6
        return low / 1.25, high * 1.25
    low = 0.0 if zero else low
    room = (high - low) * 0.08 or 1.0
    return (low if zero else low - room), high + room


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = _INK, size: float = 12.0,
          weight: int = 400, halo: bool = False) -> str:  # fmt: skip
    """A line of text; with a halo it stays readable across lines of the plot."""
    around = ' stroke="#ffffff" stroke-width="5" stroke-linejoin="round" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size:g}" '
        f'font-weight="{weight}"{around}>{escape(text)}</text>'
    )


def _frame(height: float, title: str, subtitle: str, source: str, body: Sequence[str]) -> str:
    head = _text(20, 30, title, size=18, weight=650)
    under = _text(20, 50, subtitle, size=12.5, colour=_SOFT)
    under += _text(_WIDTH - 14, height - 9, source, anchor="end", size=9.5, colour=_SOFT)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'font-family="{_FONT}"><title>{escape(title)}</title>'
        f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#ffffff"/>{head}{under}{"".join(body)}</svg>'
    )


def _spread(wanted: Sequence[float], *, low: float, high: float, gap: float) -> list[float]:
    """Label positions near the wanted ones, in their order, at least `gap` apart and inside the plot."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed: list[float] = []
    for i in order:
        placed.append(max(wanted[i], placed[-1] + gap if placed else low))
    excess = max(0.0, placed[-1] - high) if placed else 0.0
    ceiling = high
    for k in range(len(placed) - 1, -1, -1):
        placed[k] = min(placed[k] - (excess if k == len(placed) - 1 else 0.0), ceiling)
        ceiling = placed[k] - gap
    out = [0.0] * len(wanted)
    for position, i in zip(placed, order, strict=True):
        out[i] = position
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Lines or points over two axes."""

    title: str
    subtitle: str
    source: str
    """Where the figures are from: machine and commit, at the foot."""

    x_label: str
    y_label: str
    series: Sequence[Series]
    x_log: bool = True
    y_log: bool = True
    x_ticks: Sequence[float] | None = None
    x_text: Callable[[float], str] = count_text
    y_text: Callable[[float], str] = count_text
    marks: Sequence[Mark] = ()
    y_zero: bool = False
    square: bool = False
    """Whether both axes have the same range."""

    height: int = 440
    right: int = 150
    """Room for the labels at the ends of the lines."""

    def svg(self) -> str:
        """The chart."""
        x_axis, y_axis = self._axes()
        body = [*self._grid(x_axis, y_axis)]
        for series in self.series:
            body += _drawn(series, x_axis, y_axis)
        for mark in self.marks:
            x, y = x_axis.at(mark.x), y_axis.at(mark.y)
            body.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="{mark.colour}" stroke-width="2"/>'
            )
            body.append(_text(x + 10, y - 8, mark.text, size=12, colour=mark.colour, weight=600, halo=True))
        body += self._labels(x_axis, y_axis)
        return _frame(self.height, self.title, self.subtitle, self.source, body)

    def _axes(self) -> tuple[_Axis, _Axis]:
        xs = [x for s in self.series for x, _ in s.points]
        ys = [y for s in self.series for _, y in s.points]
        if self.square:
            xs = ys = xs + ys
        x_low, x_high = _span(xs, log=self.x_log)
        y_low, y_high = _span(ys, log=self.y_log, zero=self.y_zero)
        left, top, bottom = 74, 94, 62
        return (
            _Axis(x_low, x_high, left, _WIDTH - self.right, self.x_log),
            _Axis(y_low, y_high, self.height - bottom, top, self.y_log),
        )

    def _grid(self, x_axis: _Axis, y_axis: _Axis) -> list[str]:
        out = []
        for tick in y_axis.ticks():
            y = y_axis.at(tick)
            out.append(f'<line x1="{x_axis.start}" x2="{x_axis.end}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>')
            out.append(_text(x_axis.start - 8, y + 4, self.y_text(tick), anchor="end", colour=_SOFT, size=11.5))
        for tick in self.x_ticks or x_axis.ticks():
            x = x_axis.at(tick)
            out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y_axis.start}" y2="{y_axis.end}" stroke="{_GRID}"/>')
            out.append(_text(x, y_axis.start + 18, self.x_text(tick), anchor="middle", colour=_SOFT, size=11.5))
        out.append(
            f'<line x1="{x_axis.start}" x2="{x_axis.end}" y1="{y_axis.start}" y2="{y_axis.start}" stroke="{_SOFT}"/>'
        )
        middle = (x_axis.start + x_axis.end) / 2
        out.append(_text(middle, self.height - 22, self.x_label, anchor="middle", size=11.5, weight=600))
        out.append(_text(20, y_axis.end - 14, self.y_label, size=11.5, weight=600))
        return out

    def _labels(self, x_axis: _Axis, y_axis: _Axis) -> list[str]:
        named, out = [], []
        for series in (s for s in self.series if s.labelled and s.points):
            x, y = x_axis.at(series.points[-1][0]), y_axis.at(series.points[-1][1])
            if series.line and x < x_axis.end - _EARLY_END:
                out.append(_text(x + 9, y + 4, series.name, colour=series.colour, size=12, weight=600, halo=True))
            else:
                named.append(series)
        wanted = [y_axis.at(s.points[-1][1]) for s in named]
        places = _spread(wanted, low=y_axis.end, high=y_axis.start, gap=_LINE_HEIGHT)
        for series, want, place in zip(named, wanted, places, strict=True):
            x = x_axis.at(series.points[-1][0])
            at = max(x + 10, x_axis.end + 8) if series.line else x_axis.end + 8
            if not series.line and series.dots:  # points have no end: a dot of their colour stands before the name
                out.append(f'<circle cx="{at + 4:.1f}" cy="{place:.1f}" r="3.6" fill="{series.colour}"/>')
                at += 14
            elif abs(want - place) > 2 or at - x > 14:
                out.append(
                    f'<line x1="{x + 5:.1f}" y1="{want:.1f}" x2="{at - 3:.1f}" y2="{place:.1f}" '
                    f'stroke="{series.colour}" stroke-width="0.7" opacity="0.6"/>'
                )
            out.append(_text(at, place + 4, series.name, colour=series.colour, size=12, weight=600))
        return out


def _drawn(series: Series, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    places = [(x_axis.at(x), y_axis.at(y)) for x, y in series.points]
    out = []
    if series.line and len(places) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = f' stroke-dasharray="{series.dash}"' if series.dash else ""
        out.append(
            f'<polyline points="{path}" fill="none" stroke="{series.colour}" stroke-width="2.4" '
            f'stroke-linejoin="round"{dash}/>'
        )
    if series.dots:
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{series.colour}"/>' for x, y in places]
    return out


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart: bars side by side, or a single one."""

    label: str
    values: Sequence[float | None]
    note: str = ""
    """Shown in grey under the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """Horizontal bars in groups, each with its figure at its end. On a logarithmic axis bars begin below the least."""

    title: str
    subtitle: str
    source: str
    bars: Sequence[Bar]
    names: Sequence[str]
    """What the bars of a group are; empty for single bars."""

    colours: Sequence[str]
    value_text: Callable[[float], str] = significant
    log: bool = False
    left: int = 200
    bar_height: float = 15.0
    _top: float = field(default=70.0, repr=False)

    def svg(self) -> str:
        """The chart."""
        top = self._top + (22 if self.names else 0)
        body = self._legend() if self.names else []
        axis = self._axis()
        y = top
        for bar in self.bars:
            shown = [(i, v) for i, v in enumerate(bar.values) if v is not None and v > 0]
            group = max(self.bar_height * len(shown), 26.0 if bar.note else self.bar_height)
            middle = y + group / 2
            body.append(_text(self.left - 10, middle + (0 if bar.note else 4), bar.label, anchor="end", weight=600))
            if bar.note:
                body.append(_text(self.left - 10, middle + 14, bar.note, anchor="end", colour=_SOFT, size=10.5))
            for k, (i, value) in enumerate(shown):
                body += self._bar(axis, y + k * self.bar_height, value, self.colours[i % len(self.colours)])
            y += group + 11
        body.append(f'<line x1="{self.left}" x2="{self.left}" y1="{top - 4}" y2="{y - 6:.1f}" stroke="{_SOFT}"/>')
        return _frame(y + 24, self.title, self.subtitle, self.source, body)

    def _axis(self) -> _Axis:
        values = [v for bar in self.bars for v in bar.values if v is not None and v > 0] or [1.0]
        end = _WIDTH - 96.0
        if self.log:
            low = 10.0 ** math.floor(math.log10(min(values)) - 0.15)
            return _Axis(low, max(*values, low * 10), self.left, end, log=True)
        return _Axis(0.0, max(values), self.left, end, log=False)

    def _bar(self, axis: _Axis, y: float, value: float, colour: str) -> list[str]:
        length = max(1.0, axis.at(value) - self.left)
        thickness = self.bar_height - 3
        return [
            f'<rect x="{self.left}" y="{y:.1f}" width="{length:.1f}" height="{thickness:.1f}" rx="2" fill="{colour}"/>',
            _text(self.left + length + 6, y + self.bar_height - 5, self.value_text(value), size=11),
        ]

    def _legend(self) -> list[str]:
        out, x = [], float(self.left)
        for name, colour in zip(self.names, self.colours, strict=False):
            out.append(f'<rect x="{x:.1f}" y="{self._top - 10:.1f}" width="11" height="11" rx="2" fill="{colour}"/>')
            out.append(_text(x + 16, self._top, name, size=12))
            x += 34 + 7.0 * len(name)
        return out
