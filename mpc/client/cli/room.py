"""`sealroom room`: make a room, change it, sign it, seal it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from mpc.client.cli.terminal import FolderOption, JsonFlag, QuietFlag, Terminal, command_line

if TYPE_CHECKING:
    from mpc.client.rooms import RoomFolder

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make, change, sign and verify a room.")
dictionary = typer.Typer(no_args_is_help=True, help="The room's tables: what every owner agrees they are.")
app.add_typer(dictionary, name="dictionary")

RoomFolderOption = Annotated[
    str, typer.Option("--room", "-r", help="The room's folder (draft.toml, room.toml).", show_default="this folder")
]
YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]


def _folder(room: str) -> "RoomFolder":
    from mpc.client.rooms import RoomFolder

    return RoomFolder(Path(room))


def _at(room: str) -> tuple[str, ...]:
    """The --room option of a suggested command."""
    return () if room == "." else ("--room", room)


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the room: lower-case letters, digits, dashes.")],
    *,
    folder: Annotated[str | None, typer.Option("--folder", "-C", help="Where to make it; ./NAME if not given.")] = None,
    minimum_parties: Annotated[int, typer.Option(help="Fewest parties in any job of this room.", min=2)] = 2,
    compose: Annotated[
        bool,
        typer.Option("--compose", help="A whole room in containers, with keys and sample data.", show_default=False),
    ] = False,
    party: Annotated[list[str] | None, typer.Option(help="With --compose: a party's name. Repeatable.")] = None,
    rows: Annotated[int, typer.Option(help="With --compose: rows of sample data a party.", min=1)] = 10_000,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Begin a room: a folder with a draft that members are added to."""
    from mpc.client.rooms import RoomFolder

    where = folder or name
    if compose:
        _new_compose(context.obj, name, Path(where), tuple(party or ()), rows)
        return
    made = RoomFolder.create(Path(where), name, minimum_parties=minimum_parties)
    context.obj.result(
        {"room": name, "draft": str(made.draft_file)},
        (
            f"[green]✓[/] room [bold]{name}[/] begun in {escape(str(made.path))}",
            "",
            "Every member now makes its own keys, in a folder of its own, on its own machine:",
        ),
        (
            "sealroom coordinator enrol hub --endpoint hub.example:7443",
            "sealroom party enrol north --endpoint north.example:7443 --source sales=parquet:/data/sales.parquet",
            "sealroom analyst enrol ana",
            command_line("sealroom", "room", "add", *_at(where), "FILE.enrolment.toml", "..."),
        ),
    )


def _new_compose(terminal: Terminal, name: str, folder: Path, parties: tuple[str, ...], rows: int) -> None:
    """A room whose every member runs in a container of this machine."""
    from mpc.client.compose import PARTIES, write_compose_room

    made = write_compose_room(folder, name, parties=parties or PARTIES, rows=rows)
    terminal.result(
        {"room": name, "compose": str(made.file), "parties": made.parties, "analyst": made.analyst},
        (
            f"[green]✓[/] room [bold]{name}[/] for containers in {escape(str(folder))}",
            f"    {', '.join(made.parties)} with sample data, a coordinator, and the analyst {made.analyst}",
            "    Every member's keys are in its own folder; in earnest each owner makes them at home.",
            "    The first start builds two images; a query that finds a node still starting (E4301) is asked again.",
        ),
        made.commands(),
    )


@app.command()
def add(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Enrolment files that members sent.", exists=True)],
    *,
    room: RoomFolderOption = ".",
    replace: Annotated[
        bool, typer.Option(help="Accept a new key for a known name, after comparing fingerprints.")
    ] = False,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Add members to the draft from their enrolment files."""
    from mpc.client.cli import sheets
    from mpc.client.rooms import lacks

    folder = _folder(room)
    added = folder.add(files, replace=replace)
    lines = [
        line
        for member in added
        for line in (f"[green]✓[/] added {sheets.title(member)}", *sheets.fingerprint_lines(member))
    ]
    missing = lacks(folder.draft().manifest)
    needs_dictionary = missing == ("its dictionary is empty",)
    following = [
        command_line("sealroom", "room", "dictionary", "set", *_at(room), "FILE.dictionary.toml", "...")
        if needs_dictionary
        else command_line("sealroom", "room", "show", *_at(room))
        if not missing
        else command_line("sealroom", "room", "add", *_at(room), "FILE.enrolment.toml", "...")
    ]
    data = {"members": [sheets.member_data(m) for m in added], "lacks": list(missing)}
    lines += ["", "Compare these words with each member, by telephone or in person."]
    lines += [f"[dim]Before it can be sealed: {sentence}.[/]" for sentence in missing]
    context.obj.result(data, lines, following)


@app.command()
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the member.")],
    *,
    room: RoomFolderOption = ".",
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Take a member out of the draft."""
    _folder(room).remove(name)
    context.obj.result(
        {"removed": name},
        (f"[green]✓[/] {escape(name)} is out of the draft",),
        (command_line("sealroom", "room", "show", *_at(room)),),
    )


@dictionary.command("infer")
def dictionary_infer(
    context: typer.Context,
    *,
    folder: FolderOption = ".",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write the proposal.")] = None,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """At a party: propose the dictionary of its own tables from its own files."""
    from mpc.client.cli import sheets
    from mpc.client.members import MemberFolder
    from mpc.client.proposals import dump_proposal, infer_proposal

    member = MemberFolder.at(Path(folder))
    found = infer_proposal(member)
    path = output or member.path / f"{member.name}.dictionary.toml"
    path.write_text(dump_proposal(found), encoding="utf-8")
    lines = [f"[green]✓[/] wrote {escape(str(path))}", "", *sheets.dictionary_lines(found), ""]
    lines.append(
        "[yellow]Read it before you send it:[/] types, ranges and the order of the number of rows become known."
    )
    context.obj.result(
        {"proposal": str(path), "tables": list(found.names())},
        lines,
        (f"# send {path.name} to whoever makes the room",),
    )


@dictionary.command("set")
def dictionary_set(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Proposals of the owners; they are merged.", exists=True)],
    *,
    room: RoomFolderOption = ".",
    local_key: Annotated[
        list[str] | None,
        typer.Option(help="TABLE.COLUMN of which no value occurs at two parties: all owners promise it."),
    ] = None,
    privacy_unit: Annotated[
        list[str] | None, typer.Option(help="TABLE.COLUMN that names whom thresholds and budgets protect.")
    ] = None,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Merge the owners' proposals into the draft's dictionary."""
    from mpc.client.cli import sheets

    keys: dict[str, tuple[str, ...]] = {}
    for table, column in map(_split, local_key or []):
        keys[table] = (*keys.get(table, ()), column)
    found = _folder(room).set_dictionary(files, local_keys=keys, privacy_units=dict(map(_split, privacy_unit or [])))
    context.obj.result(
        {"tables": list(found.names())},
        ("[green]✓[/] the draft has this dictionary", "", *sheets.dictionary_lines(found)),
        (
            command_line("sealroom", "room", "show", *_at(room)),
            f"# send {_folder(room).draft_file} to every member, who signs it at home:",
            "sealroom room sign draft.toml --folder FOLDER",
        ),
    )


def _split(name: str) -> tuple[str, str]:
    table, _, column = name.partition(".")
    if not table or not column:
        raise typer.BadParameter(f"{name} is not TABLE.COLUMN")
    return table, column


@app.command()
def sign(
    context: typer.Context,
    draft: Annotated[Path, typer.Argument(help="The draft that was sent to you.", exists=True)],
    *,
    folder: FolderOption = ".",
    yes: YesFlag = False,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """At a member: read a draft, and sign exactly it with this member's key."""
    from mpc.client.cli import sheets
    from mpc.client.members import MemberFolder
    from mpc.client.rooms import changes, sign_draft
    from mpc.keys.manifest import SignedManifest

    member = MemberFolder.at(Path(folder))
    offered = SignedManifest.load(draft).manifest
    member.must_be_in(offered)
    terminal: Terminal = context.obj
    installed = SignedManifest.load(member.room_file).manifest if member.room_file.exists() else None
    for line in (*sheets.manifest_lines(offered), *(f"[yellow]•[/] {escape(c)}" for c in changes(installed, offered))):
        terminal.note(line)
    terminal.confirm(f"Sign this as {member.name}?", yes=yes)
    path, manifest = sign_draft(draft, member)
    terminal.result(
        {"signature": str(path), "member": member.name, "room": manifest.room},
        (f"[green]✓[/] {member.name} signed version {manifest.version} of room {manifest.name}: {escape(str(path))}",),
        (f"# send {path.name} back to whoever makes the room", "sealroom room collect " + path.name),
    )


@app.command()
def collect(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Signature files that members sent.", exists=True)],
    *,
    room: RoomFolderOption = ".",
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Check members' signatures and keep them with the draft."""
    missing = _folder(room).collect(files)
    lines = [f"[green]✓[/] {len(files)} signature{'s' * (len(files) != 1)} checked and kept"]
    if missing:
        lines.append(f"Still to sign: [yellow]{', '.join(missing)}[/]")
    following = command_line(
        "sealroom", "room", *(("collect", *_at(room), "FILE") if missing else ("seal", *_at(room)))
    )
    context.obj.result({"missing": list(missing)}, lines, (following,))


@app.command()
def seal(
    context: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="Signature files not collected yet.", exists=True)] = None,
    *,
    room: RoomFolderOption = ".",
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Turn a draft that every member signed into room.toml."""
    from mpc.client.cli import sheets

    folder = _folder(room)
    if files:
        folder.collect(files)
    manifest = folder.seal()
    context.obj.result(
        {"room": manifest.room, "version": manifest.version, "file": str(folder.sealed_file)},
        (f"[green]✓[/] sealed version {manifest.version} of room {manifest.name}", *sheets.digest_lines(manifest)),
        (
            f"# send {folder.sealed_file} to every member, who installs it at home:",
            "sealroom room install room.toml --folder FOLDER",
        ),
    )


@app.command()
def install(
    context: typer.Context,
    sealed: Annotated[Path, typer.Argument(help="The sealed room.toml.", exists=True)],
    *,
    folder: FolderOption = ".",
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """At a member: verify a sealed room and take it over."""
    from mpc.client.cli import sheets
    from mpc.client.members import MemberFolder
    from mpc.keys.manifest import SignedManifest
    from mpc.parties import Role

    member = MemberFolder.at(Path(folder))
    manifest = member.install(SignedManifest.load(sealed))
    at = () if folder == "." else ("--folder", folder)
    if member.role is Role.ANALYST:
        following = [
            command_line("sealroom", "doctor", *at),
            command_line("sealroom", "query", "--room", folder, "SELECT COUNT(*) AS n FROM TABLE"),
        ]
    else:
        following = [
            command_line("sealroom", "doctor", *at),
            command_line("sealroom", member.role.value, "serve", *at),
        ]
        if member.role is Role.PARTY:
            following.insert(0, f"# write what you allow into {member.path / 'policy.toml'}: it allows nothing yet")
    context.obj.result(
        {"room": manifest.room, "version": manifest.version, "member": member.name},
        (
            f"[green]✓[/] {member.name} takes part in version {manifest.version} of room {manifest.name}",
            *sheets.digest_lines(manifest),
        ),
        following,
    )


@app.command()
def show(
    context: typer.Context, *, room: RoomFolderOption = ".", _json: JsonFlag = False, _quiet: QuietFlag = False
) -> None:
    """Show the draft, or the sealed room if there is none: members, fingerprints, tables, who has signed."""
    from mpc.client.cli import sheets

    signed = _folder(room).current()
    sealed = not signed.missing()
    manifest = signed.manifest
    lines = [*sheets.manifest_lines(manifest), ""]
    waiting = ", ".join(signed.missing())
    lines.append("[green]signed by every member[/]" if sealed else f"not signed by: [yellow]{waiting or 'anybody'}[/]")
    context.obj.result(
        {
            "room": manifest.room,
            "name": manifest.name,
            "version": manifest.version,
            "members": [sheets.member_data(m) for m in manifest.members],
            "dictionary": manifest.to_mapping()["dictionary"],
            "missing": list(signed.missing()),
        },
        lines,
    )


@app.command()
def verify(
    context: typer.Context,
    sealed: Annotated[Path, typer.Argument(help="A room.toml.")] = Path("room.toml"),
    *,
    _json: JsonFlag = False,
    _quiet: QuietFlag = False,
) -> None:
    """Check every signature of a sealed room; exit code 8 if one does not hold."""
    from mpc.client.cli import sheets
    from mpc.keys.manifest import SignedManifest

    manifest = SignedManifest.load(sealed).verify()
    context.obj.result(
        {"room": manifest.room, "version": manifest.version, "members": [m.name for m in manifest.members]},
        (
            f"[green]✓[/] all {len(manifest.members)} signatures hold: version {manifest.version} of {manifest.name}",
            *sheets.digest_lines(manifest),
        ),
    )
