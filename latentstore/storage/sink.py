"""A new file that is hashed while it is written."""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from latentstore.storage.files import BLOCK, write_all
from latentstore.storage.sums import Summing
from latentstore.types import Array

_THREADED = 1 << 22  # files smaller than this are hashed by the thread that writes them


class Sink(io.RawIOBase):
    """A new file that is hashed while it is written and fsynced by `finish`.

    Large files are hashed by a thread of their own: sha256 runs at some 400 MB/s without special instructions, slower
    than the disk.

    Args:
        path: Must not exist.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.size = 0
        self.abandoned = False  # then further writes go nowhere
        self._sha = hashlib.sha256()
        self._summing = Summing()
        self._hasher: ThreadPoolExecutor | None = None
        self._pending: list[Future[None]] = []
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def writable(self) -> bool:
        """Always; part of the file protocol."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self.size

    def write(self, content: Any) -> int:
        """Write and hash a buffer, which must not change before `finish`."""
        view = memoryview(content).cast("B")
        if self.abandoned:
            return len(view)
        for start in range(0, len(view), BLOCK):
            block = view[start : start + BLOCK]
            try:
                write_all(self._descriptor, block)
            except OSError as error:
                error.filename = str(self.path)
                raise
            self.size += len(block)
            self._hash(block)
        return len(view)

    def _hash(self, block: memoryview) -> None:
        if self._hasher is None and self.size >= _THREADED:
            self._hasher = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        if self._hasher is None:
            self._digest(block)
            return
        self._pending.append(self._hasher.submit(self._digest, block))
        if len(self._pending) > 4:  # bounds what waits in memory
            self._pending.pop(0).result()

    def _digest(self, block: memoryview) -> None:
        self._sha.update(block)
        self._summing.update(block)

    def sums(self) -> Array:
        """Sums of the blocks, uint64 (b,), once all is written; see `storage.sums`."""
        for pending in self._pending:
            pending.result()
        return self._summing.finish()

    def sync(self) -> None:
        """Make the content durable."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            error.filename = str(self.path)
            raise

    def finish(self) -> tuple[int, str]:
        """Close, after all is hashed. Returns size in bytes and sha256."""
        for pending in self._pending:
            pending.result()
        self.close()
        return self.size, self._sha.hexdigest()

    def close(self) -> None:
        """Close without promising anything about the content."""
        if not self.closed:
            if self._hasher is not None:
                self._hasher.shutdown(wait=True)
            os.close(self._descriptor)
            super().close()
