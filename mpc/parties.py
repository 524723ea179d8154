"""Who takes part: validated names and identifiers."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NewType

from mpc.errors import ParameterError

__all__ = ["JobId", "PartyId", "Role", "RoomId", "party_id", "roster"]

PartyId = NewType("PartyId", str)
"""Name of a member of the room: lower-case letters, digits and dashes, at most 40, starting with a letter."""

JobId = NewType("JobId", str)
"""32 lower-case hexadecimal digits, drawn from the operating system by the analyst."""

RoomId = NewType("RoomId", str)
"""64 lower-case hexadecimal digits: SHA-256 of the canonical manifest."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}\Z")


class Role(StrEnum):
    """What a member of a room may be."""

    PARTY = "party"
    ANALYST = "analyst"
    COORDINATOR = "coordinator"
    AUDITOR = "auditor"


def party_id(text: str) -> PartyId:
    """Check a member's name.

    Raises:
        ParameterError: The text is not a valid name.

    >>> party_id("north")
    'north'
    """
    if not _NAME.match(text):
        raise ParameterError(f"{text[:60]!r} is not a member name: lower-case letters, digits, dashes, at most 40")
    return PartyId(text)


def roster(parties: Iterable[str]) -> tuple[PartyId, ...]:
    """Sort party names and refuse duplicates and empty sets.

    >>> roster(["south", "north"])
    ('north', 'south')
    """
    names = [party_id(p) for p in parties]
    if not names or len(set(names)) != len(names):
        raise ParameterError("a participant set is not empty and names every party once")
    return tuple(sorted(names))
