"""A line of stated delay and bandwidth, as a process: `python -m mpc.client.bench.relay LISTEN TARGET DELAY_MS MBIT`.

It accepts TCP connections on a loopback port and forwards them to another. Each direction is one line that all
connections share: a chunk leaves when the line is free, occupies it for its size over the rate, and arrives a delay
later, so that throughput and latency are those of the line and not of the number of connections. The kernel's queues
are kept short, so that a sender feels the line's pace. Loss and reordering do not occur. The process ends when its
standard input does, so that it does not outlive whoever began it, however that ended.
"""

import asyncio
import os
import sys
import threading
from typing import Final

__all__ = ["Line", "serve"]

_CHUNK: Final = 16 * 1024
_IN_FLIGHT: Final = 4 * 1024 * 1024
"""Bytes under way per connection before reading pauses; more than bandwidth times delay of any line we model."""


class Line:
    """One direction. Times are those of the event loop.

    Args:
        delay_s: One way.
        bytes_per_s: Rate.
    """

    def __init__(self, delay_s: float, bytes_per_s: float) -> None:
        self.delay_s = delay_s
        self.bytes_per_s = bytes_per_s
        self._free_at = 0.0

    def arrival(self, size: int, now: float) -> float:
        """When bytes that are ready now have arrived; the line is occupied until they have left.

        >>> line = Line(0.02, 1_000_000)
        >>> line.arrival(10_000, now=0.0), line.arrival(10_000, now=0.0)
        (0.03, 0.04)
        """
        self._free_at = max(self._free_at, now) + size / self.bytes_per_s
        return self._free_at + self.delay_s


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
    """Forward one direction until its end, which is delayed too."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=_IN_FLIGHT // _CHUNK)

    async def fill() -> None:
        try:
            while data := await reader.read(_CHUNK):
                await queue.put((line.arrival(len(data), loop.time()), data))
        except OSError:
            pass
        await queue.put((loop.time() + line.delay_s, b""))

    filling = asyncio.create_task(fill())
    try:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        pass
    finally:
        filling.cancel()


async def serve(listen: int, target: int, *, delay_s: float, bytes_per_s: float) -> None:
    """Relay a loopback port to another until cancelled."""
    there, back = Line(delay_s, bytes_per_s), Line(delay_s, bytes_per_s)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_pump(reader, far_writer, there), _pump(far_reader, writer, back))
        finally:
            far_writer.close()
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", listen, limit=_CHUNK)
    async with server:
        await server.serve_forever()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main(words: list[str]) -> None:
    """Run a relay process."""
    listen, target, delay_ms, megabits = words
    threading.Thread(target=_end_with_input, daemon=True).start()
    asyncio.run(serve(int(listen), int(target), delay_s=float(delay_ms) / 1e3, bytes_per_s=float(megabits) * 125_000))


if __name__ == "__main__":
    main(sys.argv[1:])
