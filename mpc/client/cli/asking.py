"""`sealroom query`, `explain` and `tables`."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from mpc.client.cli.terminal import JsonFlag, NoProgressFlag, QuietFlag, RoomOption, Terminal, envelope, print_json

if TYPE_CHECKING:
    from mpc.client.analyst import Analyst
    from mpc.client.answer import Answer
    from mpc.client.cli.formats import Format
    from mpc.client.profile import Profile
    from mpc.plan import Explanation
    from mpc.plan.cost import Line

__all__ = ["explain", "open_profile", "query", "session", "stated_line", "stated_output", "tables"]

SqlArgument = Annotated[str | None, typer.Argument(help="The SQL; without it, a prompt or standard input.")]
FileOption = Annotated[Path | None, typer.Option("--file", "-f", help="Read the SQL from a file; - is standard input.")]
SchemeOption = Annotated[
    str | None,
    typer.Option(
        help="bfv, rlwe, paillier, or a parameter set; clear measures without encryption. The planner's if not given."
    ),
]
BandwidthOption = Annotated[
    str | None,
    typer.Option(
        metavar="RATE", help="Line of each member, for the planner: 500kbit, 20Mbit, 1Gbit. Else a local network."
    ),
]
LatencyOption = Annotated[str | None, typer.Option(metavar="TIME", help="The line's delay one way: 50ms.")]
FormatOption = Annotated[str, typer.Option("--format", help="table, json or csv.")]


def open_profile(room: str | None) -> "Profile":
    """The analyst's profile: the folder named, else this folder if it is one."""
    from mpc.client.profile import Profile, find_profile

    if room is None and Path("analyst.toml").is_file():
        room = "."
    return Profile.load(find_profile(room))


@contextmanager
def session(room: str | None) -> Iterator[tuple["Analyst", asyncio.Runner]]:
    """A connected analyst on a loop of its own. Ctrl-C cancels the running call first, and then interrupts."""
    from mpc.client.analyst import Analyst

    profile = open_profile(room)
    with asyncio.Runner() as runner:

        async def connect() -> Analyst:
            analyst = Analyst.connect(profile)
            try:
                await analyst.describe()
            except BaseException:
                await analyst.close()
                raise
            return analyst

        analyst = runner.run(connect())
        try:
            yield analyst, runner
        finally:
            runner.run(analyst.close())


def query(
    context: typer.Context,
    sql: SqlArgument = None,
    *,
    room: RoomOption = None,
    file: FileOption = None,
    format_: FormatOption = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the rows to a file.")] = None,
    scheme: SchemeOption = None,
    bandwidth: BandwidthOption = None,
    latency: LatencyOption = None,
    timeout: Annotated[str, typer.Option(help="Longest time for the job: 90s, 10m, 1h.")] = "10m",
    report: Annotated[bool, typer.Option("--report", help="Tell cost, traffic and who learned what.")] = False,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
    _no_progress: NoProgressFlag = False,
) -> None:
    """Ask the room a question in SQL; only you can open the answer."""
    terminal: Terminal = context.obj
    wanted, seconds = stated_output(format_, timeout, output)
    text = _text(sql, file)
    line = stated_line(bandwidth, latency)
    asking = _Asking(terminal, scheme, line, seconds, wanted, output, report=report)
    with session(room) as (analyst, runner):
        if text is None:
            _prompt(asking, analyst, runner)
        else:
            asking.show(asking.ask(analyst, runner, text))


def _text(sql: str | None, file: Path | None) -> str | None:
    """The SQL that was given, or None for the prompt."""
    from mpc.errors import ConfigurationError

    if sql is not None and file is not None:
        raise typer.BadParameter("give the SQL or --file, not both")
    if sql is not None and sql != "-":
        return sql
    if sql == "-" or (file is not None and str(file) == "-") or (file is None and not sys.stdin.isatty()):
        return sys.stdin.read()
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None


class _Asking:
    """How to ask and where to print."""

    def __init__(
        self,
        terminal: Terminal,
        scheme: str | None,
        line: "Line | None",
        timeout_s: float,
        wanted: "Format",
        output: Path | None,
        *,
        report: bool,
    ) -> None:
        self.terminal = terminal
        self._scheme = scheme
        self.line = line
        self._timeout_s = timeout_s
        self._format = wanted
        self._output = output
        self._report = report

    def ask(self, analyst: "Analyst", runner: asyncio.Runner, text: str) -> "Answer":
        """Run one query with its progress."""
        from mpc.client.cli.progress import JobProgress

        text = self.terminal.sql = text.strip().rstrip(";")
        plan = analyst.compile(text)  # a refusal needs no network
        with JobProgress(self.terminal, plan.parties) as progress:
            work = analyst.sql(text, scheme=self._scheme, line=self.line, timeout_s=self._timeout_s, watcher=progress)
            return runner.run(work)

    def show(self, answer: "Answer") -> None:
        """Print rows to stdout or a file, and the report beside them."""
        from mpc.client.cli.formats import render, report_data

        if self.terminal.json:
            data = {"columns": answer.columns, "rows": answer.rows, "report": report_data(answer.report)}
            print_json({**envelope("ok", 0), "job": answer.report.job, **data})
            return
        text = render(answer, self._format)
        if self._output is not None:
            self._output.write_text(text + "\n", encoding="utf-8")
            self.terminal.note(f"[green]✓[/] {len(answer)} rows written to {escape(str(self._output))}")
        else:
            print(text)  # noqa: T201 - the rows, exactly
        if self._report:
            self.terminal.err.print(f"\n{escape(str(answer.report))}")
        elif self.terminal.err.is_terminal:
            seconds = answer.report.seconds
            rows = f"{len(answer)} row{'s' * (len(answer) != 1)}"
            self.terminal.note(
                f"[dim]{rows}, {seconds:.2f} s, {answer.report.scheme}, {len(answer.report.participants)} parties[/]"
            )


_PROMPT_HELP = """\
  SQL ends with ;      .tables   .explain SQL;   .report on|off   .quit"""


def _prompt(asking: _Asking, analyst: "Analyst", runner: asyncio.Runner) -> None:
    """Read queries from a terminal until .quit or end of input."""
    import contextlib

    from mpc.client.cli.failures import report as report_error
    from mpc.errors import JobCancelled, MpcError

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - importing it gives input() its line editing
    terminal = asking.terminal
    manifest = analyst.profile.manifest
    terminal.err.print(f"[bold]{manifest.name}[/] as {analyst.profile.name}. SQL ends with ; and .help helps.")
    while (text := _read_statement()) is not None:
        try:
            if text.startswith("."):
                if not _dot(asking, analyst, text):
                    return
            elif text:
                asking.show(asking.ask(analyst, runner, text))
        except MpcError as error:
            report_error(terminal, error)
        except KeyboardInterrupt:
            report_error(terminal, JobCancelled("stopped by Ctrl-C"))


def _read_statement() -> str | None:
    """One statement or dot command; None at the end of input."""
    lines: list[str] = []
    while True:
        try:
            line = input("...> " if lines else "sealroom> ")
        except KeyboardInterrupt:
            print(file=sys.stderr)  # noqa: T201 - the cursor's own line
            return ""
        except EOFError:
            return None
        lines.append(line)
        text = "\n".join(lines).strip()
        if text.startswith(".") and not text.startswith(".explain"):
            return text
        if not text or text.endswith(";"):
            return text.rstrip(";")


def _dot(asking: _Asking, analyst: "Analyst", text: str) -> bool:
    """Run a dot command; False ends the prompt."""
    from mpc.client.cli import sheets

    word, _, rest = text.partition(" ")
    if word in {".quit", ".exit", ".q"}:
        return False
    if word == ".tables":
        for line in sheets.dictionary_lines(analyst.dictionary):
            asking.terminal.out.print(line)
    elif word == ".explain":
        print(_explanation(analyst.profile, rest, None, asking.line).text())  # noqa: T201 - the result
    elif word == ".report":
        asking._report = rest.strip() != "off"  # noqa: SLF001 - the same module
    else:
        asking.terminal.err.print(_PROMPT_HELP)
    return True


def explain(
    context: typer.Context,
    sql: SqlArgument = None,
    *,
    room: RoomOption = None,
    file: FileOption = None,
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    scheme: SchemeOption = None,
    bandwidth: BandwidthOption = None,
    latency: LatencyOption = None,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Show what a query would do, what it would cost, and who would learn what. Nothing is sent."""
    import msgspec

    text = _text(sql, file)
    if text is None:
        raise typer.BadParameter("give the SQL as an argument, with --file, or on standard input")
    profile = open_profile(room)
    terminal: Terminal = context.obj
    terminal.sql = text.strip().rstrip(";")
    found = _explanation(profile, terminal.sql, scheme, stated_line(bandwidth, latency))
    if terminal.json or format_ == "json":
        print_json({**envelope("ok", 0), "plan": msgspec.to_builtins(found)})
    else:
        print(found.text())  # noqa: T201 - the result


def stated_output(format_: str, timeout: str, output: Path | None) -> "tuple[Format, float]":
    """The stated format, and the stated timeout in seconds.

    Raises:
        ConfigurationError: The file could not be written: what an answer costs is not spent on that.
    """
    from mpc.client.cli.formats import Format, duration_s
    from mpc.errors import ConfigurationError

    try:
        stated = Format(format_), duration_s(timeout)
    except ValueError as error:
        raise typer.BadParameter(f"{error}: --format is table, json or csv; --timeout is 90s, 10m or 1h") from None
    if output is not None and (output.is_dir() or not os.access(output if output.exists() else output.parent, os.W_OK)):
        raise ConfigurationError(f"{output} cannot be written")
    return stated


def stated_line(bandwidth: str | None, latency: str | None) -> "Line | None":
    """The stated line."""
    from mpc.client.cli.formats import line_of

    try:
        return line_of(bandwidth, latency)
    except ValueError as error:
        raise typer.BadParameter(
            f"{error}: --bandwidth is 500kbit, 20Mbit or 1Gbit; --latency is 50ms or 0.2s"
        ) from None


def _explanation(profile: "Profile", text: str, scheme: str | None, line: "Line | None") -> "Explanation":
    """Compile and explain; needs the room's dictionary and nothing else."""
    import datetime as dt

    from mpc.plan import compile_query, explain, fold_now
    from mpc.plan.constants import calibrated_model

    plan = compile_query(fold_now(text, dt.datetime.now(dt.UTC)), profile.manifest.dictionary)
    is_party = profile.name in plan.parties
    model = calibrated_model(line)
    return explain(plan, participants=plan.parties, analyst_is_party=is_party, scheme=scheme, model=model)


def tables(
    context: typer.Context, *, room: RoomOption = None, _json: JsonFlag = False, _quiet: QuietFlag = False
) -> None:
    """List the room's tables: columns, types, ranges, and which parties hold rows."""
    from mpc.client.cli import sheets

    manifest = open_profile(room).manifest
    context.obj.result(
        {"room": manifest.room, **manifest.to_mapping()["dictionary"]}, sheets.dictionary_lines(manifest.dictionary)
    )
