"""Durable files: written whole, fsynced, created exclusively or replaced atomically.

Every write of this package that must survive power loss goes through this module.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from latentstore.errors import CommitConflict, StorageError, UnknownVersion

TEMPORARY = ".tmp-"  # prefix of files being written that no one names yet
BLOCK = 1 << 22  # bytes per write() of large buffers

THREADS = 16  # that wait for the disk at once

_REMEDIES = {
    errno.ENOSPC: "free space and try again",
    errno.EDQUOT: "free space or raise the quota and try again",
    errno.EFBIG: "raise the limit on file sizes and try again",
    errno.EROFS: "the disk is read-only: open with mode='r' or remount it",
    errno.EACCES: "allow this user to write there, or open with mode='r'",
    errno.EPERM: "allow this user to write there, or open with mode='r'",
    errno.EIO: "the disk reports an error: check it before trying again",
}

T = TypeVar("T")


@contextmanager
def storing(path: Path, state: str = "nothing was committed") -> Iterator[None]:
    """Turn an `OSError` into a `StorageError` that names the path, the reason, the remedy and the state of things."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk and the permissions, and try again")
        place = error.filename or path
        raise StorageError(f"cannot write {place}: {error.strerror or error}; {remedy} ({state})") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `StorageError` that names the path and the reason."""
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> StorageError:
    """The error to raise for a file or folder that cannot be read."""
    place = error.filename or path
    return StorageError(f"cannot read {place}: {error.strerror or error}; check the disk and the permissions")


def vacuumed(path: Path) -> CommitConflict:
    """The error to raise when vacuum took a file before a version named it."""
    return CommitConflict(
        f"{path} was removed before a version named it; repeat the change, and give vacuum a grace longer than any "
        "write takes"
    )


def vacuumed_while_open(version: int) -> UnknownVersion:
    """The error to raise when vacuum took a version whose files were not all mapped yet."""
    return UnknownVersion(f"version {version} was vacuumed while it was open; open the newest snapshot")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder (its parents too) durably; nothing happens when it is there."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)


def write_temporary(folder: Path, content: bytes, *, durable: bool = True, secret: bool = False) -> Path:
    """Write a whole file under a name that no one looks for; link it or rename it, or `discard` it."""
    path = folder / f"{TEMPORARY}{uuid4().hex}"
    mode = 0o600 if secret else 0o666
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(descriptor, content)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        discard([path])
        raise
    return path


def write_all(descriptor: int, content: Any) -> None:
    """Write a whole buffer; `os.write` may take a part."""
    view = memoryview(content).cast("B")
    while view:
        view = view[os.write(descriptor, view[:BLOCK]) :]


def create_exclusive(path: Path, content: bytes) -> bool:
    """Create a file whole and durably, unless it exists: then return False and leave it alone.

    The content is fsynced under another name and then linked, which the file system does atomically.
    """
    temporary = write_temporary(path.parent, content)
    try:
        if not link(temporary, path):
            return False
    finally:
        discard([temporary])
    sync_folder(path.parent)
    return True


def link(temporary: Path, path: Path) -> bool:
    """Give a finished file its name, unless the name is taken: then return False.

    A network disk may do it and report an error all the same (a repeated request finds the name taken by its own
    first try), so after an error the name itself is asked.

    Raises:
        OSError: The name was not given.
        StorageError: Nobody can say whether it was.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        try:
            if path.samefile(temporary):
                return True
        except FileNotFoundError:
            pass
        except OSError as unknown:
            raise StorageError(
                f"{path} may have been written or not ({error.strerror}); check the disk, then look whether it is there"
            ) from unknown
        if isinstance(error, FileExistsError):
            return False
        raise
    return True


def replace(path: Path, content: bytes, *, durable: bool = True, secret: bool = False) -> None:
    """Replace a file atomically: a reader sees the old content or the new, never a mixture.

    Args:
        path: The file.
        content: All of it.
        durable: Whether it is fsynced.
        secret: For its owner's eyes only.
    """
    temporary = write_temporary(path.parent, content, durable=durable, secret=secret)
    try:
        temporary.replace(path)
    except BaseException:
        discard([temporary])
        raise
    if durable:
        sync_folder(path.parent)


def discard(paths: Iterable[Path]) -> None:
    """Remove files as far as possible; what stays is garbage that vacuum finds."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold an advisory lock on a file; the kernel releases it when the process dies, however it dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a living process holds a lock on a file; False when there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def together(*actions: Callable[[], T]) -> list[T]:
    """Run actions at the same time, each in a thread; raises the first error after all have ended."""
    if len(actions) == 1:
        return [actions[0]()]
    futures = [_threads(os.getpid()).submit(action) for action in actions]
    wait(futures)
    return [future.result() for future in futures]


@lru_cache(maxsize=1)
def _threads(_process: int) -> ThreadPoolExecutor:
    """Threads that stay, since a new one costs as much as an fsync; a forked child has none of its parent's."""
    return ThreadPoolExecutor(THREADS, "storage")
