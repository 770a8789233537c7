"""The versions of a space: opened without locks, committed one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from latentstore.errors import (
    AlreadyExists,
    ChecksumMismatch,
    CommitConflict,
    ConfigInvalid,
    Forbidden,
    UnknownSpace,
    UnknownVersion,
    suggest,
)
from latentstore.storage import files
from latentstore.storage.layout import FOLDERS, SpaceLayout, check_space_name
from latentstore.storage.log import Log
from latentstore.storage.manifest import Json, Manifest
from latentstore.storage.snapshot import Snapshot
from latentstore.storage.writing import Scratch
from latentstore.types import check_metric

Mode = Literal["rw", "r"]
_ATTEMPTS = 10_000  # lost races before a commit gives up; each loss means that another writer succeeded
_REOPENS = 100  # how often the newest version may be vacuumed away while it is being opened


class Versions:
    """The log of one space: what `SpaceFiles` builds its changes on.

    Args:
        folder: The space's folder.
        mode: "r" never writes.

    Raises:
        UnknownSpace: The folder holds no space.
    """

    def __init__(self, folder: str | Path, mode: Mode = "rw") -> None:
        if mode not in ("rw", "r"):
            raise ConfigInvalid(f"mode is {mode!r}; use 'rw' or 'r'")
        self.folder = Path(folder)
        self.layout = SpaceLayout(self.folder)
        self.mode = mode
        self._log = Log(self.layout)
        self._latest: Snapshot | None = None
        if self._log.newest() is None:
            beside = self.folder.parent
            folders = [path for path in beside.iterdir() if path.is_dir()] if beside.is_dir() else []
            known = [path.name for path in folders if path.name != self.folder.name]
            raise UnknownSpace(f"no space {self.folder.name!r} in {beside}; {suggest(self.folder.name, known)}")

    @classmethod
    def create(
        cls,
        folder: str | Path,
        *,
        space: str,
        dim: int,
        metric: str,
        encoder: str | None = None,
        source: dict[str, Json] | None = None,
    ) -> Self:
        """Create a space: commits version 1, which is empty.

        Raises:
            AlreadyExists: The folder holds a space.
            ConfigInvalid: A name, width or metric that no space can have.
        """
        check_space_name(space)
        if isinstance(dim, bool) or not isinstance(dim, int) or not 1 <= dim <= 65_536:
            raise ConfigInvalid(f"dim is {dim!r}; use a whole number from 1 to 65536")
        layout = SpaceLayout(Path(folder))
        first = Manifest(1, _now(), space, dim, check_metric(metric), encoder, source=source, operation="create")
        with files.storing(layout.folder):
            for name in FOLDERS:
                files.make_folder(layout.folder / name)
            files.create_exclusive(layout.floor, b"1")
            with files.locked(layout.lock, shared=True):
                files.sync_folder(layout.folder)
            files.sync_folder(layout.folder.parent)  # again: whoever made the folder may have been killed before that
        log = Log(layout)
        if log.newest() is not None or not log.publish(first, Scratch(layout)):
            raise AlreadyExists(f"space {space!r} exists in {layout.folder}; open it, or choose another name")
        return cls(folder)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.folder} mode={self.mode}>"

    # Reading

    def newest_version(self) -> int:
        """The newest version's number."""
        newest = self._log.newest()
        if newest is None:
            raise UnknownSpace(f"space {self.folder.name!r} is gone from {self.folder.parent}; open the store again")
        return newest

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Open a version, the newest by default. Never locks, never waits.

        Raises:
            UnknownVersion: No such version (any more).
            ManifestInvalid, FormatTooNew: The manifest cannot be read.
            ChecksumMismatch: A file of it is missing or has another size.
        """
        if version is not None:
            return self._open(version)
        newest = self.newest_version()
        for _ in range(_REOPENS):
            try:
                return self._open(newest)
            except UnknownVersion:
                overtaken, newest = newest, self.newest_version()
                if newest == overtaken:
                    raise
        return self._open(newest)

    def _open(self, version: int) -> Snapshot:
        latest = self._latest
        if latest is not None and latest.version == version and self._log.exists(version):
            return latest
        snapshot = Snapshot.open(self.layout, self._log.read(version), latest)
        if latest is None or version > latest.version:
            self._latest = snapshot
        return snapshot

    def versions(self) -> list[Manifest]:
        """The versions that still exist, ascending."""
        found = []
        for version in self._log.listed():
            try:
                found.append(self._log.read(version))
            except UnknownVersion:  # vacuumed since it was listed
                continue
        return found

    # Committing

    def commit(
        self,
        change: Callable[[Snapshot], Manifest],
        *,
        operation: str,
        scratch: Scratch | None = None,
        requires: int | None = None,
    ) -> Manifest:
        """Make the next version.

        The change is run on the newest snapshot and, after each lost race, again on the one that won.

        Args:
            change: The manifest to commit, from a snapshot; version, time and operation are filled in. It returns the
                snapshot's own manifest when there is nothing to do: nothing is committed then. It raises
                `CommitConflict` when it cannot be rebased.
            operation: What the log says about this version.
            scratch: Where `change` writes files, if it does.
            requires: A version that must still exist at the commit.

        Returns:
            The manifest, durable with all that it names.
        """
        self._writable()
        scratch = scratch or Scratch(self.layout)
        with scratch:
            for _ in range(_ATTEMPTS):
                base = self.snapshot()
                try:
                    wanted = change(base)
                except (UnknownVersion, ChecksumMismatch) as error:  # vacuumed while it was read?
                    if gone := [path for path in scratch.paths if not path.exists()]:
                        raise files.vacuumed(gone[0]) from error
                    if isinstance(error, ChecksumMismatch) or self.newest_version() == base.version:
                        raise
                    continue  # others have gone on
                if wanted is base.manifest:
                    scratch.keep_only(set())
                    return wanted
                manifest = replace(wanted, version=base.version + 1, created=_now(), operation=operation)
                if self._log.publish(manifest, scratch, base=base.manifest, requires=requires):
                    scratch.keep_only({file.name for file in manifest.files()})
                    return manifest
            raise CommitConflict(f"{operation} lost {_ATTEMPTS} races; let other writers finish, then repeat it")

    def commit_manifest(
        self, change: Callable[[Manifest], Manifest], *, operation: str, scratch: Scratch, requires: int | None = None
    ) -> Manifest:
        """As `commit`, for a change that reads no row: it works where files of the newest version are damaged."""
        self._writable()
        with scratch:
            for _ in range(_ATTEMPTS):
                try:
                    base = self._log.read(self.newest_version())
                except UnknownVersion:  # a newer one came and a vacuum took this one
                    continue
                wanted = change(base)
                if wanted is base:
                    return base
                manifest = replace(wanted, version=base.version + 1, created=_now(), operation=operation)
                if self._log.publish(manifest, scratch, requires=requires):
                    return manifest
            raise CommitConflict(f"{operation} lost {_ATTEMPTS} races; let other writers finish, then repeat it")

    def _writable(self) -> None:
        if self.mode == "r":
            raise Forbidden(f"{self.folder} is open with mode='r'; open it with mode='rw' to write")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
