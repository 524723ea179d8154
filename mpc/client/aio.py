"""The client for asynchronous code: `Analyst` itself, whose calls `mpc.client.Client` runs on a loop of its own."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mpc.client.analyst import Analyst
from mpc.client.profile import Profile, find_profile

__all__ = ["Analyst", "connect"]


@asynccontextmanager
async def connect(room: str | os.PathLike[str] | None = None) -> AsyncIterator[Analyst]:
    """Connect to a room as one of its analysts, and close the connection at the end.

    Args:
        room: As for `mpc.client.connect`.

    Raises:
        ConfigurationError: There is no such room, or the folder is not in order.
        TransportError: The coordinator does not answer; says why.
    """
    analyst = Analyst.connect(Profile.load(find_profile(room)))
    try:
        await analyst.describe()
        yield analyst
    finally:
        await analyst.close()
