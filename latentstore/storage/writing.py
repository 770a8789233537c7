"""Writing one segment: Parquet (the truth), raw float32 and the id table beside it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from latentstore.storage import arrow, files
from latentstore.storage.hashing import hash_ids
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.manifest import FileRecord, SegmentRecord
from latentstore.storage.parquet_writer import SegmentParquet
from latentstore.storage.sink import Sink
from latentstore.storage.sums import SUMMED
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, UInt64


@dataclass
class Scratch:
    """Files written for a change that is not committed yet; removed when it fails.

    Attributes:
        layout: Where.
        paths: What was written.
        settled: A commit may have named the files: they are no longer ours to remove.
    """

    layout: SpaceLayout
    paths: list[Path] = field(default_factory=list)
    settled: bool = False

    def new(self, kind: str, suffix: str, uuid: str | None = None) -> Path:
        """A path for a file of this change."""
        path = self.layout.new(kind, suffix, uuid)
        self.paths.append(path)
        return path

    def keep_only(self, names: set[str]) -> None:
        """After the commit: remove what the manifest does not name, the leftovers of lost races."""
        files.discard(path for path in self.paths if self.layout.name(path) not in names)
        self.paths.clear()

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None and not self.settled:
            files.discard(self.paths)


class SegmentWriter:
    """Writes one segment's files batch by batch, in bounded memory except for the ids.

    Args:
        scratch: Where the files are made, and removed again on failure.
        dim: Width d.
        metadata: Schema of the metadata columns.
    """

    def __init__(self, scratch: Scratch, dim: int, metadata: pa.Schema) -> None:
        self._scratch = scratch
        self._uuid = uuid4().hex
        self._ids: list[pa.LargeStringArray] = []
        self._hashes: list[Array] = []
        self._rows: list[Array] = []
        self._dim, self._metadata = dim, metadata
        self._sinks: dict[str, Sink] = {}
        self._parquet: SegmentParquet | None = None
        try:
            for kind in ("parquet", "f32", "ids"):
                self._sinks[kind] = Sink(scratch.new("segments", f".{kind}", self._uuid))
        except BaseException:
            self.abandon()
            raise

    def write(
        self,
        ids: pa.LargeStringArray,
        hashes: UInt64[Array, " n"],
        rows: Int64[Array, " n"],
        vectors: Float32[Array, "n d"],
        metadata: pa.Table,
    ) -> None:
        """Append rows; `rows` are relative to the segment's first row and ascend over all calls.

        The arrays must not change before `finish`.
        """
        columns = [arrow.numbers(rows), ids.cast(pa.string()), *metadata.columns]
        if self._parquet is None:
            self._parquet = SegmentParquet(self._sinks["parquet"], self._dim, self._metadata, (vectors, columns))
        parquet = self._parquet
        self._ids.append(ids)
        self._hashes.append(hashes)
        self._rows.append(rows)

        def encode() -> None:
            parquet.write(vectors, columns)

        def copy() -> None:
            self._sinks["f32"].write(np.ascontiguousarray(vectors, dtype="<f4"))

        if vectors.nbytes < 1 << 21:  # below, a thread costs more than it saves
            encode()
            copy()
        else:
            files.together(encode, copy)

    def finish(self) -> SegmentRecord:
        """Write the id table, make all durable (but not yet their folder) and describe the segment."""
        assert self._parquet is not None, "a segment has rows"
        rows = np.concatenate(self._rows)
        self._write_ids(rows)
        self._parquet.close()
        sinks = self._sinks
        sums = np.concatenate([sinks[kind].sums() for kind in SUMMED])
        sinks["sums"] = Sink(self._scratch.new("segments", ".sums", self._uuid))
        sinks["sums"].write(sums)
        files.together(*(sink.sync for sink in sinks.values()))
        records = {}
        for kind, sink in sinks.items():
            size, sha256 = sink.finish()
            records[kind] = FileRecord(self._scratch.layout.name(sink.path), size, sha256)
        return SegmentRecord(self._uuid, 0, len(rows), int(rows[-1]) + 1, records)

    def _write_ids(self, rows: Array) -> None:
        hashes = np.concatenate(self._hashes)
        order = np.argsort(hashes, kind="stable")
        columns = [pa.concat_arrays(self._ids), *map(arrow.numbers, (rows, hashes[order], order))]
        batch = pa.record_batch(columns, names=["id", "row", "hash", "position"])
        with pa.ipc.new_file(self._sinks["ids"], batch.schema) as writer:
            writer.write_batch(batch)

    def abandon(self) -> None:
        """Close the files without a promise; the scratch removes them."""
        for sink in self._sinks.values():
            sink.abandoned = True
        if self._parquet is not None:
            self._parquet.abandon()
        for sink in self._sinks.values():
            sink.close()

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.abandon()


def write_positions(scratch: Scratch, positions: Int64[Array, " n"]) -> FileRecord:
    """Write the dead positions of a segment (sorted, int64), durably but for the folder."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(positions, dtype="<i8"), allow_pickle=False)
    with Sink(scratch.new("deletes", ".npy")) as sink:
        sink.write(buffer.getvalue())
        sink.sync()
        size, sha256 = sink.finish()
    return FileRecord(scratch.layout.name(sink.path), size, sha256)


def write_segment(
    scratch: Scratch, ids: list[str], dim: int, parts: Iterable[tuple[Float32[Array, "m d"], pa.Table]]
) -> SegmentRecord:
    """Write one new segment with rows 0 … n−1, durable but for the folder.

    Args:
        scratch: Where the files are made.
        ids: Of all rows, (n,).
        dim: Width d.
        parts: Vectors and metadata, in row order; all tables have one schema.
    """
    parts = iter(parts)
    first = next(parts)
    with files.storing(scratch.layout.segments), SegmentWriter(scratch, dim, first[1].schema) as writer:
        encoded = arrow.encode(ids)
        texts, hashes, rows = arrow.texts(encoded), hash_ids(encoded), np.arange(len(ids), dtype=np.int64)
        start = 0
        for vectors, metadata in chain([first], parts):
            own = slice(start, start + len(vectors))
            writer.write(texts[own], hashes[own], rows[own], vectors, metadata)
            start = own.stop
        return writer.finish()
