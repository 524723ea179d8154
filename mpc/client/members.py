"""A member's own folder: enrol in it, install the sealed room into it, renew its certificate.

Private keys are made here and never leave. What leaves is the enrolment: the member's public facts, signed with its own
identity key, so that whoever adds it to a room knows that the sender holds that key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import msgspec
import tomli_w

from mpc.client.certificates import facts
from mpc.errors import ConfigurationError
from mpc.keys.files import KeyFolder
from mpc.keys.identity import verify_signed
from mpc.keys.manifest import Manifest, Member, SignedManifest
from mpc.keys.statements import Signed, Statement, encode_statement
from mpc.parties import Role, party_id
from mpc.runtime.settings import read_settings

__all__ = ["Enrolment", "MemberFolder", "enrol", "load_enrolment"]

CONFIGURATIONS: Final[Mapping[Role, str]] = {
    Role.PARTY: "party.toml",
    Role.COORDINATOR: "coordinator.toml",
    Role.ANALYST: "analyst.toml",
}
ROOM_FILE: Final = "room.toml"

_POLICY: Final = """\
# What this party allows. Everything that is not mentioned is denied; analysts get an error that names the rule.
# This file is this party's own: it is not signed, not sent, and can only forbid.

analysts = []             # names of analysts who may ask; "*" is every analyst of the room
minimum_parties = 2       # fewest parties in a job, this one included
required_parties = []     # parties that must take part in every job
two_party = false         # may totals of exactly two parties open to the parties? Each learns the other's total
allow_clear = false       # may a job run without encryption, for measurement?
train = false             # are training jobs allowed?

# [tables.sales]
# count = true            # rows may be counted
# [tables.sales.columns]
# region = { use = ["group", "filter"] }
# amount = { use = ["aggregate"], functions = ["sum", "avg"] }

# [trainers]                # training functions of party.toml, and the analysts whose jobs may run them
# risk = ["ana"]

# [catalogues.products]     # vectors of party.toml that may be scored for encrypted queries
# analysts = ["ana"]        # who may; nobody if not given
# queries_per_analyst = 30  # in all; as many as vectors have dimensions would tell every item
# labels = true             # may items be named, or only numbered?
# never = ["secret-item"]   # items that are not offered; also only, only_file, most, and where (of a table)
"""

_SOURCE_HELP: Final = """\

# Where this party's rows are. `sales` is the table's name in the room's dictionary.
# [sources.warehouse]
# url = "parquet:data/sales.parquet"      # also csv: arrow: duckdb: sqlite: postgresql://, or env:NAME / file:/secret
# [sources.warehouse.tables.sales]

# A training function of this party's own, for federated averages: package.module:function, from a folder if given.
# [trainers.risk]
# module = "risk:train"
# path = "trainers"
"""


class Enrolment(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A member's public facts, as it signs them itself."""

    label: ClassVar[str] = "sealroom/v1/enrolment"

    member: Member

    def verify(self, signature: bytes) -> Member:
        """The member, if the signature is its own.

        Raises:
            IntegrityError: It is not.
        """
        self.member.check()
        verify_signed(Signed(encode_statement(self), self.member.name, signature), Enrolment, self.member.public_key)
        return self.member


class _EnrolmentFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    member: Member
    signature: str


def load_enrolment(path: Path) -> Member:
    """Read an enrolment file and verify that its sender holds the key.

    Raises:
        ConfigurationError: It is not an enrolment.
        IntegrityError: Its signature does not hold: it was changed on the way.
    """
    file = read_settings(path, _EnrolmentFile, "an enrolment")
    try:
        signature = bytes.fromhex(file.signature)
    except ValueError:
        raise ConfigurationError(f"{path.name}: its signature is not hexadecimal") from None
    if len(signature) != 64:
        raise ConfigurationError(f"{path.name}: its signature does not have 64 bytes")
    return Enrolment(member=file.member).verify(signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFolder:
    """A folder that `enrol` has made."""

    path: Path
    role: Role
    name: str
    keys: KeyFolder
    configuration: Mapping[str, Any]

    @classmethod
    def at(cls, path: Path) -> Self:
        """Find the member in a folder by its configuration file.

        Raises:
            ConfigurationError: There is no such file, or it is not valid.
        """
        for role, file in CONFIGURATIONS.items():
            if (path / file).is_file():
                mapping = read_settings(path / file, dict[str, Any], "a configuration")
                name = mapping.get("name")
                if not isinstance(name, str):
                    raise ConfigurationError(f"{path / file}: `name` is missing")
                keys = KeyFolder.at(path / str(mapping.get("keys", "keys")))
                return cls(path=path, role=role, name=party_id(name), keys=keys, configuration=mapping)
        raise ConfigurationError(
            f"{path} is not a member's folder: it has no {', '.join(CONFIGURATIONS.values())}",
            reason="name the folder that enrolling made",
        )

    @property
    def room_file(self) -> Path:
        """Where this member's copy of the sealed room is."""
        return self.path / str(self.configuration.get("manifest", ROOM_FILE))

    @property
    def enrolment_file(self) -> Path:
        """The public file that this member sends."""
        return self.path / f"{self.name}.enrolment.toml"

    def room(self) -> Manifest:
        """The installed room, verified, with this member in it under its own key.

        Raises:
            ConfigurationError: No room is installed, or this member is not in it.
            IntegrityError: A signature does not hold.
        """
        manifest = SignedManifest.load(self.room_file).verify()
        self.must_be_in(manifest)
        return manifest

    def must_be_in(self, manifest: Manifest) -> Member:
        """This member's entry in a manifest, if it holds exactly its own keys (`ConfigurationError` otherwise)."""
        found = manifest.member(self.name)
        if found is None:
            raise ConfigurationError(f"{self.name} is not a member of room {manifest.name}")
        mine = self.keys.member(self.role, self.name, found.endpoint)
        if found != mine:
            raise ConfigurationError(
                f"the entry of {self.name} in room {manifest.name} has another key or certificate than this folder",
                reason="somebody may have put their own key under this name",
            )
        return found

    def install(self, sealed: SignedManifest) -> Manifest:
        """Take a sealed room over: verified, with this member in it, and not older than what is installed.

        Raises:
            ConfigurationError: It is another room, an older version, or does not have this member.
            IntegrityError: A signature is missing or does not hold.
        """
        manifest = sealed.verify()
        self.must_be_in(manifest)
        if self.room_file.exists():
            present = SignedManifest.load(self.room_file).manifest
            if present.name != manifest.name:
                raise ConfigurationError(f"this folder belongs to room {present.name}, not to {manifest.name}")
            older = manifest.version < present.version
            if older or (manifest.version == present.version and manifest.room != present.room):
                raise ConfigurationError(
                    f"version {present.version} of room {present.name} is installed; "
                    f"this is {'older' if older else 'another text of the same version'}"
                )
        write_atomically(self.room_file, sealed.dumps())
        return manifest

    def renew(self, hosts: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Issue a new leaf for the same host names and more; a running node takes it up at the next handshake.

        Returns:
            The host names and addresses of the new leaf.
        """
        names = tuple(dict.fromkeys((*facts(self.keys.leaf().certificate).hosts, *hosts)))
        self.keys.renew(self.role, self.name, names)
        return names


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step, so that a node never reads half of it."""
    partial = path.with_name(path.name + ".new")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def enrol(
    folder: Path,
    role: Role,
    name: str,
    *,
    endpoint: str = "",
    listen: str = "",
    hosts: tuple[str, ...] = (),
    sources: Mapping[str, str] | None = None,
) -> tuple[MemberFolder, Member]:
    """Make a member's keys, configuration and enrolment in a folder of its own.

    Args:
        folder: The member's folder; it is created, and must not hold keys.
        role: Party, coordinator or analyst.
        name: The member's name in the room.
        endpoint: `host:port` under which others reach its node; analysts have none.
        listen: `host:port` that its node binds; the endpoint if not given.
        hosts: Further names and addresses for its certificate.
        sources: For parties: table -> address of its data.

    Raises:
        ConfigurationError: The folder is in use, or a value is wrong.
    """
    party_id(name)
    if role not in CONFIGURATIONS:
        raise ConfigurationError(f"the role {role.value} is not enrolled in a folder")
    serves = role is not Role.ANALYST
    if serves != bool(endpoint):
        raise ConfigurationError("parties and coordinators have an endpoint, host:port; analysts have none")
    if taken := [f for f in (*CONFIGURATIONS.values(), "keys") if (folder / f).exists()]:
        raise ConfigurationError(f"{folder} already has {taken[0]}: a member is enrolled once, in a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    _check_endpoints(endpoint, listen)
    member = KeyFolder.create(folder / "keys", role, name, endpoint, hosts)
    (folder / CONFIGURATIONS[role]).write_text(
        _configuration(role, name, listen or endpoint, sources or {}), encoding="utf-8"
    )
    if role is Role.PARTY:
        (folder / "policy.toml").write_text(_POLICY, encoding="utf-8")
    here = MemberFolder.at(folder)
    signed = here.keys.identity().sign(Enrolment(member=member), name)
    text = tomli_w.dumps({"member": msgspec.to_builtins(member), "signature": signed.signature.hex()})
    here.enrolment_file.write_text(f"# Public. Send it to whoever makes the room.\n{text}", encoding="utf-8")
    return here, member


def _check_endpoints(*endpoints: str) -> None:
    for endpoint in filter(None, endpoints):
        host, _, port = endpoint.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigurationError(f"{endpoint} is not host:port")


def _configuration(role: Role, name: str, listen: str, sources: Mapping[str, str]) -> str:
    """The text of a member's configuration file."""
    if role is Role.ANALYST:
        return f"# An analyst's profile: `sealroom query --room FOLDER`.\n{tomli_w.dumps({'name': name})}"
    text = tomli_w.dumps({"name": name, "listen": listen})
    if role is Role.COORDINATOR:
        return f"# The coordinator's node: `sealroom coordinator serve --folder FOLDER`.\n{text}"
    text = f"# A party's node: `sealroom party serve --folder FOLDER`. Paths are relative to this file.\n{text}"
    if not sources:
        return text + _SOURCE_HELP
    return text + "\n" + tomli_w.dumps({"sources": {t: {"url": u, "tables": {t: {}}} for t, u in sources.items()}})
