"""Copying immutable files: whole, checked against their record while they are copied, durable, then named."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from latentstore.errors import ChecksumMismatch, StorageError
from latentstore.storage import files
from latentstore.storage.manifest import FileRecord
from latentstore.storage.sink import Sink

BLOCK = 1 << 22  # bytes read at a time


class Vanished(Exception):
    """The file is not there (any more)."""


def copy_checked(source: Path, target: Path, record: FileRecord) -> None:
    """Copy a file under a name no one looks for, compare it with its record, then give it its name.

    The name in the folder is not yet durable: the caller syncs folders once, before what names the files.

    Raises:
        Vanished: There is no such file.
        ChecksumMismatch: It is not what the record says; nothing stays at the target.
        StorageError: It cannot be read, or the target not be written.
    """
    temporary = target.with_name(f"{files.TEMPORARY}{uuid4().hex}")
    try:
        with source.open("rb", buffering=0) as file, files.storing(target), Sink(temporary) as sink:
            while block := _read(file, source):
                sink.write(block)
            sink.sync()
            size, sha256 = sink.finish()
        if (size, sha256) != (record.size, record.sha256):
            raise ChecksumMismatch(
                f"{source} is not what the manifest says (size or sha256) and was not copied; run repair, or let "
                "vacuum drop the old version that needs it"
            )
        with files.storing(target):
            temporary.replace(target)
    except FileNotFoundError as error:
        raise Vanished(str(source)) from error
    except PermissionError as error:
        raise StorageError(f"cannot read {source}: {error.strerror}; check the permissions") from error
    finally:
        files.discard([temporary])


def _read(file: object, source: Path) -> bytes:
    try:
        block: bytes = file.read(BLOCK)  # type: ignore[attr-defined]
    except OSError as error:
        raise StorageError(f"cannot read {source}: {error.strerror}; check the disk") from error
    return block


def is_there(path: Path, record: FileRecord, *, check: bool) -> bool:
    """Whether a file stands with the right size, and if `check` with the right sha256."""
    try:
        return path.stat().st_size == record.size and (not check or files.sha256_of(path) == record.sha256)
    except FileNotFoundError:
        return False
