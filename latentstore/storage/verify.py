"""Verify: compare every file of every version with what the manifests say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.errors import LatentStoreError, StorageError
from latentstore.storage import arrow, files, tags
from latentstore.storage.hashing import hash_ids
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.log import Log
from latentstore.storage.manifest import FileRecord, Manifest, SegmentRecord
from latentstore.storage.segments import Segment
from latentstore.types import Array

_REBUILD = "it is derived: restore it from a backup, or write the rows again"
_RESTORE = "restore it from a backup, or go back to a version that does not need it"
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
            if found and log.exists(version):
                problems.append(found)
        damaged = {problem.path for problem in problems}
        for segment in manifest.segments:
            key = f"{segment.uuid} {segment.deletes.name if segment.deletes else ''}"
            if key not in segments and not any(log.layout.file(f.name) in damaged for f in _files(segment)):
                segments.add(key)
                problems += _segment(log.layout, manifest, segment, deep=deep and segment.uuid not in segments)
                segments.add(segment.uuid)
    problems += _tags(log)
    return problems


def _files(segment: SegmentRecord) -> Iterator[FileRecord]:
    yield from segment.files.values()
    if segment.deletes is not None:
        yield segment.deletes


def _compare(layout: SpaceLayout, record: FileRecord) -> Problem | None:
    path = layout.file(record.name)
    remedy = _REBUILD if path.suffix in (".f32", ".ids", ".sums") or record.name.startswith("index/") else _RESTORE
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
    segment = Segment(layout, record, manifest.dim, manifest.version)
    try:
        dead = segment.dead_positions
        if len(dead) and (np.diff(dead) <= 0).any():
            assert record.deletes is not None
            yield Problem(layout.file(record.deletes.name), "dead rows are not sorted and distinct", _RESTORE)
        if deep:
            yield from _derived(layout, segment, record)
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
