"""What the machine is: everything a second engineer needs in order to reproduce a figure or to doubt it."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Final

from mpc.client.bench.records import Machine
from mpc.errors import ConfigurationError
from mpc.plan.constants import constants_path, read_constants

__all__ = ["cores", "describe_machine", "short_cpu"]

_FLAGS: Final = ("aes", "vaes", "avx2", "fma", "avx512f", "avx512ifma", "avx512vbmi2", "sha_ni", "asimd", "sve")
"""Instruction sets that a kernel of ours or of a library below us can use."""

_VARIABLES: Final = ("SEALROOM_RLWE_ARITHMETIC", "SEALROOM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")

_PACKAGES: Final = (
    "sealroom", "numpy", "numba", "llvmlite", "gmpy2", "tenseal", "phe", "duckdb", "pyarrow", "grpcio", "cryptography",
    "scikit-learn", "sf-heu",
)  # fmt: skip


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine() -> Machine:
    """Read the machine, the checkout and the installed versions."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    commit, dirty = _commit()
    return Machine(
        cpu_model=info.get("model name") or platform.processor() or platform.machine(),
        cpu_flags=tuple(f for f in _FLAGS if f in flags),
        cores=cores(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        commit=commit,
        dirty=dirty,
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
        versions=_versions(),
        settings=_settings(),
    )


def _settings() -> dict[str, str]:
    """What was set that changes figures: a row does not show it, and without it nobody reproduces the row."""
    found = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    path = constants_path()
    if path.exists():
        try:
            costs = read_constants(path)
            found["costs"] = f"{costs.machine}, {costs.measured_at}, commit {costs.commit}"
        except ConfigurationError:
            found["costs"] = "a file that cannot be read"
    return found


def short_cpu(machine: Machine) -> str:
    """Model and flags in one cell of a table."""
    return " ".join((machine.cpu_model, *machine.cpu_flags))


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    first = text.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> tuple[str, bool]:
    """The checkout's commit and whether tracked files differ; an installed package names its version instead."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return f"version {_versions().get('sealroom', 'unknown')}", False
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return "unknown", False


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
