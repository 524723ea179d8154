"""Charts of sums in one process: by length, by bandwidth, by parties, by threads."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from mpc.client.bench.charts import LineChart, Mark, Series
from mpc.client.bench.figure import COLOURS, PLAIN, ROLES, SHORT, Figure, source_line
from mpc.client.bench.records import Results, Row
from mpc.client.bench.units import bytes_tick, count_text, ratio_text, seconds_tick, significant

__all__ = [
    "by_parties",
    "by_threads",
    "bytes_by_length",
    "crossover",
    "crossover_chart",
    "overhead_by_length",
    "time_by_length",
]

_BANDWIDTHS: Final = tuple(10.0 ** (e / 12) for e in range(-12, 49))
"""0.1 to 10,000 megabits per second."""


def _sums(results: Results, *, parties: int | None = 3) -> dict[str, list[Row]]:
    """Rows of `protocols/sum` on one thread by set, in order of length."""
    out: dict[str, list[Row]] = {}
    for row in results.rows:
        if row.group == "protocols/sum" and "/threads" not in row.path and parties in {None, row.labels["parties"]}:
            out.setdefault(row.parameter_set, []).append(row)
    for rows in out.values():
        rows.sort(key=lambda r: float(r.labels["length"]))
    return {name: rows for name, rows in out.items() if name in SHORT and len({r.labels["length"] for r in rows}) > 1}


def _by_length(results: Results, value: Callable[[Row], float]) -> list[Series]:
    shown = _lengths(results)
    points = {
        name: [(float(r.labels["length"]), value(r)) for r in rows if float(r.labels["length"]) in shown]
        for name, rows in _sums(results).items()
    }
    return [
        Series(
            name=SHORT[name],
            colour=COLOURS[name],
            points=found,
            dash="6 4" if name.startswith("insecure") else "",
        )
        for name, found in points.items()
        if found
    ]


def _lengths(results: Results) -> list[float]:
    """Lengths that most sets share, or all if none is shared; the comparison of parties has one of its own."""
    sums = _sums(results)
    counts = Counter(float(r.labels["length"]) for rows in sums.values() for r in rows)
    return sorted(length for length, count in counts.items() if count > 1) or sorted(counts)


def _longest(results: Results) -> Row | None:
    """The cheapest encrypted sum at the greatest length."""
    rows = [rows[-1] for name, rows in _sums(results).items() if not name.startswith("insecure")]
    longest = [r for r in rows if r.labels["length"] == max(float(x.labels["length"]) for x in rows)]
    return min(longest, key=lambda r: r.ns_per_value, default=None)


def time_by_length(results: Results) -> Figure | None:
    """Time of a whole round per value, by length and scheme."""
    series = _by_length(results, lambda r: r.ns_per_value)
    best = _longest(results)
    if not series or best is None:
        return None
    reference = next(iter(_sums(results).values()))
    plain = [(float(r.labels["length"]), r.twins["numpy"].median_s / r.values * 1e9) for r in reference]
    series.append(Series(name="plain numpy", colour=PLAIN, points=plain, dash="2 4"))
    chart = LineChart(
        title="Time to protect, add and open one value",
        subtitle="whole round of three parties, 40-bit values, masks and checks included",
        source=source_line(results),
        x_label="values per party",
        y_label="per value",
        series=series,
        x_ticks=_lengths(results),
        y_text=lambda ns: seconds_tick(ns / 1e9),
    )
    text = (
        f"At {count_text(float(best.labels['length']))} values per party, {SHORT[best.parameter_set]} takes "
        f"{significant(best.ns_per_value)} ns of processor time per value for all three roles together. Short vectors "
        "pay for a whole ciphertext, whatever they hold."
    )
    return Figure(name="time-by-length", svg=chart.svg(), caption=text)


def overhead_by_length(results: Results) -> Figure | None:
    """The same over a trusted adder's time."""
    series = _by_length(results, lambda r: r.ratios["numpy"])
    best = _longest(results)
    if not series or best is None:
        return None
    chart = LineChart(
        title="Overhead over adding in the clear",
        subtitle="whole round over numpy on plain arrays, bytes written and read",
        source=source_line(results),
        x_label="values per party",
        y_label="times plaintext",
        series=series,
        x_ticks=_lengths(results),
        y_text=lambda x: f"{count_text(x)}x",
    )
    text = (
        f"{SHORT[best.parameter_set]} at {count_text(float(best.labels['length']))} values: "
        f"{ratio_text(best.ratios['numpy'])} the time of a trusted adder. The clear line is the same protocol with "
        "masks, checks and digests, but without encryption: the distance to it is what the cryptosystem costs."
    )
    return Figure(name="overhead-by-length", svg=chart.svg(), caption=text)


def bytes_by_length(results: Results) -> Figure | None:
    """Upload per value, by length and scheme."""
    series = _by_length(results, lambda r: r.bytes_per_value)
    best = _longest(results)
    if not series or best is None:
        return None
    ends = [_lengths(results)[0], _lengths(results)[-1]]
    series.append(Series(name="int64", colour=PLAIN, points=[(x, 8.0) for x in ends], dash="2 4", dots=False))
    chart = LineChart(
        title="Bytes that one value takes on the wire",
        subtitle="upload of one party over its number of 40-bit values; an int64 takes 8",
        source=source_line(results),
        x_label="values per party",
        y_label="per value",
        series=series,
        x_ticks=_lengths(results),
        y_text=bytes_tick,
    )
    text = "Paillier's ciphertext is the smallest to begin with; lattice ciphertexts are cheap once they are full."
    return Figure(name="bytes-by-length", svg=chart.svg(), caption=text)


def _job_seconds(row: Row, megabits: float) -> float:
    """A sum over lines of a bandwidth: parties work and upload at once, the recipient downloads the total."""
    parties = float(row.labels["parties"])
    bits = 8 * (row.wire.up_bytes / parties + row.wire.down_bytes)
    return sum(row.phases.values()) + bits / (megabits * 1e6)


_DASHES: Final = ("", "7 4", "2 4", "9 3 2 3")
_SAME_CURVE: Final = 0.25


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


def crossover_chart(results: Results) -> Figure | None:
    """A sum by bandwidth: RLWE against Paillier, with the crossings named."""
    curves = crossover(results)
    if not curves:
        return None
    series, marks, words = [], [], []
    drawn: list[tuple[float, float]] = []
    for (length, points), dash in zip(curves.items(), _DASHES, strict=False):
        name = count_text(length)
        rlwe = [(mbit, seconds) for mbit, seconds, _ in points]
        if not drawn or max(abs(y / z - 1) for (_, y), (_, z) in zip(rlwe, drawn, strict=True)) > _SAME_CURVE:
            # Vectors that fill the same ciphertexts have the same curve: one stands for them all.
            drawn = rlwe
            label = f"rlwe, {name} and more" if len(curves) > 1 else f"rlwe, {name}"
            series.append(Series(name=label, colour=COLOURS["rlwe-2048-t30"], dash=dash, dots=False, points=drawn))
        paillier = [(mbit, seconds) for mbit, _, seconds in points]
        colour = COLOURS["paillier-3072-s64"]
        series.append(Series(name=f"paillier, {name}", colour=colour, dash=dash, dots=False, points=paillier))
        meeting = next((i for i, (_, r, p) in enumerate(points) if r < p), None)
        if meeting:
            mbit, seconds = points[meeting][0], points[meeting][1]
            marks.append(Mark(mbit, seconds, f"{significant(mbit, 2)} Mbit/s"))
            words.append(f"{significant(mbit, 2)} Mbit/s for {name} values")
    chart = LineChart(
        title="Which scheme is faster on which line",
        subtitle="computed: measured time of all roles plus measured bytes over the bandwidth; number of values named",
        source=source_line(results),
        x_label="bandwidth of each member's line, Mbit/s",
        y_label="one sum",
        series=series,
        marks=marks,
        y_text=seconds_tick,
    )
    text = _crossing_text(words, {length: [r < p for _, r, p in points] for length, points in curves.items()})
    return Figure(name="crossover", svg=chart.svg(), caption=text + " Keys made ahead; delays not counted.")


def _crossing_text(crossings: list[str], rlwe_wins: dict[float, list[bool]]) -> str:
    """Who is faster where, of every length that was measured."""
    sentences = []
    if crossings:
        sentences.append(
            f"Below {', '.join(crossings)} packed Paillier's small ciphertexts win; above, its arithmetic costs more "
            "than the bytes it saves."
        )
    for name, always in (("RLWE", all), ("Paillier", lambda wins: not any(wins))):
        lengths = [count_text(length) for length, wins in rlwe_wins.items() if always(wins)]
        where = f", for {', '.join(lengths)} values" if len(lengths) < len(rlwe_wins) else ""
        if lengths:
            sentences.append(f"{name} is faster at every bandwidth shown{where}.")
    return " ".join(sentences)


def by_parties(results: Results) -> Figure | None:
    """Seconds of each role by number of parties."""
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
        for role, colour in ROLES.items()
    ]
    chart = LineChart(
        title="What more parties cost",
        subtitle=f"{SHORT.get(name, name)}, {count_text(length)} values per party",
        source=source_line(results),
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


def by_threads(results: Results) -> Figure | None:
    """Speed-up of each role by number of threads."""
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
        for role, colour in ROLES.items()
    ]
    ideal = [(float(r.threads), float(r.threads) / one.threads) for r in rows]
    series.append(Series(name="ideal", colour=PLAIN, points=ideal, dash="2 4", dots=False))
    chart = LineChart(
        title="What more cores give",
        subtitle=f"speed-up over one thread, {SHORT.get(one.parameter_set, one.parameter_set)}, "
        f"{count_text(float(one.labels['length']))} values per party · elapsed time",
        source=source_line(results),
        x_label="threads",
        y_label="times",
        series=series,
        x_log=False,
        y_log=False,
        y_zero=True,
        x_ticks=[float(r.threads) for r in rows],
        y_text=lambda x: f"{x:g}x",
    )
    most = rows[-1]
    gained = ", ".join(
        f"{role} {ratio_text(one.phases[role] / max(most.phases[role], 1e-12))}" for role in ROLES if role in one.phases
    )
    text = (
        f"With {most.threads} threads: {gained}. A sum streams in batches; only what is in one batch is shared among "
        "threads, and masks, limbs and digests run on one."
    )
    return Figure(name="by-threads", svg=chart.svg(), caption=text)
