"""Two locks that a Linux process can put on itself for good: Landlock (files, TCP) and seccomp (system calls).

Sources: Linux `Documentation/userspace-api/landlock.rst` (ABI 1 to 7) and `seccomp_filter.rst`. Both need
no-new-privileges, no rights and no library. A lock cannot be taken off again, and holds for threads started afterwards
by the thread that took it (seccomp: for all threads). Where the kernel lacks one, `Unsupported` is raised and nothing
is changed.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Unsupported", "confine_calls", "confine_files", "prctl"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Landlock's system calls have these numbers on every architecture."""

_VERSION_FLAG = 1
_PATH_BENEATH = 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14
"""execute, write, read, truncate: what can be granted on a file (of ABI 5 also device control, which nobody needs)."""

_WRITE = sum(1 << bit for bit in (1, 4, 5, 7, 8, 13, 14)) | _READ_FILE | _READ_DIR
"""write, remove directory and file, make directory and regular file, rename across, truncate; and read."""

_HANDLED_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of file rights that an ABI knows; later ABIs know as many as 5."""

_BIND_AND_CONNECT_TCP = 0b11
_SCOPES = 0b11
"""No connection to abstract sockets, and no signals, outside the process (ABI 6)."""

_SECCOMP_MODE_FILTER_CALL = {"x86_64": 317, "aarch64": 277}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_TSYNC = 1

_DENIED_CALLS = {
    "x86_64": {
        "execve": 59, "execveat": 322, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321,
        "perf_event_open": 298, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272,
        "setns": 308, "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246,
        "kexec_file_load": 320, "add_key": 248, "request_key": 249, "keyctl": 250, "userfaultfd": 323,
        "io_uring_setup": 425,
    },
    "aarch64": {
        "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "bpf": 280,
        "perf_event_open": 241, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97,
        "setns": 268, "init_module": 105, "finit_module": 273, "delete_module": 106, "kexec_load": 104,
        "kexec_file_load": 294, "add_key": 217, "request_key": 218, "keyctl": 219, "userfaultfd": 282,
        "io_uring_setup": 425,
    },
}  # fmt: skip
"""Programs, other processes' memory, the kernel's own machinery, and io_uring, whose requests pass seccomp unseen."""

_SOCKET_CALL = {"x86_64": 41, "aarch64": 198}


class Unsupported(OSError):
    """This kernel or this system cannot do it."""


def _libc() -> ctypes.CDLL:
    if not sys.platform.startswith("linux"):
        raise Unsupported(errno.ENOSYS, "not Linux")
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set one property of this process (`OSError`)."""
    if _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _call(number: int, *arguments: object) -> int:
    result: int = _libc().syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise Unsupported(ctypes.get_errno(), f"system call {number}")
    return result


def confine_files(readable: Iterable[Path], writable: Iterable[Path], *, network: bool) -> int:
    """Let this thread and what it starts open nothing but the given files and folders; no program can be started.

    Paths that do not exist are left out. Files that are open stay usable.

    Args:
        readable: Files, and folders with everything below them.
        writable: Folders in which files may also be made, written and removed.
        network: Whether TCP stays possible (from ABI 4 on it can be forbidden).

    Returns:
        The kernel's Landlock ABI.

    Raises:
        Unsupported: The kernel has no Landlock, or it is switched off.
    """
    abi = _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    handled = (1 << _HANDLED_BITS.get(abi, 16)) - 1
    fields = [handled]
    if abi >= 4:
        fields.append(0 if network else _BIND_AND_CONNECT_TCP)
    if abi >= 6:
        fields.append(_SCOPES)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(ruleset, path, (_READ_FILE | _READ_DIR) & handled)
        for path in writable:
            _allow(ruleset, path, _WRITE & handled)
        prctl(38, 1)
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return abi


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        granted = rights if path.is_dir() else rights & _FILE_RIGHTS
        rule = struct.pack("=Qi", granted, descriptor)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def confine_calls(*, network: bool) -> None:
    """Refuse, with EPERM, system calls that a worker never needs; without `network` also every new socket.

    Raises:
        Unsupported: The kernel has no seccomp filters, or the architecture is not in the tables.
    """
    machine = platform.machine()
    if machine not in _AUDIT_ARCH:
        raise Unsupported(errno.ENOSYS, f"no table of system calls for {machine}")
    denied = set(_DENIED_CALLS[machine].values())
    if not network:
        denied.add(_SOCKET_CALL[machine])
    program = _filter(machine, sorted(denied))
    prctl(38, 1)
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    set_mode_filter = 1
    number = _SECCOMP_MODE_FILTER_CALL[machine]
    _call(number, ctypes.c_uint(set_mode_filter), ctypes.c_uint(_TSYNC), head)


def _filter(machine: str, denied: list[int]) -> bytes:
    """Classic BPF over `struct seccomp_data`: another architecture's calls end the process, denied ones fail."""
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    kill, allow, fail = 0x80000000, 0x7FFF0000, 0x00050000 | errno.EPERM
    steps = [(load, 0, 0, 4), (equal, 1, 0, _AUDIT_ARCH[machine]), (answer, 0, 0, kill), (load, 0, 0, 0)]
    last = len(denied)
    steps.append((at_least, last + 1, 0, _X32_BIT))
    steps += [(equal, last - at, 0, number) for at, number in enumerate(denied)]
    steps += [(answer, 0, 0, allow), (answer, 0, 0, fail)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
