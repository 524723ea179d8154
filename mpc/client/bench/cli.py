"""`sealroom bench`."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

from mpc.client.cli.terminal import QuietFlag, Terminal, envelope, print_json
from mpc.errors import ConfigurationError

if TYPE_CHECKING:
    from mpc.client.bench.records import Results
    from mpc.client.bench.runner import Progress

__all__ = ["BenchCommand", "bench"]

_STDOUT: Final = "-"
_FILE_WIDTH: Final = 180
"""Width of tables that go into a file or a pipe."""

_DEFAULT_DRIFT: Final = 0.15
"""As `mpc.client.bench.drift.DEFAULT_LIMIT`, which help must not import."""


class BenchCommand(TyperCommand):
    """Lets `--json` stand without a file, as it does in every other command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare `--json` the value `-`."""
        words = []
        for word, following in zip(args, [*args[1:], None], strict=True):
            words.append(word)
            if word == "--json" and (following is None or (following.startswith("-") and following != _STDOUT)):
                words.append(_STDOUT)
        return super().parse_args(ctx, words)


def bench(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Ten minutes on two cores. The default.")] = False,  # noqa: FBT002
    full: Annotated[bool, typer.Option("--full", help="Everything, about an hour.")] = False,  # noqa: FBT002
    smoke: Annotated[  # noqa: FBT002
        bool, typer.Option("--smoke", help="Every case once, as small as it can be; its figures mean nothing.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="PATH", help="A leading path, e.g. micro/schemes. Repeatable.")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Other libraries too, where installed.")] = False,  # noqa: FBT002
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a self-contained HTML report.")
    ] = None,
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="[FILE]", help="Write the results as JSON; to stdout without a file."),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="A B", help="Compare two JSON results; runs nothing."),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Print the page of costs from a JSON result; runs nothing."),
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="FILE", help="With --markdown: replace the page in a document.")
    ] = None,
    calibrate: Annotated[  # noqa: FBT002
        bool, typer.Option("--calibrate", help="Measure this machine's cost constants and keep them for the planner.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="List the cases; runs nothing.")] = False,  # noqa: FBT002
    max_drift: Annotated[
        float,
        typer.Option(
            "--max-drift", min=0.01, max=100.0, help="Largest drift of the calibration loop that is accepted."
        ),
    ] = _DEFAULT_DRIFT,
    quiet: QuietFlag = False,  # noqa: FBT002
) -> int:
    """Measure what encryption costs on this machine, against the same work in the clear.

    Every figure is the median of warm samples that alternate with a plaintext twin, every answer is checked, and a run
    during which the machine was not quiet is refused.
    """
    from mpc.client.bench.cases import Level

    terminal = context.find_object(Terminal) or Terminal()
    terminal.json, terminal.quiet = json == _STDOUT, quiet or terminal.quiet
    if sum((quick, full, smoke)) > 1:
        raise typer.BadParameter("--quick, --full and --smoke exclude each other")
    level = Level.FULL if full else Level.SMOKE if smoke else Level.QUICK
    chosen = tuple(path.strip("/") for path in only or ())
    modes = {"--compare": compare, "--markdown": markdown, "--calibrate": calibrate or None, "--list": show or None}
    _together({name for name, given in modes.items() if given is not None}, report=report, into=into)
    for path in (report, Path(json) if json not in {None, _STDOUT} else None):
        if path is not None:
            _check_writable(path)
    if compare is not None:
        return _compare(terminal, *compare, json)
    if markdown is not None:
        return _markdown(terminal, markdown, into)
    if calibrate:
        return _calibrate(terminal, max_drift, json)
    if show:
        return _list(terminal, level, chosen, json, peers=peers)
    return _run(terminal, level, chosen, max_drift, json, report, peers=peers)


def _together(modes: set[str], *, report: Path | None, into: Path | None) -> None:
    """Refuse options that would be ignored (`typer.BadParameter`)."""
    if len(modes) > 1:
        raise typer.BadParameter(f"{' and '.join(sorted(modes))} exclude each other")
    if modes and report is not None:
        raise typer.BadParameter(f"--report is of a run; {min(modes)} runs nothing that has one")
    if into is not None and "--markdown" not in modes:
        raise typer.BadParameter("--into is for --markdown")


def _check_writable(path: Path, *, with_folders: bool = False) -> None:
    """Refuse a place for results before an hour of measuring rather than after it (`ConfigurationError`).

    Args:
        path: Where the results will be written.
        with_folders: Whether folders that do not exist will be made.
    """
    folder = path.absolute().parent
    while with_folders and not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise ConfigurationError("", file=path.name, reason="its folder does not exist")
    if path.is_dir():
        raise ConfigurationError("", file=path.name, reason="it is a folder")
    try:
        if path.is_file():
            path.open("ab").close()
        elif not path.exists():
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigurationError(str(error), file=path.name, reason="it cannot be written") from None


def _run(
    terminal: Terminal, level: Any, only: tuple[str, ...], max_drift: float, json: str | None, report: Path | None, *,
    peers: bool,
) -> int:  # fmt: skip
    from mpc.client.bench.drift import Drift
    from mpc.client.bench.runner import Runner
    from mpc.client.bench.suite import select

    cases = select(level, only, peers=peers)
    with _stdout_kept(), _progress(terminal) as progress:
        results = Runner(level=level, drift=Drift(limit=max_drift), progress=progress).run(cases, only=only)
    code = 1 if any(s.failed for s in results.skipped) or _mispredicted(results) else 0
    try:
        if report is not None:
            from mpc.client.bench.report import report_html

            _write_text(report, report_html(results))
            terminal.note(f"report: {report}")
    finally:  # what was measured is not lost to a report that fails
        _write_json(_as_json(results, code), json)
        if json != _STDOUT:
            _show(terminal, results)
    return code


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(str(error), file=path.name, reason="it cannot be written") from None


def _mispredicted(results: "Results") -> bool:
    """Whether the planner was wrong too often, where the machine was quiet enough to say so."""
    from mpc.client.bench.predictions import predictions_of

    found = predictions_of(results)
    quiet = results.level != "smoke" and results.calibration.limit <= _DEFAULT_DRIFT
    return found is not None and quiet and not found.accepted


def _as_json(results: "Results", code: int) -> dict[str, Any]:
    import msgspec

    body: dict[str, Any] = msgspec.to_builtins(results)
    return {**envelope("ok" if code == 0 else "error", code), **body}


def _write_json(value: Any, json: str | None) -> None:
    if json == _STDOUT:
        print_json(value)
    elif json is not None:
        with Path(json).open("w", encoding="utf-8") as file:
            print_json(value, stream=file)


def _show(terminal: Terminal, results: "Results") -> None:
    from rich.markup import escape

    from mpc.client.bench.predictions import predictions_of
    from mpc.client.bench.tables import rich_tables, sheets

    if not terminal.out.is_terminal:
        terminal.out.width = _FILE_WIDTH
    for table in rich_tables(list(sheets(results)), width=terminal.out.width):
        terminal.out.print(table)
        terminal.out.print()
    machine, calibration = results.machine, results.calibration
    terminal.out.print(
        f"{escape(machine.cpu_model)}, {machine.cores} cores, commit {machine.commit}"
        f"{' with changes' if machine.dirty else ''}; {len(results.rows)} cases in {results.seconds:.0f} s; largest "
        f"drift {calibration.worst:.1%} of {calibration.limit:.0%}, {calibration.repeated} measured again"
    )
    if machine.settings:
        terminal.out.print(escape("set: " + ", ".join(f"{n} = {v}" for n, v in machine.settings.items())))
    found = predictions_of(results)
    if found is not None and results.level != "smoke":
        style = "red" if _mispredicted(results) else "default"
        terminal.out.print(f"[{style}]{found.text()}[/]", highlight=False)
    for skipped in results.skipped:
        style = "red" if skipped.failed else "yellow"
        word = "failed" if skipped.failed else "not measured"
        terminal.out.print(f"[{style}]{word}[/] {skipped.path}: {escape(skipped.reason)}")


def _list(terminal: Terminal, level: Any, only: tuple[str, ...], json: str | None, *, peers: bool) -> int:
    from mpc.client.bench.suite import select

    paths = [case.path for case in select(level, only, peers=peers)]
    _write_json({**envelope("ok", 0), "cases": paths}, json)
    if json != _STDOUT:
        terminal.result({}, paths)
    return 0


def _compare(terminal: Terminal, before: Path, after: Path, json: str | None) -> int:
    from rich.markup import escape

    from mpc.client.bench.comparison import caveats, compare, comparison_table

    one, two = _loaded(before), _loaded(after)
    found, doubts = list(compare(one, two)), caveats(one, two)
    rows = [{"path": c.path, "time": c.time, "changes": [change.value for change in c.changes]} for c in found]
    _write_json({**envelope("ok", 0), "cases": rows, "caveats": doubts}, json)
    if json != _STDOUT:
        if not terminal.out.is_terminal:
            terminal.out.width = _FILE_WIDTH
        terminal.out.print(comparison_table(found))
        for doubt in doubts:
            terminal.out.print(f"[yellow]caution[/] {escape(doubt)}")
    return 0


def _loaded(path: Path) -> "Results":
    from mpc.client.bench.records import load

    return load(_read(path), name=path.name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(str(error), file=path.name, reason="it cannot be read") from None


def _markdown(terminal: Terminal, results: Path, into: Path | None) -> int:
    from mpc.client.bench.markdown import inserted, page

    made = page(_loaded(results), name=results.name)
    if into is None:
        terminal.out.print(made, markup=False, highlight=False, soft_wrap=True)
        return 0
    _write_text(into, inserted(_read(into).decode("utf-8"), made))
    terminal.note(f"page of {results.name} in {into}")
    return 0


def _calibrate(terminal: Terminal, max_drift: float, json: str | None) -> int:
    import msgspec

    from mpc.client.bench.calibrating import calibrate
    from mpc.client.bench.drift import Drift
    from mpc.plan.constants import constants_path, write_constants

    path = constants_path()
    _check_writable(path, with_folders=True)
    with _stdout_kept():
        constants = calibrate(lambda what: terminal.note(f"[dim]measuring[/] {what}"), drift=Drift(limit=max_drift))
    write_constants(path, constants)
    data: dict[str, Any] = msgspec.to_builtins(constants)
    _write_json({**envelope("ok", 0), "file": str(path), "constants": data}, json)
    if json != _STDOUT:
        lines = [f"wrote {path}"]
        lines += [
            f"  {name:9s} encrypt {c.encrypt_ns:>10,.1f}  add {c.add_ns:>8,.1f}  decrypt {c.decrypt_ns:>10,.1f} ns per "
            f"slot and prime, key {c.key_s * 1e3:,.1f} ms"
            for name, c in constants.schemes.items()
        ]
        lines.append(
            f"  masks {constants.mask_ns} ns per slot and partner, packing {constants.packing_ns} ns per slot, "
            f"a job {constants.job_s * 1e3:.0f} ms and {constants.sum_s * 1e3:.0f} ms per sum"
        )
        terminal.result({}, lines)
    return 0


@contextlib.contextmanager
def _stdout_kept() -> Iterator[None]:
    """Drop what libraries print to stdout by themselves, from Python or from C, so that results stay clean."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            with contextlib.redirect_stdout(nowhere):
                yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


@contextlib.contextmanager
def _progress(terminal: Terminal) -> "Iterator[Progress]":
    """A progress bar on stderr; a line per section where stderr is not a terminal; nothing if asked for quiet."""
    if terminal.quiet or not terminal.progress:
        yield lambda _done, _of, _path: None
        return
    if not terminal.err.is_terminal:
        yield _Sections(terminal)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=terminal.err, transient=True) as bar:
        task = bar.add_task("")
        yield lambda done, of, path: bar.update(task, completed=done, total=of, description=path)


class _Sections:
    """Names every section once."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._last = ""

    def __call__(self, done: int, of: int, path: str) -> None:
        section = "/".join(path.split("/")[:2])
        if section != self._last:
            self._last = section
            self._terminal.err.print(f"{done}/{of} {section}" if section else f"{done}/{of} done")
