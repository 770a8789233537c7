"""What the kernel holds a sandboxed process to; Linux only.

Memory is RLIMIT_DATA, not RLIMIT_AS: it counts what the process allocates and not the vectors and segments it maps, of
which a store may have more than a query may ever use. Time is RLIMIT_CPU and an interval timer, which end the process
even while it is stuck inside a library and its parent is gone. No file grows (RLIMIT_FSIZE is 0), and where the
kernel has Landlock (5.13, TCP from 6.7), only the store and the libraries can be read, nothing written, no TCP
connection made.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import struct
from collections.abc import Iterable
from pathlib import Path

# The system calls have the same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ = 0b1101  # execute (map a library), read a file, read a folder
_READ_ONE = 0b101
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights each version of the interface knows; 16 from 5 on
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals
_NO_NEW_PRIVS = 38
CGROUP = Path("/proc/self/cgroup")


class Budget:
    """Sets the limits of one query after the other; made before files are out of reach."""

    def __init__(self) -> None:
        self._status = Path("/proc/self/status").open(encoding="ascii")  # noqa: SIM115 - open as long as the process
        # DuckDB reads this one whenever it starts. What `forbid_files` allows is this very entry of /proc, which the
        # kernel makes anew, as another, unless somebody has it open.
        self._cgroup = CGROUP.open("rb") if CGROUP.exists() else None

    def start(self, *, seconds: float, memory: int, threads: int) -> None:
        """From now on: so much more memory, and so much time."""
        _limit(resource.RLIMIT_DATA, self._allocated() + memory)
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds * threads) + 1)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def stop(self) -> None:
        """The query is over."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for what in (resource.RLIMIT_DATA, resource.RLIMIT_CPU):
            _limit(what, resource.getrlimit(what)[1])

    def _allocated(self) -> int:
        self._status.seek(0)
        line = next(line for line in self._status if line.startswith("VmData:"))
        return int(line.split()[1]) << 10


def _limit(what: int, soft: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def forbid_writing() -> None:
    """No file grows and no core is dumped."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forbid_files(readable: Iterable[Path]) -> bool:
    """Only these folders can be read, nothing written, by this thread and those it starts; False without Landlock."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    if version < 1:
        return False
    rights = (1 << _FS_RIGHTS.get(version, 16)) - 1
    words = [rights, *([_TCP] if version >= 4 else []), *([_SCOPES] if version >= 6 else [])]
    attributes = struct.pack(f"={len(words)}Q", *words)
    rules = _checked(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)))
    try:
        for path in readable:
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = struct.pack("=Qi", _READ if path.is_dir() else _READ_ONE, folder)
                _checked(libc.syscall(_ADD_RULE, rules, ctypes.c_int(1), rule, ctypes.c_uint(0)))
            finally:
                os.close(folder)
        _checked(libc.prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))
        _checked(libc.syscall(_RESTRICT_SELF, rules, ctypes.c_uint(0)))
    finally:
        os.close(rules)
    return True


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
