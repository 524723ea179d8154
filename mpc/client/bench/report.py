"""The report: one HTML file that needs nothing else. Charts are inline SVG, each also a download of its own."""

import base64
from collections.abc import Iterator
from html import escape
from typing import Final

from mpc.client.bench.drift import DEFAULT_LIMIT
from mpc.client.bench.figure import Figure
from mpc.client.bench.plots import figures_of
from mpc.client.bench.records import Results
from mpc.client.bench.tables import Sheet, align, sheets
from mpc.client.bench.units import bytes_text, seconds_text, significant

__all__ = ["report_html"]

_LEAD: Final = (
    "Every protected computation beside the same work in the clear, in one run on one machine. Medians of warm "
    "samples; the case and its plaintext twin alternate; every answer was checked."
)

_STYLE: Final = """
:root{color-scheme:light;--ink:#1f2933;--soft:#616e7c;--line:#e4e7eb;--paper:#f5f7fa;--accent:#d9480f}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 Inter,'Helvetica Neue',Helvetica,Arial,sans-serif}
main{max-width:1640px;margin:0 auto;padding:36px 32px 80px}
h1{font-size:34px;line-height:1.15;margin:0 0 6px;letter-spacing:-.02em}
h2{font-size:21px;margin:44px 0 14px;letter-spacing:-.01em}
.lead{color:var(--soft);max-width:900px;margin:0 0 22px}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:2px 24px;font-size:13.5px;margin:0}
.facts div{display:flex;gap:8px;border-bottom:1px solid var(--line);padding:4px 0}
.facts dt{color:var(--soft);white-space:nowrap}.facts dd{margin:0;font-weight:550;overflow-wrap:anywhere}
.facts div:last-child{grid-column:1/-1}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(215px,1fr));gap:14px;margin:26px 0}
.tile{background:#fff;border:1px solid var(--line);border-radius:10px;padding:16px 18px}
.tile b{display:block;font-size:28px;letter-spacing:-.02em;line-height:1.2;color:var(--accent)}
.tile span{color:var(--soft);font-size:13px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(680px,100%),1fr));gap:18px;align-items:start}
figure{margin:0;background:#fff;border:1px solid var(--line);border-radius:10px;padding:10px 12px 14px}
figure svg{width:100%;height:auto;display:block}
figcaption{color:var(--soft);font-size:13.5px;padding:4px 10px 0}
figcaption a{color:var(--soft)}
.scroll{overflow-x:auto;background:#fff;border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%;font-size:12.5px;font-variant-numeric:tabular-nums}
th{position:sticky;top:0;background:#fff;color:var(--soft);font-weight:600;border-bottom:1px solid var(--line)}
th,td{padding:5px 12px;white-space:nowrap}td.long{white-space:normal;min-width:330px;color:var(--soft)}
tbody tr:nth-child(even){background:#fafbfc}
.right{text-align:right}.left{text-align:left}
.warn{background:#fff4e6;border:1px solid #ffd8a8;border-radius:10px;padding:10px 16px;margin:18px 0}
li{margin:3px 0}code{font-size:.93em}
@media print{body{background:#fff}figure,.scroll{break-inside:avoid}}
"""


def report_html(results: Results) -> str:
    """The whole page."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>What encryption costs: {escape(results.machine.commit)}</title><style>{_STYLE}</style></head><body>",
        "<main><h1>What encryption costs</h1>",
        f"<p class='lead'>{_LEAD}</p>",
        _facts(results),
        _warnings(results),
        _tiles(results),
        "<h2>Charts</h2><div class='charts'>",
        *(_figure(figure) for figure in figures_of(results)),
        "</div>",
        *(_sheet(sheet) for sheet in sheets(results)),
        _missing(results),
        _method(results),
        "</main></body></html>",
    ]
    return "".join(parts)


def _facts(results: Results) -> str:
    machine, calibration = results.machine, results.calibration
    facts = {
        "Processor": machine.cpu_model,
        "Instruction sets": " ".join(machine.cpu_flags) or "none of interest",
        "Cores": str(machine.cores),
        "Memory": bytes_text(machine.memory_bytes),
        "System": machine.system,
        "Python": machine.python,
        "Commit": machine.commit + (" with changes" if machine.dirty else ""),
        "Run": f"{results.started[:16].replace('T', ' ')} UTC, {results.level}, {significant(results.seconds)} s",
        "Calibration loop": f"{seconds_text(calibration.cpu_reference_s)} of processor time",
        "Largest drift": f"{calibration.worst:.1%} (limit {calibration.limit:.0%}, {calibration.repeated} repeated)",
        "Load at the start": f"{machine.load_average:g}",
        "Settings": ", ".join(f"{n} = {v}" for n, v in machine.settings.items()) or "none",
        "Libraries": ", ".join(f"{n} {v}" for n, v in machine.versions.items() if n != "sealroom"),
    }
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    return f"<dl class='facts'>{cells}</dl>"


def _warnings(results: Results) -> str:
    words = []
    if results.level == "smoke":
        words.append("A smoke run: every case ran once, as small as it can be. Its figures mean nothing.")
    if results.calibration.limit > DEFAULT_LIMIT:
        words.append(
            f"The accepted drift was raised to {results.calibration.limit:.0%}: the machine was not quiet, the figures "
            "are indicative."
        )
    if results.machine.dirty:
        words.append("The checkout differed from its commit.")
    failed = sum(s.failed for s in results.skipped)
    if failed:
        words.append(f"{failed} cases failed; they are listed below.")
    return "".join(f"<div class='warn'>{escape(word)}</div>" for word in words)


def _tiles(results: Results) -> str:
    return f"<div class='tiles'>{''.join(_tile(*tile) for tile in _key_figures(results))}</div>"


def _tile(figure: str, words: str) -> str:
    return f"<div class='tile'><b>{escape(figure)}</b><span>{escape(words)}</span></div>"


def _key_figures(results: Results) -> Iterator[tuple[str, str]]:
    sums = [r for r in results.rows if r.group == "protocols/sum" and r.security_bits and "/threads" not in r.path]
    if sums:
        best = min(sums, key=lambda r: r.ns_per_value)
        yield (
            f"{significant(best.ns_per_value)} ns",
            f"processor time to protect, add and open one 40-bit value ({best.parameter_set})",
        )
        least = min(sums, key=lambda r: r.bytes_per_value)
        yield (
            f"{significant(least.bytes_per_value)} B",
            f"on the wire for one 40-bit value ({least.parameter_set}, {least.labels['length']} values)",
        )
    queries = [r for r in results.rows if r.path.startswith("queries/")]
    if queries:
        fastest = min(queries, key=lambda r: r.timing.median_s)
        yield (
            seconds_text(fastest.timing.median_s),
            f"an encrypted query from the call to the answer, {fastest.labels['rows']:,} rows at each of three parties",
        )
        large = [r for r in queries if r.labels["rows"] == max(float(q.labels["rows"]) for q in queries)]
        ratios = sorted(r.ratios["clear"] for r in large)
        words = f"median cost of encryption in queries over {large[0].labels['rows']:,} rows per party, same plan"
        yield f"{significant(ratios[len(ratios) // 2])}x", f"{words} in the clear"
    models = sorted(r.ratios["ideal"] for r in results.rows if r.group == "learn")
    if models:
        yield (
            f"{significant(models[len(models) // 2])}x",
            "median cost of encryption in training, against a trusted adder",
        )


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.svg.encode()).decode()
    link = f"<a download='{figure.name}.svg' href='data:image/svg+xml;base64,{data}'>SVG</a>"
    return f"<figure id='{figure.name}'>{figure.svg}<figcaption>{escape(figure.caption)} {link}</figcaption></figure>"


def _sheet(sheet: Sheet) -> str:
    head = "".join(f"<th class='{align(c)}'>{escape(c)}</th>" for c in sheet.columns)
    body = "".join(
        "<tr>" + "".join(_cell(c, v) for c, v in zip(sheet.columns, row, strict=True)) + "</tr>" for row in sheet.rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<h2>{escape(sheet.title)}</h2><div class='scroll'>{table}</div>"


def _cell(column: str, value: str) -> str:
    kind = "left long" if column in {"parts", "notes"} and len(value) > 60 else align(column)
    return f"<td class='{kind}'>{escape(value)}</td>"


def _missing(results: Results) -> str:
    if not results.skipped:
        return ""
    items = "".join(
        f"<li><code>{escape(s.path)}</code>: {'failed: ' if s.failed else ''}{escape(s.reason)}</li>"
        for s in results.skipped
    )
    return f"<h2>Not measured</h2><ul>{items}</ul>"


def _method(results: Results) -> str:
    limit = f"{results.calibration.limit:.0%}"
    return (
        "<h2>How it was measured</h2><ul>"
        "<li>Cases of one thread count processor time, which time-slicing does not touch; cases of several threads or "
        "processes, and everything over a network, count elapsed time.</li>"
        "<li>Cold is the first run in the process after preparation. Warm samples are means over at least 20 ms; the "
        "median and half the distance of the quartiles are shown.</li>"
        "<li>A loop of fixed work (2048-bit modular power) runs before and after every case, alone and on every core "
        f"at once. A case beside which it moved, or waited for other processes, by more than {limit} is measured "
        "again; if it still does, the run does not report.</li>"
        "<li>Peak memory is what one warm run needed beyond what was resident; for rooms it is the largest process."
        "</li><li>Bytes are ciphertexts; framing, signatures and TLS come on top.</li></ul>"
    )
