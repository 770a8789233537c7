"""One refresh of a space at a time, with or without a server."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from latentstore.errors import CommitConflict
from latentstore.storage.files import make_folder, storing


class Busy(CommitConflict):
    """Another process does this to the same space now."""


@contextmanager
def only_one(path: Path, *, what: str) -> Iterator[None]:
    """Hold a lock file, or refuse at once; the kernel lets go when the process dies, however it dies.

    Args:
        path: The lock file; stays behind, unlocked. It names who holds it.
        what: What may happen only once, for the message.

    Raises:
        Busy: Another process, or another call in this one, holds it.
    """
    with storing(path):
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 100).decode(errors="replace").strip() or "another process"
            raise Busy(f"{what} is under way ({holder}); wait until it ends, or stop that process") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode())
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock file."""
    if not path.exists():
        return False
    try:
        with only_one(path, what="a look"):
            return False
    except Busy:
        return True
