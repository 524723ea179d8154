"""A node's folder on disk: its record, and what its faults look like, wherever they are met."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mpc.errors import ConfigurationError, MpcError, ResourceExhausted

__all__ = ["disk_full", "open_record", "opening_state"]


def disk_full(error: BaseException, **whose: str) -> ResourceExhausted | None:
    """The error that a full disk, or a used-up quota, is for everybody else; None for anything but that.

    Args:
        error: What was raised.
        **whose: `member=` the disk's owner, where whoever hears of it does not know whom it asked.
    """
    if isinstance(error, sqlite3.Error):
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    else:
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    return ResourceExhausted("the disk is full", limit="disk", **whose) if full else None


_FAULTS: Final = {
    sqlite3.SQLITE_BUSY: "another process uses it: does another node run on this folder?",
    sqlite3.SQLITE_LOCKED: "another process uses it: does another node run on this folder?",
    sqlite3.SQLITE_READONLY: "it cannot be written: the disk is read-only, or the files are another user's",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: its folder is read-only, missing, or another user's",
    sqlite3.SQLITE_NOTADB: "it is damaged: restore it from the backup",
    sqlite3.SQLITE_CORRUPT: "it is damaged: restore it from the backup",
    sqlite3.SQLITE_IOERR: "the disk does not read or write it",
}
"""What SQLite's primary result codes mean to an operator."""


@contextmanager
def opening_state(folder: Path) -> Iterator[None]:
    """Say in a sentence why a node's state cannot be opened.

    Raises:
        ConfigurationError: Names the folder, or the file, and what is wrong.
        ResourceExhausted: Its disk is full.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise _translated(folder, error) from None


def _translated(where: Path, error: OSError | sqlite3.Error) -> MpcError:
    if (full := disk_full(error)) is not None:
        return full
    if isinstance(error, OSError):
        named = error.filename or where
        return ConfigurationError(f"the state in {named} cannot be opened: {error.strerror or type(error).__name__}")
    primary = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return ConfigurationError(f"the state in {where} cannot be opened: {_FAULTS.get(primary, type(error).__name__)}")


def open_record(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """Open a node's durable record: SQLite with a write-ahead log and full synchronisation.

    Args:
        path: The file; its folder is made if need be.
        schema: Statements that make the tables where there are none.
        version: The schema's number, which the file keeps. A file without one is of the first version.

    Raises:
        ConfigurationError: It cannot be opened, or was written by a newer version of this software.
        ResourceExhausted: Its disk is full.
    """
    with opening_state(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            found = _format(database, path, version)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.executescript(schema)
            if found < version:
                database.execute(f"PRAGMA user_version = {int(version)}")
        except BaseException:
            database.close()
            raise
    return database


def _format(database: sqlite3.Connection, path: Path, newest: int) -> int:
    """The number of the schema in the file, before anything is written to it."""
    found = int(database.execute("PRAGMA user_version").fetchone()[0])
    if found > newest:
        raise ConfigurationError(
            f"the state in {path} was written by a newer version of sealroom (its format is {found}, this one knows "
            f"{newest}): run that version again, or restore the folder as it was before"
        )
    return found
