"""What differs between databases: one small protocol that a dialect implements."""

import re
from typing import Final, Protocol

from mpc.errors import RangeError
from mpc.plan.ir import Column, Op, Type

__all__ = ["CHECK_FAILED", "Dialect", "check_failure", "identifier", "text_literal"]


CHECK_FAILED: Final = "sealroom-range-check:"
"""Prefix of the database error that a checked value raises; the rest names columns, never a value."""


_FAILURE: Final = re.compile(re.escape(CHECK_FAILED) + r"([A-Za-z0-9_, ]{1,400})")


def identifier(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(value: str) -> str:
    """A quoted string."""
    return "'" + value.replace("'", "''") + "'"


def check_failure(message: str) -> RangeError | None:
    """The error that a database message stands for, if a checked value raised it.

    >>> check_failure("Invalid Input Error: sealroom-range-check:amount").public
    'a value leaves its declared range (column amount)'
    """
    found = _FAILURE.search(message)
    return RangeError("", column=found[1].rstrip(", ")) if found else None


class Dialect(Protocol):
    """What differs between databases."""

    name: str
    wide: str
    """The type of integers beyond 63 bits."""

    integer_division: str
    """Operator or function of truncating division: `//`, or `div`."""

    def column(self, name: str, declared: str) -> str:
        """A column in its declared type."""
        ...

    real: str
    """The type of IEEE doubles."""

    decimals_may_be_nan: bool
    """Whether a DECIMAL column can hold NaN, so that each of them is checked on read."""

    checks_ahead: bool
    """Whether a range check is best a statement of its own, because the database skips data by its statistics."""

    def scaled(self, text: str, column: Column, *, wide: bool) -> str:
        """An INTEGER or DECIMAL column, given as text in its declared type, as an integer at the column's scale."""
        ...

    def unscaled(self, total: str, scale: int, *, wide: bool) -> str:
        """A sum of decimals of a scale as an integer: a BIGINT, or a VARCHAR of digits where it is wide."""
        ...

    def rounded(self, text: str, column: Column, *, wide: bool) -> str:
        """A DOUBLE column as the integer nearest to its IEEE product with the power of ten, half away from zero.

        NULL, and never an error, for NaN, infinities and what does not fit.
        """
        ...

    def checked(self, value: str, inside: str, names: str, witness: str) -> str:
        """The value where `inside` holds, NULL where `witness` is NULL, an error naming columns otherwise."""
        ...

    def failure(self, names: str, witness: str) -> str:
        """An expression that stops the statement with `CHECK_FAILED` and names; it may read `witness`."""
        ...

    def ordered(self, text: str) -> str:
        """A text that compares by its bytes."""
        ...

    def truncated(self, unit: str, value: str) -> str:
        """DATE_TRUNC as a timestamp."""
        ...

    def part(self, part: str, value: str) -> str:
        """DATE_PART as a BIGINT."""
        ...

    def difference(self, part: str, start: str, end: str) -> str:
        """DATE_DIFF as a BIGINT."""
        ...

    def raw_key(self, text: str, kind: Type) -> str:
        """A group key as its raw BIGINT or VARCHAR."""
        ...

    def like(self, value: str, pattern: str, *, any_case: bool) -> str:
        """LIKE without an escape character."""
        ...

    def trimmed(self, op: Op, value: str) -> str:
        """TRIM, LTRIM and RTRIM of all of Unicode's space separators."""
        ...

    def text_test(self, op: Op, value: str, literal: str) -> str:
        """Prefix, suffix and substring tests."""
        ...
