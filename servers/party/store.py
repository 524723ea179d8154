"""What a party must remember across a crash: which jobs it committed to, and which rounds it has masked.

SQLite with a write-ahead log and full synchronisation. A mask is recorded as used before the first byte that it covers
leaves; after a crash that attempt is dead and is never sent again.
"""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Final

from mpc.errors import ReplayError
from mpc.runtime.storage import open_record

__all__ = ["PartyStore"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS commitments (
    job TEXT NOT NULL, attempt INTEGER NOT NULL, request BLOB NOT NULL, committed_at REAL NOT NULL,
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS masks_used (
    job TEXT NOT NULL, attempt INTEGER NOT NULL, round INTEGER NOT NULL, used_at REAL NOT NULL,
    PRIMARY KEY (job, attempt, round)
) WITHOUT ROWID;
"""


_VERSION: Final = 1
"""Of the schema; a change of it has a new number, and a way from the old one."""


class PartyStore:
    """The durable record of one party.

    Args:
        path: The database file; its folder is made if need be.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = open_record(path, _SCHEMA, _VERSION)

    def commit(self, job: str, attempt: int, request_digest: bytes) -> None:
        """Record a commitment.

        Raises:
            ReplayError: This attempt of the job, or a later one, was committed to before.
        """
        with self._lock:
            newest = self._db.execute("SELECT max(attempt) FROM commitments WHERE job = ?", (job,)).fetchone()[0]
            if newest is not None and newest >= attempt:
                raise ReplayError("", job=job)
            self._db.execute("INSERT INTO commitments VALUES (?, ?, ?, ?)", (job, attempt, request_digest, time.time()))

    def use_mask(self, job: str, attempt: int, round_number: int) -> None:
        """Record that a round's masks are about to leave.

        Raises:
            ReplayError: They did before.
        """
        with self._lock:
            try:
                self._db.execute(
                    "INSERT INTO masks_used VALUES (?, ?, ?, ?)", (job, attempt, round_number, time.time())
                )
            except sqlite3.IntegrityError:
                raise ReplayError("", job=job, round=round_number) from None

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()
