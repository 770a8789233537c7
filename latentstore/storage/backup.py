"""Backup: copy a store while others write, into a folder that is a store itself at every moment.

No lock is taken on the source: versions and their files are immutable. Files are copied first, then the manifests that
name them, oldest first, so that the copy never holds a version without its files. A backup that is killed has the
versions it had finished, and goes on from there the next time. A vacuum may take versions away meanwhile; these are
left out.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from latentstore.errors import AlreadyExists, ChecksumMismatch, ConfigInvalid, NotFound, StorageError, UnknownVersion
from latentstore.storage import files, tags
from latentstore.storage.copying import Vanished, copy_checked, is_there
from latentstore.storage.layout import DATA_FOLDERS, FOLDERS, SpaceLayout, StoreLayout
from latentstore.storage.log import Log, read_number
from latentstore.storage.manifest import FileRecord, Manifest

ENCODER_FILES = ("weights.safetensors", "card.json", "spec.json")  # the spec last: it makes a folder an encoder
_PASSES = 100  # how often the newest version may be vacuumed away while it is being copied


@dataclass
class BackupReport:
    """What a backup did.

    Attributes:
        folder: The backup, a store.
        spaces: Newest version in the backup by space.
        versions: Versions that are new in the backup.
        copied: Files copied.
        kept: Files that were there already.
        bytes: Of the files copied.
    """

    folder: Path
    spaces: dict[str, int] = field(default_factory=dict)
    versions: int = 0
    copied: int = 0
    kept: int = 0
    bytes: int = 0


def refuse_overlap(source: StoreLayout, target: StoreLayout) -> None:
    """Raise `ConfigInvalid` when one folder lies in the other; before anything is made."""
    here, there = source.folder.resolve(), target.folder.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise ConfigInvalid(f"{target.folder} and {source.folder} overlap; name a backup folder outside the store")


def run(source: StoreLayout, target: StoreLayout, *, check: bool = False) -> BackupReport:
    """Bring a backup up to date.

    Args:
        source: The store.
        target: The backup: a store that this one was copied to before, or was made just now.
        check: Read files that are there again and replace what is damaged; else their size is compared.

    Raises:
        AlreadyExists: The target has versions that the source does not have: it is no backup of it.
        ChecksumMismatch: A file of the source is damaged; the versions that need it are not copied.
        StorageError: The disk is full or read-only.
    """
    report = BackupReport(target.folder)
    with files.storing(target.folder), files.locked(target.store_json):  # one backup into a folder at a time
        for fingerprint in _names(source.encoders):
            copy_encoder(source, target, fingerprint, report)
        for name in _names(source.spaces):
            if (source.spaces / name / "manifests").is_dir():
                _Space(source, target, name, report, check).copy()
    return report


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def copy_encoder(source: StoreLayout, target: StoreLayout, fingerprint: str, report: BackupReport) -> None:
    """Copy an encoder; its folder appears whole. Of one that is there only the card can have changed."""
    origin, place = source.encoder(fingerprint), target.encoder(fingerprint)
    if not (origin / "spec.json").is_file():
        return
    content = {name: (origin / name).read_bytes() for name in ENCODER_FILES if (origin / name).is_file()}
    if place.is_dir():
        for name, wanted in content.items():
            path = place / name
            if path.is_file() and path.stat().st_size == len(wanted) and path.read_bytes() == wanted:
                report.kept += 1
                continue
            files.replace(path, wanted)
            report.copied, report.bytes = report.copied + 1, report.bytes + len(wanted)
        return
    files.make_folder(target.encoders)
    temporary = target.encoders / f".{fingerprint}.{uuid4().hex}"
    try:
        temporary.mkdir()
        for name, wanted in content.items():
            files.replace(temporary / name, wanted)
            report.copied, report.bytes = report.copied + 1, report.bytes + len(wanted)
        os.rename(temporary, place)  # noqa: PTH104 (Path.rename would do the same)
        files.sync_folder(target.encoders)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Space:
    """One space of a backup."""

    def __init__(self, source: StoreLayout, target: StoreLayout, name: str, report: BackupReport, check: bool) -> None:
        self._stores = source, target
        self._from, self._to = SpaceLayout(source.space(name)), SpaceLayout(target.space(name))
        self._log, self._copy = Log(self._from), Log(self._to)
        self._report, self._check = report, check
        self._seen: set[str] = set()  # files that are known to be in the backup
        self._encoders: set[str] = set()

    def copy(self) -> None:
        """Copy what is new, until the newest version and every tagged one are there."""
        for _ in range(_PASSES):
            tagged = tags.listed(self._from)  # before the versions: what they name is then listed, or was vacuumed
            listed = self._log.listed()
            if not listed:  # being created
                return
            self._refuse_other(listed)
            self._prepare()
            there = {version for version in listed if self._version(version)}
            if listed[-1] in there and there.issuperset(tagged.values()):
                self._finish(tagged)
                return
        raise StorageError(f"{self._from.folder} is vacuumed faster than it can be copied; give vacuum a retention")

    def _refuse_other(self, listed: list[int]) -> None:
        """The backup's versions must be the source's, or older than what a vacuum left there."""
        mine = self._copy.listed()
        advice = f"{self._to.folder} is no backup of {self._from.folder}; name an empty folder, or the right one"
        if mine and mine[-1] > listed[-1]:
            raise AlreadyExists(f"version {mine[-1]} is in the backup, the store ends at {listed[-1]}: {advice}")
        for version in sorted({*mine}.intersection(listed)):
            with suppress(FileNotFoundError):
                if self._from.manifest(version).read_bytes() != self._to.manifest(version).read_bytes():
                    raise AlreadyExists(f"version {version} is another one in the backup: {advice}")

    def _prepare(self) -> None:
        for left in self._to.folder.glob(f"{files.TEMPORARY}*"):  # by a backup that was killed
            shutil.rmtree(left, ignore_errors=True)
        for kind in FOLDERS:
            if kind != "manifests":  # which makes the folder a space: it comes with the first version
                files.make_folder(self._to.folder / kind)

    def _version(self, version: int) -> bool:
        """Copy a version; False when it was vacuumed meanwhile."""
        try:
            content = self._from.manifest(version).read_bytes()
        except FileNotFoundError:
            return False
        manifest = Manifest.from_bytes(content, self._from.manifest(version))
        try:
            for record in manifest.files():
                self._file(record)
        except Vanished as error:
            if self._log.exists(version):
                raise ChecksumMismatch(
                    f"{error} is missing and version {version} needs it; run repair, or let vacuum drop the version"
                ) from error
            return False
        if self._copy.exists(version):
            return True
        self._encoder(manifest)
        for kind in DATA_FOLDERS:
            files.sync_folder(self._to.folder / kind)
        self._publish(version, content)
        self._report.versions += 1
        return True

    def _file(self, record: FileRecord) -> None:
        if record.name in self._seen:
            return
        path = self._to.file(record.name)
        if is_there(path, record, check=self._check):
            self._report.kept += 1
        else:
            copy_checked(self._from.file(record.name), path, record)
            self._report.copied, self._report.bytes = self._report.copied + 1, self._report.bytes + record.size
        self._seen.add(record.name)

    def _encoder(self, manifest: Manifest) -> None:
        """An encoder may have come since the encoders were listed."""
        if manifest.encoder is not None and manifest.encoder not in self._encoders:
            copy_encoder(*self._stores, manifest.encoder, self._report)
            self._encoders.add(manifest.encoder)

    def _publish(self, version: int, content: bytes) -> None:
        folder = self._to.manifests
        if folder.is_dir():
            files.create_exclusive(self._to.manifest(version), content)
            return
        temporary = folder.with_name(f"{files.TEMPORARY}{uuid4().hex}")
        try:
            temporary.mkdir()
            files.create_exclusive(temporary / "floor", str(version).encode())
            files.create_exclusive(temporary / self._to.manifest(version).name, content)
            os.rename(temporary, folder)  # noqa: PTH104 (Path.rename would do the same)
            files.sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _finish(self, tagged: dict[str, int]) -> None:
        """Make the newest version findable across gaps that vacuum left, and known as such; then move the tags."""
        listed = self._copy.listed()
        newest = floor = listed[-1]
        while floor - 1 in set(listed):
            floor -= 1
        if floor > (read_number(self._to.floor) or 0) or self._copy.newest() != newest:
            files.replace(self._to.floor, str(floor).encode())
        self._copy.remember(newest)
        mine = tags.listed(self._to)
        for name, version in tagged.items():
            if mine.get(name) != version:
                tags.put(self._to, name, version)
        for name in mine.keys() - tagged.keys():
            with suppress(NotFound, UnknownVersion):
                tags.delete(self._to, name)
        self._report.spaces[self._from.folder.name] = newest
