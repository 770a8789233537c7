"""The log of versions: finding the newest manifest, reading them, and the commit.

A version exists when its manifest does. Three files decide how the newest is found without listing the folder:

* manifests are numbered without gaps from `floor` upwards, so a probe that doubles its steps and then halves them
  (galloping search) finds the last one in O(log n) looks;
* `floor` is raised, durably, before vacuum deletes anything, so whoever sees a gap also sees a new floor;
* `newest` is a guess where to begin. It is neither trusted nor fsynced: a missing, damaged or old one costs looks only.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

from latentstore.errors import ManifestInvalid, StorageError, UnknownVersion
from latentstore.storage import files
from latentstore.storage.layout import DATA_FOLDERS, SpaceLayout, version_of
from latentstore.storage.manifest import Manifest
from latentstore.storage.writing import Scratch

_LOOKS = 100  # how often vacuums may raise the floor under one search before it lists the folder instead


class Log:
    """The manifests of one space."""

    def __init__(self, layout: SpaceLayout) -> None:
        self.layout = layout

    def newest(self) -> int | None:
        """The newest version, or None when there is none."""
        for _ in range(_LOOKS):
            floor = read_number(self.layout.floor)
            if floor is None or not self.exists(floor):
                break
            start = max(floor, read_number(self.layout.hint) or 0)
            found = self._gallop(start if self.exists(start) else floor)
            if read_number(self.layout.floor) == floor:
                return found
        return max(self.listed(), default=None)

    def _gallop(self, known: int) -> int:
        step = 1
        while self.exists(known + step):
            known, step = known + step, step * 2
        missing = known + step
        while missing - known > 1:
            middle = (known + missing) // 2
            known, missing = (middle, missing) if self.exists(middle) else (known, middle)
        return known

    def exists(self, version: int) -> bool:
        """Whether the version's manifest is there."""
        path = self.layout.manifest(version)
        with files.reading(path):
            return path.exists()

    def unfinished(self) -> bool:
        """Whether a creation ended before the first version: there is no manifest, and nothing that one could name."""
        if self.exists(read_number(self.layout.hint) or 1):  # one look where there is nothing to doubt
            return False
        if self.newest() is not None or (read_number(self.layout.floor) or 1) > 1:
            return False
        with files.reading(self.layout.folder):
            return not any(any((self.layout.folder / kind).glob("*")) for kind in DATA_FOLDERS)

    def listed(self) -> list[int]:
        """All versions that still exist, ascending, by listing the folder."""
        try:
            names = [path.name for path in self.layout.manifests.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise files.unreadable(self.layout.manifests, error) from error
        return sorted(version for version in map(version_of, names) if version is not None)

    def read(self, version: int) -> Manifest:
        """Read one version.

        Raises:
            UnknownVersion: It never was, or was vacuumed.
            ManifestInvalid: Its manifest is damaged.
            FormatTooNew: Written by a newer release.
        """
        path = self.layout.manifest(version)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            newest = self.newest()
            why = "it was vacuumed" if 0 < version <= (newest or 0) else f"the newest is {newest}"
            raise UnknownVersion(
                f"no version {version} of space {self.layout.folder.name!r}: {why}; see versions()"
            ) from None
        except OSError as error:
            raise files.unreadable(path, error) from error
        manifest = Manifest.from_bytes(content, path)
        if manifest.version != version:
            raise ManifestInvalid(f"{path} says it is version {manifest.version}; restore it from a backup")
        return manifest

    def publish(
        self, manifest: Manifest, scratch: Scratch, *, base: Manifest | None = None, requires: int | None = None
    ) -> bool:
        """Create the manifest of the next version: the commit.

        The lock is shared by all committers, so they never wait for each other; it only keeps vacuum from deleting
        manifests in the instant of the link, when a stalled writer could land in a gap below the newest version.

        Args:
            manifest: Its version must be one more than the version it was derived from.
            scratch: The files it names and no other version does.
            base: The version it was derived from.
            requires: A version that must still exist because its files are named again.

        Returns:
            False when another writer took the version first.

        Raises:
            CommitConflict: Vacuum removed a file before it was named, its grace being shorter than the write.
            StorageError: The disk is full or broken; the message says what became of the version.
        """
        layout = self.layout
        path = layout.manifest(manifest.version)
        with files.storing(path):
            folders = {path.parent for path in scratch.paths if path.exists()}
            written: list[Path] = []
            try:
                files.together(  # each waits for the disk, and none for another
                    lambda: written.append(files.write_temporary(layout.manifests, manifest.to_bytes())),
                    *(partial(files.sync_folder, folder) for folder in folders),
                )
                (temporary,) = written
                with files.locked(layout.lock, shared=True):
                    if (read_number(layout.floor) or 0) > manifest.version:
                        return False
                    if requires is not None:
                        self.read(requires)
                    self._refuse_vacuumed(temporary, manifest, base)
                    scratch.settled = True  # unless it is certain that no version names the files
                    try:
                        scratch.settled = files.link(temporary, path)
                    except OSError:
                        scratch.settled = False
                        raise
                    if not scratch.settled:
                        return False
            finally:
                files.discard(written)
        try:
            files.sync_folder(layout.manifests)
        except OSError as error:
            raise StorageError(
                f"version {manifest.version} is visible but {layout.manifests} could not be made durable "
                f"({error.strerror}); check the disk, then see versions() before repeating the change"
            ) from error
        self.remember(manifest.version)
        return True

    def _refuse_vacuumed(self, temporary: Path, manifest: Manifest, base: Manifest | None) -> None:
        """Raise `CommitConflict` if a file is gone that only this version names; vacuum waits for our lock."""
        named = set(base.files()) if base else set()
        new = [self.layout.file(file.name) for file in manifest.files() if file not in named]
        for path in (temporary, *new):
            if not path.exists():
                raise files.vacuumed(path)

    def remember(self, version: int) -> None:
        """Leave the guess for the next reader; it may fail, be lost or be overtaken without harm."""
        with suppress(OSError):
            files.replace(self.layout.hint, str(version).encode(), durable=False)


def read_number(path: Path) -> int | None:
    """The positive number a file holds, or None when it is missing or damaged."""
    try:
        text = path.read_bytes()
    except OSError:
        return None
    return int(text) if text.isdigit() and len(text) <= 18 else None
