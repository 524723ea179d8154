"""The analyst's text: parsing it, and pointing into it when it is refused."""

from bisect import bisect_left
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from mpc.errors import PlanError

__all__ = ["QueryText"]

MAX_CHARACTERS = 100_000
_FIRST_WORDS = {"SELECT", "WITH", "FROM", "("}
_SPELLINGS: dict[type[exp.Expr], tuple[str, ...]] = {
    exp.CurrentDate: ("CURRENT_DATE", "TODAY"),
    exp.CurrentTimestamp: ("CURRENT_TIMESTAMP", "NOW"),
}


class QueryText:
    """One SQL statement with its tokens; only the binder sees it.

    Args:
        sql: The text, as signed.

    Raises:
        PlanError: It is not exactly one SELECT that the grammar knows.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql
        if len(sql) > MAX_CHARACTERS:
            raise PlanError(reason="the text is too long", instead=f"at most {MAX_CHARACTERS} characters")
        if "\x00" in sql:
            raise PlanError(offset=sql.index("\x00"), reason="the text contains a NUL character", instead="plain text")
        try:
            self.tokens: list[Any] = list(sqlglot.tokenize(sql, dialect="duckdb"))
            if self.tokens and self.tokens[0].text.upper() not in _FIRST_WORDS:
                raise self.refuse(self.tokens[0].start, "only SELECT is answered", "one SELECT over one logical table")
            statements: list[Any] = [s for s in sqlglot.parse(sql, dialect="duckdb") if s is not None]
        except SqlglotError as error:
            raise self._syntax(error) from None
        except RecursionError:
            raise PlanError(reason="the text is nested too deeply", instead="a simpler expression") from None
        self.starts: list[int] = [t.start for t in self.tokens]
        if len(statements) != 1:
            second = next((t.end + 1 for t in self.tokens if t.text == ";"), 0)
            raise PlanError(offset=second, reason="there is not exactly one statement", instead="one SELECT")
        self.statement: exp.Expr = statements[0]

    def _syntax(self, error: SqlglotError) -> PlanError:
        detail: list[dict[str, Any]] = getattr(error, "errors", [])
        offset = len(self.sql)
        if detail and detail[0].get("line"):
            lines = self.sql.split("\n")
            line, column = int(detail[0]["line"]), int(detail[0].get("col") or 1)
            before = sum(len(text) + 1 for text in lines[: line - 1])
            offset = min(before + max(column - len(detail[0].get("highlight") or "x"), 0), len(self.sql))
        return PlanError(offset=offset, reason="this is not valid SQL", instead="one SELECT statement")

    def offset(self, node: exp.Expr) -> int:
        """Where a node begins, in characters from the start of the text."""
        own = node.meta.get("start")
        if own is not None:
            return int(own)
        starts = [int(n.meta["start"]) for n in node.walk() if "start" in n.meta]
        if not starts:
            words = node.sql_names() if isinstance(node, exp.Func) else ["?", "$"]
            return self.keyword(*words, *_SPELLINGS.get(type(node), ()))
        first = min(starts)
        if isinstance(node, exp.Query):
            return max((t.start for t in self.tokens if t.start <= first and t.text.upper() == "SELECT"), default=first)
        return self._call_start(node, first) if isinstance(node, exp.Func) else first

    def _call_start(self, node: exp.Func, first: int) -> int:
        """The function's name, where the parser did not note it: the word before its parenthesis."""
        index = bisect_left(self.starts, first)
        if isinstance(node, (exp.Cast, exp.Case)):
            names = {"CAST", "TRY_CAST", "CASE"}
            near = [t for t in self.tokens[max(index - 2, 0) : index] if t.text.upper() in names]
            return int(near[0].start) if near else first
        if isinstance(node, exp.Connector) or index < 2 or self.tokens[index - 1].text != "(":
            return first
        word = self.tokens[index - 2]
        return int(word.start) if word.text.isidentifier() else first

    def keyword(self, *words: str, after: int = 0) -> int:
        """Where a word of the text stands, the first of several; 0 if it does not."""
        wanted = {w.upper() for w in words}
        found = (int(t.start) for t in self.tokens if t.start >= after and t.text.upper().split(" ")[0] in wanted)
        return next(found, 0)

    def refuse(self, where: exp.Expr | int, reason: str, instead: str) -> PlanError:
        """The error that refuses a construct."""
        offset = where if isinstance(where, int) else self.offset(where)
        return PlanError(offset=offset, reason=reason, instead=instead)
