"""Pinning files: digests that a repeated query does not compute again, and the proof that nothing changed since."""

import hashlib
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from mpc.errors import SourceError
from servers.party.sources.base import FileDigest, Snapshot

__all__ = ["DigestCache", "FileKey", "PinnedFiles", "identity_of"]

_SETTLED_NS = 2_000_000_000
"""A file changed less than two seconds before it was hashed is not cached: a second write of the same size could fall
into the same tick of the file system's clock (git calls this "racily clean")."""


class FileKey(NamedTuple):
    """What the operating system says of a file's content: equal keys mean an unchanged file.

    The change time cannot be set by programs, so that a restored modification time does not hide a write.
    """

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileKey":
        """Look at a regular file, following links (`SourceError`)."""
        try:
            status = path.stat()
        except OSError as error:
            raise SourceError(f"{path}: {type(error).__name__}", reason="a file cannot be read") from None
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"{path} is not a regular file", reason="a file cannot be read")
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(slots=True)
class DigestCache:
    """SHA-256 by `FileKey`. The node keeps one and hands its entries to every worker that it starts."""

    entries: dict[FileKey, str] = field(default_factory=dict)
    most: int = 65_536

    def digest(self, path: Path) -> tuple[FileKey, str]:
        """The file's key and SHA-256, read only if the key is new.

        Raises:
            SourceError: The file cannot be read, or changed while it was read.
        """
        key = FileKey.of(path)
        if known := self.entries.get(key):
            return key, known
        value = _sha256(path)
        if FileKey.of(path) != key:
            raise SourceError(f"{path} changed while it was hashed", reason="a file changed while the job ran")
        if time.time_ns() - max(key.modified_ns, key.changed_ns) > _SETTLED_NS:
            if len(self.entries) >= self.most:
                self.entries.pop(next(iter(self.entries)))
            self.entries[key] = value
        return key, value


@dataclass(frozen=True, slots=True)
class PinnedFiles:
    """The files of a job, as they were when it began."""

    keys: Mapping[Path, FileKey]

    def verify(self) -> None:
        """Refuse if any file is not the pinned one any more (`SourceError`)."""
        for path, key in self.keys.items():
            if FileKey.of(path) != key:
                raise SourceError(f"{path} changed", reason="a file changed while the job ran")

    @classmethod
    def pin(cls, files: Iterable[tuple[str, Path]], cache: DigestCache) -> tuple["PinnedFiles", tuple[FileDigest, ...]]:
        """Hash every (name, path) in the order given."""
        keys: dict[Path, FileKey] = {}
        digests: list[FileDigest] = []
        for name, path in files:
            key, value = cache.digest(path)
            keys[path] = key
            digests.append(FileDigest(name=name, size=key.size, sha256=value))
        return cls(keys), tuple(digests)


def identity_of(kind: str, relations: object, data: object, files: tuple[FileDigest, ...] = ()) -> Snapshot:
    """The snapshot whose identity is the digest of the relations and of the data's own identity."""
    canonical = msgspec.json.encode(["sealroom snapshot 1", kind, relations, data, files], order="sorted")
    return Snapshot(identity=hashlib.sha256(canonical).hexdigest(), kind=kind, files=files)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"{path}: {type(error).__name__}", reason="a file cannot be read") from None
