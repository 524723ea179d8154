"""The table of commands, and the shell around every one of them."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from mpc.client.cli import asking, diagnosing, jobs, learning, nodes, room, scoring, showing
from mpc.client.cli.failures import UsageProblem, report, report_unexpected, report_usage
from mpc.client.cli.terminal import Terminal
from mpc.errors import JobCancelled, MpcError

__all__ = ["build", "main"]

ASK, LEARN, MAKE, RUN, LOOK = "Ask", "Learn", "Make a room", "Run a node", "Look after"


class _Shelf(TyperGroup):
    """Lists commands in the order of a new user's first day."""

    order = (
        *("demo", "query", "explain", "tables", "score", "catalogues", "jobs", "train", "model"),
        *("room", "party", "coordinator", "analyst", "doctor", "bench"),
    )

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands; those without a place come last."""
        return sorted(super().list_commands(ctx), key=lambda name: (*self.order, name).index(name))


def build() -> typer.Typer:
    """The command tree. A new verb is one line here."""
    from mpc.client.bench.cli import BenchCommand, bench  # it needs this package's terminal, so not at the top

    app = typer.Typer(
        name="sealroom",
        cls=_Shelf,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Encrypted SQL over several companies' data, with a coordinator that is blind.",
        epilog="Start with: sealroom demo",
    )
    app.command("demo", rich_help_panel=ASK)(showing.demo)
    app.command("query", rich_help_panel=ASK)(asking.query)
    app.command("explain", rich_help_panel=ASK)(asking.explain)
    app.command("tables", rich_help_panel=ASK)(asking.tables)
    app.command("score", rich_help_panel=ASK)(scoring.score)
    app.command("catalogues", rich_help_panel=ASK)(scoring.catalogues)
    app.command("train", rich_help_panel=LEARN)(learning.train)
    app.add_typer(learning.model, name="model", rich_help_panel=LEARN)
    app.add_typer(jobs.app, name="jobs", rich_help_panel=ASK)
    app.add_typer(room.app, name="room", rich_help_panel=MAKE)
    app.add_typer(nodes.party, name="party", rich_help_panel=RUN)
    app.add_typer(nodes.coordinator, name="coordinator", rich_help_panel=RUN)
    app.add_typer(nodes.analyst, name="analyst", rich_help_panel=RUN)
    app.command("doctor", rich_help_panel=LOOK)(diagnosing.doctor)
    app.command("bench", rich_help_panel=LOOK, cls=BenchCommand)(bench)
    app.command("help", rich_help_panel=LOOK)(diagnosing.help_)
    app.command("version", rich_help_panel=LOOK)(diagnosing.version)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: The words after `sealroom`; those of the process if not given.
    """
    terminal = Terminal()
    words = sys.argv[1:] if arguments is None else list(arguments)
    terminal.json = "--json" in words  # so that a wrong command line, too, is answered in JSON
    try:
        found = build()(words, prog_name="sealroom", standalone_mode=False, obj=terminal)
    except MpcError as error:
        return report(terminal, error)
    except UsageProblem as problem:
        return report_usage(terminal, problem)
    except (KeyboardInterrupt, typer.Abort):
        return report(terminal, JobCancelled("stopped by Ctrl-C"))
    except BrokenPipeError:
        # The reader of stdout has gone (for example `| head`); Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence says so in our own words
        return report_unexpected(terminal, error)
    if found == JobCancelled.exit_code:
        return report(terminal, JobCancelled("stopped by Ctrl-C"))
    return found if isinstance(found, int) else 0
