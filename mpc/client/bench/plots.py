"""Which charts a run gives, from its rows alone; a chart whose rows were not measured is left out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mpc.client.bench.charts import Bar, BarChart, LineChart, Mark, Series
from mpc.client.bench.figures import bytes_text, count_text, ratio_text, seconds_text, significant
from mpc.client.bench.records import Results, Row

__all__ = ["Figure", "crossover", "figures_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart with the sentence under it."""

    name: str
    svg: str
    caption: str


_PLAIN: Final = "#7b8794"
COLOURS: Final[Mapping[str, str]] = {
    "insecure-clear-4096-t62": "#52606d",
    "rlwe-2048-t30": "#d9480f",
    "rlwe-4096-t60": "#e8890c",
    "bfv-4096-t40": "#1c6dd0",
    "paillier-3072-s64": "#6b3fa0",
}
_SHORT: Final[Mapping[str, str]] = {
    "insecure-clear-4096-t62": "clear",
    "rlwe-2048-t30": "rlwe 2048",
    "rlwe-4096-t60": "rlwe 4096",
    "bfv-4096-t40": "bfv 4096",
    "paillier-3072-s64": "paillier 3072",
}
_ROLES: Final[Mapping[str, str]] = {"party": "#d9480f", "coordinator": "#1c6dd0", "recipient": "#2b8a3e"}
_BANDWIDTHS: Final = tuple(10.0 ** (e / 12) for e in range(-12, 49))
"""0.1 to 10,000 megabits per second."""


def figures_of(results: Results) -> list[Figure]:
    """Every chart that the rows of a run allow, in the order of the report."""
    makers: Sequence[Callable[[Results], Figure | None]] = (
        _time_by_length, _overhead_by_length, _bytes_by_length, _crossover, _by_parties, _by_threads, _operations,
        _libraries, _queries, _lines, _models, _predictions,
    )  # fmt: skip
    made = (maker(results) for maker in makers)
    return [figure for figure in made if figure is not None]


def _sums(results: Results, *, parties: int | None = 3) -> dict[str, list[Row]]:
    """Rows of `protocols/sum` on one thread by set, in order of length."""
    out: dict[str, list[Row]] = {}
    for row in results.rows:
        if row.group == "protocols/sum" and "/threads" not in row.path and parties in {None, row.labels["parties"]}:
            out.setdefault(row.parameter_set, []).append(row)
    for rows in out.values():
        rows.sort(key=lambda r: float(r.labels["length"]))
    return {name: rows for name, rows in out.items() if name in _SHORT and len({r.labels["length"] for r in rows}) > 1}


def _machine(results: Results) -> str:
    machine = results.machine
    return f"{machine.cpu_model}, one core, {machine.commit}"


def _by_length(results: Results, value: Callable[[Row], float]) -> list[Series]:
    return [
        Series(
            name=_SHORT[name],
            colour=COLOURS[name],
            points=[(float(r.labels["length"]), value(r)) for r in rows],
            dash="6 4" if name.startswith("insecure") else "",
        )
        for name, rows in _sums(results).items()
    ]


def _lengths(results: Results) -> list[float]:
    return sorted({float(r.labels["length"]) for rows in _sums(results).values() for r in rows})


def _longest(results: Results) -> Row | None:
    """The cheapest encrypted sum at the greatest length."""
    rows = [rows[-1] for name, rows in _sums(results).items() if not name.startswith("insecure")]
    longest = [r for r in rows if r.labels["length"] == max(float(x.labels["length"]) for x in rows)]
    return min(longest, key=lambda r: r.ns_per_value, default=None)


def _time_by_length(results: Results) -> Figure | None:
    series = _by_length(results, lambda r: r.ns_per_value)
    best = _longest(results)
    if not series or best is None:
        return None
    reference = next(iter(_sums(results).values()))
    plain = [(float(r.labels["length"]), r.twins["numpy"].median_s / r.values * 1e9) for r in reference]
    series.append(Series(name="plain numpy", colour=_PLAIN, points=plain, dash="2 4"))
    chart = LineChart(
        title="Time to protect, add and open one value",
        subtitle=f"whole round of three parties, 40-bit values, masks and checks included · {_machine(results)}",
        x_label="values per party",
        y_label="per value",
        series=series,
        x_ticks=_lengths(results),
        y_text=lambda ns: seconds_text(ns / 1e9),
    )
    text = (
        f"At {count_text(float(best.labels['length']))} values per party, {_SHORT[best.parameter_set]} takes "
        f"{significant(best.ns_per_value)} ns of processor time per value for all three roles together. Short vectors "
        "pay for a whole ciphertext, whatever they hold."
    )
    return Figure(name="time-by-length", svg=chart.svg(), caption=text)


def _overhead_by_length(results: Results) -> Figure | None:
    series = _by_length(results, lambda r: r.ratios["numpy"])
    best = _longest(results)
    if not series or best is None:
        return None
    chart = LineChart(
        title="Overhead over adding in the clear",
        subtitle=f"time of the whole round over numpy on plain arrays, bytes written and read · {_machine(results)}",
        x_label="values per party",
        y_label="times plaintext",
        series=series,
        x_ticks=_lengths(results),
        y_text=lambda x: f"{count_text(x)}x",
    )
    text = (
        f"{_SHORT[best.parameter_set]} at {count_text(float(best.labels['length']))} values: "
        f"{ratio_text(best.ratios['numpy'])} the time of a trusted adder. The clear line is the same protocol with "
        "masks, checks and digests, but without encryption: the distance to it is what the cryptosystem costs."
    )
    return Figure(name="overhead-by-length", svg=chart.svg(), caption=text)


def _bytes_by_length(results: Results) -> Figure | None:
    series = _by_length(results, lambda r: r.bytes_per_value)
    best = _longest(results)
    if not series or best is None:
        return None
    ends = [_lengths(results)[0], _lengths(results)[-1]]
    series.append(Series(name="int64", colour=_PLAIN, points=[(x, 8.0) for x in ends], dash="2 4", dots=False))
    chart = LineChart(
        title="Bytes that one value takes on the wire",
        subtitle="upload of one party over its number of 40-bit values; an int64 takes 8",
        x_label="values per party",
        y_label="per value",
        series=series,
        x_ticks=_lengths(results),
        y_text=bytes_text,
    )
    text = "Paillier's ciphertext is the smallest to begin with; lattice ciphertexts are cheap once they are full."
    return Figure(name="bytes-by-length", svg=chart.svg(), caption=text)


def _job_seconds(row: Row, megabits: float) -> float:
    """A sum over lines of a bandwidth: parties work and upload at once, the recipient downloads the total."""
    parties = float(row.labels["parties"])
    bits = 8 * (row.wire.up_bytes / parties + row.wire.down_bytes)
    return sum(row.phases.values()) + bits / (megabits * 1e6)


def crossover(results: Results) -> dict[float, list[tuple[float, float, float]]]:
    """Seconds by bandwidth, by length: `(megabits per second, rlwe, paillier)`; rlwe is the better of its sets."""
    sums = _sums(results)
    paillier = {float(r.labels["length"]): r for r in sums.get("paillier-3072-s64", [])}
    rlwe: dict[float, list[Row]] = {}
    for name in ("rlwe-2048-t30", "rlwe-4096-t60"):
        for row in sums.get(name, []):
            rlwe.setdefault(float(row.labels["length"]), []).append(row)
    return {
        length: [
            (mbit, min(_job_seconds(r, mbit) for r in rlwe[length]), _job_seconds(row, mbit)) for mbit in _BANDWIDTHS
        ]
        for length, row in sorted(paillier.items())
        if length in rlwe
    }


def _crossover(results: Results) -> Figure | None:
    curves = crossover(results)
    if not curves:
        return None
    series, marks, words = [], [], []
    for (length, points), dash in zip(curves.items(), ("", "7 4", "2 4", "9 3 2 3"), strict=False):
        name = count_text(length)
        series.append(Series(name=f"rlwe, {name}", colour=COLOURS["rlwe-2048-t30"], dash=dash, dots=False,
                             points=[(m, r) for m, r, _ in points]))  # fmt: skip
        series.append(Series(name=f"paillier, {name}", colour=COLOURS["paillier-3072-s64"], dash=dash, dots=False,
                             points=[(m, p) for m, _, p in points]))  # fmt: skip
        meeting = next((i for i, (_, r, p) in enumerate(points) if r < p), None)
        if meeting:
            mbit, seconds = points[meeting][0], points[meeting][1]
            marks.append(Mark(mbit, seconds, f"{significant(mbit, 2)} Mbit/s"))
            words.append(f"{significant(mbit, 2)} Mbit/s for {name} values")
    chart = LineChart(
        title="Which scheme is faster on which line",
        subtitle="computed: measured time of all roles plus measured bytes over the bandwidth; number of values named",
        x_label="bandwidth of each member's line, Mbit/s",
        y_label="one sum",
        series=series,
        marks=marks,
        y_text=seconds_text,
    )
    text = (
        f"Below {', '.join(words)} packed Paillier's small ciphertexts win; above, its arithmetic costs more than the "
        "bytes it saves."
        if words
        else "RLWE is faster at every bandwidth shown."
    )
    return Figure(name="crossover", svg=chart.svg(), caption=text + " Keys made ahead; delays not counted.")


def _by_parties(results: Results) -> Figure | None:
    rows = [
        r for r in results.rows if r.group == "protocols/sum" and "/threads" not in r.path and "numpy" in r.twins
    ]  # fmt: skip
    by_length: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        by_length.setdefault((row.parameter_set, float(row.labels["length"])), []).append(row)
    (name, length), found = max(by_length.items(), key=lambda item: len(item[1]), default=(("", 0.0), []))
    if len(found) < 3:
        return None
    found.sort(key=lambda r: float(r.labels["parties"]))
    series = [
        Series(name=role, colour=colour, points=[(float(r.labels["parties"]), r.phases[role] * 1e3) for r in found])
        for role, colour in _ROLES.items()
    ]
    chart = LineChart(
        title="What more parties cost",
        subtitle=f"{_SHORT.get(name, name)}, {count_text(length)} values per party · {_machine(results)}",
        x_label="parties",
        y_label="ms",
        series=series,
        x_log=False,
        y_log=False,
        y_zero=True,
        x_ticks=[float(r.labels["parties"]) for r in found],
    )
    text = "A party makes one mask per partner; the coordinator adds every contribution; the recipient opens one total."
    return Figure(name="by-parties", svg=chart.svg(), caption=text)


def _by_threads(results: Results) -> Figure | None:
    rows = sorted((r for r in results.rows if "/threads" in r.path), key=lambda r: r.threads)
    if len(rows) < 2:
        return None
    one = rows[0]
    series = [
        Series(
            name=role,
            colour=colour,
            points=[(float(r.threads), one.phases[role] / max(r.phases[role], 1e-12)) for r in rows],
        )
        for role, colour in _ROLES.items()
    ]
    ideal = [(float(r.threads), float(r.threads) / one.threads) for r in rows]
    series.append(Series(name="ideal", colour=_PLAIN, points=ideal, dash="2 4", dots=False))
    chart = LineChart(
        title="What more cores give",
        subtitle=f"speed-up over one thread, {_SHORT.get(one.parameter_set, one.parameter_set)}, "
        f"{count_text(float(one.labels['length']))} values per party · elapsed time",
        x_label="threads",
        y_label="times",
        series=series,
        x_log=False,
        y_log=False,
        y_zero=True,
        x_ticks=[float(r.threads) for r in rows],
        y_text=lambda x: f"{x:g}x",
    )
    text = "Encryption, addition and decryption run on several threads; masks, limbs and digests run on one."
    return Figure(name="by-threads", svg=chart.svg(), caption=text)


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
        subtitle=f"ns per slot, wire bytes in and out, logarithmic · {_machine(results)}",
        bars=bars,
        names=wanted,
        colours=list(_ROLES.values()),
        value_text=significant,
        log=True,
    )
    text = "One contribution added to a running sum counts as an addition, its validation included."
    return Figure(name="operations", svg=chart.svg(), caption=text)


def _libraries(results: Results) -> Figure | None:
    rows = [r for r in results.rows if r.path.startswith("peers/")]
    if len(rows) < 2:
        return None
    bars = []
    for row in rows:
        own = row.path.startswith("peers/sealroom/")
        values = row.values / float(row.labels["parties"])
        per = [row.phases[role] / values * 1e9 for role in ("party", "coordinator", "recipient")]
        name = f"sealroom {_SHORT.get(row.parameter_set, '')}" if own else str(row.labels["library"])
        security = f"{row.security_bits} bit" if own else f"{row.scheme.partition(' ')[2]}, {row.security_bits} bit"
        bars.append(Bar(name, per, note=f"{security}, {significant(row.bytes_per_value)} B/value"))
    chart = BarChart(
        title="The same sum with other libraries",
        subtitle=f"ns per value by role, five parties, 40-bit values, logarithmic · {_machine(results)}",
        bars=bars,
        names=list(_ROLES),
        colours=list(_ROLES.values()),
        value_text=significant,
        log=True,
        left=215,
    )
    text = (
        "Each library as its documentation shows it. Only Sealroom's rows include pairwise masks, validation of what "
        "arrives, contribution counts and signed digests. Slow libraries ran on shorter vectors."
    )
    return Figure(name="libraries", svg=chart.svg(), caption=text)


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
        bars=bars,
        names=("encrypted", "same plan in the clear", "DuckDB, pooled table"),
        colours=("#d9480f", "#52606d", "#adb5bd"),
        value_text=seconds_text,
        log=True,
        left=130,
    )
    worst = max(r.ratios["clear"] for r in shown)
    text = f"Encryption costs at most {ratio_text(worst)} over the same plan in the clear in this set."
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
        subtitle=f"all parties in one process, same model to the bit, logarithmic · {_machine(results)}",
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
                colour=_PLAIN,
                points=[(x, x * factor) for x in ends],
                dash=dash,
                dots=False,
                labelled=factor >= 1,
            )
        )
    within = sum(max(a / b, b / a) <= 1.5 for a, b in _pairs(rows))
    chart = LineChart(
        title="What the planner predicted",
        subtitle=f"seconds of a sum and of a query without its local statements · {results.machine.cpu_model}",
        x_label="predicted",
        y_label="measured",
        series=[s for s in series if s.points],
        x_text=seconds_text,
        y_text=seconds_text,
        square=True,
    )
    text = f"{within} of {len(rows)} predictions are within a factor of 1.5."
    return Figure(name="predictions", svg=chart.svg(), caption=text)


def _pairs(rows: Sequence[Row]) -> list[tuple[float, float]]:
    pairs = [(r.figures["predicted_s"], r.figures["measured_s"]) for r in rows]
    return [(a, b) for a, b in pairs if a > 0 and b > 0 and math.isfinite(a + b)]
