"""Text functions as DuckDB computes them, for expressions over group keys at the client."""

import re
from typing import Final

__all__ = ["SPACES", "like", "lower", "substring", "upper"]

SPACES: Final = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""What TRIM removes: Unicode's space separators."""

_UPPER: Final = {"ß": "ẞ"}
_LOWER: Final = {"İ": "i"}


def upper(text: str) -> str:
    """Unicode's simple case mapping, character by character: no character becomes two.

    >>> upper("straße")
    'STRAẞE'
    """
    return "".join(_UPPER.get(c) or next((u for u in (c.upper(), c.title()) if len(u) == 1), c) for c in text)


def lower(text: str) -> str:
    """The same towards lower case."""
    return "".join(_LOWER.get(c) or (c.lower() if len(c.lower()) == 1 else c) for c in text)


def like(text: str, pattern: str) -> bool:
    """LIKE without an escape character.

    >>> like("a.c", "a_c"), like("abc", "a.c")
    (True, False)
    """
    wanted = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern)
    return re.fullmatch(wanted, text, re.DOTALL) is not None


def substring(text: str, start: int, length: int | None = None) -> str:
    """SUBSTR from a position counted from 1."""
    return text[start - 1 :] if length is None else text[start - 1 : start - 1 + length]
