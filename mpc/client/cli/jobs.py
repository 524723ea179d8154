"""`sealroom jobs`: list, watch, cancel."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from mpc.client.cli.asking import session
from mpc.client.cli.terminal import JsonFlag, NoProgressFlag, QuietFlag, RoomOption, Terminal

if TYPE_CHECKING:
    from mpc.client.analyst import Analyst
    from mpc.wire.messages import JobEvent

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Your jobs at the coordinator.")

JobArgument = Annotated[str, typer.Argument(help="Job id, or its first digits.")]


@app.command("list")
def list_(
    context: typer.Context,
    *,
    room: RoomOption = None,
    most: Annotated[int, typer.Option("--most", "-n", help="How many.", min=1, max=1000)] = 20,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """List your jobs, newest first."""
    from mpc.client.answer import table_text

    with session(room) as (analyst, runner):
        found = runner.run(analyst.jobs(most)).jobs
    rows = [
        (j.job[:8], j.kind, j.state, f"{_moment(j.submitted_at)}", f"SEALROOM-{j.error_code}" if j.error_code else "")
        for j in found
    ]
    data = [
        {
            "job": j.job,
            "kind": j.kind,
            "state": j.state,
            "submitted_at": j.submitted_at,
            "error_code": j.error_code or None,
        }
        for j in found
    ]
    text = table_text(("job", "kind", "state", "submitted", "error"), rows) if rows else "no jobs yet"
    context.obj.result({"jobs": data}, text.splitlines())


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


async def _find(analyst: "Analyst", prefix: str) -> str:
    """The one job that begins so (`ConfigurationError` if there is none, or several)."""
    from mpc.errors import ConfigurationError

    found = [j.job for j in (await analyst.jobs(1000)).jobs if j.job.startswith(prefix.lower())]
    if len(found) != 1:
        what = "no job begins" if not found else f"{len(found)} jobs begin"
        raise ConfigurationError(f"{what} with {prefix[:40]}; `sealroom jobs list` lists them")
    return found[0]


@app.command()
def watch(
    context: typer.Context,
    job: JobArgument,
    *,
    room: RoomOption = None,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
    _no_progress: NoProgressFlag = False,
) -> None:
    """Follow a job until it ends; stopping to watch does not stop it. The exit code is the job's."""
    from mpc.client.cli.progress import JobProgress
    from mpc.errors import JobCancelled
    from mpc.wire.errors import from_notice
    from mpc.wire.messages import WatchRequest

    terminal: Terminal = context.obj
    with session(room) as (analyst, runner):
        found = runner.run(_find(analyst, job))
        with JobProgress(terminal, analyst.profile.manifest.parties) as progress:

            async def follow() -> "JobEvent | None":
                last = None
                async for event in analyst.peer.watch(WatchRequest(job=found)):
                    progress(event)
                    last = event
                return last

            last = runner.run(follow())
    if last is not None and last.state == "ABORTED":
        raise from_notice(last.error) if last.error else JobCancelled("", job=found)
    state = last.state if last is not None else "UNKNOWN"
    terminal.result({"job": found, "state": state}, (f"job {found[:8]} is {state}",))


@app.command()
def cancel(
    context: typer.Context,
    job: JobArgument,
    *,
    room: RoomOption = None,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Cancel a running job at every party."""
    with session(room) as (analyst, runner):
        found = runner.run(_find(analyst, job))
        runner.run(analyst.cancel(found))
    context.obj.result({"job": found}, (f"[green]✓[/] job {found[:8]} is told to stop",))
