"""`sealroom party`, `coordinator` and `analyst`: enrol a member, serve its node, renew its certificate."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from mpc.client.cli.terminal import FolderOption, JsonFlag, QuietFlag, Terminal, command_line

if TYPE_CHECKING:
    from mpc.keys.manifest import Member
    from mpc.parties import Role

__all__ = ["analyst", "coordinator", "party"]

party = typer.Typer(no_args_is_help=True, help="A data owner's node.")
coordinator = typer.Typer(no_args_is_help=True, help="The node that plans and adds, and can open nothing.")
analyst = typer.Typer(no_args_is_help=True, help="Whoever asks.")

NameArgument = Annotated[str, typer.Argument(help="Name in the room: lower-case letters, digits, dashes.")]
NewFolderOption = Annotated[
    str | None, typer.Option("--folder", "-C", help="The member's own folder; ./NAME if not given.")
]
EndpointOption = Annotated[str, typer.Option(help="HOST:PORT under which the other members reach this node.")]
ListenOption = Annotated[
    str, typer.Option(help="HOST:PORT that the node binds, for example 0.0.0.0:7443; the endpoint if not given.")
]
HostOption = Annotated[list[str] | None, typer.Option(help="Further host name or address for the certificate.")]


@party.command("enrol")
def party_enrol(
    context: typer.Context,
    name: NameArgument,
    *,
    endpoint: EndpointOption,
    folder: NewFolderOption = None,
    listen: ListenOption = "",
    host: HostOption = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="TABLE=ADDRESS of its rows, for example sales=parquet:/data/sales.parquet."),
    ] = None,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Make a party's keys, configuration and enrolment. Private keys never leave the folder."""
    from mpc.client.members import enrol
    from mpc.parties import Role

    path = Path(folder or name)
    sources = dict(_source(text) for text in source or [])
    made, member = enrol(
        path, Role.PARTY, name, endpoint=endpoint, listen=listen, hosts=tuple(host or ()), sources=sources
    )
    following = [
        f"# write what this party allows into {path / 'policy.toml'}: it allows nothing yet",
        command_line("sealroom", "room", "dictionary", "infer", "--folder", path),
        f"# send {made.enrolment_file} to whoever makes the room, who types:",
        command_line("sealroom", "room", "add", made.enrolment_file.name),
    ]
    if not sources:
        following.insert(0, f"# name this party's tables in {path / 'party.toml'}")
    _enrolled(context.obj, path, member, made.enrolment_file, following)


@coordinator.command("enrol")
def coordinator_enrol(
    context: typer.Context,
    name: NameArgument,
    *,
    endpoint: EndpointOption,
    folder: NewFolderOption = None,
    listen: ListenOption = "",
    host: HostOption = None,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Make a coordinator's keys, configuration and enrolment."""
    from mpc.client.members import enrol
    from mpc.parties import Role

    path = Path(folder or name)
    made, member = enrol(path, Role.COORDINATOR, name, endpoint=endpoint, listen=listen, hosts=tuple(host or ()))
    _enrolled(context.obj, path, member, made.enrolment_file, _sending(made.enrolment_file))


@analyst.command("enrol")
def analyst_enrol(
    context: typer.Context,
    name: NameArgument,
    *,
    folder: NewFolderOption = None,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Make an analyst's keys, profile and enrolment."""
    from mpc.client.members import enrol
    from mpc.parties import Role

    path = Path(folder or name)
    made, member = enrol(path, Role.ANALYST, name)
    _enrolled(context.obj, path, member, made.enrolment_file, _sending(made.enrolment_file))


def _sending(file: Path) -> list[str]:
    return [
        f"# send {file} to whoever makes the room, who types:",
        command_line("sealroom", "room", "add", file.name),
    ]


def _source(text: str) -> tuple[str, str]:
    """A table and its data's address; a relative path counts from here, the configuration is elsewhere."""
    table, separator, address = text.partition("=")
    scheme, colon, rest = address.partition(":")
    if not separator or not table or not rest:
        raise typer.BadParameter(f"{text} is not TABLE=ADDRESS, for example sales=parquet:/data/sales.parquet")
    if colon and scheme in {"parquet", "csv", "arrow", "duckdb", "sqlite"}:
        return table, f"{scheme}:{Path(rest).expanduser().resolve()}"
    return table, address


def _enrolled(terminal: Terminal, folder: Path, member: "Member", file: Path, following: list[str]) -> None:
    from mpc.client.cli import sheets

    terminal.result(
        {"member": sheets.member_data(member), "folder": str(folder), "enrolment": str(file)},
        (
            f"[green]✓[/] enrolled {sheets.title(member)} in {escape(str(folder))}",
            *sheets.fingerprint_lines(member),
            f"    keys   {escape(str(folder / 'keys'))} [dim](private: back them up, show them to nobody)[/]",
            f"    public {escape(str(file))}",
        ),
        following,
    )


def _serve(terminal: Terminal, folder: str, role: "Role", log_level: str) -> None:
    """Check the folder in the foreground, then become the node."""
    from mpc.client.cli import sheets
    from mpc.client.members import CONFIGURATIONS, MemberFolder
    from mpc.errors import ConfigurationError
    from mpc.parties import Role as Roles
    from mpc.policy.rules import Policy

    member = MemberFolder.at(Path(folder))
    if member.role is not role:
        raise ConfigurationError(f"{folder} belongs to a member with the role {member.role.value}")
    manifest = member.room()
    member.keys.leaf()
    if role is Roles.PARTY:
        policy = Policy.load(member.path / str(member.configuration.get("policy", "policy.toml")))
        if not policy.analysts or not policy.tables:
            terminal.note("[yellow]policy.toml allows nothing yet: every job will be refused[/]")
    listen = os.environ.get("SEALROOM_LISTEN", str(member.configuration.get("listen", "")))
    terminal.note(f"[bold]{member.name}[/] serves room {manifest.name}, version {manifest.version}, on {listen}")
    for line in sheets.digest_lines(manifest):
        terminal.note(line)
    terminal.note("[dim]Ctrl-C or SIGTERM drains and stops.[/]")
    sys.stdout.flush()
    sys.stderr.flush()
    configuration = (member.path / CONFIGURATIONS[role]).resolve()
    module = f"servers.{role.value}"
    words = [sys.executable, "-m", module, "--config", str(configuration), "--log-level", log_level]
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines are not JSON; what they say, ours say
    os.execv(sys.executable, words)  # noqa: S606 - signals and the exit code are then the node's own


LogOption = Annotated[str, typer.Option(help="debug, info, warning or error.")]


@party.command("serve")
def party_serve(
    context: typer.Context, *, folder: FolderOption = ".", log_level: LogOption = "info", _quiet: QuietFlag = False
) -> None:
    """Run the party's node until it is told to stop."""
    from mpc.parties import Role

    _serve(context.obj, folder, Role.PARTY, log_level)


@party.command("alone")
def party_alone(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(help="A training spec, TOML or JSON, as `sealroom train` takes it.")],
    *,
    folder: FolderOption = ".",
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """What this party reaches alone: the same training on its own rows and hold-out. Nothing is sent."""
    import json
    import subprocess

    command = [sys.executable, "-m", "servers.party.alone", "--config", str(Path(folder) / "party.toml")]
    done = subprocess.run([*command, "--spec", str(spec)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)  # noqa: T201 - the process has said what is wrong
        raise typer.Exit(done.returncode)
    found = json.loads(done.stdout)
    lines = [found["model"], *(f"{name}: {value}" for name, value in (found["quality"] or {}).items())]
    context.obj.result(found, map(escape, lines))


@coordinator.command("serve")
def coordinator_serve(
    context: typer.Context, *, folder: FolderOption = ".", log_level: LogOption = "info", _quiet: QuietFlag = False
) -> None:
    """Run the coordinator's node until it is told to stop."""
    from mpc.parties import Role

    _serve(context.obj, folder, Role.COORDINATOR, log_level)


def _certificates(role_app: typer.Typer) -> None:
    """Give a member's group the commands of its certificate."""
    group = typer.Typer(no_args_is_help=True, help="The certificate with which this member speaks TLS.")
    role_app.add_typer(group, name="certificate")
    group.command("renew")(_renew)
    group.command("show")(_show)


def _renew(
    context: typer.Context,
    *,
    folder: FolderOption = ".",
    host: HostOption = None,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Issue a new certificate from the member's own root. A running node takes it up at the next connection."""
    from mpc.client.members import MemberFolder

    member = MemberFolder.at(Path(folder))
    hosts = member.renew(tuple(host or ()))
    facts = _leaf_facts(member.keys.leaf().certificate)
    context.obj.result(
        {"member": member.name, "hosts": list(hosts), **facts},
        (
            f"[green]✓[/] new certificate for {member.name}, valid until {facts['expires']}",
            f"    hosts {', '.join(hosts) or 'none (it only calls)'}",
            "    The room does not change: members trust this member's root, which is the same.",
        ),
        (command_line("sealroom", "doctor", *(() if folder == "." else ("--folder", folder))),),
    )


def _show(
    context: typer.Context, *, folder: FolderOption = ".", _json: JsonFlag = False, _quiet: QuietFlag = False
) -> None:
    """Show the current certificate: names, issuer, expiry."""
    from mpc.client.members import MemberFolder

    facts = _leaf_facts(MemberFolder.at(Path(folder)).keys.leaf().certificate)
    context.obj.result(facts, (f"{name:<8} {escape(str(value))}" for name, value in facts.items()))


def _leaf_facts(pem: bytes) -> dict[str, str]:
    from mpc.client.certificates import facts

    found = facts(pem)
    return {
        "subject": found.subject,
        "issuer": found.issuer,
        "spiffe": found.spiffe,
        "expires": found.expires.strftime("%Y-%m-%d %H:%M UTC"),
    }


for _role_app in (party, coordinator, analyst):
    _certificates(_role_app)
