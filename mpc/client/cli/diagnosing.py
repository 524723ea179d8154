"""`sealroom doctor`, `help` and `version`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from mpc.client.cli.terminal import JsonFlag, QuietFlag, RoomOption, Terminal, envelope, print_json

if TYPE_CHECKING:
    from mpc.client.doctor import Finding
    from mpc.client.help_texts import HelpText

__all__ = ["doctor", "help_", "version"]

_COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "red"}
_TITLES = {"machine": "This machine", "folder": "This folder", "connections": "Connections"}


def doctor(
    context: typer.Context,
    *,
    folder: Annotated[
        str | None, typer.Option("--folder", "-C", help="A member's folder; none checks the machine.")
    ] = None,
    room: RoomOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not dial anybody.", show_default=False)] = False,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE.zip", help="Also write an archive for support: no secrets, no data."),
    ] = None,
    log: Annotated[
        list[Path] | None, typer.Option("--log", metavar="FILE", help="A node's log for the archive; may be repeated.")
    ] = None,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Find what is wrong with machine, keys, room, data and connections, and say the cure."""
    from mpc.client.doctor import Host, Level, machine_findings

    terminal: Terminal = context.obj
    shown = _Shown(terminal)
    host = Host()
    for finding in machine_findings(host):
        shown.add(finding)
    where = _member_folder(folder, room)
    if where is not None:
        _doctor_member(shown, where, offline=offline)
    if bundle is not None:
        _write_bundle(terminal, bundle, where, shown.findings, log or [])
    counts = {level: sum(f.level is level for f in shown.findings) for level in Level}
    failed = next((f for f in shown.findings if f.level is Level.FAIL), None)
    code = 0 if failed is None else 4 if failed.area == "connections" else 3
    if terminal.json:
        rows = [
            {"area": f.area, "check": f.check, "level": f.level, "text": f.text, "cure": f.cure} for f in shown.findings
        ]
        print_json({**envelope("ok" if code == 0 else "error", code), "findings": rows, "counts": counts})
    else:
        summary = ", ".join(f"[{_COLOURS[level]}]{count} {level}[/]" for level, count in counts.items() if count)
        terminal.out.print(f"\n{summary}")
        if where is None:
            terminal.out.print("[dim]This was the machine alone: --folder FOLDER or --room ROOM checks a member.[/]")
    raise typer.Exit(code)


def _write_bundle(
    terminal: Terminal, path: Path, where: Path | None, findings: "list[Finding]", logs: list[Path]
) -> None:
    from mpc.client.doctor import Host
    from mpc.client.doctor_bundle import write_bundle
    from mpc.client.members import MemberFolder

    member = MemberFolder.at(where) if where is not None else None
    names = write_bundle(path, Host(), member, findings, logs)
    if not terminal.json:
        terminal.out.print(f"\n{escape(str(path))}: {len(names)} files; README.txt in it says what they are")


class _Shown:
    """Prints findings as they come."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.findings: list[Finding] = []

    def add(self, finding: "Finding") -> None:
        """Keep and print a finding."""
        first = not self.findings or self.findings[-1].area != finding.area
        self.findings.append(finding)
        if self.terminal.json or (self.terminal.quiet and finding.level.value == "OK"):
            return
        if first:
            self.terminal.out.print(f"{chr(10) * (len(self.findings) > 1)}[bold]{_TITLES[finding.area]}[/]")
        level = f"[{_COLOURS[finding.level]}]{finding.level.value:<4}[/]"
        self.terminal.out.print(f"  {level}  {finding.check:<18} {escape(finding.text)}")
        if finding.cure:
            self.terminal.out.print(f"        {'':<18} [dim]cure:[/] {escape(finding.cure)}")


def _member_folder(folder: str | None, room: str | None) -> Path | None:
    from mpc.client.members import CONFIGURATIONS
    from mpc.client.profile import find_profile

    if folder is not None:
        return Path(folder)
    if room is not None:
        return find_profile(room)
    return Path() if any(Path(name).is_file() for name in CONFIGURATIONS.values()) else None


def _doctor_member(shown: _Shown, where: Path, *, offline: bool) -> None:
    from mpc.client.doctor import Host, Level
    from mpc.client.doctor_folder import folder_findings
    from mpc.client.doctor_peers import peer_findings
    from mpc.client.members import MemberFolder

    host, member = Host(), MemberFolder.at(where)
    for finding in folder_findings(host, member):
        shown.add(finding)
    blocked = any(f.level is Level.FAIL and f.check in {"keys", "certificate", "room"} for f in shown.findings)
    if offline or blocked:
        return
    manifest = member.room()

    async def dial() -> None:
        async for finding in peer_findings(host, member, manifest):
            shown.add(finding)

    asyncio.run(dial())


def help_(
    context: typer.Context,
    code: Annotated[str | None, typer.Argument(help="An error code: E5001, SEALROOM-E5001 or 5001.")] = None,
    *,
    _json: JsonFlag = False,
) -> None:
    """Explain an error code: what happened, why, and what to do. Without a code, list them all."""
    from mpc.client.help_texts import EXIT_CODES, HELP, text_of
    from mpc.wire.errors import CATALOGUE

    terminal: Terminal = context.obj
    if code is not None:
        found = text_of(code)
        name = next(k for k, v in HELP.items() if v is found)
        data = {"code": f"SEALROOM-{name}", "what": found.what, "why": found.why, "fixes": found.fixes}
        exit_code = CATALOGUE[name].exit_code
        terminal.result({**data, "exit_code_of_error": exit_code}, _help_lines(terminal, name, exit_code, found))
        return
    lines = [f"[bold]SEALROOM-{name}[/]  {escape(text.what.split('. ')[0].rstrip('.'))}" for name, text in HELP.items()]
    lines += ["", "[bold]Exit codes[/]"]
    lines += [f"  {number:>3}  {meaning}" for number, meaning in EXIT_CODES.items()]
    data_all = {"codes": {f"SEALROOM-{n}": t.what for n, t in HELP.items()}, "exit_codes": EXIT_CODES}
    terminal.result(data_all, lines, ("sealroom help E5001", "sealroom COMMAND --help"))


def _help_lines(terminal: Terminal, name: str, exit_code: int, text: "HelpText") -> list[str]:
    lines = [f"[bold]SEALROOM-{name}[/]  [dim]exit code {exit_code}[/]", "", escape(terminal.folded(text.what, 0)), ""]
    lines += ["[bold]Why[/]", f"  {escape(terminal.folded(text.why, 2))}", "", "[bold]Fix[/]"]
    fixes = (escape(terminal.folded(fix, 5)) for fix in text.fixes)
    return [*lines, *(f"  {number}. {fix}" for number, fix in enumerate(fixes, 1))]


def version(context: typer.Context, *, _json: JsonFlag = False) -> None:
    """Print the version, and with --json those of every library that computes or carries."""
    from mpc import __version__
    from mpc.client.doctor import LIBRARIES, Host

    host = Host()
    data: dict[str, object] = {
        "version": __version__,
        "python": ".".join(map(str, host.python)),
        "libraries": {name: host.version_of(name) for name in LIBRARIES},
    }
    if context.obj.json:
        from mpc.sum.transcript import WIRE_VERSION

        data["wire_version"] = WIRE_VERSION
    context.obj.result(data, (f"sealroom {__version__}",))
