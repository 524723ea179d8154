"""Summed ciphertexts and sealed bytes on disk, so that memory does not grow with a vector's length."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from mpc.errors import InternalError

__all__ = ["CiphertextFile", "JobSpool"]

_LENGTH_BYTES: Final = 4


class CiphertextFile:
    """An append-only list of ciphertexts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("wb")
        self.count = 0

    def append(self, ciphertexts: Sequence[bytes]) -> None:
        """Add ciphertexts."""
        for ciphertext in ciphertexts:
            self._file.write(len(ciphertext).to_bytes(_LENGTH_BYTES, "little"))
            self._file.write(ciphertext)
        self.count += len(ciphertexts)

    def seal(self) -> None:
        """End writing."""
        self._file.close()

    def frames(self, most_bytes: int) -> Iterator[tuple[bytes, ...]]:
        """Read the list in frames of at most `most_bytes` (or one ciphertext)."""
        current: list[bytes] = []
        size = 0
        with self._path.open("rb") as file:
            while head := file.read(_LENGTH_BYTES):
                ciphertext = file.read(int.from_bytes(head, "little"))
                if current and size + len(ciphertext) > most_bytes:
                    yield tuple(current)
                    current, size = [], 0
                current.append(ciphertext)
                size += len(ciphertext)
        if current:
            yield tuple(current)


class JobSpool:
    """The folder of one attempt of a job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, mode=0o700)
        self.rounds: dict[int, CiphertextFile] = {}
        self.sealed: dict[str, Path] = {}

    def open_round(self, number: int) -> CiphertextFile:
        """A list for a round's sums."""
        if number in self.rounds:
            raise InternalError("a round is spooled once")
        self.rounds[number] = CiphertextFile(self._folder / f"round-{number}")
        return self.rounds[number]

    def drop_round(self, number: int) -> None:
        """Forget a round's sums."""
        self.rounds.pop(number).seal()
        (self._folder / f"round-{number}").unlink(missing_ok=True)

    def add_sealed(self, party: str, data: bytes) -> None:
        """Append bytes that a party sealed to the analyst."""
        path = self.sealed.setdefault(party, self._folder / f"sealed-{party}")
        with path.open("ab") as file:
            file.write(data)

    def sealed_frames(self, most_bytes: int) -> Iterator[tuple[str, bytes]]:
        """What parties sealed, in frames."""
        for party, path in sorted(self.sealed.items()):
            with path.open("rb") as file:
                while data := file.read(most_bytes):
                    yield party, data

    def remove(self) -> None:
        """Delete everything."""
        for file in self.rounds.values():
            with contextlib.suppress(OSError):  # on a full disk, what is still in memory cannot be written
                file.seal()
        shutil.rmtree(self._folder, ignore_errors=True)
