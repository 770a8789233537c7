"""Untrusted SQL in processes of its own, which are killed when a query exceeds what it may use.

A process is started by the first query, answers one query after the other, and is replaced once one had to be stopped;
its start costs about half a second, a query through it a millisecond more than in this process. It inherits no
environment but what its libraries need, and ends when this process does.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from threading import Lock, Semaphore
from typing import TYPE_CHECKING, Any

from latentstore.errors import LatentStoreError, NotSupported, QueryRefused, StorageError
from latentstore.sql import wire
from latentstore.sql.limits import Limits
from latentstore.sql.statement import one_select, plain_values

if TYPE_CHECKING:
    import pyarrow as pa

OPENING = 120.0  # seconds for a process to start, or to open the spaces a query mentions
GRACE = 3.0  # seconds after which a process that did not stop its query itself is killed
INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "SYSTEMROOT")


class Sandbox:
    """Answers queries about a store in separate processes; safe from several threads.

    Args:
        store: Its folder.
        limits: What each query may use.
        processes: How many run at most; further queries wait.

    Raises:
        NotSupported: This is not Linux, whose limits it relies on.
    """

    def __init__(self, store: Path, limits: Limits | None = None, *, processes: int = 2) -> None:
        if sys.platform != "linux":
            raise NotSupported(
                f"the SQL sandbox relies on limits of Linux, and this is {sys.platform}; "
                "run SQL that you wrote yourself with sandbox=False"
            )
        self.limits = limits or Limits()
        self._store = store
        self._turns = Semaphore(processes)
        self._idle: list[_Child] = []
        self._closed = False
        self._process = os.getpid()
        self._lock = Lock()

    def run(
        self, query: str, parameters: Mapping[str, Any] | None = None, versions: Mapping[str, int] | None = None
    ) -> pa.Table:
        """Run one SELECT; see `Engine.run`.

        Raises:
            QueryRefused: Also when the query had to be killed; the message names the limit. The next one works.
        """
        given = plain_values(parameters or {})
        one_select(query, given)  # what is no SELECT costs no process
        asked = {"query": query, "parameters": given, "versions": dict(versions or {})}
        with self._turns:
            child = self._taken()
            try:
                try:
                    answer = child.ask(asked)
                except _Vanished:  # while it was idle
                    child.kill()
                    child = _Child(self._store, self.limits)
                    answer = child.ask(asked)
            except BaseException as error:
                if getattr(error, "sandbox_lives", False):
                    self._given_back(child)
                else:
                    child.kill()
                raise
            self._given_back(child)
        return answer

    def close(self) -> None:
        """End the idle processes; those that work end with their query."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for child in idle:
            child.kill()

    @property
    def processes(self) -> list[int]:
        """Ids of the idle processes."""
        return [child.pid for child in self._idle]

    def _taken(self) -> _Child:
        with self._lock:
            if self._process != os.getpid():  # a fork must not talk to its parent's processes
                self._idle, self._process = [], os.getpid()
            while self._idle:
                child = self._idle.pop()
                if child.lives():
                    return child
        return _Child(self._store, self.limits)

    def _given_back(self, child: _Child) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(child)
                return
        child.kill()


class _Vanished(StorageError):
    """A process that had answered before was gone before the query began."""


@cache
def _say_without_landlock() -> None:
    """Once a process."""
    logging.getLogger("latentstore").warning(
        "this kernel has no Landlock: only DuckDB's own locks keep SQL from files and network (Linux 5.13 has it)"
    )


class _Child:
    """One process."""

    def __init__(self, store: Path, limits: Limits) -> None:
        self._limits = limits
        self._asked = False
        self._link, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", "latentstore.sql.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env=_environment(),
                cwd="/",
            )
        try:
            self._told({"store": str(store.resolve()), "limits": asdict(limits)})
            if not self._heard(time.monotonic() + OPENING)[0]["landlock"]:
                _say_without_landlock()
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def lives(self) -> bool:
        """Whether it can be asked; one that cannot is cleared away."""
        if self._process.poll() is None:
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._link.close()
        if self._process.stderr:
            self._process.stderr.close()

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self.kill()

    def ask(self, request: dict[str, Any]) -> pa.Table:
        """Its answer.

        Raises:
            LatentStoreError: With `sandbox_lives` true when it can be asked again.
        """
        try:
            self._told(request)
            head, body = self._heard(time.monotonic() + OPENING)
        except LatentStoreError as error:
            if self._asked and isinstance(error.__cause__, wire.Closed):
                raise _Vanished(str(error)) from error
            raise
        self._asked = True
        if head.get("running"):
            head, body = self._heard(time.monotonic() + self._limits.seconds + GRACE)
        return wire.read_table(body)

    def _told(self, head: dict[str, Any]) -> None:
        self._link.settimeout(OPENING)
        try:
            wire.send(self._link, head)
        except (wire.Closed, TimeoutError) as error:
            raise self._end() from error

    def _heard(self, deadline: float) -> tuple[dict[str, Any], bytearray]:
        most = 2 * self._limits.result + (1 << 20)
        try:
            head, body = wire.receive(self._link, deadline, most)
        except TimeoutError as error:
            raise QueryRefused(self._limits.over_time()) from error
        except wire.Closed as error:
            raise self._end() from error
        except ValueError as error:
            raise StorageError(f"the sandbox does not keep to its protocol ({error}); run the query again") from error
        if "error" in head:
            failure = wire.error_from_json(head["error"])
            failure.sandbox_lives = not head.get("retire")  # type: ignore[attr-defined]
            raise failure
        return head, body

    def _end(self) -> LatentStoreError:
        """Why it ended, in our words."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        code = self._process.returncode
        if code in (-signal.SIGXCPU, -signal.SIGALRM):
            return QueryRefused(self._limits.over_time())
        if code in (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
            return QueryRefused(f"{self._limits.over_memory()} (its process ended with {signal.Signals(-code).name})")
        said = b""
        if code is not None and self._process.stderr:
            said = self._process.stderr.read()
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        return StorageError(f"the process for SQL ended with code {code} ({last[0]}); run the query again")


def _environment() -> dict[str, str]:
    """Enough to import this package from where it is here, and nothing that may be a secret."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    paths = [path for path in sys.path if path and Path(path).is_absolute()]
    root = str(Path(__file__).resolve().parents[2])
    once = {"PYTHONPATH": os.pathsep.join(dict.fromkeys([root, *paths])), "MALLOC_ARENA_MAX": "4"}
    return {**kept, **once, "PYTHONDONTWRITEBYTECODE": "1"}
