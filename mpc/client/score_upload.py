"""What an analyst sends to have something scored: the signed request, and the query message when it has been taken."""

import asyncio
from collections.abc import AsyncIterator

from mpc.keys.statements import Signed
from mpc.wire import messages as m
from mpc.wire.limits import CHUNK_BYTES

__all__ = ["Upload"]


class Upload:
    """The frames of a request; the query message follows when the holder has taken the request."""

    def __init__(self, signed: Signed, message: bytes) -> None:
        self._signed = signed
        self._message = message
        self.begun = asyncio.Event()

    async def frames(self) -> AsyncIterator[m.ScoreFrame]:
        """The request, a pause, and the message in stretches."""
        yield m.ScoreFrame(request=self._signed)
        await self.begun.wait()
        for start in range(0, len(self._message), CHUNK_BYTES):
            yield m.ScoreFrame(data=self._message[start : start + CHUNK_BYTES])

    def end(self) -> None:
        """Let go of whoever waits for the message."""
        self._message = b""
        self.begun.set()
