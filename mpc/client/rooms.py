"""Making a room: a draft that grows, signatures that each member makes at home, and the sealed file that nodes run.

A room's folder holds `draft.toml`, which is what the members are about to agree on, and `room.toml`, which all of them
signed. Changing anything starts a new draft with the next version and no signatures. Nothing here holds a private key
but `sign_draft`, which runs at a member.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec
import tomli_w

from mpc.client.members import ROOM_FILE, MemberFolder, load_enrolment, write_atomically
from mpc.client.proposals import load_proposal, merge_proposals
from mpc.errors import ConfigurationError, IntegrityError
from mpc.keys.dictionary import Dictionary, Table
from mpc.keys.identity import verify_signed
from mpc.keys.manifest import Endorsement, Floor, Manifest, Member, SignedManifest
from mpc.keys.statements import Signed, encode_statement
from mpc.parties import Role
from mpc.runtime.settings import read_settings

__all__ = ["Endorsed", "RoomFolder", "changes", "sign_draft"]

DRAFT_FILE: Final = "draft.toml"


class Endorsed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The small file that a member sends back: its signature of exactly one manifest."""

    name: str
    version: int
    room: str
    """The room id: digest of the manifest that was signed."""

    member: str
    signature: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a signature file (`ConfigurationError` if it is not one)."""
        found: Self = read_settings(path, cls, "a signature file")
        return found

    def check(self, manifest: Manifest) -> bytes:
        """The signature, if it is this member's under this manifest.

        Raises:
            ConfigurationError: It is for another text.
            IntegrityError: It does not hold.
        """
        member = manifest.member(self.member)
        if member is None:
            raise ConfigurationError(f"{self.member} is not a member of room {manifest.name}")
        if self.room != manifest.room:
            raise ConfigurationError(
                f"{self.member} signed another text: version {self.version} of room {self.name}, "
                f"digest {self.room[:16]}; this draft is {manifest.room[:16]}"
            )
        try:
            signature = bytes.fromhex(self.signature)
        except ValueError:
            raise ConfigurationError(f"the signature of {self.member} is not hexadecimal") from None
        payload = encode_statement(Endorsement(room=manifest.room, member=self.member))
        if len(signature) != 64:
            raise IntegrityError("a signature has 64 bytes", signer=self.member)
        verify_signed(Signed(payload, self.member, signature), Endorsement, member.public_key)
        return signature


@dataclass(frozen=True, slots=True)
class RoomFolder:
    """The folder in which a room is made. It holds nothing secret."""

    path: Path

    @classmethod
    def create(cls, path: Path, name: str, *, minimum_parties: int = 2) -> Self:
        """Begin a room with no members.

        Raises:
            ConfigurationError: The folder already holds a room.
        """
        folder = cls(path)
        if folder.draft_file.exists() or folder.sealed_file.exists():
            raise ConfigurationError(f"{path} already holds a room")
        manifest = Manifest(name=name, members=(), floor=Floor(minimum_parties=minimum_parties))
        manifest.check()
        path.mkdir(parents=True, exist_ok=True)
        folder.save(manifest)
        return folder

    @property
    def draft_file(self) -> Path:
        """The draft."""
        return self.path / DRAFT_FILE

    @property
    def sealed_file(self) -> Path:
        """The sealed room."""
        return self.path / ROOM_FILE

    def sealed(self) -> SignedManifest | None:
        """The sealed room, not verified; None before the first sealing."""
        return SignedManifest.load(self.sealed_file) if self.sealed_file.exists() else None

    def draft(self) -> SignedManifest:
        """The draft with the signatures collected so far; without one, the next version of the sealed room.

        Raises:
            ConfigurationError: The folder holds no room.
        """
        if self.draft_file.exists():
            return SignedManifest.load(self.draft_file)
        sealed = self.sealed()
        if sealed is None:
            raise ConfigurationError(f"{self.path} holds no room: it has neither {DRAFT_FILE} nor {ROOM_FILE}")
        return SignedManifest(manifest=msgspec.structs.replace(sealed.manifest, version=sealed.manifest.version + 1))

    def current(self) -> SignedManifest:
        """The draft if there is one, else the sealed room."""
        return self.draft() if self.draft_file.exists() else (self.sealed() or self.draft())

    def save(self, manifest: Manifest) -> Manifest:
        """Write a changed draft; signatures of the earlier text do not follow (`ConfigurationError` if it is wrong)."""
        manifest.check()
        write_atomically(self.draft_file, SignedManifest(manifest=manifest).dumps())
        return manifest

    def add(self, enrolments: Iterable[Path], *, replace: bool = False) -> tuple[Member, ...]:
        """Add members from their enrolment files, or take over a changed endpoint.

        Args:
            enrolments: Files that `enrol` wrote.
            replace: Accept another key for a name that is already in the room.

        Raises:
            ConfigurationError: A name is taken by another key.
            IntegrityError: An enrolment was changed on the way.
        """
        manifest = self.draft().manifest
        members = {m.name: m for m in manifest.members}
        added = tuple(load_enrolment(path) for path in enrolments)
        for member in added:
            known = members.get(member.name)
            if known and known.identity != member.identity and not replace:
                raise ConfigurationError(
                    f"{member.name} is already in the room with another key",
                    reason="if it enrolled anew, compare fingerprints with it and add it again with --replace",
                )
            members[member.name] = member
        self.save(msgspec.structs.replace(manifest, members=tuple(members[n] for n in sorted(members))))
        return added

    def remove(self, name: str) -> None:
        """Take a member out of the draft, and its rows out of the dictionary's tables.

        Raises:
            ConfigurationError: There is no such member.
        """
        manifest = self.draft().manifest
        if manifest.member(name) is None:
            raise ConfigurationError(f"{name} is not a member of room {manifest.name}")
        tables = (
            msgspec.structs.replace(t, parties=tuple(p for p in t.parties if p != name))
            for t in manifest.dictionary.tables
        )
        self.save(
            msgspec.structs.replace(
                manifest,
                members=tuple(m for m in manifest.members if m.name != name),
                dictionary=Dictionary(tables=tuple(t for t in tables if t.parties)),
            )
        )

    def set_dictionary(
        self,
        proposals: Iterable[Path],
        *,
        local_keys: Mapping[str, tuple[str, ...]] | None = None,
        privacy_units: Mapping[str, str] | None = None,
    ) -> Dictionary:
        """Replace the dictionary by one that the owners propose together.

        Args:
            proposals: Dictionary files, each with the tables of one or more owners.
            local_keys: Table -> columns of which no value occurs at two parties: a promise that only the owners
                together can make.
            privacy_units: Table -> the column that identifies whom thresholds and budgets protect.

        Raises:
            ConfigurationError: The proposals contradict each other.
        """
        manifest = self.draft().manifest
        merged = merge_proposals([load_proposal(path) for path in proposals])
        tables = {t.name: t for t in merged.tables}
        for name, columns in (local_keys or {}).items():
            tables[name] = msgspec.structs.replace(_named(tables, name), local_keys=columns)
        for name, column in (privacy_units or {}).items():
            tables[name] = msgspec.structs.replace(_named(tables, name), privacy_unit=column)
        dictionary = Dictionary(tables=tuple(tables[n] for n in sorted(tables)))
        self.save(msgspec.structs.replace(manifest, dictionary=dictionary))
        return dictionary

    def collect(self, files: Iterable[Path]) -> tuple[str, ...]:
        """Put members' signatures into the draft and return who is missing.

        Raises:
            ConfigurationError: A signature is for another text.
            IntegrityError: A signature does not hold.
        """
        draft = self.draft()
        signatures = dict(draft.signatures)
        for path in files:
            found = Endorsed.load(path)
            signatures[found.member] = found.check(draft.manifest)
        draft = SignedManifest(manifest=draft.manifest, signatures=signatures)
        write_atomically(self.draft_file, draft.dumps())
        return draft.missing()

    def seal(self) -> Manifest:
        """Turn a draft that every member signed into the sealed room.

        Raises:
            ConfigurationError: The room lacks something without which no job can run, or a signature.
            IntegrityError: A signature does not hold.
        """
        if not self.draft_file.exists():
            raise ConfigurationError("there is no draft to seal: the room is sealed, or not begun")
        draft = self.draft()
        if lacking := lacks(draft.manifest):
            raise ConfigurationError(f"the room cannot be sealed: {lacking[0]}")
        if missing := draft.missing():
            raise ConfigurationError(
                f"the room cannot be sealed: not signed by {', '.join(missing)}",
                instead="sealroom room collect FILE.signature.toml, with the signatures that are missing",
            )
        manifest = draft.verify()
        write_atomically(self.sealed_file, draft.dumps())
        self.draft_file.unlink()
        return manifest


def _named(tables: Mapping[str, Table], name: str) -> Table:
    if name not in tables:
        raise ConfigurationError(f"no proposal has a table {name}")
    return tables[name]


def lacks(manifest: Manifest) -> tuple[str, ...]:
    """What a room needs before it can answer anything."""
    needed = (
        (len(manifest.parties) < manifest.floor.minimum_parties, "it has fewer parties than its floor demands"),
        (not manifest.with_role(Role.COORDINATOR), "it has no coordinator"),
        (not manifest.with_role(Role.ANALYST), "it has no analyst"),
        (not manifest.dictionary.tables, "its dictionary is empty"),
    )
    return tuple(sentence for missing, sentence in needed if missing)


def sign_draft(draft: Path, member: MemberFolder) -> tuple[Path, Manifest]:
    """At a member: sign a draft with its own key and write the signature file into its folder.

    Raises:
        ConfigurationError: The draft has another key under this member's name, or is not newer than what is installed.
    """
    manifest = SignedManifest.load(draft).manifest
    member.must_be_in(manifest)
    if member.room_file.exists():
        installed = SignedManifest.load(member.room_file).manifest
        if installed.name == manifest.name and installed.version >= manifest.version:
            raise ConfigurationError(
                f"version {installed.version} of room {manifest.name} is installed here; the draft is not newer"
            )
    signed = member.keys.identity().sign(Endorsement(room=manifest.room, member=member.name), member.name)
    endorsed = Endorsed(
        name=manifest.name,
        version=manifest.version,
        room=manifest.room,
        member=member.name,
        signature=signed.signature.hex(),
    )
    path = member.path / f"{member.name}.signature.toml"
    write_atomically(path, tomli_w.dumps(msgspec.to_builtins(endorsed)))
    return path, manifest


def changes(before: Manifest | None, after: Manifest) -> tuple[str, ...]:
    """What differs between two versions of a room, a line each, for whoever is about to sign."""
    if before is None:
        return ()
    old, new = {m.name: m for m in before.members}, {m.name: m for m in after.members}
    lines = [f"{name} joins as {new[name].role.value}" for name in sorted(set(new) - set(old))]
    lines += [f"{name} leaves" for name in sorted(set(old) - set(new))]
    for name in sorted(set(old) & set(new)):
        if (old[name].identity, old[name].certificate) != (new[name].identity, new[name].certificate):
            lines.append(f"{name} has ANOTHER KEY: compare its fingerprint with it")
        if old[name].role is not new[name].role:
            lines.append(f"{name} becomes {new[name].role.value}")
        if old[name].endpoint != new[name].endpoint:
            lines.append(f"{name} moves from {old[name].endpoint} to {new[name].endpoint}")
    tables = {t.name: t for t in before.dictionary.tables}
    lines += [f"table {t.name} is new" for t in after.dictionary.tables if t.name not in tables]
    lines += [f"table {n} is gone" for n in sorted(set(tables) - set(after.dictionary.names()))]
    lines += [
        f"table {t.name} changes: {', '.join(_table_changes(tables[t.name], t))}"
        for t in after.dictionary.tables
        if t.name in tables and tables[t.name] != t
    ]
    if before.floor != after.floor:
        lines.append("the floor changes")
    return tuple(lines)


def _table_changes(before: Table, after: Table) -> list[str]:
    old, new = {c.name: c for c in before.columns}, {c.name: c for c in after.columns}
    found = [f"column {name}" for name in sorted(set(old) | set(new)) if old.get(name) != new.get(name)]
    facts = ("parties", "rows_at_most", "privacy_unit", "local_keys")
    return [*found, *(fact for fact in facts if getattr(before, fact) != getattr(after, fact))]
