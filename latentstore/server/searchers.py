"""Processes that search beside the event loop, so that the loop has a core for itself.

Each has the spaces open that are served, at their versions, and answers one batch after the other. What they hold is
told to them after it is served: until then, and whenever none is there, the loop searches itself. One that ends is
replaced, and what it was asked is answered by the loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from latentstore.server.answers import identity
from latentstore.sql import wire

if TYPE_CHECKING:
    from latentstore.server.batching import Batch
    from latentstore.space import EmbeddingSpace

PAUSE = 5.0  # seconds before one that ended is replaced: it may end again
STUCK, OPENING = 5.0, 120.0  # seconds after which one that does not answer, or is not done with opening, is ended
AHEAD = 2  # batches given to one of them: it must not wait for the loop between two
MOST = 4  # the event loop keeps no more busy

log = logging.getLogger("latentstore.server")
_decode, _encode = msgspec.json.Decoder(dict[str, Any]).decode, msgspec.json.Encoder().encode


def spare_cores() -> int:
    """How many processes may search where the event loop has a core of its own."""
    if sys.platform == "win32":
        return 0  # they inherit a socket, which needs POSIX
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST, cores - 1)


class Searchers:
    """All of them; used by the event loop alone.

    Args:
        store: The store's folder.
        count: How many; 0 for none.
    """

    def __init__(self, store: Path, count: int) -> None:
        self._store, self._count = store, count
        self._searchers: list[Searcher] = []
        self._free: Callable[[], None] = lambda: None
        self._ended = -PAUSE
        self._closed = False

    def when_free(self, call: Callable[[], None]) -> None:
        """Whom to call when one of them can be asked more, and when one answers no longer."""
        self._free = call

    async def follow(self, versions: Mapping[str, tuple[int, str]]) -> None:
        """Tell all of them what is served (version and identity), and start those that are missing."""
        while len(self._searchers) < self._count and monotonic() - self._ended >= PAUSE and not self._closed:
            try:
                self._searchers.append(await Searcher.started(self._store, self._free, self._lost))
            except OSError as error:  # no memory, or too many files are open
                self._ended = monotonic()
                log.error("no process to search can be started", extra={"error": str(error)})
        for one in self._searchers:
            if one.waits() > (OPENING if one.opening else STUCK):
                one.end()
            else:
                one.follow(versions)

    def hold(self, space: EmbeddingSpace) -> bool:
        """Whether one of them answers searches of this snapshot."""
        return any(one.holds(space) for one in self._searchers)

    def free(self, space: EmbeddingSpace) -> Searcher | None:
        """The one with the least to do of those that can be asked more."""
        able = (one for one in self._searchers if one.free and one.holds(space))
        return min(able, key=lambda one: one.asked, default=None)

    @property
    def ready(self) -> int:
        """How many can be asked."""
        return sum(one.holding != {} for one in self._searchers)

    @property
    def asked(self) -> int:
        """How many searches they answer now, or have just answered."""
        return sum(one.asked for one in self._searchers)

    def close(self) -> None:
        """End them."""
        self._closed = True
        for one in self._searchers:
            one.end()

    def _lost(self, searcher: Searcher) -> None:
        self._searchers.remove(searcher)
        if self._closed:
            return
        self._ended = monotonic()
        log.error("a process that searches has ended; another is started", extra={"error": searcher.end()})
        self._free()


class Searcher(asyncio.Protocol):
    """One process.

    Attributes:
        holding: Identity of each space that it has open.
        opening: Whether it opens something, and answers no searches.
        asked: How many searches it answers now, or has just answered.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        when_free: Callable[[], None],
        when_lost: Callable[[Searcher], None],
    ) -> None:
        self.holding: dict[str, str] = {}
        self.opening, self.asked = False, 0
        self._process, self._when_free, self._when_lost = process, when_free, when_lost
        self._wanted: dict[str, tuple[int, str]] = {}
        self._told: dict[str, tuple[int, str]] = {}
        self._batches: deque[Batch] = deque()  # asked and not answered
        self._since = 0.0  # that it was asked
        self._received = bytearray()
        self._transport: asyncio.Transport

    @classmethod
    async def started(
        cls, store: Path, when_free: Callable[[], None], when_lost: Callable[[Searcher], None]
    ) -> Searcher:
        """Start one; it holds nothing yet."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", "latentstore.server.search_process", str(theirs.fileno()), str(store)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        made = cls(process, when_free, when_lost)
        made._transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: made, sock=ours)
        return made

    def follow(self, versions: Mapping[str, tuple[int, str]]) -> None:
        """Have it open these versions of spaces, and close others, as soon as it is free."""
        self._wanted = dict(versions)
        self._catch_up()

    def _catch_up(self) -> None:
        if not (self.opening or self._batches) and self._wanted != self._told:
            self._told = self._wanted
            self.opening, self._since = True, monotonic()
            self._send({"spaces": self._told})
            self._when_free()

    @property
    def free(self) -> bool:
        """Whether it can be asked more."""
        return not self.opening and len(self._batches) < AHEAD and self._wanted == self._told

    def waits(self) -> float:
        """Seconds since it could begin with what it has not answered."""
        return monotonic() - self._since if self.opening or self._batches else 0.0

    def holds(self, space: EmbeddingSpace) -> bool:
        """Whether it answers searches of this snapshot: while it opens another, it answers none."""
        return not self.opening and self.holding.get(space.name) == identity(space)

    def ask(self, batch: Batch) -> None:
        """Search; the batch is settled when the answer comes."""
        queries = np.frombuffer(b"".join(batch.queries), np.float32)  # what became infinite is refused
        if not isfinite(queries.dot(queries)):  # what is wrong with some is said by the loop
            queries = queries.reshape(len(batch), -1)
            good = np.isfinite(np.einsum("nd,nd->n", queries, queries))
            batch.leave_out(~good).settle()
            if not len(batch):
                return
            queries = queries[good]
        self._batches.append(batch)
        self.asked, self._since = self.asked + len(batch), monotonic()
        head = {"space": batch.space.name, "k": batch.k, "queries": len(batch)}
        self._send(head, queries.tobytes())

    def end(self) -> str:
        """End it; returns how it ended."""
        self._transport.close()
        self._process.kill()
        return f"exit code {self._process.wait()}"

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """It has ended: what it was asked is answered here."""
        self.holding, self.opening = {}, True
        self._when_lost(self)
        while self._batches:
            self._batches.popleft().settle()

    def data_received(self, data: bytes) -> None:
        """Parts of its answers, each a frame."""
        self._received += data
        sizes = wire.SIZES.size
        while len(self._received) >= sizes:
            head_size, body_size = wire.SIZES.unpack_from(self._received)
            middle, end = sizes + head_size, sizes + head_size + body_size
            if len(self._received) < end:
                return
            head, body = _decode(self._received[sizes:middle]), bytes(self._received[middle:end])
            del self._received[:end]
            self._answered(head, body)

    def _answered(self, head: dict[str, Any], body: bytes) -> None:
        if "holding" in head:
            self.holding, self.opening = head["holding"], False
            self._catch_up()
            if self.free:
                self._when_free()
            return
        batch, self._since = self._batches.popleft(), monotonic()
        self._catch_up()
        if self.free:
            self._when_free()  # first: it searches while these are told
        self.asked -= len(batch)
        # Where one of them is wrong, each is told what is wrong with its own by the loop.
        batch.settle(None if head["refused"] else body.splitlines())

    def _send(self, head: dict[str, Any], body: bytes = b"") -> None:
        if self._transport.is_closing():
            return  # `connection_lost` comes next
        text = _encode(head)
        self._transport.write(wire.SIZES.pack(len(text), len(body)) + text + body)
