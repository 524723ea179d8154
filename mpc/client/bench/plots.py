"""Which charts a run gives, from its rows alone; a chart whose rows were not measured is left out."""

import math
from collections.abc import Callable, Sequence

from mpc.client.bench import sum_figures
from mpc.client.bench.charts import Bar, BarChart, LineChart, Series
from mpc.client.bench.figure import PLAIN, ROLES, SHORT, Figure, source_line
from mpc.client.bench.records import Results, Row
from mpc.client.bench.units import bytes_text, count_text, ratio_text, seconds_text, seconds_tick, significant

__all__ = ["figures_of"]


def figures_of(results: Results) -> list[Figure]:
    """Every chart that the rows of a run allow, in the order of the report."""
    makers: Sequence[Callable[[Results], Figure | None]] = (
        sum_figures.time_by_length,
        sum_figures.overhead_by_length,
        sum_figures.bytes_by_length,
        sum_figures.crossover_chart,
        sum_figures.by_parties,
        sum_figures.by_threads,
        _operations,
        _libraries,
        _scores,
        _queries,
        _lines,
        _models,
        _predictions,
    )
    made = (maker(results) for maker in makers)
    return [figure for figure in made if figure is not None]


def _operations(results: Results) -> Figure | None:
    wanted = ("encrypt", "add", "decrypt")
    rows = {(r.labels["set"], r.labels["operation"]): r for r in results.rows if r.group.startswith("micro/schemes/")}
    names = list(dict.fromkeys(str(name) for name, _ in rows))
    bars = [
        Bar(name, [rows[name, op].ns_per_value if (name, op) in rows else None for op in wanted],
            note=f"{next(r for (n, _), r in rows.items() if n == name).payload_bits} bits a slot")
        for name in names
    ]  # fmt: skip
    if not bars:
        return None
    chart = BarChart(
        title="The operations of every parameter set",
        subtitle="ns per slot, wire bytes in and out, logarithmic",
        source=source_line(results),
        bars=bars,
        names=wanted,
        colours=list(ROLES.values()),
        value_text=significant,
        log=True,
    )
    text = "One contribution added to a running sum counts as an addition, its validation included."
    return Figure(name="operations", svg=chart.svg(), caption=text)


def _libraries(results: Results) -> Figure | None:
    rows = [r for r in results.rows if r.path.startswith("peers/") and "party" in r.phases]
    if len(rows) < 2:
        return None
    bars = []
    for row in rows:
        own = row.path.startswith("peers/sealroom/")
        values = row.values / float(row.labels["parties"])
        per = [row.phases[role] / values * 1e9 for role in ("party", "coordinator", "recipient")]
        name = f"sealroom {SHORT.get(row.parameter_set, '')}" if own else str(row.labels["library"])
        security = f"{row.security_bits} bit" if own else f"{row.scheme.partition(' ')[2]}, {row.security_bits} bit"
        bars.append(Bar(name, per, note=f"{security}, {significant(row.bytes_per_value)} B/value"))
    chart = BarChart(
        title="The same sum with other libraries",
        subtitle="ns per value by role, five parties, 40-bit values, logarithmic",
        source=source_line(results),
        bars=bars,
        names=list(ROLES),
        colours=list(ROLES.values()),
        value_text=significant,
        log=True,
        left=215,
    )
    text = (
        "Each library as its documentation shows it; tenseal-bfv-4096 is its fastest exact setting, seal-4096 the bare "
        "SEAL in its wheel. Only Sealroom's rows include pairwise masks, validation of what arrives, contribution "
        "counts and signed digests. Slow libraries ran on shorter vectors."
    )
    return Figure(name="libraries", svg=chart.svg(), caption=text)


def _scores(results: Results) -> Figure | None:
    rows = [r for r in results.rows if r.group == "protocols/score"]
    if not rows:
        return None
    bars = [
        Bar(
            f"{r.labels['rows']:,} items, d = {r.labels['dimensions']}",
            [r.timing.median_s, r.twins["numpy"].median_s],
            note=f"{bytes_text(r.wire.up_bytes)} up, {bytes_text(r.wire.down_bytes)} down",
        )
        for r in rows
    ]
    chart = BarChart(
        title="Private scoring of a catalogue",
        subtitle="one encrypted query against all items, both sides, flooding included, logarithmic",
        source=source_line(results),
        bars=bars,
        names=("encrypted", "numpy, single precision"),
        colours=("#d9480f", "#adb5bd"),
        value_text=seconds_text,
        log=True,
    )
    best = max(rows, key=lambda r: r.values / r.phases["holder"])
    speed = significant(best.values / best.phases["holder"] / 1e6)
    text = f"The holder scores up to {speed} million items a second on one core; the rest is the querier's own work."
    return Figure(name="scores", svg=chart.svg(), caption=text)


def _queries(results: Results) -> Figure | None:
    rows = [r for r in results.rows if r.path.startswith("queries/")]
    if not rows:
        return None
    most = max(float(r.labels["rows"]) for r in rows)
    shown = [r for r in rows if r.labels["rows"] == most]
    bars = [
        Bar(str(r.labels["query"]), [r.timing.median_s, r.twins["clear"].median_s, r.twins["duckdb"].median_s])
        for r in shown
    ]
    chart = BarChart(
        title="SQL over three companies",
        subtitle=f"{count_text(most)} rows per party, gRPC and mutual TLS on one machine, logarithmic · elapsed time",
        source=source_line(results),
        bars=bars,
        names=("encrypted", "same plan in the clear", "DuckDB, pooled table"),
        colours=("#d9480f", "#52606d", "#adb5bd"),
        value_text=seconds_text,
        log=True,
        left=130,
    )
    worst = max(r.ratios["clear"] for r in shown)
    text = (
        f"The largest ratio to the same plan in the clear is {ratio_text(worst)}. What is summed in the clear fills "
        "whole blocks, too."
    )
    return Figure(name="queries", svg=chart.svg(), caption=text)


def _lines(results: Results) -> Figure | None:
    rows = [r for r in results.rows if r.path.startswith("protocols/sum-wan/")]
    if not rows:
        return None
    bars = [
        Bar(f"{r.labels['delay_ms']} ms, {r.labels['megabits']} Mbit/s",
            [r.timing.median_s, r.twins["clear"].median_s], note=str(r.labels["query"]))
        for r in rows
    ]  # fmt: skip
    chart = BarChart(
        title="The same queries over a wide area",
        subtitle="one-way delay and rate of every member's line, through a relay · elapsed time",
        source=source_line(results),
        bars=bars,
        names=("encrypted", "same plan in the clear"),
        colours=("#d9480f", "#52606d"),
        value_text=seconds_text,
        left=165,
    )
    text = "The round trips of a job dominate; ciphertexts add what their bytes take on the line."
    return Figure(name="wide-area", svg=chart.svg(), caption=text)


def _models(results: Results) -> Figure | None:
    rows = [r for r in results.rows if r.group == "learn"]
    if not rows:
        return None
    bars = [
        Bar(
            str(r.labels["model"]),
            [r.timing.median_s, r.twins["ideal"].median_s],
            note=f"{int(r.figures['sums'])} sums",
        )
        for r in rows
    ]  # fmt: skip
    chart = BarChart(
        title="Training over encrypted sums",
        subtitle="all parties in one process, same model to the bit, logarithmic",
        source=source_line(results),
        bars=bars,
        names=("encrypted", "trusted adder"),
        colours=("#d9480f", "#52606d"),
        value_text=seconds_text,
        log=True,
    )
    worst = max(rows, key=lambda r: r.ratios["ideal"])
    text = f"Largest ratio: {ratio_text(worst.ratios['ideal'])} ({worst.labels['model']})."
    return Figure(name="models", svg=chart.svg(), caption=text)


def _predictions(results: Results) -> Figure | None:
    rows = [r for r in results.rows if r.path.startswith("planner/") and r.figures.get("predicted_s")]
    if not rows:
        return None
    kinds = (("sums", "planner/sum/", "#1c6dd0"), ("queries", "planner/query/", "#d9480f"))
    series = [
        Series(
            name=name,
            colour=colour,
            line=False,
            points=[(r.figures["predicted_s"], r.figures["measured_s"]) for r in rows if r.path.startswith(path)],
        )
        for name, path, colour in kinds
    ]
    every = [v for s in series for point in s.points for v in point]
    ends = (min(every) / 1.2, max(every) * 1.2)
    for factor, dash in ((1.0, ""), (1.5, "4 4"), (1 / 1.5, "4 4")):
        series.append(
            Series(
                name=f"{factor:.1f}x" if factor > 1 else "equal",
                colour=PLAIN,
                points=[(x, x * factor) for x in ends],
                dash=dash,
                dots=False,
                labelled=factor >= 1,
            )
        )
    within = sum(max(a / b, b / a) <= 1.5 for a, b in _pairs(rows))
    chart = LineChart(
        title="What the planner predicted",
        subtitle="processor time of a sum's roles; a query from the call to the answer",
        source=source_line(results),
        x_label="predicted",
        y_label="measured",
        series=[s for s in series if s.points],
        x_text=seconds_tick,
        y_text=seconds_tick,
        square=True,
    )
    text = f"{within} of {len(rows)} predictions are within a factor of 1.5."
    return Figure(name="predictions", svg=chart.svg(), caption=text)


def _pairs(rows: Sequence[Row]) -> list[tuple[float, float]]:
    pairs = [(r.figures["predicted_s"], r.figures["measured_s"]) for r in rows]
    return [(a, b) for a, b in pairs if a > 0 and b > 0 and math.isfinite(a + b)]
