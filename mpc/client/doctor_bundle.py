"""`sealroom doctor --bundle`: an archive for whoever is asked for help, without secrets and without data.

Everything in it is let through by a list: numbers and switches of a configuration, strings under a few known names, the
room's members, and log lines of the shape that nodes write. What is not on a list is replaced by `left out`.
"""

import json
import platform
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mpc import __version__
from mpc.client.doctor import LIBRARIES, Finding, Host
from mpc.client.members import CONFIGURATIONS, MemberFolder
from mpc.errors import ConfigurationError, MpcError
from mpc.runtime.logs import FIELDS, OURS

__all__ = ["write_bundle"]

LEFT_OUT: Final = "left out"
MAX_LOG_BYTES: Final = 8 << 20
"""The end of a log; the beginning is rarely asked for."""

_STRINGS: Final = frozenset(
    {"analysts", "functions", "keys", "listen", "log_format", "log_level", "manifest", "name", "policy",
     "required_parties", "state", "use", "warm"}
)  # fmt: skip
"""Names of settings whose strings are names of members, of parameter sets, or relative places of files."""

_LABELS: Final = frozenset({"never", "only"})
"""Names of settings that list items of a catalogue, whose labels may be numbers."""

_KEYS: Final = frozenset({"time", "level", "node", "logger", "event", "exception", "at", "because", *FIELDS})
"""What a line of a node's log consists of (`mpc.runtime.logs.JsonFormatter`)."""

_README: Final = """What `sealroom doctor --bundle` found. Read it before you send it.

findings.json    what the doctor said
software.json    versions of sealroom, of Python, of the system and of libraries
files.json       names, sizes and rights of the member's own files; no contents
{configurations}
room.json        the room's name, version and digest, and its members with their endpoints
logs/            lines that nodes wrote; lines of any other shape are counted and left out

Strings of a configuration that are not on a short list read "{left_out}". There are no keys, passwords, addresses of
databases, tables' contents, domains or rules about values in here.
"""


def write_bundle(
    path: Path, host: Host, member: MemberFolder | None, findings: Sequence[Finding], logs: Iterable[Path] = ()
) -> tuple[str, ...]:
    """Write the archive.

    Args:
        path: The file; it must not exist.
        host: Where facts about the machine come from.
        member: The member that was looked at, if any.
        findings: What the doctor said.
        logs: Files with log lines of nodes, as JSON.

    Returns:
        The names in the archive.

    Raises:
        ConfigurationError: The file exists or cannot be written, or a log cannot be read.
    """
    entries = {"findings.json": _json([_plain(f) for f in findings]), "software.json": _json(_software(host))}
    shown: tuple[str, ...] = ()
    if member is not None:
        entries["files.json"] = _json(list(_files(member)))
        entries["room.json"] = _json(_room(member))
        shown = tuple(name for name in (*CONFIGURATIONS.values(), "policy.toml") if (member.path / name).is_file())
        entries |= {f"{name}.json": _json(_settings(member.path / name)) for name in shown}
    for number, log in enumerate(logs, 1):
        entries[f"logs/{number}.jsonl"] = _log(log)
    listed = "\n".join(f"{name + '.json':<16} the settings of {name}" for name in shown)
    readme = _README.format(configurations=listed, left_out=LEFT_OUT)
    try:
        with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
            for name, text in {"README.txt": readme, **entries}.items():
                archive.writestr(name, text)
        path.chmod(0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    return ("README.txt", *entries)


def _json(found: object) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _plain(finding: Finding) -> dict[str, str]:
    if finding.check.startswith(("source ", "table ")):  # what is said of data names hosts, files, tables and columns
        finding = replace(finding, text=finding.brief or LEFT_OUT, cure=LEFT_OUT if finding.cure else "")
    return {
        "area": finding.area,
        "check": finding.check,
        "level": finding.level,
        "text": finding.text,
        "cure": finding.cure,
    }


def _software(host: Host) -> dict[str, Any]:
    return {
        "sealroom": __version__,
        "python": ".".join(map(str, host.python)),
        "system": platform.platform(),
        "cores": host.cores,
        "memory_bytes": host.memory_bytes(),
        "libraries": {name: host.version_of(name) for name in LIBRARIES},
    }


def _files(member: MemberFolder) -> Iterator[dict[str, Any]]:
    """The member's own files; of `data` nothing, for names of files may tell of what is in them."""
    state = str(member.configuration.get("state", "state"))
    for folder in (member.path, member.keys.path, member.path / state):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_file():
                about = path.stat()
                name = f"{folder.name}/{path.name}" if folder != member.path else path.name
                yield {"name": name, "bytes": about.st_size, "mode": f"{about.st_mode & 0o777:03o}"}


def _room(member: MemberFolder) -> dict[str, Any]:
    try:
        manifest = member.room()
    except (MpcError, OSError) as error:
        return {"error": type(error).__name__}
    return {
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.room,
        "members": [{"name": m.name, "role": m.role.value, "endpoint": m.endpoint} for m in manifest.members],
    }


def _settings(path: Path) -> object:
    try:
        return _redacted(tomllib.loads(path.read_text(encoding="utf-8")), "")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {"error": f"it cannot be read: {type(error).__name__}"}


def _redacted(found: object, name: str) -> object:
    """A configuration with its shape, its numbers and switches, and the strings that are on the list."""
    match found:
        case bool() | int() | float() if name not in _LABELS:
            return found
        case str() if name == "url":
            return _kind_of_source(found)
        case str():
            return found if name in _STRINGS and len(found) <= 64 else LEFT_OUT
        case list():
            return [_redacted(x, name) for x in found]
        case dict() if name == "columns":  # keys are the owner's names of columns, whatever settings are called
            return {str(k): _redacted(v, "" if isinstance(v, str) else str(k)) for k, v in found.items()}
        case dict():
            return {str(k): _redacted(v, str(k)) for k, v in found.items()}
        case _:
            return LEFT_OUT


def _kind_of_source(url: str) -> str:
    scheme, colon, _ = url.partition(":")
    return f"{scheme}: {LEFT_OUT}" if colon and scheme.isalnum() and len(scheme) <= 16 else LEFT_OUT


def _log(path: Path) -> str:
    """The lines that a node wrote, from the file's end; what else is there is only counted."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    kept = [line for line in lines if _is_ours(line)]
    left = {"event": f"{len(lines) - len(kept)} lines that no node wrote as JSON are left out"}
    return "".join(f"{line}\n" for line in (*kept, json.dumps(left)))


def _is_ours(line: str) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return (
        isinstance(found, dict)
        and {"time", "level", "logger", "event"} <= found.keys() <= _KEYS
        and str(found["logger"]).partition(".")[0] in OURS
    )
