"""Rooms for measurement: party nodes, coordinator and analyst as processes, over loopback or over a modelled line."""

import contextlib
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import tomli_w

from mpc.client.bench.measure import memory_of
from mpc.client.local import LocalRoom, free_ports, listening
from mpc.errors import PartyUnavailable

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.keys.dictionary import Dictionary

__all__ = ["LinedRoom", "peak_bytes"]

_START_S: Final = 60.0


class LinedRoom(LocalRoom):
    """A local room whose every node is reached over a line of its own.

    The delay and rate hold for each node's connection, in each direction: what parties send to the coordinator passes
    both the party's line and the coordinator's where they differ, as it does between sites.

    Args:
        parties: As for `LocalRoom`.
        dictionary: As for `LocalRoom`.
        delay_ms: One way.
        megabits_per_s: Rate of each line in each direction.
    """

    def __init__(
        self,
        parties: "Mapping[str, Mapping[str, pa.Table]]",
        *,
        dictionary: "Dictionary | None" = None,
        delay_ms: float,
        megabits_per_s: float,
    ) -> None:
        super().__init__(parties, dictionary=dictionary)
        self._delay_ms = delay_ms
        self._megabits = megabits_per_s
        self._relays: list[subprocess.Popen[bytes]] = []
        self._behind: list[str] = []

    def _prepare(self) -> None:
        super()._prepare()
        files = [
            path
            for kind in ("party", "coordinator")
            for path in sorted(Path(self.folder).glob(f"*/{kind}.toml"))
        ]  # fmt: skip
        for path, port in zip(files, free_ports(len(files)), strict=True):
            config = tomllib.loads(path.read_text(encoding="utf-8"))
            public = int(config["listen"].rpartition(":")[2])
            config["listen"] = f"127.0.0.1:{port}"
            path.write_text(tomli_w.dumps(config), encoding="utf-8")
            self._behind.append(config["listen"])
            words = [str(public), str(port), str(self._delay_ms), str(self._megabits)]
            self._relays.append(
                subprocess.Popen(
                    [sys.executable, "-m", "mpc.client.bench.relay", *words],
                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while not all(listening(endpoint) for endpoint in self._behind):
            if time.monotonic() > deadline:
                raise PartyUnavailable("", party="a node behind a line", reason="it did not start in time")
            time.sleep(0.02)
        super()._await_ready()

    def close(self) -> None:
        """End the room, then the lines."""
        super().close()
        for relay in self._relays:
            relay.terminate()
        for relay in self._relays:
            relay.wait()
            if relay.stdin is not None:
                relay.stdin.close()
        self._relays.clear()

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None) -> None:
        self.close()


def peak_bytes(room: LocalRoom, names: Mapping[str, object]) -> int:
    """Largest peak memory of any node of a room with its workers since it started; 0 where the system does not tell."""
    peaks = [0]
    for name in names:
        with contextlib.suppress(OSError, KeyError):
            for process in _family(room.process(name).pid):
                with contextlib.suppress(OSError):
                    peaks.append(memory_of(process))
    return max(peaks)


def _family(process: int) -> list[int]:
    """A process and its descendants."""
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in task.read_text(encoding="ascii").split():
            found += _family(int(child))
    return found
