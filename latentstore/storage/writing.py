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
import pyarrow.parquet as pq

from latentstore.storage import arrow, files
from latentstore.storage.hashing import hash_ids
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.manifest import FileRecord, SegmentRecord
from latentstore.storage.sink import Sink
from latentstore.storage.sums import SUMMED
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, UInt64

SAMPLE_ROWS = 256  # that tell whether vectors can be compressed, and values repeat
WORTHWHILE = 0.75  # of their bytes must be left at most
ROW_GROUP = 16_384  # rows of a Parquet row group: small enough to fetch few rows, large enough to compress
VALUES = 32_768  # that are encoded at a time: a vector is many, and by default 1,024 are, in a third more time
ROW_GROUP_MIN = ROW_GROUP // 4  # fewer wait for the next rows, or for the end


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
        self._waiting: list[pa.Table] = []
        fields = [
            pa.field("row", pa.int64(), nullable=False),
            pa.field("id", pa.string(), nullable=False),
            pa.field("vector", arrow.vector_type(dim), nullable=False),
        ]
        self._schema = pa.schema([*fields, *metadata])
        self._sinks: dict[str, Sink] = {}
        self._parquet: pq.ParquetWriter | None = None
        try:
            for kind in ("parquet", "f32", "ids"):
                self._sinks[kind] = Sink(scratch.new("segments", f".{kind}", self._uuid))
        except BaseException:
            self.abandon()
            raise

    def _open_parquet(self, vectors: Float32[Array, "n d"], table: pa.Table) -> pq.ParquetWriter:
        """Begin the Parquet file, now that it is known what its first rows are like."""
        flat = {one.name: one.name + _within(one.type) for one in self._schema if one.name != "vector"}
        codec, encoding = _codec(vectors)
        return pq.ParquetWriter(
            self._sinks["parquet"],
            self._schema,
            compression={"vector.list.element": codec, **dict.fromkeys(flat.values(), "zstd")},
            compression_level=dict.fromkeys(flat.values(), 1),
            # A dictionary of ids, hashes or measured numbers costs twice the time and saves nothing.
            use_dictionary=[path for name, path in flat.items() if _repeating(table[name])],
            column_encoding={"vector.list.element": encoding, "row": "DELTA_BINARY_PACKED"},
            write_statistics=[*flat.values()],
            write_batch_size=VALUES,
        )

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
        columns = [arrow.numbers(rows), ids.cast(pa.string()), arrow.vectors(vectors), *metadata.columns]
        table = pa.table(columns, schema=self._schema)
        if self._parquet is None:
            self._parquet = self._open_parquet(vectors, table)
        self._ids.append(ids)
        self._hashes.append(hashes)
        self._rows.append(rows)
        self._waiting.append(table)

        def encode() -> None:
            if sum(map(len, self._waiting)) >= ROW_GROUP_MIN:
                self._encode()

        def copy() -> None:
            self._sinks["f32"].write(np.ascontiguousarray(vectors, dtype="<f4"))

        if vectors.nbytes < 1 << 21:  # below, a thread costs more than it saves
            encode()
            copy()
        else:
            files.together(encode, copy)

    def _encode(self) -> None:
        """Write what waits as row groups."""
        if self._waiting:
            table, self._waiting = pa.concat_tables(self._waiting), []
            assert self._parquet is not None
            self._parquet.write_table(table, row_group_size=ROW_GROUP)

    def finish(self) -> SegmentRecord:
        """Write the id table, make all durable (but not yet their folder) and describe the segment."""
        assert self._parquet is not None, "a segment has rows"
        rows = np.concatenate(self._rows)
        self._write_ids(rows)
        self._encode()
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
            self._parquet.close()  # else it would write its footer when it is collected
        for sink in self._sinks.values():
            sink.close()

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.abandon()


def _codec(vectors: Float32[Array, "n d"]) -> tuple[str, str]:
    """Compression and encoding of vectors, by a sample: the smallest, if it saves a quarter of their bytes.

    Pixels are compressed (zstd would make a fifth less of them than lz4, for half as much time again); latents are
    not: they would save a twelfth of a segment, Parquet and raw file, for three times the time.
    """
    sample = np.ascontiguousarray(vectors[:: max(1, len(vectors) // SAMPLE_ROWS)][:SAMPLE_ROWS], dtype="<f4")
    split = np.ascontiguousarray(sample.reshape(-1, 1).view(np.uint8).T)  # as BYTE_STREAM_SPLIT has it
    codec = pa.Codec("lz4_raw")
    sizes = {"PLAIN": len(codec.compress(sample)), "BYTE_STREAM_SPLIT": len(codec.compress(split))}
    encoding = min(sizes, key=sizes.__getitem__)
    return ("lz4", encoding) if sizes[encoding] < WORTHWHILE * sample.nbytes else ("none", "PLAIN")


def _repeating(column: pa.ChunkedArray) -> bool:
    """Whether values, of lists their items, repeat, by a sample."""
    import pyarrow.compute as pc  # here: a quarter of the time a reader takes to start

    sample = column.slice(0, SAMPLE_ROWS)
    while pa.types.is_list(sample.type):
        sample = pc.list_flatten(sample)
    if pa.types.is_null(sample.type):  # of lists that are all empty
        return True
    return 2 * int(pc.count_distinct(sample).as_py()) <= len(sample)


def _within(kind: pa.DataType) -> str:
    """The Parquet path from a column to what it holds in the end: lists may hold lists."""
    return f".list.element{_within(kind.value_type)}" if pa.types.is_list(kind) else ""


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
