"""The coordinator's durable record of jobs: SQLite, write-ahead log, full synchronisation; one row a job.

PLANNED -> COMMITTED -> COLLECTING -> RELEASED | ABORTED. The last two are final. A job found in another state when the
coordinator starts was cut off: it is aborted then, and its parties will not send that attempt again.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from mpc.errors import ProtocolError, ReplayError
from mpc.runtime.storage import open_record
from mpc.wire.errors import to_notice
from mpc.wire.job import JobState
from mpc.wire.messages import ErrorNotice

__all__ = ["JobRow", "JobStore"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    job TEXT NOT NULL, attempt INTEGER NOT NULL, analyst TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
    submitted_at REAL NOT NULL, expires_at REAL NOT NULL, changed_at REAL NOT NULL, error BLOB,
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID;
"""

_VERSION: Final = 1
"""Of the schema; a change of it has a new number, and a way from the old one."""

_ALLOWED: Final = {
    JobState.PLANNED: {JobState.COMMITTED, JobState.ABORTED},
    JobState.COMMITTED: {JobState.COLLECTING, JobState.ABORTED},
    JobState.COLLECTING: {JobState.RELEASED, JobState.ABORTED},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as the record has it."""

    job: str
    attempt: int
    analyst: str
    kind: str
    state: JobState
    submitted_at: float
    expires_at: float
    error: ErrorNotice | None


class JobStore:
    """The record.

    Args:
        path: Database file.
        now: Time.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._db = open_record(path, _SCHEMA, _VERSION)

    def plan(self, job: str, attempt: int, analyst: str, kind: str, expires_at: float) -> None:
        """Record a new attempt of a job.

        Raises:
            ReplayError: This attempt or a later one exists.
            ProtocolError: An earlier attempt is another analyst's, or still runs.
        """
        with self._lock:
            newest = self._db.execute(
                "SELECT attempt, analyst, state FROM jobs WHERE job = ? ORDER BY attempt DESC LIMIT 1", (job,)
            ).fetchone()
            if newest is not None:
                if newest[0] >= attempt:
                    raise ReplayError("", job=job)
                if newest[1] != analyst or not JobState(newest[2]).final:
                    raise ProtocolError("", job=job, reason="an earlier attempt still runs or is another analyst's")
            now = self._now()
            self._db.execute(
                "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (job, attempt, analyst, kind, JobState.PLANNED.value, now, expires_at, now),
            )

    def move(self, job: str, attempt: int, state: JobState, error: BaseException | None = None) -> None:
        """Record a transition durably.

        Raises:
            ProtocolError: The job is not in a state that leads there.
        """
        notice = msgspec.msgpack.encode(to_notice(error)) if error is not None else None
        with self._lock:
            row = self._db.execute("SELECT state FROM jobs WHERE job = ? AND attempt = ?", (job, attempt)).fetchone()
            if row is None or state not in _ALLOWED.get(JobState(row[0]), set()):
                raise ProtocolError("", job=job, reason="the job is not in a state that leads there")
            self._db.execute(
                "UPDATE jobs SET state = ?, changed_at = ?, error = ? WHERE job = ? AND attempt = ?",
                (state.value, self._now(), notice, job, attempt),
            )

    def find(self, job: str) -> JobRow | None:
        """The newest attempt of a job."""
        rows = self._select("WHERE job = ? ORDER BY attempt DESC LIMIT 1", (job,))
        return rows[0] if rows else None

    def latest(self, analyst: str, most: int) -> list[JobRow]:
        """An analyst's jobs, newest first."""
        return self._select("WHERE analyst = ? ORDER BY submitted_at DESC LIMIT ?", (analyst, most))

    def unfinished(self) -> list[JobRow]:
        """Jobs that are in no final state."""
        return self._select("WHERE state NOT IN ('RELEASED', 'ABORTED')", ())

    def _select(self, clause: str, values: tuple[object, ...]) -> list[JobRow]:
        columns = "job, attempt, analyst, kind, state, submitted_at, expires_at, error"
        with self._lock:
            rows = self._db.execute(f"SELECT {columns} FROM jobs {clause}", values).fetchall()  # noqa: S608 - constants
        return [
            JobRow(
                job=r[0],
                attempt=r[1],
                analyst=r[2],
                kind=r[3],
                state=JobState(r[4]),
                submitted_at=r[5],
                expires_at=r[6],
                error=msgspec.msgpack.decode(r[7], type=ErrorNotice) if r[7] else None,
            )
            for r in rows
        ]

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()
