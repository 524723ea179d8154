"""The holder's ledger of answered queries.

A client that gets the scores of as many independent queries as items have dimensions solves for every item, whatever
the cryptography (README.md, section 5). The holder therefore counts, for each client and item set, every query it
answers, and stops below that number. SQLite with a write-ahead log and full synchronisation: a charge is durable before
the reply that it pays for leaves, so that a crash can lose a reply but never a charge.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from mpc.errors import BudgetExhausted, ConfigurationError, ReplayError
from mpc.parties import PartyId

__all__ = ["QueryBudget", "QueryLimit"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS score_charges (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    client TEXT NOT NULL, item_set TEXT NOT NULL, queries INTEGER NOT NULL CHECK (queries > 0), charged_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS score_charges_of ON score_charges (item_set, client);
CREATE TABLE IF NOT EXISTS score_jobs (
    job TEXT PRIMARY KEY, client TEXT NOT NULL, request BLOB NOT NULL, answered_at REAL NOT NULL
) WITHOUT ROWID;
"""


class QueryLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many queries an owner answers on one item set."""

    per_client: int
    """Below the number of dimensions."""

    all_clients: int | None = None
    """Over all clients together, against clients that join forces; None for no limit."""

    def check(self, dimensions: int) -> None:
        """Refuse limits that would give an item away.

        Raises:
            ConfigurationError: A limit is not positive, or a client could ask as often as items have dimensions.
        """
        if self.per_client < 1 or (self.all_clients is not None and self.all_clients < 1):
            raise ConfigurationError("a query limit is at least 1")
        if self.per_client >= dimensions:
            raise ConfigurationError(
                f"a client that asks {dimensions} queries learns every item: the limit must be below the dimensions"
            )


class QueryBudget:
    """Counts answered queries per (client, item set), durably.

    Args:
        path: The database file; its folder is made if need be.
        clock: Seconds since the epoch, for the record only.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._clock = clock
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def charge(
        self,
        client: PartyId,
        item_set: str,
        queries: int,
        *,
        limit: QueryLimit,
        dimensions: int,
        job: str = "",
        request: bytes = b"",
    ) -> None:
        """Charge queries that are about to be answered; all of them or none.

        Args:
            client: Who asks.
            item_set: What is asked.
            queries: How many.
            limit: What the owner allows.
            dimensions: Of the item set.
            job: Name of the signed request that is answered; it is remembered in the same transaction.
            request: Digest of that request, for the record.

        Raises:
            ConfigurationError: The limit would give items away.
            BudgetExhausted: The client, or all clients together, would exceed the limit; nothing was charged.
            ReplayError: The job was answered before; nothing was charged.
        """
        limit.check(dimensions)
        if queries < 1:
            raise ConfigurationError("a charge is for at least one query")
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if job:
                    self._remember(job, client, request)
                self._admit(client, item_set, queries, limit)
                self._db.execute(
                    "INSERT INTO score_charges (client, item_set, queries, charged_at) VALUES (?, ?, ?, ?)",
                    (client, item_set, queries, self._clock()),
                )
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def require(self, client: PartyId, item_set: str, queries: int, *, limit: QueryLimit, job: str = "") -> None:
        """Refuse early, before a message is taken, what `charge` would refuse now. It charges nothing.

        Raises:
            BudgetExhausted: As `charge`.
            ReplayError: As `charge`.
        """
        with self._lock:
            if self._db.execute("SELECT 1 FROM score_jobs WHERE job = ?", (job,)).fetchone():
                raise ReplayError("", job=job)
            self._admit(client, item_set, queries, limit)

    def remaining(self, client: PartyId, item_set: str, *, limit: QueryLimit) -> int:
        """Queries that a client may still ask."""
        with self._lock:
            mine, everyone = self._used(item_set, client)
        left = limit.per_client - mine
        return max(0, left if limit.all_clients is None else min(left, limit.all_clients - everyone))

    def used(self, client: PartyId, item_set: str) -> int:
        """Queries of a client that were answered."""
        with self._lock:
            return self._used(item_set, client)[0]

    def forget(self, item_set: str) -> None:
        """Begin anew: for an owner whose items have all been replaced, not for a new edition of the same ones."""
        with self._lock:
            self._db.execute("DELETE FROM score_charges WHERE item_set = ?", (item_set,))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    def _remember(self, job: str, client: str, request: bytes) -> None:
        try:
            self._db.execute("INSERT INTO score_jobs VALUES (?, ?, ?, ?)", (job, client, request, self._clock()))
        except sqlite3.IntegrityError:
            raise ReplayError("", job=job) from None

    def _admit(self, client: str, item_set: str, queries: int, limit: QueryLimit) -> None:
        mine, everyone = self._used(item_set, client)
        if mine + queries > limit.per_client:
            raise BudgetExhausted("", rule="queries-per-client", catalogue=item_set)
        if limit.all_clients is not None and everyone + queries > limit.all_clients:
            raise BudgetExhausted("", rule="queries-of-all-clients", catalogue=item_set)

    def _used(self, item_set: str, client: str) -> tuple[int, int]:
        row = self._db.execute(
            "SELECT coalesce(sum(queries) FILTER (WHERE client = ?), 0), coalesce(sum(queries), 0)"
            " FROM score_charges WHERE item_set = ?",
            (client, item_set),
        ).fetchone()
        return int(row[0]), int(row[1])
