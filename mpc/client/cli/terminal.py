"""Where words go: results to stdout, everything else to stderr, and either for people or for machines."""

import os
import shlex
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

__all__ = ["SCHEMA_VERSION", "FolderOption", "JsonFlag", "QuietFlag", "RoomOption", "Terminal", "command_line"]

SCHEMA_VERSION: Final = 1
"""Version of everything that `--json` prints."""


@dataclass(slots=True)
class Terminal:
    """The terminal of one run. Its flags are set by the options that every command shares."""

    json: bool = False
    quiet: bool = False
    progress: bool = True
    job: str = ""
    """The job that an error is about."""

    sql: str = ""
    """The SQL that an error's offset points into."""

    out: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    err: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True))

    def result(self, data: Mapping[str, Any], lines: Iterable[str] = (), following: Iterable[str] = ()) -> None:
        """Print a command's result: an envelope for machines, or lines and the next commands for people.

        Args:
            data: The result's own fields.
            lines: The same for people; rich markup.
            following: Commands to type next, each one line.
        """
        following = list(following)
        if self.json:
            print_json({**envelope("ok", 0), **data, "next": following})
            return
        for line in lines:
            self.out.print(line)
        if following and not self.quiet:
            self.out.print()
            self.out.print("[bold]Next[/bold]")
            for command in following:
                self.out.print(f"  {escape(command)}")

    def note(self, line: str) -> None:
        """A word on the side, to stderr; rich markup."""
        if not self.quiet and not self.json:
            self.err.print(line)

    def folded(self, text: str, indent: int) -> str:
        """Prose between the margins of a terminal, indented after its first line; elsewhere as it is."""
        if not self.out.is_terminal:
            return text
        width = max(30, min(self.out.width, 100) - indent)
        return f"\n{' ' * indent}".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be taken back; without a terminal, `--yes` must have been given."""
        if yes:
            return
        if self.json or not sys.stdin.isatty():
            raise typer.BadParameter("this needs a person's yes: add --yes after reading what it says")
        typer.confirm(question, abort=True, err=True)


def envelope(status: str, exit_code: int) -> dict[str, Any]:
    """The head of every JSON result."""
    return {"schema_version": SCHEMA_VERSION, "status": status, "exit_code": exit_code}


def print_json(value: Any, *, stream: Any = None) -> None:
    """Print a value as JSON: exact decimals as numbers, dates in ISO 8601."""
    import msgspec

    text = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode(value)
    print(msgspec.json.format(text, indent=2).decode(), file=stream or sys.stdout)


def command_line(*words: object) -> str:
    """A command as it is typed.

    >>> command_line("sealroom", "query", "SELECT 1")
    "sealroom query 'SELECT 1'"
    """
    return shlex.join(str(w) for w in words)


def plain_output() -> bool:
    """Whether colour is unwanted: NO_COLOR (https://no-color.org) or a terminal that has none."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def _set(name: str, *, to: bool = True) -> Any:
    def callback(context: typer.Context, value: bool) -> bool:  # noqa: FBT001 - typer calls it so
        terminal = context.find_object(Terminal)
        if value and terminal is not None:
            setattr(terminal, name, to)
        return value

    return callback


JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON object for machines.", callback=_set("json"), show_default=False)
]
QuietFlag = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print the result alone.", callback=_set("quiet"), show_default=False),
]
NoProgressFlag = Annotated[
    bool,
    typer.Option("--no-progress", help="No progress display.", callback=_set("progress", to=False), show_default=False),
]
RoomOption = Annotated[
    str | None,
    typer.Option(
        "--room",
        "-r",
        envvar="SEALROOM_ROOM",
        help="An analyst's folder, or its name under ~/.config/sealroom.",
        show_default="this folder",
    ),
]
FolderOption = Annotated[
    str, typer.Option("--folder", "-C", help="The member's own folder.", show_default="this folder")
]
