"""now() and its relatives become literals before the analyst signs: every party must read the same time."""

from datetime import datetime
from typing import Any

import sqlglot
from sqlglot.errors import SqlglotError

from mpc.errors import PlanError
from mpc.plan.dates import micros, timestamp_of

__all__ = ["fold_now"]

_TIMES = {
    "now",
    "get_current_timestamp",
    "transaction_timestamp",
    "current_timestamp",
    "current_localtimestamp",
    "localtimestamp",
}
_DAYS = {"today", "current_date"}
_BARE = {"current_timestamp", "localtimestamp", "current_date"}
"""Those that SQL writes without parentheses."""


def fold_now(sql: str, now: datetime) -> str:
    """Replace every reading of the clock by a literal (UTC).

    Args:
        sql: The analyst's text.
        now: The time; one with a zone is converted, one without is taken as UTC.

    >>> fold_now("SELECT COUNT(*) FROM s WHERE d < now()", datetime(2026, 1, 2))
    "SELECT COUNT(*) FROM s WHERE d < TIMESTAMP '2026-01-02 00:00:00'"
    """
    instant = timestamp_of(micros(now))
    try:
        tokens: list[Any] = list(sqlglot.tokenize(sql, dialect="duckdb"))
    except SqlglotError:
        raise PlanError(offset=0, reason="this is not valid SQL", instead="one SELECT statement") from None
    pieces: list[str] = []
    done = 0
    for index, token in enumerate(tokens):
        word = token.text.lower()
        if word not in _TIMES | _DAYS or sql[token.start : token.end + 1].lower() != word:
            continue
        called = [t.text for t in tokens[index + 1 : index + 3]] == ["(", ")"]
        if not called and word not in _BARE:
            continue
        if index and tokens[index - 1].text in {".", "AS", "as"}:
            continue
        end = tokens[index + 2].end if called else token.end
        literal = f"DATE '{instant.date()}'" if word in _DAYS else f"TIMESTAMP '{instant.isoformat(sep=' ')}'"
        pieces += [sql[done : token.start], literal]
        done = end + 1
    return "".join(pieces) + sql[done:]
