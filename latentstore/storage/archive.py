"""A store as one file: an uncompressed tar whose first member lists every other one with size and sha256.

The list's own name carries the sha256 of its content: `latentstore-<sha256>.json`. Any tar program reads the file.
`unarchive` reads it with suspicion.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from latentstore.errors import AlreadyExists, ChecksumMismatch, StorageError
from latentstore.storage import files, tags
from latentstore.storage.backup import ENCODER_FILES
from latentstore.storage.copying import BLOCK
from latentstore.storage.layout import SpaceLayout, StoreLayout
from latentstore.storage.log import Log
from latentstore.storage.manifest import FileRecord, Manifest, seal

FORMAT = 1
LIST = "latentstore-{}.json"
_ATTEMPTS = 5  # how often a vacuum may take away a file that was listed


@dataclass(frozen=True)
class Archived:
    """What is in an archive.

    Attributes:
        path: The file, or the store it was unpacked to.
        spaces: Newest version by space.
        files: How many.
        bytes: Of the files.
    """

    path: Path
    spaces: dict[str, int]
    files: int
    bytes: int


@dataclass(frozen=True)
class _Member:
    """A file to pack: from disk, or small and in memory."""

    record: FileRecord
    origin: Path
    content: bytes | None = None


def write(source: StoreLayout, path: Path, *, overwrite: bool = False) -> Archived:
    """Pack every version, tag and encoder of a store, while others may write.

    Args:
        source: The store.
        path: The file to make; it appears whole.
        overwrite: Replace a file that is there.

    Raises:
        AlreadyExists: The file is there.
        ChecksumMismatch: A file of the store is damaged.
        StorageError: The disk is full, or a vacuum is faster.
    """
    if path.exists() and not overwrite:
        raise AlreadyExists(f"{path} exists; name another file, or overwrite it")
    for _ in range(_ATTEMPTS):
        spaces: dict[str, int] = {}
        try:
            members = list(_survey(source, spaces))
            _pack(members, spaces, path)
        except FileNotFoundError as error:
            missing = Path(str(error.filename))
            if missing.parent.is_dir() and missing.is_relative_to(source.folder) and not _vacuumed(source, missing):
                raise ChecksumMismatch(
                    f"{missing} is missing and a version needs it; run repair, or let vacuum drop the version"
                ) from error
            continue
        return Archived(path, spaces, len(members), sum(member.record.size for member in members))
    raise StorageError(f"{source.folder} is vacuumed faster than it can be packed; give vacuum a retention")


def _vacuumed(source: StoreLayout, missing: Path) -> bool:
    """Whether no version names the file any more."""
    space = SpaceLayout(source.spaces / missing.relative_to(source.spaces).parts[0])
    log = Log(space)
    return not any(space.file(one.name) == missing for version in log.listed() for one in log.read(version).files())


def _survey(source: StoreLayout, spaces: dict[str, int]) -> Iterator[_Member]:
    yield _small(source, source.store_json)
    for folder in _folders(source.spaces):
        if (folder / "manifests").is_dir():
            yield from _space(source, SpaceLayout(folder), spaces)
    for folder in _folders(source.encoders):
        if (folder / "spec.json").is_file():
            for name in ENCODER_FILES:
                if (folder / name).is_file():
                    yield _small(source, folder / name)


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if not one.name.startswith(".")) if folder.is_dir() else []


def _space(source: StoreLayout, layout: SpaceLayout, spaces: dict[str, int]) -> Iterator[_Member]:
    log = Log(layout)
    tagged = tags.listed(layout)
    versions = log.listed()
    if not versions:
        return
    seen: set[str] = set()
    for version in versions:
        member = _small(source, layout.manifest(version))
        assert member.content is not None
        for record in Manifest.from_bytes(member.content, member.origin).files():
            if record.name not in seen:
                seen.add(record.name)
                name = f"spaces/{layout.folder.name}/{record.name}"
                yield _Member(FileRecord(name, record.size, record.sha256), layout.file(record.name))
        yield member
    floor = versions[-1]
    while floor - 1 in set(versions):
        floor -= 1
    yield _inline(source, layout.floor, str(floor).encode())
    for tag, version in tagged.items():
        if version in set(versions):
            yield _inline(source, layout.tag(tag), seal({"version": version}))
    spaces[layout.folder.name] = versions[-1]


def _small(source: StoreLayout, path: Path) -> _Member:
    return _inline(source, path, path.read_bytes())


def _inline(source: StoreLayout, path: Path, content: bytes) -> _Member:
    name = path.relative_to(source.folder).as_posix()
    return _Member(FileRecord(name, len(content), hashlib.sha256(content).hexdigest()), path, content)


def _pack(members: list[_Member], spaces: dict[str, int], path: Path) -> None:
    listed = {"format": FORMAT, "spaces": spaces, "files": [asdict(member.record) for member in members]}
    content = json.dumps(listed, separators=(",", ":")).encode()
    first = _inline_list(content)
    temporary = path.with_name(f"{files.TEMPORARY}{uuid4().hex}")
    try:
        with files.storing(path), temporary.open("xb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
                for member in (first, *members):
                    _add(tar, member)
            file.flush()
            os.fsync(file.fileno())
        with files.storing(path):
            temporary.replace(path)
            files.sync_folder(path.parent)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError) and error.__cause__.filename != str(temporary):
            raise error.__cause__ from None
        raise
    finally:
        files.discard([temporary])


def _inline_list(content: bytes) -> _Member:
    digest = hashlib.sha256(content).hexdigest()
    return _Member(FileRecord(LIST.format(digest), len(content), digest), Path(), content)


def _add(tar: tarfile.TarFile, member: _Member) -> None:
    entry = tarfile.TarInfo(member.record.name)
    entry.size, entry.mode = member.record.size, 0o644
    if member.content is not None:
        tar.addfile(entry, io.BytesIO(member.content))
        return
    if member.origin.stat().st_size != entry.size:
        raise ChecksumMismatch(f"{member.origin} has another size than the manifest says; run repair")
    with member.origin.open("rb", buffering=0) as file:
        hashed = _Hashed(file)
        tar.addfile(entry, hashed)
    if hashed.sha.hexdigest() != member.record.sha256:
        raise ChecksumMismatch(f"{member.origin} is not what the manifest says; run repair, or vacuum its version")


class _Hashed(io.RawIOBase):
    """Reads a file and hashes what is read."""

    def __init__(self, file: io.FileIO) -> None:
        self.sha = hashlib.sha256()
        self._file = file

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(min(size, BLOCK) if size >= 0 else -1)
        self.sha.update(block)
        return block
