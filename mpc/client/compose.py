"""A room in containers: a folder with every member's files, sample data and a `compose.yaml`.

Each owner's own step makes its keys, exactly as on separate machines (`enrol`, `sign_draft`, `install`); this module
only plays all the owners, one after the other, so that a new user has a room that runs. The compose file keeps to what
podman-compose, docker-compose 1 and Compose 2 have in common: no `name:`, no `version:`, no conditions, file secrets.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

import mpc
from mpc.client.members import MemberFolder, enrol
from mpc.client.proposals import dump_proposal, infer_proposal
from mpc.client.rooms import RoomFolder, sign_draft
from mpc.errors import ConfigurationError
from mpc.keys.manifest import SignedManifest
from mpc.parties import Role, party_id
from mpc.policy.rules import open_policy

__all__ = ["ComposeRoom", "sample_sales", "write_compose_room"]

COORDINATOR: Final = "coordinator"
ANALYST: Final = "ana"
PARTIES: Final = ("north", "south", "west")
PORT: Final = 7443
CONTAINER_USER: Final = 65532
"""The user of both images; nobody else's number on an ordinary machine."""

_SECRETS: Final = ("identity.key", "root.pem", "tls.pem", "tls.key")
"""What a node's container sees of its member's keys; the root's key stays outside."""

_CONTAINERFILE: Final = Path("servers/deploy/Containerfile")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeRoom:
    """What was written."""

    folder: Path
    parties: tuple[str, ...]
    analyst: str
    query: str
    """A first question about the sample data."""

    @property
    def file(self) -> Path:
        """The compose file."""
        return self.folder / "compose.yaml"

    def commands(self, compose: str = "podman-compose") -> tuple[str, ...]:
        """From the folder to the first answer."""
        return (
            f"cd {self.folder}",
            f"{compose} up -d --build",
            f'{compose} exec {self.analyst} sealroom query "{self.query}"',
        )


def sample_sales(party: str, rows: int) -> pa.Table:
    """Sales that nobody made: the same for the same party and number of rows."""
    rng = np.random.default_rng(list(party.encode()))
    regions = np.array(["alps", "coast", "lakes", "plains"])
    amount = np.round(np.exp(rng.normal(3.2, 0.8, rows)), 2)
    return pa.table(
        {
            "region": regions[rng.integers(0, len(regions), rows)],
            "quantity": rng.integers(1, 12, rows, dtype=np.int32),
            "amount": pa.array(amount, mask=rng.random(rows) < 0.02),
        }
    )


def write_compose_room(
    folder: Path,
    name: str = "acme",
    *,
    parties: Sequence[str] = PARTIES,
    rows: int = 10_000,
    data: Mapping[str, Mapping[str, Path]] | None = None,
    source: Path | None = None,
    image: str = "localhost/sealroom",
    tag: str = "dev",
) -> ComposeRoom:
    """Make a room of parties, a coordinator and an analyst that `podman-compose up` starts as it is.

    Args:
        folder: It is made; it must not hold a room.
        name: The room's name.
        parties: Names of the parties.
        rows: Rows of sample data for each party.
        data: Party -> table -> Parquet file instead of the sample; the files are linked or copied into the folder.
        source: The checkout that images are built from; the one that this module is part of if not given.
        image: Repository of the images, before `-party` and `-coordinator`.
        tag: Tag of the images.

    Raises:
        ConfigurationError: The folder is in use, a name is wrong, or there is no checkout to build from.
    """
    context = _checkout(source)
    names = tuple(party_id(p) for p in parties)
    if reserved := {COORDINATOR, ANALYST} & set(names):
        raise ConfigurationError(f"a party of this room is not called {min(reserved)}")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    room = RoomFolder.create(folder / "room", name)
    members = [_party(folder, p, rows, dict((data or {}).get(p, {}))) for p in names]
    members.append(_enrolled(folder, Role.COORDINATOR, COORDINATOR))
    members.append(enrol(folder / ANALYST, Role.ANALYST, ANALYST)[0])
    _seal(room, members)
    for member in members:
        _open_to_container(member)
    (folder / "compose.yaml").write_text(
        compose_text(name, names, context=context, image=image, tag=tag), encoding="utf-8"
    )
    tables = sorted((data or {}).get(names[0], {"sales": None}))
    query = f"SELECT COUNT(*) AS n FROM {tables[0]}"  # noqa: S608 - a line for the reader
    if data is None:
        query = "SELECT region, COUNT(*) AS n, AVG(amount) AS mean FROM sales GROUP BY region ORDER BY region"
    made = ComposeRoom(folder=folder, parties=names, analyst=ANALYST, query=query)
    (folder / "README.md").write_text(_readme(name, made, context), encoding="utf-8")
    return made


def _checkout(source: Path | None) -> Path:
    found = (source or Path(mpc.__file__).parent.parent).resolve()
    if not (found / _CONTAINERFILE).is_file():
        raise ConfigurationError(
            f"{found} has no {_CONTAINERFILE}: images are built from a checkout of the repository",
            instead="install in the checkout with pip install -e .",
        )
    return found


# ---- members ---------------------------------------------------------------------------------------------------------


def _enrolled(folder: Path, role: Role, name: str, sources: Mapping[str, str] | None = None) -> MemberFolder:
    """One owner's own step: keys, configuration, enrolment."""
    return enrol(
        folder / name,
        role,
        name,
        endpoint=f"{name}:{PORT}",
        listen=f"0.0.0.0:{PORT}",
        hosts=("localhost", "127.0.0.1"),
        sources=sources,
    )[0]


def _party(folder: Path, name: str, rows: int, given: Mapping[str, Path]) -> MemberFolder:
    """A party with its tables below `data/`, so that its configuration holds inside and outside of a container."""
    here = folder / name / "data"
    here.mkdir(parents=True)
    for table, path in given.items():
        _place(path.resolve(), here / f"{table}.parquet")
    if not given:
        pq.write_table(sample_sales(name, rows), here / "sales.parquet")
    tables = sorted(given) or ["sales"]
    member = _enrolled(folder, Role.PARTY, name, {t: f"parquet:data/{t}.parquet" for t in tables})
    (member.path / "policy.toml").write_text(
        f"# Open for trying out: every use of every column, no threshold, no noise.\n"
        f"{tomli_w.dumps(open_policy(tuple(tables)))}",
        encoding="utf-8",
    )
    (member.path / "data").chmod(0o755)
    return member


def _place(origin: Path, target: Path) -> None:
    try:
        os.link(origin, target)
    except OSError:
        target.write_bytes(origin.read_bytes())


def _seal(room: RoomFolder, members: Iterable[MemberFolder]) -> None:
    """Add, propose, sign and install, each at its owner."""
    members = tuple(members)
    room.add(m.enrolment_file for m in members)
    proposals = []
    for member in members:
        if member.role is Role.PARTY:
            path = member.path / f"{member.name}.dictionary.toml"
            path.write_text(dump_proposal(infer_proposal(member)), encoding="utf-8")
            proposals.append(path)
    room.set_dictionary(proposals)
    room.collect(sign_draft(room.draft_file, m)[0] for m in members)
    room.seal()
    sealed = SignedManifest.load(room.sealed_file)
    for member in members:
        member.install(sealed)


def _open_to_container(member: MemberFolder) -> None:
    """Let the image's user read the secrets that are mounted into its container.

    As root the files become that user's alone. Otherwise they become readable in a folder that only their owner may
    enter: a mounted file is reached without its folder.
    """
    member.keys.path.chmod(0o700)
    for secret in _SECRETS:
        path = member.keys.path / secret
        if os.geteuid() == 0:
            os.chown(path, CONTAINER_USER, CONTAINER_USER)
            path.chmod(0o400)
        else:
            path.chmod(0o444)


# ---- texts -----------------------------------------------------------------------------------------------------------


def compose_text(name: str, parties: Sequence[str], *, context: Path, image: str, tag: str) -> str:
    """The compose file."""
    services = [_node(COORDINATOR, Role.COORDINATOR, [f"wire_{p}" for p in parties] + ["ask"], context, image, tag)]
    for p in parties:  # the first one's service builds the image for all: podman-compose builds services side by side
        builds = context if p == parties[0] else None
        services.append(_node(p, Role.PARTY, [f"wire_{p}", f"db_{p}"], builds, image, tag))
    services.append(_analyst(image, tag))
    networks = ["  ask: {internal: true}", *(f"  wire_{p}: {{internal: true}}" for p in parties)]
    networks += [f"  db_{p}: {{internal: true}}  # {p}'s database is a service on this network alone" for p in parties]
    volumes = [f"  state_{n}: {{}}" for n in (COORDINATOR, *parties, ANALYST)]
    secrets = [
        f"  {n}_{_short(s)}: {{file: ./{n}/keys/{s}}}" for n in (COORDINATOR, *parties, ANALYST) for s in _SECRETS
    ]
    head = (
        f"# Room {name}: {len(parties)} parties, a coordinator and an analyst. For podman-compose and docker-compose,\n"
        "# versions 1 and 2, unchanged. Parties reach the coordinator alone, and nothing here reaches the internet.\n"
    )
    blocks = ("services:", *services, "\nnetworks:", *networks, "\nvolumes:", *volumes, "\nsecrets:", *secrets)
    return head + "\n".join(blocks) + "\n"


def _short(secret: str) -> str:
    return secret.replace(".", "_")


def _hardened(name: str, context: Path | None, image: str, target: str, tag: str) -> list[str]:
    """What all services have; a `context` where this one builds the image."""
    build = [
        "    build:",
        f'      context: "{context}"',
        f"      dockerfile: {_CONTAINERFILE}",
        f"      target: {target}",
    ]
    return [
        f"  {name}:",
        f"    image: {image}-{target}:{tag}",
        *(build if context else ()),
        f"    hostname: {name}",
        f'    user: "{CONTAINER_USER}:{CONTAINER_USER}"',
        "    read_only: true",
        "    tmpfs: [/tmp]",
        "    cap_drop: [ALL]",
        '    security_opt: ["no-new-privileges:true"]',
        '    dns_opt: ["timeout:1", "attempts:2"]  # a name that is away for a moment does not hold up others',
    ]


def _mounts(name: str, files: Sequence[str], target: str = "/etc/sealroom") -> list[str]:
    return [f"      - ./{name}/{f}:{target}/{f}:ro" for f in files]


def _secret_lines(name: str) -> list[str]:
    return ["    secrets:", *(f"      - {{source: {name}_{_short(s)}, target: {s}}}" for s in _SECRETS)]


def _node(name: str, role: Role, networks: Sequence[str], context: Path | None, image: str, tag: str) -> str:
    party = role is Role.PARTY
    files = ("party.toml", "policy.toml", "room.toml") if party else ("coordinator.toml", "room.toml")
    lines = [
        *_hardened(name, context, image, role.value, tag),
        f"    mem_limit: {'3g' if party else '1g'}",
        '    healthcheck: {test: ["CMD", "python", "-m", "servers.health"], interval: 15s, timeout: 5s, retries: 4}',
        "    restart: unless-stopped",
        "    stop_grace_period: 40s",
        f"    networks: [{', '.join(networks)}]",
        "    volumes:",
        *_mounts(name, files),
        *([f"      - ./{name}/data:/data:ro"] if party else []),
        f"      - state_{name}:/var/lib/sealroom",
        *_secret_lines(name),
    ]
    return "\n".join(lines) + "\n"


def _analyst(image: str, tag: str) -> str:
    """A container that waits for questions: `exec` asks in it."""
    lines = [
        *_hardened(ANALYST, None, image, Role.PARTY.value, tag),
        "    environment: {SEALROOM_ROOM: /etc/sealroom}",
        "    mem_limit: 2g",
        '    entrypoint: ["sh", "-c", "trap exit INT TERM; sleep infinity & wait"]',
        "    command: []",
        "    healthcheck: {disable: true}",
        "    networks: [ask]",
        "    volumes:",
        *_mounts(ANALYST, ("analyst.toml", "room.toml")),
        f"      - state_{ANALYST}:/var/lib/sealroom",
        *_secret_lines(ANALYST),
    ]
    return "\n".join(lines) + "\n"


def _readme(name: str, room: ComposeRoom, context: Path) -> str:
    commands = "\n".join(f"    {line}" for line in room.commands()[1:])
    return f"""# Room {name}

In this folder, with podman-compose (or `docker compose`, or `docker-compose`):

{commands}

The first start builds two images, which takes a minute or more. Nodes answer some seconds after they were started;
until then a query says E4301 or E4001, and works when it is asked again.

`down` ends it and keeps jobs, logs and ledgers in volumes; `down -v` forgets them. Each member's folder is what its
owner would have on a machine of its own: keys, configuration, policy, data. `room/` is what they all signed.

A certificate is renewed without a restart, at its owner:

    sh "{context / _CONTAINERFILE.parent}/renew-certificate.sh" {room.parties[0]}
"""
