"""The doctor's look into a member's folder: keys, certificate, room, policy, sources, disk."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mpc.client.certificates import facts
from mpc.client.doctor import LEAST_FREE, Finding, Host
from mpc.client.members import MemberFolder
from mpc.errors import AuthenticationError, MpcError
from mpc.keys.files import IDENTITY, LEAF_KEY, ROOT_KEY
from mpc.keys.identity import spiffe_id, verify_leaf
from mpc.keys.manifest import Manifest
from mpc.parties import Role
from mpc.policy.rules import Policy

__all__ = ["folder_findings"]

AREA: Final = "folder"
WARN_DAYS: Final = 14


def folder_findings(host: Host, member: MemberFolder) -> Iterator[Finding]:
    """Everything that can be known without speaking to anybody."""
    yield from _permissions(member)
    yield from _certificate(host, member)
    yield from _room(member)
    if member.role is Role.PARTY:
        yield from _policy(member)
        yield from _sources(host, member)
    yield from _disk(host, member)


def _permissions(member: MemberFolder) -> Iterator[Finding]:
    loose = [
        name
        for name in (IDENTITY, ROOT_KEY, LEAF_KEY)
        if (member.keys.path / name).exists() and (member.keys.path / name).stat().st_mode & 0o077
    ]
    if loose:
        cure = f"chmod 600 {' '.join(str(member.keys.path / name) for name in loose)}"
        yield Finding.bad(AREA, "keys", f"others on this machine can read {', '.join(loose)}", cure)
        return
    try:
        identity = member.keys.identity()
    except MpcError as error:
        yield Finding.bad(AREA, "keys", error.detail, "restore the keys from the backup, or enrol anew")
        return
    yield Finding.good(AREA, "keys", f"identity {identity.public.hex()[:16]}, readable by the owner alone")


def _certificate(host: Host, member: MemberFolder) -> Iterator[Finding]:
    renew = f"sealroom {member.role.value} certificate renew --folder {member.path}"
    now = dt.datetime.fromtimestamp(host.now(), dt.UTC)
    try:
        pem, root = member.keys.leaf().certificate, (member.keys.path / "root.pem").read_bytes()
        leaf = facts(pem)
    except (MpcError, OSError) as error:
        yield Finding.bad(AREA, "certificate", f"it cannot be read: {error}", renew)
        return
    if now < leaf.begins:
        cure = "set the clock; it is earlier than the certificate's issue"
        yield Finding.bad(AREA, "certificate", f"it is valid only from {leaf.begins:%Y-%m-%d %H:%M} UTC", cure)
        return
    days = (leaf.expires - now).days
    if leaf.expires <= now:
        yield Finding.bad(AREA, "certificate", f"it expired on {leaf.expires:%Y-%m-%d}", renew)
        return
    try:
        verify_leaf(pem, root, spiffe_id(member.role, member.name), now=now)
    except AuthenticationError as error:
        yield Finding.bad(AREA, "certificate", error.detail, renew)
        return
    text = f"{leaf.spiffe}, {days} days left"
    if days < WARN_DAYS:
        yield Finding.doubtful(AREA, "certificate", text, renew)
    else:
        yield Finding.good(AREA, "certificate", text)


def _room(member: MemberFolder) -> Iterator[Finding]:
    install = f"fetch room.toml from whoever sealed it: sealroom room install room.toml --folder {member.path}"
    if not member.room_file.exists():
        yield Finding.bad(AREA, "room", "no room is installed", install)
        return
    try:
        manifest = member.room()
    except MpcError as error:
        yield Finding.bad(AREA, "room", error.detail or error.public, install)
        return
    members = len(manifest.members)
    text = f"{manifest.name} version {manifest.version}, {members} signatures hold, digest {manifest.room[:16]}"
    yield Finding.good(AREA, "room", text)
    yield from _endpoint(member, manifest)


def _endpoint(member: MemberFolder, manifest: Manifest) -> Iterator[Finding]:
    """Whether the certificate is for the host name under which others dial."""
    found = manifest.member(member.name)
    dialled = found.endpoint.rpartition(":")[0] if found else ""
    if not dialled:
        return
    hosts = facts(member.keys.leaf().certificate).hosts
    if dialled not in hosts:
        cure = f"sealroom {member.role.value} certificate renew --folder {member.path} --host {dialled}"
        text = f"others dial {dialled}, but the certificate is for {', '.join(hosts) or 'no host'}"
        yield Finding.bad(AREA, "endpoint", text, cure)
    else:
        yield Finding.good(AREA, "endpoint", f"{found.endpoint if found else ''}, which the certificate names")


def _policy(member: MemberFolder) -> Iterator[Finding]:
    path = member.path / str(member.configuration.get("policy", "policy.toml"))
    try:
        policy = Policy.load(path)
    except MpcError as error:
        yield Finding.bad(AREA, "policy", error.detail, f"correct {path}")
        return
    if not policy.analysts or not policy.tables:
        what = "no analyst" if not policy.analysts else "no table"
        yield Finding.doubtful(
            AREA, "policy", f"it allows {what}: every job is refused", f"write what you allow into {path}"
        )
        return
    names = ", ".join(policy.analysts).replace("*", "every analyst")
    everything = [name for name, rule in policy.tables.items() if rule.allow_all]
    text = f"{names} may use {', '.join(policy.tables)}"
    if everything:
        cure = f"list the columns and their uses in {path} instead of allow_all"
        yield Finding.doubtful(AREA, "policy", f"{text}; every column of {', '.join(everything)} in every way", cure)
    else:
        yield Finding.good(AREA, "policy", text)


def _sources(host: Host, member: MemberFolder) -> Iterator[Finding]:
    sources: dict[str, Any] = member.configuration.get("sources", {})
    configuration = member.path / "party.toml"
    if not sources:
        cure = f"name a source and its tables in {configuration}"
        yield Finding.doubtful(AREA, "sources", "party.toml names no data", cure)
    for name, source in sources.items():
        yield _source(host, member.path, name, source, configuration)


def _source(host: Host, base: Path, name: str, source: dict[str, Any], configuration: Path) -> Finding:
    check = f"source {name}"
    url, tables = str(source.get("url", "")), ", ".join(source.get("tables", {})) or "no table"
    if url.startswith(("env:", "file:")):
        from os import environ

        kind, _, where = url.partition(":")
        there = where in environ if kind == "env" else Path(where).is_file()
        what = "environment variable" if kind == "env" else "file"
        if not there:
            return Finding.bad(
                AREA, check, f"the {what} {where} does not exist", f"provide it, or correct {configuration}"
            )
        return Finding.good(AREA, check, f"{tables}, its address is in the {what} {where}")
    scheme, _, rest = url.partition(":")
    if scheme in {"postgres", "postgresql"}:
        return _database(host, check, url, tables)
    path = base / rest
    if not path.exists():
        return Finding.bad(AREA, check, f"{path} does not exist", f"correct its address in {configuration}")
    try:
        if path.is_file():
            path.open("rb").close()
        elif not any(path.iterdir()):
            return Finding.doubtful(AREA, check, f"{path} is empty", "put the table's files there")
    except PermissionError:
        return Finding.bad(
            AREA, check, f"{path} cannot be read by this user", f"let this user read it: chmod u+r {path}"
        )
    return Finding.good(AREA, check, f"{tables} in {path}")


def _database(host: Host, check: str, url: str, tables: str) -> Finding:
    """Whether a database's host answers; its login is tried by the node alone."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "localhost", parts.port or 5432
    except ValueError:
        return Finding.bad(AREA, check, "its address is not a URL", "correct it in party.toml")
    try:
        host.resolve(name)
    except OSError:
        return Finding.bad(AREA, check, f"the database's host {name} does not resolve", "correct the name, or DNS")
    try:
        host.dial(name, port)
    except OSError as error:
        cure = "start the database, or open the firewall between this node and it"
        return Finding.bad(AREA, check, f"nothing answers at {name}:{port} ({error.strerror or error})", cure)
    return Finding.good(AREA, check, f"{tables}; a database answers at {name}:{port}")


def _disk(host: Host, member: MemberFolder) -> Iterator[Finding]:
    state = member.path / str(member.configuration.get("state", "state"))
    where = next(p for p in (state, member.path) if p.exists())
    free = host.free_bytes(where)
    text = f"{free / (1 << 30):.1f} GiB free for {where}"
    if free < LEAST_FREE:
        level = Finding.bad if free < LEAST_FREE // 16 else Finding.doubtful
        yield level(AREA, "disk", text, "free some space, or point `state` in the configuration to another disk")
    else:
        yield Finding.good(AREA, "disk", text)
