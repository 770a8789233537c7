"""Verify: compare every file of every version with what the manifests say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.errors import LatentStoreError, StorageError
from latentstore.storage import arrow, files, staging, tags
from latentstore.storage.hashing import hash_ids
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.log import Log, read_number
from latentstore.storage.manifest import FileRecord, Manifest, SegmentRecord
from latentstore.storage.segments import Segment
from latentstore.storage.sums import sums_of
from latentstore.types import Array

_REBUILD = "it is derived: run repair, which rebuilds it (or, where only old versions need it, vacuum them)"
_RESTORE = "restore it from a backup, or go back to a version that does not need it"
_MARK = "run repair, so that the newest version is found"
_DAMAGE = (pa.ArrowException, ValueError, OSError, KeyError, IndexError)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: The file.
        what: What is wrong with it.
        remedy: What to do.
    """

    path: Path
    what: str
    remedy: str


def run(log: Log, *, deep: bool) -> list[Problem]:
    """Check every version.

    Args:
        log: Of the space.
        deep: Also decode Parquet and compare the derived files with it.

    Returns:
        Problems, none twice. Files that no version names are no problem.
    """
    problems: list[Problem] = []
    checked: set[FileRecord] = set()
    segments: set[str] = set()
    sound: set[str] = set()  # names of files that are what some manifest says
    blamed: dict[Problem, tuple[str, int]] = {}
    for version in log.listed():
        try:
            manifest = log.read(version)
        except LookupError:  # vacuumed since it was listed
            continue
        except LatentStoreError as error:
            problems.append(Problem(log.layout.manifest(version), str(error), _RESTORE))
            continue
        damaged = set()
        for record in manifest.files():
            if record in checked:
                continue
            checked.add(record)
            found = _compare(log.layout, record)
            if found is None:
                sound.add(record.name)
            elif log.exists(version):
                problems.append(found)
                blamed[found] = record.name, version
        damaged = {problem.path for problem in problems}
        for segment in manifest.segments:
            key = " ".join([segment.uuid, "with", *(file.name for file in segment.beside())])
            if key not in segments and not any(log.layout.file(f.name) in damaged for f in _files(segment)):
                segments.add(key)
                problems += _segment(log.layout, manifest, segment, deep=deep and segment.uuid not in segments)
                segments.add(segment.uuid)
    problems = [_of_manifest(log, *blamed[one]) if blamed.get(one, ("",))[0] in sound else one for one in problems]
    return [*_with_way_back(log, problems), *_tags(log), *_marks(log), *_staged(log)]


def _of_manifest(log: Log, name: str, version: int) -> Problem:
    """Two manifests say different things of one file, and it is as the other says: then this manifest is damaged."""
    what = f"says of {name} what other versions do not, and they are right"
    return Problem(log.layout.manifest(version), what, _RESTORE)


def _with_way_back(log: Log, problems: list[Problem]) -> list[Problem]:
    """Name the newest version that is whole, where a file cannot be rebuilt."""
    lost = {problem.path for problem in problems if problem.remedy == _RESTORE}
    for version in reversed(log.listed() if lost else []):
        try:
            named = {log.layout.file(record.name) for record in log.read(version).files()}
        except LatentStoreError:
            continue
        if not lost & named:
            way = f"restore it from a backup, or go back to version {version}, which does not need it (restore)"
            return [replace(one, remedy=way) if one.path in lost else one for one in problems]
    return problems


def _marks(log: Log) -> Iterator[Problem]:
    """The marks by which the newest version is found, and manifests that are missing between others."""
    layout = log.layout
    floor, hint = read_number(layout.floor), read_number(layout.hint)
    listed = log.listed()
    if not listed or read_number(layout.floor) != floor:  # a vacuum is at work: what it leaves is in order
        return
    if floor is None:
        yield Problem(layout.floor, "is missing or holds no version", _MARK)
    elif floor not in listed:
        yield Problem(layout.floor, f"names version {floor}, which does not exist", _MARK)
    missing = sorted(set(range(floor or listed[-1], listed[-1])).difference(listed))
    for version in missing:
        yield Problem(layout.manifest(version), "is missing between others", f"restore it from a backup; {_MARK}")
    if layout.hint.exists() and (hint is None or hint > listed[-1]):
        yield Problem(layout.hint, "holds no version that exists", _MARK)


def _staged(log: Log) -> Iterator[Problem]:
    for key in staging.keys(log.layout):
        for path, one in staging.listed(log.layout, key):
            if path.exists() and (one is None or not one.whole()) and path.exists():
                remedy = f"run repair, or the job {key!r} again: it writes this part once more"
                yield Problem(path, "an entry of an unfinished job, or a file it names, is damaged", remedy)


def _files(segment: SegmentRecord) -> Iterator[FileRecord]:
    yield from segment.files.values()
    yield from segment.beside()


def _compare(layout: SpaceLayout, record: FileRecord) -> Problem | None:
    path = layout.file(record.name)
    derived = path.suffix in (".f32", ".ids", ".sums") or record.name.startswith(("index/", "concepts/", "maps/"))
    remedy = _REBUILD if derived else _RESTORE
    try:
        size = path.stat().st_size
        if size != record.size:
            return Problem(path, f"has {size} bytes, the manifest says {record.size}", remedy)
        if files.sha256_of(path) != record.sha256:
            return Problem(path, "its sha256 is not what the manifest says", remedy)
    except FileNotFoundError:
        return Problem(path, "is missing", remedy)
    except OSError as error:
        return Problem(path, f"cannot be read: {error.strerror}", remedy)
    return None


def _segment(layout: SpaceLayout, manifest: Manifest, record: SegmentRecord, *, deep: bool) -> Iterator[Problem]:
    """Problems inside files whose checksums are right: a mistake of the writer, not of the disk."""
    # Without the sums: every file was compared already, and sums that are wrong must not hide what else is.
    plain = replace(record, files={kind: file for kind, file in record.files.items() if kind != "sums"})
    segment = Segment(layout, plain, manifest.dim, manifest.version)
    try:
        dead = segment.dead_positions
        if len(dead) and (np.diff(dead) <= 0).any():
            assert record.deletes is not None
            yield Problem(layout.file(record.deletes.name), "dead rows are not sorted and distinct", _RESTORE)
        _ = segment.patched_positions  # read and checked
        if deep:
            found = list(_derived(layout, segment, record))
            yield from found or _sums(layout, record)
    except (*_DAMAGE, StorageError) as error:
        yield Problem(segment.path, f"cannot be decoded: {error}", _RESTORE)


def _derived(layout: SpaceLayout, segment: Segment, record: SegmentRecord) -> Iterator[Problem]:
    f32, ids = layout.file(record.files["f32"].name), layout.file(record.files["ids"].name)
    hashes = segment.row_hashes
    if (segment.hashes[1:] < segment.hashes[:-1]).any():
        yield Problem(ids, "hashes are not sorted", _REBUILD)
    start = 0
    for batch in pq.ParquetFile(segment.path).iter_batches(16_384, columns=["row", "id", "vector"]):
        stop = start + batch.num_rows
        if not _same_bits(batch.column("vector").flatten().to_numpy(), segment.mapped[start:stop].ravel()):
            yield Problem(f32, f"differs from {segment.path.name} between positions {start} and {stop}", _REBUILD)
        texts = batch.column("id").to_pylist()
        same = texts == segment.ids[start:stop].to_pylist()
        same &= np.array_equal(batch.column("row").to_numpy(), segment.relative_rows[start:stop])
        if not (same and np.array_equal(hash_ids(arrow.encode(texts)), hashes[start:stop])):
            yield Problem(ids, f"differs from {segment.path.name} between positions {start} and {stop}", _REBUILD)
        start = stop
    if start != record.count:
        yield Problem(segment.path, f"has {start} rows, the manifest says {record.count}", _RESTORE)


def _sums(layout: SpaceLayout, record: SegmentRecord) -> Iterator[Problem]:
    paths = {kind: layout.file(file.name) for kind, file in record.files.items()}
    if "sums" in paths and paths["sums"].read_bytes() != sums_of(paths).tobytes():
        yield Problem(paths["sums"], "differs from the files whose sums it holds", _REBUILD)


def _same_bits(a: Array, b: Array) -> bool:
    return np.array_equal(np.ascontiguousarray(a).view(np.uint32), np.ascontiguousarray(b).view(np.uint32))


def _tags(log: Log) -> Iterator[Problem]:
    for path in sorted(log.layout.tags.glob("*.json")):
        try:
            version = tags.read(path)
        except LatentStoreError as error:
            yield Problem(path, str(error), "set the tag again")
            continue
        if version is not None and not log.exists(version):
            yield Problem(path, f"names version {version}, which does not exist", "set the tag again")
