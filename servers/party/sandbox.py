"""What a worker process gives up before it touches data.

`enter` is called first thing in the process, `confine` before the first job's source is opened. Together:

| measure | effect | elsewhere than Linux |
|---|---|---|
| RLIMIT_AS | memory, the engine's and everyone's, ends in an error within the process | where the system honours it |
| RLIMIT_CORE 0, PR_SET_DUMPABLE 0 | no image of the memory on disk; no debugger of the same user | core limit only |
| PR_SET_PDEATHSIG | dies with the node's thread that started it | the closed pipe ends an idle worker |
| PR_SET_NO_NEW_PRIVS | set-uid programs give nothing | not done |
| inherited descriptors, environment, umask | nothing of the node's leaks in; files are the owner's alone | done |
| Landlock | opens declared data and Python's own files only; no program starts; no TCP for file sources | not done |
| seccomp | no exec, debugging, mounts, namespaces, kernel keys; no socket at all for file sources | not done |

Not done: namespaces (they need rights or a set-up that containers forbid); a limit of processor time (the node's
deadline kills the worker); UNIX sockets are open to a worker whose source is a database.

How the memory limits relate: RLIMIT_AS counts reserved addresses. Python, numpy, Arrow, DuckDB, numba and TenSEAL
together reserve about 1.5 GiB (measured, two threads; 50 MiB more per thread) while 0.3 GiB are used. Statements get
`Limits.memory_bytes` on top, and vectors and ciphertexts in flight another gigabyte.
"""

import fcntl
import logging
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from mpc.errors import InternalError
from servers.party import kernel_locks

__all__ = ["DEFAULT_MEMORY_BYTES", "address_space", "confine", "enter"]

log = logging.getLogger(__name__)

DEFAULT_MEMORY_BYTES = 4 << 30
"""Address space of a worker with the default `Limits` (1 GiB for statements, two threads)."""

MAX_OPEN_FILES = 1024

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38

_KEPT_VARIABLES = frozenset(
    {"HOME", "LANG", "LC_ALL", "PATH", "PYTHONHASHSEED", "PYTHONPATH", "SEALROOM_RLWE_ARITHMETIC", "SEALROOM_THREADS",
     "TMPDIR", "TZ", "XDG_CACHE_HOME"}
)  # fmt: skip
_KEPT_PREFIXES = ("NUMBA_", "OMP_", "SEALROOM_WORKER_")

_SYSTEM_FILES = (
    "/dev/null",
    "/dev/urandom",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/lib",
    "/lib64",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
)
_NETWORK_FILES = ("/etc/gai.conf", "/etc/host.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/pki")

_confined: list[tuple[frozenset[Path], bool]] = []
"""What `confine` granted, at most once per process: a second lock could only take away."""


def address_space(statement_bytes: int, threads: int) -> int:
    """The RLIMIT_AS under which an engine with these limits gets its memory and the libraries theirs.

    >>> address_space(1 << 30, 2) <= DEFAULT_MEMORY_BYTES
    True
    """
    return statement_bytes + (5 << 29) + threads * (64 << 20)


def enter(*, memory_bytes: int = 0) -> tuple[str, ...]:
    """Harden this process; call before it loads anything heavy.

    Args:
        memory_bytes: Address space; 0 means `DEFAULT_MEMORY_BYTES`, negative none (for measurements).

    Returns:
        The measures that are not in force here, by name; they are also logged.
    """
    missing: list[str] = []
    _limit(resource.RLIMIT_CORE, 0, "RLIMIT_CORE", missing)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES, "RLIMIT_NOFILE", missing)
    if memory_bytes >= 0:
        _limit(resource.RLIMIT_AS, memory_bytes or DEFAULT_MEMORY_BYTES, "RLIMIT_AS", missing)
    os.umask(0o077)
    _close_inherited()
    parent = os.environ.get("SEALROOM_WORKER_PARENT", "")
    _scrub_environment()
    for name, option, value in (
        ("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1),
        ("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, 0),
        ("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, signal.SIGKILL),
    ):
        try:
            kernel_locks.prctl(option, value)
        except OSError:
            missing.append(name)
    if parent.isdigit() and os.getppid() != int(parent):  # the node ended before the signal was armed
        os._exit(1)
    if missing:
        log.warning("not in force on this system: %s", ", ".join(missing))
    return tuple(missing)


def confine(*, readable: Iterable[Path], writable: Iterable[Path] = (), network: bool = False) -> tuple[str, ...]:
    """Close the file system and, unless `network`, the network for this thread and all that it starts from now on.

    A process is confined once, to everything that its node's configuration declares; a call that asks for no more than
    the first one does nothing.

    Args:
        readable: The declared data (`sources.readable_paths`) and certificates that a database's address names.
        writable: Folders for checkpoints and intermediate results.
        network: Whether a source is reached over the network.

    Returns:
        The measures that are not in force here, by name; they are also logged.

    Raises:
        InternalError: The process is confined already, to less.
    """
    read, write = frozenset(readable), frozenset(writable)
    if _confined:
        granted, had_network = _confined[0]
        if not read | write <= granted or (network and not had_network):
            raise InternalError("a worker is confined once; another set of sources needs another worker")
        return ()
    missing: list[str] = []
    system = (*_SYSTEM_FILES, *(_NETWORK_FILES if network else ()))
    allowed = {*(Path(p) for p in system), *_python(), *read}
    try:
        kernel_locks.confine_files(sorted(allowed), sorted({*write, *_caches()}), network=network)
    except OSError:
        missing.append("Landlock")
    try:
        kernel_locks.confine_calls(network=network)
    except OSError:
        missing.append("seccomp")
    _confined.append((read | write, network))
    if missing:
        log.warning("not in force on this system: %s", ", ".join(missing))
    return tuple(missing)


def _python() -> set[Path]:
    """Where the interpreter and installed libraries lie, and our own two packages.

    Not the working directory, which `python -m` puts first on the path: a node is often started in its room's folder,
    beside its keys. Nor folders that would open everything by being some interpreter's prefix.
    """
    import mpc
    import servers

    packages = {Path(place).resolve() for package in (mpc, servers) for place in package.__path__}
    around = {package.parent for package in packages}
    places = (*sys.path, sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    broad = {Path("/"), Path("/usr"), Path("/home"), Path.cwd(), Path(os.environ.get("HOME", "/")).resolve()}
    installed = {path for path in (Path(p).resolve() for p in places if p) if "site-packages" in path.parts}
    others = {Path(p).resolve() for p in places if p} - around
    return packages | installed | (others - broad)


def _caches() -> Iterable[Path]:
    """Where numba keeps compiled kernels, when it was told."""
    return [Path(folder)] if (folder := os.environ.get("NUMBA_CACHE_DIR")) else []


def _limit(which: int, value: int, name: str, missing: list[str]) -> None:
    """Lower both the soft and the hard limit; a limit that is lower already stays."""
    try:
        _, hard = resource.getrlimit(which)
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (lowered, lowered))
    except (OSError, ValueError):
        missing.append(name)


def _close_inherited() -> None:
    """Close what came through exec: descriptors that Python opens itself are marked close-on-exec (PEP 446)."""
    folder = Path("/proc/self/fd") if Path("/proc/self/fd").is_dir() else Path("/dev/fd")
    for number in [int(name) for name in os.listdir(folder)]:  # noqa: PTH208 - a listing of numbers, not of paths
        try:
            if number > 2 and not fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                os.close(number)
        except OSError:
            continue  # the descriptor of the listing itself


def _scrub_environment() -> None:
    """Drop every variable that is not about the interpreter or its libraries: passwords live in the environment."""
    for name in list(os.environ):
        if name not in _KEPT_VARIABLES and not name.startswith(_KEPT_PREFIXES):
            del os.environ[name]
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others reserve a gigabyte of addresses at first use
    os.environ.setdefault("MALLOC_ARENA_MAX", "4")
