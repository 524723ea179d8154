"""Charts, tables, the report, comparison and the record of a run, from rows that a test makes."""

import itertools
import re
import xml.etree.ElementTree as ET

import msgspec
import pytest

from mpc.client.bench import charts, cli, comparison, plots, records, sum_figures, tables, units
from mpc.client.bench.charts import Bar, BarChart, LineChart, Mark, Series
from mpc.client.bench.comparison import Change, compare
from mpc.client.bench.markdown import page
from mpc.client.bench.predictions import predictions_of
from mpc.client.bench.records import Calibration, Machine, Results, Row, Skipped, Timing, Wire
from mpc.client.bench.report import report_html
from mpc.errors import ConfigurationError

MACHINE = Machine(
    cpu_model="Test <CPU>", cpu_flags=("aes",), cores=2, memory_bytes=8 << 30, system="Linux", python="3.11",
    commit="abc123", dirty=False, load_average=0.1, versions={"numpy": "2"},
)  # fmt: skip


def timing(median, spread=0.02):
    return Timing(
        cold_s=median * 3, median_s=median, low_s=median * (1 - spread), high_s=median * (1 + spread),
        least_s=median * (1 - spread), samples=7, runs_per_sample=1,
    )  # fmt: skip


def row(path, median=0.01, *, up=1000, **more):
    given = {
        "group": "/".join(path.split("/")[:2]), "clock": "cpu", "twins": {"numpy": timing(median / 100)},
        "ratios": {"numpy": 100.0}, "values": 300, "ns_per_value": median / 300 * 1e9, "bytes_per_value": up / 300,
        "wire": Wire(up_bytes=up, down_bytes=up // 3),
        "phases": {"party": median / 4, "coordinator": median / 8, "recipient": median / 8}, "figures": {},
        "labels": {}, "scheme": "rlwe", "parameter_set": "rlwe-2048-t30", "security_bits": 128, "payload_bits": 40,
        "threads": 1, "peak_bytes": 4096, "drift": 0.01, "commit": "abc123", "cpu": "Test <CPU> aes",
    }  # fmt: skip
    return Row(path=path, timing=timing(median), **{**given, **more})


def sum_row(name, length, median, up, parties=3, threads=0):
    path = f"protocols/sum/{name}/n{length}/p{parties}" + (f"/threads{threads}" if threads else "")
    labels = {"set": name, "length": length, "parties": parties, "threads": threads or 1}
    return row(
        path, median, up=up, labels=labels, parameter_set=name, scheme=name.partition("-")[0], threads=threads or 1,
        values=length * parties, ns_per_value=median / length / parties * 1e9, bytes_per_value=up / length / parties,
    )  # fmt: skip


def results(*rows, skipped=(), reference=0.001):
    calibration = Calibration(limit=0.1, cpu_reference_s=reference, wall_reference_s=reference, worst=0.02, repeated=1)
    return Results(
        level="quick", only=(), started="2026-01-01T00:00:00+00:00", seconds=12.0, machine=MACHINE,
        calibration=calibration, rows=rows, skipped=skipped,
    )  # fmt: skip


def everything():
    sums = [
        sum_row(name, length, base * (1 + length / scale), size * max(1, length // scale))
        for name, base, scale, size in (
            ("insecure-clear-4096-t62", 1e-4, 4000, 32768 * 3),
            ("rlwe-2048-t30", 1e-3, 1000, 25_616 * 3),
            ("rlwe-4096-t60", 2e-3, 4000, 102_416 * 3),
            ("paillier-3072-s64", 5e-2, 47, 776 * 3),
        )
        for length in (10, 1000, 10_000)
    ]
    scaling = [sum_row("rlwe-4096-t60", 2000, 1e-3 * p, 102_416 * p, parties=p) for p in (2, 5, 8)]
    threads = [sum_row("rlwe-4096-t60", 9000, 1e-3 / t, 102_416, threads=t) for t in (1, 2)]
    twins = {"clear": timing(0.05), "duckdb": timing(0.001)}
    ratios = {"clear": 2.0, "duckdb": 100.0}
    micro = [
        row(
            f"micro/schemes/rlwe-2048-t30/{op}",
            group="micro/schemes/rlwe-2048-t30",
            labels={"set": "rlwe-2048-t30", "operation": op},
        )
        for op in ("encrypt", "add", "decrypt")
    ]  # fmt: skip
    query = row(
        "queries/rows1000/total", twins=twins, ratios=ratios, labels={"query": "total", "rows": 1000}, clock="wall"
    )
    line = row(
        "protocols/sum-wan/20ms-100mbit/total", twins=twins, ratios=ratios,
        labels={"query": "total", "delay_ms": 20, "megabits": 100},
    )  # fmt: skip
    model = row(
        "learn/ease",
        group="learn",
        twins={"ideal": timing(0.005)},
        ratios={"ideal": 2.0},
        labels={"model": "ease"},
        figures={"sums": 2.0},
    )
    prediction = row(
        "planner/sum/rlwe-2048-t30/n10",
        figures={"predicted_s": 0.01, "measured_s": 0.012, "predicted_bytes": 100.0, "measured_bytes": 101.0},
    )  # fmt: skip
    peers = [row("peers/phe", labels={"library": "phe", "parties": 5}, scheme="phe 1.5", parameter_set=""),
             row("peers/sealroom/rlwe-2048-t30", labels={"library": "sealroom", "parties": 5})]  # fmt: skip
    return results(*sums, *scaling, *threads, *micro, query, line, model, prediction, *peers)


def test_a_run_survives_its_file():
    run = everything()

    assert records.load(records.dump(run), name="a.json") == run


def test_the_command_line_envelope_is_readable_as_a_run():
    run = everything()
    body = {"schema_version": 1, "status": "ok", "exit_code": 0, **msgspec.to_builtins(run)}

    assert records.load(msgspec.json.encode(body), name="a.json") == run


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format": "sealroom-bench/1"}'])
def test_a_file_that_is_no_run_is_refused_by_name(data):
    with pytest.raises(ConfigurationError) as raised:
        records.load(data, name="a.json")

    assert raised.value.fields["file"] == "a.json"


def test_another_format_is_refused():
    data = records.dump(everything()).replace(b"sealroom-bench/1", b"sealroom-bench/9")

    with pytest.raises(ConfigurationError, match="sealroom-bench/9"):
        records.load(data, name="a.json")


def test_every_chart_is_drawn_and_is_wellformed():
    figures = plots.figures_of(everything())

    assert {f.name for f in figures} == {
        "time-by-length", "overhead-by-length", "bytes-by-length", "crossover", "by-parties", "by-threads",
        "operations", "libraries", "queries", "wide-area", "models", "predictions",
    }  # fmt: skip
    for figure in figures:
        root = ET.fromstring(figure.svg)
        assert root.tag.endswith("svg")
        assert not re.findall(r'"[^"]*(?:nan|inf)[^"]*"', re.sub(r"<text.*?</text>|<title>.*?</title>", "", figure.svg))
        assert "Test &lt;CPU&gt;" in figure.svg


def test_charts_of_what_was_not_measured_are_left_out():
    assert plots.figures_of(results(row("micro/masks/p2"))) == []


@pytest.mark.parametrize(
    "only",
    [
        "protocols/sum/rlwe-2048-t30",
        "protocols/sum/paillier-3072-s64",
        "protocols/sum/insecure-clear-4096-t62",
        "protocols/sum/rlwe-2048-t30/n10",
        "protocols/sum/rlwe-4096-t60",
        "micro",
        "planner",
        "peers",
        "peers/phe",
    ],
)
def test_a_run_of_a_part_has_a_report_and_a_page(only):
    run = everything()
    part = msgspec.structs.replace(run, rows=tuple(r for r in run.rows if f"{r.path}/".startswith(only + "/")))

    assert part.rows
    assert report_html(part).endswith("</html>")
    assert page(part, name="x.json")


def test_what_more_threads_give_is_said_as_it_was_measured():
    def caption(*times):
        rows = [sum_row("rlwe-4096-t60", 9000, t, 102_416, threads=k) for k, t in enumerate(times, 1)]
        return next(f.caption for f in plots.figures_of(results(*rows)) if f.name == "by-threads")

    assert "party 1.00x" in caption(1e-3, 1e-3)
    assert "party 2.00x" in caption(1e-3, 5e-4)


def test_the_crossing_is_not_told_where_there_is_none():
    def caption(rlwe_s, paillier_s, rlwe_up, paillier_up):
        rows = [sum_row("rlwe-2048-t30", n, rlwe_s, rlwe_up) for n in (10, 100)]
        rows += [sum_row("paillier-3072-s64", n, paillier_s, paillier_up) for n in (10, 100)]
        return next(f.caption for f in plots.figures_of(results(*rows)) if f.name == "crossover")

    assert "RLWE is faster at every bandwidth" in caption(1e-3, 1.0, 1000, 2000)
    assert "Paillier is faster at every bandwidth" in caption(1.0, 1e-3, 2000, 1000)


def test_points_stay_inside_the_picture():
    for figure in plots.figures_of(everything()):
        root = ET.fromstring(figure.svg)
        _, _, width, height = (float(v) for v in root.get("viewBox").split())
        for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
            assert 0 <= float(circle.get("cx")) <= width
            assert 0 <= float(circle.get("cy")) <= height
        for bar in root.iter("{http://www.w3.org/2000/svg}rect"):
            assert float(bar.get("x", 0)) + float(bar.get("width")) <= width


def test_the_crossing_is_where_the_curves_meet():
    curves = sum_figures.crossover(everything())

    for points in curves.values():
        rlwe_wins = [r < p for _, r, p in points]
        assert rlwe_wins == sorted(rlwe_wins)
    assert not curves[10.0][0][1] < curves[10.0][0][2]
    assert curves[10.0][-1][1] < curves[10.0][-1][2]


def test_a_job_over_a_line_takes_arithmetic_and_bytes():
    names = ("rlwe-2048-t30", "paillier-3072-s64")
    run = results(*(sum_row(name, length, 0.8, 3_000_000) for name in names for length in (10, 100)))
    points = sum_figures.crossover(run)[10.0]
    megabits, seconds, _ = points[0]

    # Half of the median in phases; one party's upload and the total: 1 MB each.
    assert seconds == pytest.approx(0.4 + 16e6 / (megabits * 1e6))


def test_text_from_data_is_escaped():
    chart = BarChart(title="<b>", subtitle="&", source="", bars=[Bar("<i>", [1.0])], names=(), colours=["#000"])

    svg = chart.svg()

    assert "<b>" not in svg
    assert "<i>" not in svg
    ET.fromstring(svg)


def test_linear_charts_and_marks_are_drawn():
    series = Series(name="s", colour="#000", points=[(1, 0.0), (2, 3.0)])
    chart = LineChart(title="t", subtitle="", source="", x_label="x", y_label="y", series=[series], x_log=False,
                      y_log=False, marks=[Mark(1.5, 1.0, "here")])  # fmt: skip

    assert "here" in chart.svg()


@pytest.mark.parametrize("wanted", [[10, 11, 12, 200], [200, 199, 198], [5.0] * 6, [0, 300], [150]])
def test_labels_keep_apart_in_order_and_inside(wanted):
    placed = charts._spread(wanted, low=0, high=300, gap=15)

    assert all(-1e-9 <= p <= 300 + 1e-9 for p in placed)
    in_order = [placed[i] for i in sorted(range(len(wanted)), key=lambda i: wanted[i])]
    assert all(b - a >= 15 - 1e-9 for a, b in itertools.pairwise(in_order))


def test_the_report_is_self_contained_and_escaped():
    run = everything()
    run = msgspec.structs.replace(run, skipped=(Skipped(path="peers/<x>", reason="a & b", failed=False),))

    page = report_html(run)

    assert not re.findall(r'(?:src|href)=["\'](?!data:image/svg)', page)
    assert "<x>" not in page
    assert "Test <CPU>" not in page
    assert "peers/&lt;x&gt;" in page
    assert "queries" in page
    assert page.count("<figure") == 12


def test_the_report_says_when_figures_mean_little():
    run = everything()
    calm = report_html(run)
    run = msgspec.structs.replace(
        run,
        level="smoke",
        machine=msgspec.structs.replace(MACHINE, dirty=True),
        calibration=msgspec.structs.replace(run.calibration, limit=0.5),
        skipped=(Skipped(path="a", reason="wrong", failed=True),),
    )
    page = report_html(run)

    assert "class='warn'" not in calm
    assert page.count("class='warn'") == 4


def test_tables_hold_every_row_once():
    run = everything()
    found = list(tables.sheets(run))

    assert sum(len(s.rows) for s in found) == len(run.rows)
    assert all(len(r) == len(s.columns) for s in found for r in s.rows)
    narrow, wide = (list(tables.rich_tables(found, width=w)) for w in (80, 200))
    assert len(narrow[0].columns) < len(wide[0].columns)


def change_of(before, after, **more):
    (change,) = next(compare(results(*before), results(*after, **more))).changes
    return change


def test_a_real_slow_down_is_told_from_noise():
    assert change_of([row("a/b", 0.010)], [row("a/b", 0.013)]) is Change.SLOWER
    assert change_of([row("a/b", 0.013)], [row("a/b", 0.010)]) is Change.FASTER
    assert change_of([row("a/b", 0.010)], [row("a/b", 0.0105)]) is Change.SAME
    noisy = row("a/b", 0.013)
    noisy = msgspec.structs.replace(noisy, timing=timing(0.013, spread=0.5))
    assert change_of([row("a/b", 0.010)], [noisy]) is Change.SAME


def test_a_slower_machine_is_not_slower_code():
    assert change_of([row("a/b", 0.010)], [row("a/b", 0.020)], reference=0.002) is Change.SAME


def test_bytes_and_missing_cases_are_changes():
    assert change_of([row("a/b", up=1000)], [row("a/b", up=1010)]) is Change.LARGER
    assert change_of([row("a/b", up=1000)], [row("a/b", up=900)]) is Change.SMALLER
    assert change_of([row("a/b")], []) is Change.REMOVED
    assert change_of([], [row("a/b")]) is Change.ADDED


def changes_of(was, now):
    return next(compare(results(was), results(now))).changes


def test_a_change_of_bytes_does_not_hide_a_change_of_time():
    assert changes_of(row("a/b", 0.01, up=1000), row("a/b", 0.03, up=1002)) == (Change.SLOWER, Change.LARGER)


def test_bytes_that_come_down_and_bytes_where_there_were_none_are_changes():
    def wired(up, down):
        return msgspec.structs.replace(row("a/b"), wire=Wire(up_bytes=up, down_bytes=down))

    assert changes_of(wired(1000, 300), wired(1000, 600)) == (Change.LARGER,)
    assert changes_of(wired(0, 300), wired(500, 300)) == (Change.LARGER,)
    assert changes_of(wired(1000, 300), wired(1100, 200)) == (Change.LARGER, Change.SMALLER)


def test_memory_is_compared_where_both_runs_know_it():
    def peak(size):
        return msgspec.structs.replace(row("a/b"), peak_bytes=size)

    assert changes_of(peak(10 << 20), peak(20 << 20)) == (Change.HEAVIER,)
    assert changes_of(peak(20 << 20), peak(10 << 20)) == (Change.LIGHTER,)
    assert changes_of(peak(10 << 20), peak(11 << 20)) == (Change.SAME,)
    assert changes_of(peak(4096), peak(40_960)) == (Change.SAME,)
    assert changes_of(peak(0), peak(20 << 20)) == (Change.SAME,)


def test_other_work_under_the_same_name_is_not_slower():
    quick = row("micro/schemes/rlwe-2048-t30/encrypt", 0.01, values=65_536)
    full = row("micro/schemes/rlwe-2048-t30/encrypt", 0.02, values=131_072, up=2000)

    assert changes_of(quick, full) == (Change.OTHER,)
    assert changes_of(row("a/b", 0.01, threads=2), row("a/b", 0.02, threads=4)) == (Change.OTHER,)
    assert changes_of(row("a/b", 0.01, labels={"length": 8}), row("a/b", 0.04, labels={"length": 32})) == (
        Change.OTHER,
    )


def test_a_line_is_as_long_on_a_slower_machine():
    lined = row("protocols/sum-wan/20ms-100mbit/total", 0.4, clock="wall", labels={"delay_ms": 20})

    assert change_of([lined], [lined], reference=0.002) is Change.SAME


def test_each_clock_is_scaled_by_its_own_loop():
    one, two = results(row("a/b", 0.01, clock="wall")), results(row("a/b", 0.02, clock="wall"))
    slower = msgspec.structs.replace(two.calibration, cpu_reference_s=0.001, wall_reference_s=0.002)

    (found,) = compare(one, msgspec.structs.replace(two, calibration=slower))

    assert found.changes == (Change.SAME,)


def test_a_case_that_fails_now_is_not_merely_gone():
    wrong = Skipped(path="a/b", reason="the total is wrong", failed=True)
    absent = Skipped(path="a/b", reason="no library", failed=False)

    assert next(compare(results(row("a/b")), results(skipped=(wrong,)))).changes == (Change.FAILED,)
    assert next(compare(results(row("a/b")), results(skipped=(absent,)))).changes == (Change.REMOVED,)
    assert next(compare(results(), results(skipped=(wrong,)))).changes == (Change.FAILED,)


def test_times_of_a_smoke_run_are_not_compared():
    smoke = msgspec.structs.replace(results(row("a/b", 0.1)), level="smoke")

    assert next(compare(results(row("a/b", 0.01)), smoke)).changes == (Change.SAME,)


def test_what_makes_two_runs_hard_to_compare_is_said():
    run = results(row("a/b"))
    assert comparison.caveats(run, run) == []

    machine = msgspec.structs.replace(
        MACHINE, cores=64, dirty=True, versions={"numpy": "3"}, settings={"SEALROOM_THREADS": "1"}
    )
    busy = msgspec.structs.replace(run.calibration, limit=0.5)
    other = msgspec.structs.replace(run, machine=machine, calibration=busy, level="smoke")
    text = " ".join(comparison.caveats(run, other))

    for words in (
        "64 cores",
        "numpy 2 and 3",
        "50%",
        "differed",
        "quick and smoke",
        "not compared",
        "SEALROOM_THREADS",
    ):
        assert words in text


def test_a_run_whose_loop_took_no_time_is_refused():
    data = records.dump(results(row("a/b"), reference=0.0))

    with pytest.raises(ConfigurationError):
        records.load(data, name="a.json")


def test_the_comparison_shows_what_changed_first():
    before = results(row("a/same"), row("a/gone"), row("a/slow", 0.01))
    found = list(compare(before, results(row("a/same"), row("a/slow", 0.1))))
    table = comparison.comparison_table(found)

    assert list(table.columns[0].cells) == ["a/slow", "a/gone", "a/same"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.001234, "0.00123"), (9.999, "10.0"), (123456, "123,000"), (-5.55, "-5.55"), (float("nan"), "-")],
)
def test_figures_have_three_digits(value, text):
    assert units.significant(value) == text


def predicted_row(name, seconds, *, size=100.0):
    figures = {"predicted_s": 0.1, "measured_s": seconds, "predicted_bytes": 100.0, "measured_bytes": size}
    return row(f"planner/query/g1/{name}", figures=figures)


def test_the_planner_is_judged_by_nine_tenths_and_by_bytes():
    good = [predicted_row(str(i), 0.1) for i in range(9)]

    assert predictions_of(results(*good, predicted_row("x", 0.2))).accepted
    assert not predictions_of(results(*good[:8], predicted_row("x", 0.2), predicted_row("y", 0.06))).accepted
    assert not predictions_of(results(*good, predicted_row("x", 0.1, size=103.0))).accepted
    assert predictions_of(results()) is None


def test_a_quiet_run_with_bad_predictions_is_an_error():
    bad = results(predicted_row("x", 0.3))
    busy = msgspec.structs.replace(bad.calibration, limit=0.5)

    assert cli._mispredicted(bad)
    assert not cli._mispredicted(msgspec.structs.replace(bad, calibration=busy))
    assert not cli._mispredicted(msgspec.structs.replace(bad, level="smoke"))
