"""Key files of a member: made at the owner, readable by the owner alone, never overwritten."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mpc.errors import ConfigurationError
from mpc.keys.identity import IdentityKey, TlsMaterial, issue_leaf, new_root
from mpc.keys.manifest import Member
from mpc.parties import Role, party_id

__all__ = ["LEAF_CERTIFICATE", "LEAF_KEY", "KeyFolder"]

IDENTITY, ROOT_CERTIFICATE, ROOT_KEY = "identity.key", "root.pem", "root.key"
LEAF_CERTIFICATE, LEAF_KEY = "tls.pem", "tls.key"


def write_secret(path: Path, data: bytes) -> None:
    """Create a file that only its owner can read; an existing one is an error, not overwritten."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{path.name} exists already and is not overwritten") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """The folder with one member's keys.

    `identity.key` signs statements; `root.pem` and `root.key` are its own certificate authority (the key may be kept
    elsewhere once a leaf is issued); `tls.pem` and `tls.key` are the current leaf.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, role: Role, name: str, endpoint: str = "", hosts: tuple[str, ...] = ()) -> Member:
        """Make all keys of a new member and return what the room may know of it.

        Raises:
            ConfigurationError: The folder already holds keys.
        """
        party_id(name)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        identity, root = IdentityKey(), new_root(role, name)
        write_secret(path / IDENTITY, identity.seed().hex().encode())
        write_secret(path / ROOT_KEY, root.key)
        (path / ROOT_CERTIFICATE).write_bytes(root.certificate)
        folder = cls(path)
        host = endpoint.rpartition(":")[0]
        folder.renew(role, name, tuple(dict.fromkeys(h for h in (host, *hosts) if h)))
        return Member(
            name=name,
            role=role,
            endpoint=endpoint,
            identity=identity.public.hex(),
            certificate=root.certificate.decode(),
        )

    def renew(self, role: Role, name: str, hosts: tuple[str, ...]) -> None:
        """Issue a new leaf from the member's own root; a running node takes it up at the next handshake."""
        root = TlsMaterial(self._read(ROOT_CERTIFICATE), self._read(ROOT_KEY))
        leaf = issue_leaf(root, role, name, hosts)
        for target, data in ((LEAF_KEY, leaf.key), (LEAF_CERTIFICATE, leaf.certificate)):
            partial = self.path / f"{target}.new"
            partial.unlink(missing_ok=True)
            write_secret(partial, data)
            partial.replace(self.path / target)

    def identity(self) -> IdentityKey:
        """The signing key (`ConfigurationError` if it cannot be read)."""
        try:
            return IdentityKey(bytes.fromhex(self._read(IDENTITY).decode("ascii").strip()))
        except ValueError:
            raise ConfigurationError(f"{IDENTITY} does not hold a key") from None

    def leaf(self) -> TlsMaterial:
        """The current leaf with its key (`ConfigurationError` if it cannot be read)."""
        return TlsMaterial(self._read(LEAF_CERTIFICATE), self._read(LEAF_KEY))

    def member(self, role: Role, name: str, endpoint: str = "") -> Member:
        """What the room may know of this member."""
        certificate = self._read(ROOT_CERTIFICATE).decode()
        return Member(
            name=name, role=role, endpoint=endpoint, identity=self.identity().public.hex(), certificate=certificate
        )

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{name} cannot be read: {error.strerror}") from None

    @classmethod
    def at(cls, path: Path) -> Self:
        """A folder that exists (`ConfigurationError` otherwise)."""
        if not (path / IDENTITY).is_file():
            raise ConfigurationError(f"{path.name} holds no keys")
        return cls(path)
