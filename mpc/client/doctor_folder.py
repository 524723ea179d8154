"""The doctor's look into a member's folder: keys, certificate, room, policy, sources, disk."""

import datetime as dt
import errno
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from mpc.client.certificates import facts
from mpc.client.doctor import LEAST_FREE, Finding, Host, Level
from mpc.client.members import CONFIGURATIONS, MemberFolder
from mpc.errors import AuthenticationError, MpcError
from mpc.keys.files import IDENTITY, LEAF_KEY, ROOT_KEY
from mpc.keys.identity import spiffe_id, verify_leaf
from mpc.keys.manifest import Manifest
from mpc.parties import Role
from mpc.policy.rules import Policy
from mpc.runtime.tls import address_of, answers_as, pair_ends

__all__ = ["folder_findings"]

AREA: Final = "folder"
WARN_DAYS: Final = 14
_FILES: Final = frozenset({"arrow", "csv", "duckdb", "parquet", "sqlite"})


def folder_findings(host: Host, member: MemberFolder) -> Iterator[Finding]:
    """Everything that can be known without speaking to anybody."""
    yield from _permissions(member)
    yield from _certificate(host, member)
    yield from _room(member)
    if member.role is Role.PARTY:
        yield from _policy(member)
    if member.role is not Role.ANALYST:
        yield from _node(host, member)
        yield from _listening(host, member)
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
        material, root = member.keys.leaf(), (member.keys.path / "root.pem").read_bytes()
        pem = material.certificate
        leaf = facts(pem)
    except (MpcError, OSError) as error:
        yield Finding.bad(AREA, "certificate", f"it cannot be read: {error}", renew)
        return
    if pair_ends(material) is None:
        yield Finding.bad(AREA, "certificate", "tls.pem and tls.key do not belong together", renew)
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
    if found is None or not found.endpoint:
        return
    dialled = _plain_host(address_of(found.endpoint)[0])
    try:
        hosts = facts(member.keys.leaf().certificate).hosts
    except MpcError:
        return  # the certificate has a line of its own
    if dialled not in {_plain_host(h) for h in hosts}:
        cure = f"sealroom {member.role.value} certificate renew --folder {member.path} --host {dialled}"
        text = f"others dial {dialled}, but the certificate is for {', '.join(hosts) or 'no host'}"
        yield Finding.bad(AREA, "endpoint", text, cure)
    else:
        yield Finding.good(AREA, "endpoint", f"{found.endpoint}, which the certificate names")


def _plain_host(host: str) -> str:
    """A host as certificates spell it: an address in its shortest form, a name in small letters."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower()


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


def _node(host: Host, member: MemberFolder) -> Iterator[Finding]:
    """The configuration and the data, as the node itself sees them."""
    configuration = member.path / CONFIGURATIONS[member.role]
    told = host.node_check(member.role.value, configuration.resolve())
    if told is None:
        cure = f"read what it says itself: python -m servers.{member.role.value} --config {configuration} --check"
        yield Finding.doubtful(AREA, "configuration", "the node's own check did not end, or not in time", cure)
        return
    findings = [_told(entry) for entry in told]
    yield from (f for f in findings if f.check == "configuration")
    if member.role is Role.PARTY and not any(f.check == "configuration" and f.level is Level.FAIL for f in findings):
        yield from _sources(host, member, [f for f in findings if f.check != "configuration"])


def _told(entry: dict[str, Any]) -> Finding:
    level = Level.WARN if entry.get("works") else Level.FAIL
    cure = str(entry.get("cure", ""))
    return Finding(
        area=AREA,
        check=str(entry["check"]),
        level=level if cure else Level.OK,
        text=str(entry["text"]),
        cure=cure,
        brief=str(entry.get("brief", "")),
    )


def _sources(host: Host, member: MemberFolder, told: list[Finding]) -> Iterator[Finding]:
    """What can be seen from outside says more of names and ports; where that is good, the node has opened it."""
    sources: dict[str, Any] = member.configuration.get("sources", {})
    configuration = member.path / "party.toml"
    if not sources:
        cure = f"name a source and its tables in {configuration}"
        yield Finding.doubtful(AREA, "sources", "party.toml names no data", cure)
    for name, source in sources.items():
        outside = _source(host, member.path, name, source, configuration)
        opened = [f for f in told if f.check == outside.check]
        yield from opened if outside.level is Level.OK and opened else [outside]
    yield from (f for f in told if f.check.startswith("table ") and sources)


def _listening(host: Host, member: MemberFolder) -> Iterator[Finding]:
    """Whether the node can bind its address, or has."""
    listen = os.environ.get("SEALROOM_LISTEN", str(member.configuration.get("listen", "")))
    name, _, port = listen.rpartition(":")
    name = name.removeprefix("[").removesuffix("]")
    if not name or not port.isdigit():
        return  # the configuration has a line of its own
    try:
        host.bind(name, int(port))
    except OSError as error:
        yield _bound(member, listen, error)
    else:
        yield Finding.good(AREA, "port", f"{listen} is free: this node does not run")


def _bound(member: MemberFolder, listen: str, error: OSError) -> Finding:
    correct = f"correct `listen` in {member.path / CONFIGURATIONS[member.role]}"
    if error.errno == errno.EADDRINUSE:
        if _runs_here(member, listen):
            return Finding.good(AREA, "port", f"this node runs, and listens on {listen}")
        return Finding.bad(AREA, "port", f"another program listens on {listen}", f"end it, or {correct}")
    if error.errno == errno.EACCES:
        cure = f"{correct}: ports below 1024 need a right that a node should not have"
        return Finding.bad(AREA, "port", f"this user may not listen on {listen}", cure)
    return Finding.bad(AREA, "port", f"{listen} is no address of this machine ({error.strerror})", correct)


def _runs_here(member: MemberFolder, listen: str) -> bool:
    """Whether what listens there shows this member's own certificate."""
    name, _, port = listen.rpartition(":")
    here = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(name, name)  # noqa: S104 - read, not bound
    try:
        own = member.room().member(member.name)
        return own is not None and answers_as(own, member.keys.leaf(), at=f"{here}:{port}")
    except (MpcError, OSError):
        return False


def _source(host: Host, base: Path, name: str, source: dict[str, Any], configuration: Path) -> Finding:
    check = f"source {name}"
    url, tables = str(source.get("url", "")), ", ".join(source.get("tables", {})) or "no table"
    if url.startswith(("env:", "file:")):
        kind, _, where = url.partition(":")
        there = where in os.environ if kind == "env" else Path(where).is_file()
        what = "environment variable" if kind == "env" else "file"
        if not there:
            return Finding.bad(
                AREA, check, f"the {what} {where} does not exist", f"provide it, or correct {configuration}"
            )
        return Finding.good(AREA, check, f"{tables}, its address is in the {what} {where}")
    scheme, _, rest = url.partition(":")
    if scheme in {"postgres", "postgresql"}:
        return _database(host, check, url, tables)
    if rest and scheme not in _FILES:
        return Finding.good(AREA, check, tables)  # the node says what it thinks of that
    path = base / (rest or url)
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
    """Whether a database's host answers, where its address names just one; the node itself tries the login."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port or 5432
    except ValueError:  # several hosts, each with its port
        name, port = "", 0
    if not name or "," in name or {"host", "hostaddr", "service"} & parse_qs(parts.query).keys():
        return Finding.good(AREA, check, tables)
    try:
        host.resolve(name)
    except OSError:
        cure = f"correct the name in its address, {name}, or DNS"
        return _closed(check, "the database's host name does not resolve", cure)
    try:
        host.dial(name, port)
    except OSError as error:
        cure = f"start the database at {name}:{port}, or open the firewall between this node and it"
        return _closed(check, f"the database does not answer ({error.strerror or error})", cure)
    return Finding.good(AREA, check, f"{tables}; a database answers")


def _closed(check: str, text: str, cure: str) -> Finding:
    return Finding(area=AREA, check=check, level=Level.FAIL, text=text, cure=cure, brief=text)


def _disk(host: Host, member: MemberFolder) -> Iterator[Finding]:
    state = member.path / str(member.configuration.get("state", "state"))
    where = next(p for p in (state, member.path) if p.exists())
    if not host.writable(where):
        cure = "mount it writable, or give it to this user; or point `state` in the configuration to another folder"
        yield Finding.bad(AREA, "disk", f"{where} cannot be written by this user", cure)
        return
    free = host.free_bytes(where)
    text = f"{free / (1 << 30):.1f} GiB free for {where}"
    if free < LEAST_FREE:
        level = Finding.bad if free < LEAST_FREE // 16 else Finding.doubtful
        yield level(AREA, "disk", text, "free some space, or point `state` in the configuration to another disk")
    else:
        yield Finding.good(AREA, "disk", text)
