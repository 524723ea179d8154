"""A job as it runs: the step, who is awaited and for how long, how much has been added.

On a terminal one small display that disappears; elsewhere a line per step. Both to stderr, so stdout is the answer.
"""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.live import Live
from rich.text import Text

from mpc.client.cli.terminal import Terminal

if TYPE_CHECKING:
    from mpc.wire.messages import JobEvent

__all__ = ["JobProgress", "JobView"]

_STEPS: Final = {
    "commit": "commits to the job",
    "compute": "reads its rows, masks and encrypts",
    "group key": "makes the group's key",
    "sealed": "sends what is for the analyst alone",
}
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_BAR: Final = 28
_ONE_NOTICE_S: Final = 0.5
"""Notices of the coordinator that come within this time belong together."""


class JobView:
    """What is known of a running job from its events; pure, so that it can be tested without a terminal."""

    def __init__(self, parties: tuple[str, ...]) -> None:
        self.parties = parties
        self.job = ""
        self.state = ""
        self.lanes: dict[str, tuple[str, float]] = {}
        """Party -> what it does, and since when (seconds of the job)."""

        self.awaited: dict[str, float] = {}
        """Party -> when the coordinator last said that it waits for it."""

        self.round = 0
        self.done = self.total = 0

    def waiting(self) -> dict[str, tuple[str, float]]:
        """The lanes that are still at work: those the coordinator last named, once it names any."""
        latest = max(self.awaited.values(), default=0.0)
        return {
            party: (what, since)
            for party, (what, since) in sorted(self.lanes.items())
            if since >= latest or self.awaited.get(party, 0.0) > latest - _ONE_NOTICE_S
        }

    def take(self, event: "JobEvent") -> str:
        """Take an event; returns a line for the log, or nothing if it is not news."""
        self.job, self.state = event.job, event.state
        if event.step == "state":
            if event.state in {"RELEASED", "ABORTED"}:
                self.lanes.clear()
            return ""
        if event.step == "queued":
            self.lanes = dict.fromkeys(self.parties, ("works for other jobs first", event.seconds))
            return "waiting for its turn: the parties work for other jobs"
        if event.step == "commit":
            self.lanes = dict.fromkeys(self.parties, (_STEPS["commit"], event.seconds))
            return f"asking {', '.join(self.parties)} to commit"
        if event.step == "add":
            self.lanes.clear()
            self.round, self.done, self.total = event.round, event.ciphertexts_done, event.ciphertexts_total
            return f"added {self.done} of {self.total} ciphertexts of round {self.round}" if self._whole() else ""
        if event.step == "awaiting":
            what, since = self.lanes.get(event.party, ("answers", event.seconds))
            self.lanes[event.party] = (what, since)
            self.awaited[event.party] = event.seconds
            return f"waiting for {event.party}, {event.seconds - since:.0f} s"
        what = _STEPS.get(event.step, event.step)
        new = self.lanes.get(event.party, ("", 0.0))[0] != what
        if new:
            self.lanes[event.party] = (what, event.seconds)
        return f"{event.party} {what}" if new and event.step != "sealed" else ""

    def _whole(self) -> bool:
        return self.done == self.total


class JobProgress:
    """Shows a job while it runs; use it in a `with` statement and pass it as the job's watcher."""

    def __init__(self, terminal: Terminal, parties: tuple[str, ...]) -> None:
        self._terminal = terminal
        self._view = JobView(parties)
        self._started = time.monotonic()
        self._job_began = self._started
        self._shown = terminal.progress and not terminal.quiet and not terminal.json
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._shown and self._terminal.err.is_terminal:
            self._live = Live(
                console=self._terminal.err, get_renderable=self.render, transient=True, refresh_per_second=12
            )
            self._live.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: "JobEvent") -> None:
        """Take an event of the job."""
        self._job_began = time.monotonic() - event.seconds
        self._terminal.job = event.job
        line = self._view.take(event)
        if line and self._shown and self._live is None:
            self._terminal.err.print(f"[dim]job {event.job[:8]} {event.seconds:6.2f} s  {line}[/]")

    def render(self) -> Text:
        """The display at this moment."""
        now = time.monotonic()
        view = self._view
        spin = _SPINNER[int((now - self._started) * 12) % len(_SPINNER)]
        head = f"job {view.job[:8]}" if view.job else "making fresh keys"
        text = Text.assemble((f"{spin} ", "cyan"), (head, "bold"), f"  {now - self._started:.1f} s")
        width = max((len(p) for p in view.parties), default=0)
        for party, (what, since) in view.waiting().items():
            waited = now - self._job_began - since
            style = "yellow" if waited > 5 else "dim"
            text.append(f"\n  {party:<{width}}  {what}", style="")
            text.append(f"  {max(0.0, waited):.1f} s", style=style)
        if view.total:
            filled = round(_BAR * view.done / view.total)
            text.append("\n  ")
            text.append("━" * filled, style="green")
            text.append("━" * (_BAR - filled), style="dim")
            text.append(f"  {view.done} of {view.total} ciphertexts added, round {view.round}")
        return text
