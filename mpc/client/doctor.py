"""`sealroom doctor`: what is wrong with this machine, this member's folder and its connections, and the cure.

Every fact about the machine comes through `Host`, so that a test can make any of them wrong.
"""

import ctypes
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Final, Self

from mpc import __version__

__all__ = ["LIBRARIES", "Finding", "Host", "Level", "machine_findings"]

LIBRARIES: Final = (
    "cryptography",
    "duckdb",
    "gmpy2",
    "grpcio",
    "numba",
    "numpy",
    "phe",
    "protobuf",
    "pyarrow",
    "tenseal",
)
"""Distributions on which computation and transport rest."""

LEAST_MEMORY: Final = 2 << 30
LEAST_FREE: Final = 1 << 30
NODE_CHECK_S: Final = 90.0
"""A source of many gigabytes of files is read once, to be pinned."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's."""

    area: str
    """`machine`, `folder` or `connections`."""

    check: str
    level: Level
    text: str
    cure: str = ""
    brief: str = ""
    """For the archive, of a source: the same without names of hosts, files, tables and columns."""

    @classmethod
    def good(cls, area: str, check: str, text: str) -> Self:
        """Nothing is wrong."""
        return cls(area=area, check=check, level=Level.OK, text=text)

    @classmethod
    def doubtful(cls, area: str, check: str, text: str, cure: str) -> Self:
        """It works, but not for long or not well."""
        return cls(area=area, check=check, level=Level.WARN, text=text, cure=cure)

    @classmethod
    def bad(cls, area: str, check: str, text: str, cure: str) -> Self:
        """It does not work."""
        return cls(area=area, check=check, level=Level.FAIL, text=text, cure=cure)


def _version_of(distribution: str) -> str | None:
    try:
        return installed_version(distribution)
    except PackageNotFoundError:
        return None


def _processor_features() -> frozenset[str]:
    from llvmlite import binding

    return frozenset(name for name, present in binding.get_host_cpu_features().items() if present)


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _clock_error_s() -> float | None:
    """The kernel's own estimate of its clock's error; None where the kernel does not say, infinity if unsynchronised.

    Source: adjtimex(2); a read needs no privilege. TIME_ERROR is 5; `esterror` is in microseconds.
    """
    if not sys.platform.startswith("linux"):
        return None
    buffer = (ctypes.c_long * 64)()  # struct timex begins with modes, offset, freq, maxerror, esterror
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(buffer))
    if state < 0:
        return None
    return float("inf") if state == 5 else buffer[4] / 1e6


def _resolve(host: str) -> list[str]:
    return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


def _dial(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=3.0).close()


def _node_check(role: str, configuration: Path) -> list[dict[str, Any]] | None:
    """What the node itself would meet; it knows databases, and the library does not. None if it does not say."""
    command = [sys.executable, "-m", f"servers.{role}", "--config", str(configuration), "--check"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=NODE_CHECK_S, check=True)
        found: list[dict[str, Any]] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return found


def _bind(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where facts about this machine come from; the defaults are the machine itself."""

    now: Callable[[], float] = time.time
    python: tuple[int, int] = sys.version_info[:2]
    version_of: Callable[[str], str | None] = _version_of
    processor: Callable[[], frozenset[str]] = _processor_features
    cores: int = os.cpu_count() or 1
    memory_bytes: Callable[[], int] = _memory_bytes
    clock_error_s: Callable[[], float | None] = _clock_error_s
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    resolve: Callable[[str], list[str]] = _resolve
    dial: Callable[[str, int], None] = _dial
    bind: Callable[[str, int], None] = _bind
    writable: Callable[[Path], bool] = lambda path: os.access(path, os.W_OK)
    node_check: Callable[[str, Path], list[dict[str, Any]] | None] = _node_check


def machine_findings(host: Host) -> Iterator[Finding]:
    """What holds for any member on this machine."""
    for check in (_software, _libraries, _processor, _memory, _clock):
        yield from check(host)


def _software(host: Host) -> Iterable[Finding]:
    text = (
        f"sealroom {__version__}, Python {host.python[0]}.{host.python[1]} on {platform.system()} {platform.machine()}"
    )
    if host.python < (3, 11):
        yield Finding.bad("machine", "software", text, "install Python 3.11 or newer")
    else:
        yield Finding.good("machine", "software", text)


def _libraries(host: Host) -> Iterable[Finding]:
    found = {name: host.version_of(name) for name in LIBRARIES}
    missing = [name for name, version in found.items() if version is None]
    if missing:
        cure = "install sealroom again in this environment: python -m pip install --force-reinstall sealroom"
        yield Finding.bad("machine", "libraries", f"missing: {', '.join(missing)}", cure)
    else:
        shown = ", ".join(f"{name} {found[name]}" for name in ("cryptography", "grpcio", "tenseal"))
        yield Finding.good("machine", "libraries", f"{shown} and {len(found) - 3} more")


def _processor(host: Host) -> Iterable[Finding]:
    features = host.processor()
    cores = f"{host.cores} core{'s' * (host.cores != 1)}"
    if "aes" not in features and "sha2" not in features:
        cure = "use a processor, or a virtual machine type, that passes AES instructions through"
        yield Finding.doubtful("machine", "processor", f"{cores}, no AES instructions: masks and TLS are slow", cure)
    elif "avx512ifma" not in features:
        cure = "nothing is needed; on machines with AVX-512 IFMA the rlwe scheme uses its faster kernels"
        text = f"{cores}, AES, no AVX-512 IFMA: long vectors use the portable kernels"
        yield Finding.doubtful("machine", "processor", text, cure)
    else:
        yield Finding.good("machine", "processor", f"{cores}, AES, AVX-512 IFMA")


def _memory(host: Host) -> Iterable[Finding]:
    size = host.memory_bytes()
    text = f"{size / (1 << 30):.1f} GiB"
    if size < LEAST_MEMORY:
        cure = "give the machine 2 GiB or more, or lower [limits] memory_bytes in party.toml"
        yield Finding.doubtful("machine", "memory", text, cure)
    else:
        yield Finding.good("machine", "memory", text)


def _clock(host: Host) -> Iterable[Finding]:
    error = host.clock_error_s()
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(host.now()))
    cure = "let NTP set the clock (chronyd or systemd-timesyncd; on a virtual machine, the host's)"
    if error is None:
        yield Finding.good("machine", "clock", f"{moment}; the system does not say whether it is synchronised")
    elif error > 60:
        text = f"{moment}, not synchronised: requests and certificates are refused when clocks differ by minutes"
        yield Finding.doubtful("machine", "clock", text, cure)
    else:
        yield Finding.good("machine", "clock", f"{moment}, synchronised")
