"""Derived artefacts: files computed from the rows of a version, committed beside them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latentstore.errors import ChecksumMismatch, CommitConflict, InputError, StorageError, UnknownVersion
from latentstore.storage import files
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.manifest import ArtefactKind, ArtefactRecord, FileRecord, Manifest
from latentstore.storage.sink import Sink
from latentstore.storage.writing import Scratch


def record(layout: SpaceLayout, path: Path) -> FileRecord:
    """Make a file durable, with its folder, and describe it.

    Raises:
        StorageError: It is missing or cannot be made durable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        files.sync_folder(path.parent)
        return FileRecord(layout.name(path), path.stat().st_size, files.sha256_of(path))
    except OSError as error:
        raise StorageError(f"cannot store {path}: {error.strerror}; write the file before it is recorded") from error


def write(layout: SpaceLayout, kind: ArtefactKind, suffix: str, content: Any) -> FileRecord:
    """Write a buffer as a new file, durable with its folder."""
    with Scratch(layout) as scratch:
        path = scratch.new(kind, suffix)
        with files.storing(path), Sink(path) as sink:
            sink.write(content)
            sink.sync()
            size, sha256 = sink.finish()
            files.sync_folder(path.parent)
    return FileRecord(layout.name(path), size, sha256)


def read(layout: SpaceLayout, record: FileRecord, version: int) -> bytes:
    """Read a whole file of a version and check it.

    Raises:
        ChecksumMismatch: It is missing or not what the manifest says.
        UnknownVersion: It is gone because the version was vacuumed.
    """
    path = layout.file(record.name)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise _missing(layout, path, version) from error
    except OSError as error:
        raise files.unreadable(path, error) from error
    if len(content) != record.size or hashlib.sha256(content).hexdigest() != record.sha256:
        raise _changed(path)
    return content


def checked(layout: SpaceLayout, record: FileRecord, version: int) -> Path:
    """The path of a version's file that was checked as by `read`, for what maps it."""
    path = layout.file(record.name)
    try:
        same = path.stat().st_size == record.size and files.sha256_of(path) == record.sha256
    except FileNotFoundError as error:
        raise _missing(layout, path, version) from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}; check the disk and the permissions") from error
    if not same:
        raise _changed(path)
    return path


def _missing(layout: SpaceLayout, path: Path, version: int) -> ChecksumMismatch | UnknownVersion:
    if not layout.manifest(version).exists():
        return files.vacuumed_while_open(version)
    return ChecksumMismatch(f"{path} is missing; it is derived: build it again, or open the newest version")


def _changed(path: Path) -> ChecksumMismatch:
    return ChecksumMismatch(f"{path} is not what the manifest says (size or sha256); it is derived: build it again")


@dataclass(frozen=True)
class Put:
    """What one commit of artefacts does: see `SpaceFiles.put_artefacts`."""

    version: int
    index: Sequence[ArtefactRecord] | None = None
    concepts: tuple[ArtefactRecord, ...] = ()
    maps: tuple[ArtefactRecord, ...] = ()
    remove: tuple[tuple[ArtefactKind, str], ...] = ()
    allow_stale: bool = False
    instead_of: Sequence[ArtefactRecord] | None = None

    def apply(self, base: Manifest) -> Manifest:
        """The manifest with the artefacts.

        Raises:
            CommitConflict: Rows changed since `version` in a way that matters.
            InputError: Two artefacts of one name.
        """
        if self.index is None and not (self.concepts or self.maps or self.remove):
            return base
        computed = bool(self.index or self.concepts or self.maps)
        if computed and base.revived_version > self.version:
            raise CommitConflict(
                f"all rows of space {base.space!r} were replaced or restored in version {base.revived_version}, after "
                f"version {self.version} that this was computed from; compute it again"
            )
        if (self.concepts or self.maps) and base.rows_version > self.version and not self.allow_stale:
            raise CommitConflict(
                f"rows of space {base.space!r} changed in version {base.rows_version}, after version {self.version} "
                "that this was computed from; compute it again or pass allow_stale=True"
            )
        if self.instead_of is not None and tuple(base.index) != tuple(self.instead_of):
            raise CommitConflict(
                f"another index of space {base.space!r} was published after version {self.version}; extend that one"
            )
        return replace(
            base,
            index=self._joined("index", () if self.index is not None else base.index, tuple(self.index or ())),
            concepts=self._joined("concepts", base.concepts, self.concepts),
            maps=self._joined("maps", base.maps, self.maps),
        )

    def _joined(
        self, kind: ArtefactKind, old: Sequence[ArtefactRecord], new: Sequence[ArtefactRecord]
    ) -> tuple[ArtefactRecord, ...]:
        names = [one.name for one in new]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two {kind} artefacts are named {name!r}; give each its own name")
        dropped = {*names, *(name for where, name in self.remove if where == kind)}
        return (*(one for one in old if one.name not in dropped), *new)
