"""What a notebook shows: plans, answers, and jobs as HTML. No script, no style sheet, nothing from elsewhere.

Objects of this package have `_repr_html_`; those of the layers below, which know nothing of notebooks, are made known
to a running IPython by `register`, which every client calls.
"""

import html
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mpc.errors import MpcError
from mpc.learn import TrainingExplanation
from mpc.plan import Explanation

if TYPE_CHECKING:
    from mpc.client.analysis import Analysis
    from mpc.client.answer import Report
    from mpc.client.training import TrainingRun

__all__ = ["analysis_html", "explanation_html", "register", "report_html", "run_html", "training_html"]

_LEFT: Final = ' style="text-align:left"'
_METRICS: Final = 12
"""Latest steps of a training that are listed."""


def register() -> None:
    """Teach the IPython that runs here, if any, to show plans."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    formatters = getattr(getattr(shell, "display_formatter", None), "formatters", {})
    if (formatter := formatters.get("text/html")) is not None:
        formatter.for_type(Explanation, explanation_html)
        formatter.for_type(TrainingExplanation, training_html)


# ---- pieces ----------------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    return html.escape(
        f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if isinstance(value, float) else str(value)
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; texts to the left, numbers to the right."""
    head = "".join(f"<th{_LEFT}>{_text(n)}</th>" for n in names)
    body = "".join(
        "<tr>" + "".join(f"<td{'' if isinstance(v, int | float) else _LEFT}>{_text(v)}</td>" for v in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""


def _part(title: str, content: str, *, closed: bool = False) -> str:
    if not content:
        return ""
    if closed:
        return f"<details><summary>{_text(title)}</summary>{content}</details>"
    return f"<p><b>{_text(title)}</b></p>{content}"


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1_000_000 else f"{count / 1e3:,.1f} kB"


def _learned(disclosures: Iterable[tuple[str, str]]) -> str:
    return _part("Who learns what", _table(("who", "what"), disclosures))


# ---- plans -----------------------------------------------------------------------------------------------------------


def explanation_html(plan: Explanation) -> str:
    """A query's plan: steps, price, and who learns what; the rest is folded."""
    steps = (
        (
            i,
            s.what,
            s.recipient or "stays",
            s.values or "",
            s.ciphertexts or "",
            _size(s.upload_bytes) if s.upload_bytes else "",
            s.seconds or "",
        )
        for i, s in enumerate(plan.steps, 1)
    )
    names = ("", "step", "opens to", "values", "ciphertexts", "each party sends", "seconds")
    statistics = ((s.name, s.what, s.bits, "no" if s.hidden else "yes") for s in plan.statistics)
    return (
        f"<p><code>{_text(plan.sql)}</code><br>over {_text(plan.table)}, {plan.participants} parties; "
        f"{_text(plan.scheme)} ({_text(plan.parameter_set)}): {_text(plan.why)}<br>groups: {_text(plan.groups)}</p>"
        + _table(names, steps)
        + f"<p>{_size(plan.bytes_per_party)} per party, {plan.seconds:.3f} s beside the databases' own work</p>"
        + _learned((d.who, d.what) for d in plan.disclosures)
        + _list(plan.notes)
        + _part("Statistics per group", _table(("name", "what", "bits", "asked for"), statistics), closed=True)
        + _part("What runs in each party's database", _code(plan.local_sql), closed=True)
        + f"<p><small>plan {_text(plan.digest[:16])}</small></p>"
    )


def _code(statements: Iterable[str]) -> str:
    return "".join(f'<pre style="white-space:pre-wrap">{_text(s)}</pre>' for s in statements)


def training_html(plan: TrainingExplanation) -> str:
    """A training's plan: sums, price, and who learns what."""
    names = ("sum", "rounds", "values", "bits", "each party sends", "each party gets", "seconds")
    sums = (
        (s.statistic, s.rounds, s.values, s.bits, _size(s.upload_bytes), _size(s.download_bytes), s.seconds)
        for s in plan.sums
    )
    parties, columns = ", ".join(plan.participants), ", ".join(plan.columns)
    price = f"{_size(plan.bytes_per_party)} sent per party, {plan.seconds:.1f} s"
    return (
        f"<p>{_text(plan.kind)} over {_text(plan.table)}: {_text(columns)}<br>"
        f"{_text(parties)}; {_text(plan.scheme)} ({_text(plan.parameter_set)}): {_text(plan.why)}</p>"
        + _table(names, sums)
        + f"<p>at most {price} beside the parties' own work</p>"
        + _part("What enters", _list(plan.contributors))
        + _learned(plan.disclosures)
        + _list(plan.notes)
        + f"<p><small>training {_text(plan.digest[:16])}</small></p>"
    )


# ---- jobs ------------------------------------------------------------------------------------------------------------


def report_html(report: "Report") -> str:
    """What a job cost; who learned what is folded."""
    parties = ", ".join(report.participants)
    sent = (
        (party, counts.get("ciphertexts_received", 0), _size(counts.get("bytes_received", 0)))
        for party, counts in sorted(report.traffic.items())
        if party in report.participants
    )
    return (
        f"<p><small>job {_text(report.job[:8])}: {report.seconds:.2f} s, {_text(parties)}; {_text(report.scheme)} "
        f"({_text(report.parameter_set)}, {_text(report.security)})</small></p>"
        + _part(
            "What was sent, and who learned what",
            _table(("party", "ciphertexts", "bytes"), sent) + _learned(report.disclosure),
            closed=True,
        )
    )


def analysis_html(found: "Analysis") -> str:
    """A query's rows, its plan, and what was predicted beside what was measured."""
    report, plan = found.answer.report, found.explanation
    measured = max(found.bytes_per_party.values(), default=0)
    compared = (
        ("seconds, without the databases' own work", f"{plan.seconds:.3f}", f"{report.seconds:.3f} (with it)"),
        ("bytes that one party sends", _size(plan.bytes_per_party), _size(measured)),
    )
    phases = ((name, f"{seconds * 1000:.1f} ms") for name, seconds in report.phases.items())
    return (
        found.answer._repr_html_()
        + _table(("", "predicted", "measured"), compared)
        + _part("Phases", _table(("phase", "took"), phases), closed=True)
        + _part("Plan", explanation_html(plan), closed=True)
    )


def run_html(run: "TrainingRun") -> str:
    """A training as it stands: its progress and latest metrics; once it ended, its quality and its cost."""
    state, rest = _outcome(run)
    last = run.steps[-1] if run.steps else None
    bar = ""
    if last is not None:
        left = "" if run.done or not last.seconds_left else f", about {last.seconds_left:.0f} s to go"
        bar = f'<progress max="{last.of}" value="{last.step}"></progress> step {last.step} of {last.of}{left}'
    names = sorted({name for step in run.steps for name in step.metrics})
    rows = ((s.step, *(s.metrics.get(n, "") for n in names)) for s in run.steps[-_METRICS:])
    listed = _table(("step", *names), rows) if names else ""
    return f"<p>training {_text(run.job[:8])}: <b>{state}</b> {bar}</p>{listed}{rest}"


def _outcome(run: "TrainingRun") -> tuple[str, str]:
    if not run.done:
        return "runs", ""
    try:
        done = run.wait()
    except MpcError as error:
        return f"{error.code}: {_text(error.public)}", ""
    quality = _part("Quality on the hold-out", _table(("metric", "value"), _flat(done.quality))) if done.quality else ""
    return "ended", f"<p>{_text(type(done.model).__name__)}</p>{quality}{report_html(done.report)}"


def _flat(found: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """Nested metrics as one list."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}: ")
        else:
            yield f"{before}{name}", value
