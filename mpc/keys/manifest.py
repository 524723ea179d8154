"""The room: a manifest that every member signs.

The manifest names the members with their keys and endpoints, and carries the dictionary. Its canonical digest is the
room's id. A change of anything is a new version with all signatures again; nobody, the coordinator least of all, can
enrol a member alone.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
import tomli_w
from cryptography import x509

from mpc.errors import ConfigurationError, IntegrityError, ParameterError
from mpc.keys.dictionary import Dictionary
from mpc.keys.identity import IdentityKey, spiffe_id, verify_signed, weak_identity
from mpc.keys.statements import Signed, Statement, canonical_digest, encode_statement
from mpc.parties import PartyId, Role, RoomId, party_id

__all__ = ["Endorsement", "Floor", "Manifest", "Member", "SignedManifest", "endorsed"]

_IDENTITY = re.compile(r"[0-9a-f]{64}\Z")
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member of a room, as its own enrolment said."""

    name: str
    role: Role
    endpoint: str = ""
    """`host:port` where its node listens; empty for members that only call."""

    identity: str
    """Ed25519 public key, hexadecimal."""

    certificate: str
    """Its root certificate, PEM."""

    @property
    def public_key(self) -> bytes:
        """The identity key's bytes."""
        return bytes.fromhex(self.identity)

    @property
    def spiffe(self) -> str:
        """The SPIFFE id that its certificates carry."""
        return spiffe_id(self.role, self.name)

    def check(self) -> None:
        """Refuse a malformed member (`ConfigurationError`)."""
        _check_name(self.name)
        if not _IDENTITY.match(self.identity):
            raise ConfigurationError(f"member {self.name}: its identity key is not 32 bytes of hexadecimal")
        if weak_identity(self.public_key):
            raise ConfigurationError(f"member {self.name}: anybody could sign under its identity key")
        try:
            certificates = x509.load_pem_x509_certificates(self.certificate.encode())
        except ValueError:
            certificates = []
        if len(certificates) != 1:
            raise ConfigurationError(f"member {self.name}: its certificate is not one PEM certificate")
        host, _, port = self.endpoint.rpartition(":")
        reachable = host and _PORT.match(port) and int(port) < 65536
        if self.role in {Role.PARTY, Role.COORDINATOR} and not reachable:
            raise ConfigurationError(f"member {self.name}: its endpoint is host:port")


class Floor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules that hold for every party of the room; an owner's policy may only tighten them."""

    minimum_parties: int = 2
    """Fewest parties in any job."""

    job_lifetime_s: int = 3600
    """Longest time between an analyst's signature and its expiry."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the members agree on."""

    name: str
    version: int = 1
    members: tuple[Member, ...]
    floor: Floor = Floor()
    dictionary: Dictionary = Dictionary()

    def check(self) -> None:
        """Refuse contradictions.

        Raises:
            ConfigurationError: Names what is wrong.
        """
        _check_name(self.name)
        names = [m.name for m in self.members]
        if len(set(names)) != len(names):
            raise ConfigurationError("a member's name occurs twice")
        keys = [m.identity for m in self.members]
        if len(set(keys)) != len(keys):
            raise ConfigurationError("two members have the same identity key")
        if len({m.certificate.strip() for m in self.members}) != len(self.members):
            raise ConfigurationError("two members have the same root certificate")
        for member in self.members:
            member.check()
        if sum(m.role is Role.COORDINATOR for m in self.members) > 1:
            raise ConfigurationError("a room has one coordinator")
        self.dictionary.check()
        parties = {m.name for m in self.members if m.role is Role.PARTY}
        for table in self.dictionary.tables:
            if strangers := set(table.parties) - parties:
                raise ConfigurationError(f"table {table.name}: {min(strangers)} is not a party of the room")
        if self.version < 1 or self.floor.minimum_parties < 2 or self.floor.job_lifetime_s < 1:
            raise ConfigurationError("version, minimum_parties (2 or more) and job_lifetime_s are positive")

    @property
    def room(self) -> RoomId:
        """The room's id: the canonical digest."""
        return RoomId(canonical_digest("sealroom/v1/manifest", self).hex())

    def member(self, name: str) -> Member | None:
        """Find a member."""
        return next((m for m in self.members if m.name == name), None)

    def with_role(self, role: Role) -> tuple[Member, ...]:
        """The members that have a role, by name."""
        return tuple(sorted((m for m in self.members if m.role is role), key=lambda m: m.name))

    @property
    def coordinator(self) -> Member:
        """The coordinator (`ConfigurationError` if the room has none)."""
        found = self.with_role(Role.COORDINATOR)
        if not found:
            raise ConfigurationError("the room has no coordinator")
        return found[0]

    @property
    def parties(self) -> tuple[PartyId, ...]:
        """Names of the parties, sorted."""
        return tuple(PartyId(m.name) for m in self.with_role(Role.PARTY))

    def to_mapping(self) -> dict[str, Any]:
        """The manifest as TOML-able values."""
        mapping: dict[str, Any] = _without_none(msgspec.to_builtins(self))
        return mapping

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read and check a manifest.

        Raises:
            ConfigurationError: It is not a manifest, or contradicts itself.
        """
        try:
            manifest: Self = msgspec.convert(mapping, cls)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"the manifest is not valid: {error}") from None
        manifest.check()
        return manifest


def _check_name(name: str) -> None:
    try:
        party_id(name)
    except ParameterError as error:
        raise ConfigurationError(error.detail) from None


def _without_none(value: Any) -> Any:
    """TOML has no null: a field that is not given is left out."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(v) for v in value]
    return value


class Endorsement(Statement, tag=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A member's agreement to exactly one manifest."""

    label: ClassVar[str] = "sealroom/v1/endorsement"

    room: str
    member: str


class SignedManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest with the signatures of its members."""

    manifest: Manifest
    signatures: Mapping[str, bytes] = {}

    def endorse(self, member: str, key: IdentityKey) -> "SignedManifest":
        """Add a member's signature."""
        found = self.manifest.member(member)
        if found is None or found.public_key != key.public:
            raise ConfigurationError(f"{member} is not in the manifest under this key")
        signed = key.sign(Endorsement(room=self.manifest.room, member=member), member)
        return SignedManifest(manifest=self.manifest, signatures={**self.signatures, member: signed.signature})

    def missing(self) -> tuple[str, ...]:
        """Members that have not signed."""
        return tuple(m.name for m in self.manifest.members if m.name not in self.signatures)

    def verify(self) -> Manifest:
        """The manifest, if every member signed exactly it.

        Signatures of others than the members count for nothing.

        Raises:
            ConfigurationError: The manifest contradicts itself.
            IntegrityError: A signature is missing or does not hold.
            WireError: A signature has another length than 64 bytes.
        """
        self.manifest.check()
        if missing := self.missing():
            raise IntegrityError(f"the manifest lacks the signature of {', '.join(missing)}", member=missing[0])
        for member in self.manifest.members:
            payload = encode_statement(Endorsement(room=self.manifest.room, member=member.name))
            verify_signed(Signed(payload, member.name, self.signatures[member.name]), Endorsement, member.public_key)
        return self.manifest

    def dumps(self) -> str:
        """The TOML text: the manifest, then the signatures."""
        body = self.manifest.to_mapping()
        body["signatures"] = {name: self.signatures[name].hex() for name in sorted(self.signatures)}
        return tomli_w.dumps(body)

    @classmethod
    def loads(cls, text: str) -> Self:
        """Read a manifest and its signatures, without verifying them.

        Raises:
            ConfigurationError: The text is not a manifest.
        """
        try:
            mapping = tomllib.loads(text)
            signatures = {str(k): bytes.fromhex(v) for k, v in mapping.pop("signatures", {}).items()}
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise ConfigurationError(f"the manifest is not valid TOML: {error}") from None
        return cls(manifest=Manifest.from_mapping(mapping), signatures=signatures)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a manifest file (`ConfigurationError` if it is not there or not a manifest)."""
        try:
            return cls.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(f"{path.name} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path.name} is not a text in UTF-8") from None


def endorsed(manifest: Manifest, keys: Iterable[tuple[str, IdentityKey]]) -> SignedManifest:
    """A manifest signed by all the given members; for rooms whose keys are all at hand (tests, local rooms)."""
    signed = SignedManifest(manifest=manifest)
    for name, key in keys:
        signed = signed.endorse(name, key)
    return signed
