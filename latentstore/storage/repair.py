"""Repair: rebuild what is derived from committed rows; rows, deletes and manifests are not touched.

What is mended here: the raw vectors and the id table beside a segment (from its Parquet file), the marks by which the
newest version is found, and entries of unfinished jobs. Index, concepts and maps are computed anew by the room above.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.errors import ChecksumMismatch, LatentStoreError, ManifestInvalid
from latentstore.storage import arrow, files, staging
from latentstore.storage.hashing import hash_ids
from latentstore.storage.layout import FORMAT, IMPORT, SpaceLayout, StoreLayout
from latentstore.storage.log import Log, read_number
from latentstore.storage.manifest import FileRecord, Manifest, SegmentRecord, check_format, parse_json
from latentstore.storage.parquet_writer import ROW_GROUP
from latentstore.storage.sink import Sink
from latentstore.storage.sums import sums_of
from latentstore.storage.verify import Problem
from latentstore.storage.verify import run as verify
from latentstore.storage.versions import Versions
from latentstore.storage.writing import Scratch, SegmentWriter


@dataclass(frozen=True)
class Mended:
    """One thing that was put right.

    Attributes:
        path: The file that was damaged.
        what: What was done.
    """

    path: Path
    what: str


@dataclass
class RepairReport:
    """What a repair did.

    Attributes:
        mended: What was damaged and is right again.
        left: What cannot be rebuilt, each with its remedy.
    """

    mended: list[Mended] = field(default_factory=list)
    left: list[Problem] = field(default_factory=list)


def mend_log(log: Log) -> Iterator[Mended]:
    """Write the marks by which the newest version is found anew, where they are damaged or lead to an older one."""
    layout = log.layout
    with files.storing(layout.manifests), files.locked(layout.lock):  # no vacuum moves them meanwhile
        listed = log.listed()
        floor = read_number(layout.floor)
        run = listed[-1]
        while run - 1 in set(listed):
            run -= 1
        if floor is None or not run <= floor <= listed[-1]:
            files.replace(layout.floor, str(run).encode())
            yield Mended(layout.floor, f"written again: versions {run} to {listed[-1]} follow each other")
        hint = read_number(layout.hint)
        if layout.hint.exists() and (hint is None or hint > listed[-1]):
            log.remember(listed[-1])
            yield Mended(layout.hint, "written again; it only says where to begin to look")


def mend_staging(log: Log) -> Iterator[Mended]:
    """Drop entries of unfinished jobs whose files are damaged: the job does that part again."""
    for key in staging.keys(log.layout):
        for path, one in list(staging.listed(log.layout, key)):
            if one is None or not one.whole():
                files.discard([path, *(one.paths() if one else [])])
                yield Mended(path, f"dropped: the job {key!r} will write this part again")


def run(space: Versions, log: Log) -> RepairReport:
    """Mend what can be mended from files alone, then look again."""
    report = RepairReport([*mend_log(log), *mend_staging(log)])
    damaged = {problem.path for problem in verify(log, deep=True)}
    if damaged:
        report.mended += mend_segments(space, log, damaged)
    report.left = verify(log, deep=True) if damaged else []
    return report


def mend_segments(space: Versions, log: Log, damaged: set[Path]) -> Iterator[Mended]:
    """Rebuild raw vectors and id tables from Parquet, for every version that names them.

    A file that comes out as its record says goes where it was. Otherwise (the record is wrong, or this release writes
    other bytes) the newest version gets files of its own by a new commit, and older ones keep their damage.
    """
    layout, done, newest = log.layout, set[str](), space.newest_version()
    for manifest in _readable(log):
        for record in manifest.segments:
            kinds: list[str] = [kind for kind in ("f32", "ids", "sums") if kind in record.files]
            broken = [kind for kind in kinds if layout.file(record.files[kind].name) in damaged]
            if record.uuid in done or not broken or layout.file(record.files["parquet"].name) in damaged:
                continue
            done.add(record.uuid)
            with Scratch(layout) as scratch, files.storing(layout.segments):
                built = {} if broken == ["sums"] else _rebuild(layout, manifest.dim, record, scratch).files
                other: dict[str, FileRecord] = {}
                for kind in kinds:
                    if kind == "sums" and (kind in broken or other):  # last: it tells of the others
                        built[kind] = _sum(layout, record.files | other, scratch)
                    elif kind not in broken:
                        continue
                    path = layout.file(record.files[kind].name)
                    if kind not in broken and built[kind].sha256 == record.files[kind].sha256:
                        continue
                    if built[kind].sha256 == record.files[kind].sha256:
                        layout.file(built[kind].name).replace(path)
                        files.sync_folder(layout.segments)
                        yield Mended(path, "rebuilt from the Parquet file beside it")
                    else:
                        other[kind] = built[kind]
                fresh = other if manifest.version == newest else {}
                files.discard(
                    path for path in scratch.paths if layout.name(path) not in {f.name for f in fresh.values()}
                )
                if fresh:
                    version = _commit(space, record, fresh, scratch)
                    for kind, file in fresh.items():
                        yield Mended(layout.file(record.files[kind].name), f"version {version} has {file.name} instead")


def _readable(log: Log) -> Iterator[Manifest]:
    """Manifests that can be read, newest first."""
    for version in reversed(log.listed()):
        with suppress(LatentStoreError):
            yield log.read(version)


def _rebuild(layout: SpaceLayout, dim: int, record: SegmentRecord, scratch: Scratch) -> SegmentRecord:
    """The segment's own files written once more from its Parquet file, in bounded memory but for the ids."""
    path = layout.file(record.files["parquet"].name)
    try:
        with SegmentWriter(scratch, dim, pa.schema([])) as writer:
            for batch in pq.ParquetFile(path).iter_batches(4 * ROW_GROUP, columns=["row", "id", "vector"]):
                ids = arrow.encode(batch.column("id").to_pylist())
                vectors = batch.column("vector").flatten().to_numpy().reshape(-1, dim)
                rows = np.array(batch.column("row").to_numpy())
                writer.write(arrow.texts(ids), hash_ids(ids), rows, vectors, pa.table({"_": rows}).select([]))
            return writer.finish()
    except (pa.ArrowException, ValueError) as error:
        raise ChecksumMismatch(f"{path} cannot be decoded ({error}); restore it from a backup") from error


def _sum(layout: SpaceLayout, records: dict[str, FileRecord], scratch: Scratch) -> FileRecord:
    """The sums of a segment's files, once more."""
    with Sink(scratch.new("segments", ".sums")) as sink:
        sink.write(sums_of({kind: layout.file(record.name) for kind, record in records.items()}))
        sink.sync()
        size, sha256 = sink.finish()
    return FileRecord(layout.name(sink.path), size, sha256)


def _commit(space: Versions, record: SegmentRecord, fresh: dict[str, FileRecord], scratch: Scratch) -> int:
    def change(base: Manifest) -> Manifest:
        if record.uuid not in {one.uuid for one in base.segments}:
            return base  # merged by another writer meanwhile
        return replace(
            base,
            segments=tuple(
                replace(one, files=one.files | fresh) if one.uuid == record.uuid else one for one in base.segments
            ),
        )

    return space.commit_manifest(change, operation="repair", scratch=scratch).version


def mend_store_mark(folder: Path) -> Iterator[Mended]:
    """Write store.json again where it is missing or no JSON, and spaces show that the folder is a store."""
    layout = StoreLayout(folder)
    mark = layout.store_json
    with suppress(ManifestInvalid, FileNotFoundError):
        check_format(parse_json(mark.read_bytes(), mark), mark)
        return
    if layout.spaces.is_dir() and any(layout.spaces.glob("*/manifests/*.json")):
        with files.storing(mark):
            files.replace(mark, json.dumps({"format": FORMAT}).encode())
        yield Mended(mark, "written again: the folder holds spaces")


def drop_left_imports(layout: StoreLayout) -> Iterator[Mended]:
    """Remove what imports of spaces left that were killed."""
    for folder in sorted(layout.spaces.glob(f"{IMPORT}*")):
        if not files.is_locked(SpaceLayout(folder).lock):
            shutil.rmtree(folder, ignore_errors=True)
            yield Mended(folder, "removed: an import that was killed")
