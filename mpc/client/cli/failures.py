"""How a failure looks: a code, a sentence, why, and what to do, on stderr; or an envelope for machines."""

import sys
from typing import Any

import typer
from rich.markup import escape

from mpc.client.cli.terminal import Terminal, envelope, print_json
from mpc.errors import InternalError, JobCancelled, MpcError

__all__ = ["UsageProblem", "report", "report_unexpected", "report_usage"]

UsageProblem: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""What typer raises for a wrong command line; its root has moved between typer's releases."""


def report(terminal: Terminal, error: MpcError) -> int:
    """Print an error and return the exit code."""
    from mpc.client.help_texts import text_of

    text = text_of(error.code)
    why = str(error.fields.get("reason") or error.detail or text.why)
    if error.fields.get("reason") and error.detail:
        why = f"{why} ({error.detail})"
    fix = str(error.fields.get("instead") or error.fix or text.fixes[0])
    job = terminal.job or str(error.fields.get("job", ""))
    if terminal.json:
        body = _envelope(error.exit_code, f"SEALROOM-{error.code}", headline(error), fix, job)
        print_json({**body, "why": why, "fields": error.fields}, stream=sys.stderr)
        return error.exit_code
    colour = "yellow" if isinstance(error, JobCancelled) else "red"
    show = terminal.err.print
    show(f"[bold {colour}]SEALROOM-{error.code}[/] {escape(headline(error))}")
    for line in pointed(terminal.sql, error.fields.get("offset")):
        show(f"  [dim]│[/] {escape(line)}")
    show(f"  [dim]Why[/]   {escape(terminal.folded(why, 8))}")
    show(f"  [dim]Fix[/]   {escape(terminal.folded(fix, 8))}")
    show(f"  [dim]More[/]  sealroom help {error.code}")
    return error.exit_code


def headline(error: MpcError) -> str:
    """The sentence with the names that make it precise; reason, cure and job stand elsewhere."""
    hidden = {"instead", "reason", "job"}
    if error.fields.get("member") == error.fields.get("party"):
        hidden.add("member")
    known = [f"{name} {value}" for name, value in error.fields.items() if name not in hidden]
    return f"{error.sentence} ({', '.join(known)})" if known else error.sentence


def pointed(sql: str, offset: object) -> tuple[str, ...]:
    r"""The line of a query that an offset points into, and a mark below it.

    >>> pointed("SELECT x\nFROM y", 14)
    ('FROM y', '     ^')
    """
    if not sql or not isinstance(offset, int) or not 0 <= offset <= len(sql):
        return ()
    start = sql.rfind("\n", 0, offset) + 1
    end = sql.find("\n", offset)
    line = sql[start : end if end >= 0 else len(sql)]
    return line, " " * (offset - start) + "^"


def report_usage(terminal: Terminal, problem: Any) -> int:
    """Print what is wrong with the command line and return 2."""
    sentence = problem.format_message()
    context = getattr(problem, "ctx", None)
    hint = f"{context.command_path} --help" if context is not None else "sealroom --help"
    if not sentence.strip():  # no words at all: typer has printed the help
        return 0
    if terminal.json:
        print_json(_envelope(2, "SEALROOM-USAGE", sentence, hint, ""), stream=sys.stderr)
    else:
        terminal.err.print(f"[bold red]Usage[/] {escape(sentence)}")
        terminal.err.print(f"  [dim]Fix[/]   {escape(hint)}")
    return 2


def report_unexpected(terminal: Terminal, error: Exception) -> int:
    """Print a fault of ours, with its trace for the bug report."""
    import traceback

    if not terminal.json:
        terminal.err.print(escape("".join(traceback.format_exception(error))), style="dim")
    return report(terminal, InternalError(f"{type(error).__name__}: {error}"))


def _envelope(code: int, error_code: str, message: str, hint: str, job: str) -> dict[str, Any]:
    head = envelope("cancelled" if code == JobCancelled.exit_code else "error", code)
    return {**head, "error_code": error_code, "message": message, "hint": hint, "job": job}
