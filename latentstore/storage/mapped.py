"""A segment's files, mapped when it is opened, so that vacuum cannot take them from a reader."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from latentstore.errors import ChecksumMismatch, CommitConflict, UnknownVersion
from latentstore.storage import files
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.manifest import FileRecord, SegmentRecord
from latentstore.storage.sums import Blocks, read_sums
from latentstore.types import Array

REMEDY = "run verify to see what is damaged, then restore the file from a backup or go back to a version without it"

T = TypeVar("T")


class MappedFiles:
    """The files of one segment.

    Attributes:
        record: What the manifest says.
        version: The newest snapshot that shares this object; 0 while it is staged.
    """

    def __init__(self, layout: SpaceLayout, record: SegmentRecord, version: int) -> None:
        self.record = record
        self.version = version
        self._layout = layout
        self._held: dict[str, mmap.mmap] = {}  # by file name; a mapping keeps what is unlinked

    def check(self) -> None:
        """Map every file, and compare its size with the manifest.

        Raises:
            ChecksumMismatch: A file is missing or has another size.
            UnknownVersion: Files are gone because the version was vacuumed.
        """
        for record in (*self.record.files.values(), *self.record.beside()):
            self._content(record)

    def _content(self, record: FileRecord) -> mmap.mmap:
        if record.name not in self._held:
            self._held[record.name] = self._map(record)
        return self._held[record.name]

    def _map(self, record: FileRecord) -> mmap.mmap:
        path = self._layout.file(record.name)
        try:
            with path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if size and size == record.size:
                    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise self._gone(path) from error
        except OSError as error:
            raise files.unreadable(path, error) from error
        raise ChecksumMismatch(f"{path} has {size} bytes, the manifest says {record.size}; {REMEDY}")

    def _gone(self, path: Path) -> ChecksumMismatch | UnknownVersion | CommitConflict:
        if not self.version:
            return files.vacuumed(path)
        if self._layout.manifest(self.version).exists():
            return ChecksumMismatch(f"{path} is missing; {REMEDY}")
        return files.vacuumed_while_open(self.version)

    def _read(self, record: FileRecord, read: Callable[[mmap.mmap], T]) -> T:
        content = self._content(record)
        try:
            return read(content)
        except (pa.ArrowException, ValueError, OSError, EOFError, KeyError) as error:
            raise ChecksumMismatch(f"{self._layout.file(record.name)} cannot be read ({error}); {REMEDY}") from error

    @cached_property
    def _sums(self) -> dict[str, Array] | None:
        """Sums of the blocks of each file; None for a segment that was written without."""
        record = self.record.files.get("sums")
        if record is None:
            return None
        sizes = {kind: file.size for kind, file in self.record.files.items()}
        return self._read(record, lambda content: read_sums(content, record, sizes))

    def _blocks(self, kind: str) -> Blocks | None:
        """The blocks of a file, none checked yet."""
        sums = self._sums
        if sums is None:
            return None
        return self._read(self.record.files[kind], lambda content: Blocks(np.frombuffer(content, np.uint8), sums[kind]))
