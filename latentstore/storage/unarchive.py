"""Unpacking an archive that anyone may have made: everything is checked before anything is visible.

Accepted are regular files of a store's layout, in the order and with the sizes and sha256 that the list in front says,
each once; so there is no place for paths that climb, links, devices, sparse files, repeated names or compressed bombs.
The store is built in a hidden folder, compared with its own manifests, and appears by one rename.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any
from uuid import uuid4

from latentstore.errors import (
    AlreadyExists,
    ChecksumMismatch,
    FormatTooNew,
    InputError,
    LatentStoreError,
    ManifestInvalid,
    StorageError,
)
from latentstore.storage import files
from latentstore.storage.archive import FORMAT, Archived
from latentstore.storage.copying import BLOCK
from latentstore.storage.layout import FOLDERS, SpaceLayout, StoreLayout
from latentstore.storage.log import Log
from latentstore.storage.manifest import FileRecord, check_format, parse_json
from latentstore.storage.sink import Sink

_LIST = re.compile(r"latentstore-([0-9a-f]{64})\.json")
_MAX_LIST = 1 << 30  # bytes of the list: some five million files
_WORD = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,150}"
_ALLOWED = re.compile(
    r"store\.json"
    r"|encoders/[A-Za-z0-9_-]{1,128}/(?:spec\.json|card\.json|weights\.safetensors)"
    r"|spaces/[a-z][a-z0-9_]{0,150}/(?:manifests/(?:\d{12,18}\.json|floor)"
    rf"|(?:segments|deletes|index|concepts|maps)/{_WORD}|tags/{_WORD}\.json)",
    re.ASCII,
)


def read(path: Path, folder: Path) -> Archived:
    """Unpack an archive into a new store, all or nothing.

    Args:
        path: The archive.
        folder: The store to make; missing or empty.

    Raises:
        AlreadyExists: The folder holds something.
        InputError: The file is no archive, or holds what no archive of a store holds.
        ChecksumMismatch: Its content is not what its list says, or the list not what the manifests say.
        FormatTooNew: Written by a newer release.
        StorageError: It cannot be read, or the folder not be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AlreadyExists(f"{folder} exists and is not empty; name a new folder for the store")
    folder = folder.absolute()
    with files.storing(folder):
        files.make_folder(folder.parent)
    hidden = folder.with_name(f".{folder.name}.import-{uuid4().hex}")
    try:
        with path.open("rb") as file:
            found = _unpack(path, file, hidden)
        with files.storing(folder):
            if folder.is_dir():
                folder.rmdir()
            os.rename(hidden, folder)  # noqa: PTH104 (Path.rename would do the same)
            files.sync_folder(folder.parent)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}; check the path and the disk") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return Archived(folder, *found)


def _unpack(path: Path, file: Any, hidden: Path) -> tuple[dict[str, int], int, int]:
    length = os.fstat(file.fileno()).st_size
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            first = tar.next()
            if first is None:
                raise InputError(f"{path} is empty; it is no archive of a store")
            listed, spaces = _list(path, tar, first, length)
            with files.storing(hidden):
                hidden.mkdir()
            for record in listed:
                _member(path, tar, record, hidden)
            extra = tar.next()
            if extra is not None:
                raise InputError(f"{path} holds {extra.name!r}, which its list does not name; do not trust it")
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        if isinstance(error, LatentStoreError):
            raise
        raise InputError(f"{path} is no archive of a store, or damaged ({error}); export it again") from error
    _check_store(path, hidden, {record.name: record for record in listed}, spaces)
    return spaces, len(listed), sum(record.size for record in listed)


def _regular(path: Path, entry: tarfile.TarInfo) -> None:
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.issparse() or entry.pax_headers:
        raise InputError(f"{path} holds {entry.name!r}, which is no plain file; do not trust it")


def _list(
    path: Path, tar: tarfile.TarFile, entry: tarfile.TarInfo, length: int
) -> tuple[list[FileRecord], dict[str, int]]:
    match = _LIST.fullmatch(entry.name)
    if match is None:
        raise InputError(f"{path} begins with {entry.name!r}, not with a list of files; it is no archive of a store")
    _regular(path, entry)
    if entry.size > min(length, _MAX_LIST):
        raise InputError(f"{path} announces a list of {entry.size} bytes; it is truncated or made to do harm")
    content = tar.extractfile(entry).read()  # type: ignore[union-attr]
    if hashlib.sha256(content).hexdigest() != match[1]:
        raise ChecksumMismatch(f"the list in {path} is not what its name says; the file is damaged: export it again")
    value = parse_json(content, path)
    version = value.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise FormatTooNew(f"{path} has archive format {version}, this release reads up to {FORMAT}; upgrade it")
    try:
        listed = [FileRecord.from_json(one) for one in value["files"]]
        spaces = {str(name): int(newest) for name, newest in value["spaces"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ManifestInvalid(f"the list in {path} is not whole ({error}); export it again") from error
    seen: set[str] = set()
    for record in listed:
        if not _ALLOWED.fullmatch(record.name):
            raise InputError(f"{path} holds {record.name!r}, which is no file of a store; do not trust it")
        if record.name.lower() in seen:  # some file systems do not tell A from a
            raise InputError(f"{path} holds {record.name!r} twice; do not trust it")
        seen.add(record.name.lower())
    if sum(record.size for record in listed) > length:
        raise InputError(f"{path} announces more than its {length} bytes; it is truncated or made to do harm")
    return listed, spaces


def _member(path: Path, tar: tarfile.TarFile, record: FileRecord, hidden: Path) -> None:
    entry = tar.next()
    if entry is None:
        raise ChecksumMismatch(f"{path} ends before {record.name!r}; it is truncated: export it again")
    _regular(path, entry)
    if (entry.name, entry.size) != (record.name, record.size):
        raise InputError(
            f"{path} holds {entry.name!r} of {entry.size} bytes where its list says {record.name!r} of {record.size}; "
            "do not trust it"
        )
    target = hidden / record.name
    source = tar.extractfile(entry)
    assert source is not None
    with files.storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with Sink(target) as sink:
            while block := source.read(BLOCK):
                sink.write(block)
            sink.sync()
            size, sha256 = sink.finish()
    if (size, sha256) != (record.size, record.sha256):
        raise ChecksumMismatch(f"{record.name!r} in {path} is damaged (size or sha256); export it again")


def _check_store(path: Path, hidden: Path, listed: dict[str, FileRecord], spaces: dict[str, int]) -> None:
    """The unpacked files are a store: marked as one, and every version finds its files."""
    layout = StoreLayout(hidden)
    if "store.json" not in listed:
        raise InputError(f"{path} has no store.json; it is no archive of a store")
    check_format(parse_json(layout.store_json.read_bytes(), layout.store_json), layout.store_json)
    names = sorted(one.name for one in layout.spaces.iterdir()) if layout.spaces.is_dir() else []
    if names != sorted(spaces):
        raise InputError(f"{path} holds the spaces {names}, its list says {sorted(spaces)}; do not trust it")
    for name in names:
        space = SpaceLayout(layout.space(name))
        log = Log(space)
        for version in log.listed():
            for record in log.read(version).files():
                held = listed.get(f"spaces/{name}/{record.name}")
                if held is None or (held.size, held.sha256) != (record.size, record.sha256):
                    raise ChecksumMismatch(
                        f"{path} lacks {record.name!r} as version {version} of space {name!r} needs it; export it again"
                    )
        if log.newest() != spaces[name]:
            raise InputError(f"{path} ends space {name!r} at {log.newest()}, its list says {spaces[name]}")
        with files.storing(space.folder):
            for kind in FOLDERS:
                (space.folder / kind).mkdir(exist_ok=True)
    with files.storing(hidden):
        for one in (layout.encoders, layout.spaces):
            one.mkdir(exist_ok=True)
        for below in (hidden, *(one for one in hidden.rglob("*") if one.is_dir())):
            files.sync_folder(below)
