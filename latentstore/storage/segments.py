"""Reading one segment: its files are mapped when it is opened, so that vacuum cannot take them from a reader."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from latentstore.errors import ChecksumMismatch, CommitConflict, UnknownVersion
from latentstore.storage import arrow, files, hashing
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.manifest import FileRecord, SegmentRecord
from latentstore.storage.sums import Blocks, flat_columns, read_sums, read_whole
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64, UInt64

REMEDY = "run verify to see what is damaged, then restore the file from a backup or go back to a version without it"

T = TypeVar("T")


class Segment:
    """One segment of a snapshot, with the dead rows the snapshot knows.

    Attributes:
        record: What the manifest says.
        version: The newest snapshot that shares this object; 0 while it is staged.
    """

    def __init__(self, layout: SpaceLayout, record: SegmentRecord, dim: int, version: int) -> None:
        self.record = record
        self.version = version
        self._layout = layout
        self._dim = dim
        self._held: dict[str, mmap.mmap] = {}  # by file name; a mapping keeps what is unlinked

    @property
    def first_row(self) -> int:
        """Absolute row of relative row 0."""
        return self.record.first_row

    @property
    def path(self) -> Path:
        """The Parquet file."""
        return self._layout.file(self.record.files["parquet"].name)

    def check(self) -> None:
        """Map every file, and compare its size with the manifest.

        Raises:
            ChecksumMismatch: A file is missing or has another size.
            UnknownVersion: Files are gone because the version was vacuumed.
        """
        deletes = self.record.deletes
        for record in (*self.record.files.values(), *([deletes] if deletes else [])):
            self._content(record)

    def _content(self, record: FileRecord) -> mmap.mmap:
        if record.name not in self._held:
            self._held[record.name] = self._map(record)
        return self._held[record.name]

    def _map(self, record: FileRecord) -> mmap.mmap:
        path = self._layout.file(record.name)
        try:
            with path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if size and size == record.size:
                    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise self._gone(path) from error
        except OSError as error:
            raise files.unreadable(path, error) from error
        raise ChecksumMismatch(f"{path} has {size} bytes, the manifest says {record.size}; {REMEDY}")

    def _gone(self, path: Path) -> ChecksumMismatch | UnknownVersion | CommitConflict:
        if not self.version:
            return files.vacuumed(path)
        if self._layout.manifest(self.version).exists():
            return ChecksumMismatch(f"{path} is missing; {REMEDY}")
        return UnknownVersion(f"version {self.version} was vacuumed while it was open; open the newest snapshot")

    def _read(self, record: FileRecord, read: Callable[[mmap.mmap], T]) -> T:
        content = self._content(record)
        try:
            return read(content)
        except (pa.ArrowException, ValueError, OSError, EOFError, KeyError) as error:
            raise ChecksumMismatch(f"{self._layout.file(record.name)} cannot be read ({error}); {REMEDY}") from error

    @cached_property
    def _sums(self) -> dict[str, Array] | None:
        """Sums of the blocks of each file; None for a segment that was written without."""
        record = self.record.files.get("sums")
        if record is None:
            return None
        sizes = {kind: file.size for kind, file in self.record.files.items()}
        return self._read(record, lambda content: read_sums(content, record, sizes))

    def _blocks(self, kind: str) -> Blocks | None:
        """The blocks of a file, none checked yet."""
        sums = self._sums
        if sums is None:
            return None
        return self._read(self.record.files[kind], lambda content: Blocks(np.frombuffer(content, np.uint8), sums[kind]))

    @cached_property
    def mapped(self) -> Float32[Array, "n d"]:
        """All vectors in row order, dead ones too, mapped and read-only; nothing but the size is checked."""
        shape = (self.record.count, self._dim)
        return self._read(self.record.files["f32"], lambda content: np.frombuffer(content, "<f4").reshape(shape))

    @cached_property
    def _f32(self) -> Blocks | None:
        return self._blocks("f32")

    @property
    def vectors(self) -> Float32[Array, "n d"]:
        """`mapped`, for a scan: every block is checked before the first one."""
        if (blocks := self._f32) is not None and not blocks.whole:
            self._read(self.record.files["f32"], lambda _: blocks.check())
        return self.mapped

    def vectors_for(self, positions: Int64[Array, " m"]) -> Float32[Array, "n d"]:
        """`mapped`, for a gather: only the blocks that hold these positions are checked."""
        if (blocks := self._f32) is not None and not blocks.whole:
            width = 4 * self._dim
            self._read(self.record.files["f32"], lambda _: blocks.check_rows(positions, width))
        return self.mapped

    @cached_property
    def _table(self) -> pa.RecordBatch:
        blocks = self._blocks("ids")

        def read(content: mmap.mmap) -> pa.RecordBatch:
            if blocks is not None:
                blocks.check()
            batch = pa.ipc.open_file(pa.py_buffer(content)).get_batch(0)
            if batch.num_rows != self.record.count:
                raise ValueError(f"{batch.num_rows} rows for {self.record.count}")
            return batch.select(["id", "row", "hash", "position"])

        return self._read(self.record.files["ids"], read)

    @property
    def ids(self) -> pa.LargeStringArray:
        """Ids in row order, (n,)."""
        return self._table.column("id")

    @cached_property
    def relative_rows(self) -> Int64[Array, " n"]:
        """Relative row numbers in order, (n,)."""
        return arrow.numpy_of(self._table.column("row"))

    @cached_property
    def rows(self) -> Int64[Array, " n"]:
        """Absolute row numbers, ascending, (n,)."""
        if self.record.span == self.record.count:
            return np.arange(self.first_row, self.first_row + self.record.count, dtype=np.int64)
        return self.relative_rows + self.first_row

    @cached_property
    def hashes(self) -> UInt64[Array, " n"]:
        """Hashes of the ids, ascending, (n,)."""
        return arrow.numpy_of(self._table.column("hash"))

    @cached_property
    def hash_positions(self) -> Int64[Array, " n"]:
        """The position in row order that each of `hashes` belongs to, (n,)."""
        return arrow.numpy_of(self._table.column("position"))

    @cached_property
    def row_hashes(self) -> UInt64[Array, " n"]:
        """Hashes in row order, (n,)."""
        hashes = np.empty(self.record.count, np.uint64)
        hashes[self.hash_positions] = self.hashes
        return hashes

    @cached_property
    def dead_positions(self) -> Int64[Array, " k"]:
        """Positions of the dead rows, ascending."""
        deletes = self.record.deletes
        if deletes is None:
            return np.empty(0, np.int64)

        def read(content: mmap.mmap) -> Array:
            positions: Array = np.load(io.BytesIO(read_whole(content, deletes)), allow_pickle=False)
            if positions.dtype != np.int64 or positions.shape != (self.record.dead,):
                raise ValueError(f"{positions.dtype} {positions.shape} for {self.record.dead} dead rows")
            if len(positions) and not 0 <= positions[0] <= positions[-1] < self.record.count:
                raise ValueError("positions out of range")
            return positions

        return self._read(deletes, read)

    @cached_property
    def alive(self) -> Bool[Array, " n"] | None:
        """Which positions are alive, or None when all are."""
        if not self.record.dead:
            return None
        alive = np.ones(self.record.count, np.bool_)
        alive[self.dead_positions] = False
        return alive

    def live_positions(self) -> Int64[Array, " k"]:
        """Positions of the live rows, ascending."""
        return np.arange(self.record.count, dtype=np.int64) if self.alive is None else np.flatnonzero(self.alive)

    def position_of(self, rows: Int64[Array, " m"]) -> Int64[Array, " m"]:
        """Positions of absolute rows, −1 where a row is dead or not here."""
        relative = rows - self.first_row
        inside = (relative >= 0) & (relative < self.record.span)
        if self.record.span == self.record.count:
            positions = np.where(inside, relative, 0)
        else:
            positions = np.minimum(np.searchsorted(self.relative_rows, relative), self.record.count - 1)
            inside &= self.relative_rows[positions] == relative
        if self.alive is not None:
            inside &= self.alive[positions]
        return np.where(inside, positions, -1)

    def find(self, wanted: pa.LargeStringArray, hashes: UInt64[Array, " m"]) -> Int64[Array, " m"]:
        """Positions of live ids, −1 where an id is not here."""
        return hashing.match(wanted, hashes, self.hashes, self.hash_positions, self.ids, self.alive)

    @property
    def checked_path(self) -> Path:
        """The Parquet file, its footer and all columns but the vectors checked: for readers that check nothing."""
        _ = self._parquet
        if not self.path.exists():  # those readers open it by name
            raise self._gone(self.path)
        return self.path

    @cached_property
    def _parquet(self) -> tuple[pa.Buffer, pq.FileMetaData, Array]:
        blocks = self._blocks("parquet")

        def read(mapped: mmap.mmap) -> tuple[pa.Buffer, pq.FileMetaData, Array]:
            content = pa.py_buffer(mapped)
            if blocks is not None:
                blocks.check_bytes(content.size - 8, content.size)  # the length of the footer and "PAR1"
                footer = int.from_bytes(content[-8:-4].to_pybytes(), "little") + 8
                blocks.check_bytes(max(content.size - footer, 0), content.size)
            metadata = pq.ParquetFile(pa.BufferReader(content)).metadata
            if blocks is not None:
                for start, stop in flat_columns(metadata):
                    blocks.check_bytes(start, stop)
            counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            if sum(counts) != self.record.count:
                raise ValueError(f"{sum(counts)} rows for {self.record.count}")
            return content, metadata, np.concatenate([[0], np.cumsum(counts)])

        return self._read(self.record.files["parquet"], read)

    @property
    def schema(self) -> pa.Schema:
        """Columns of the Parquet file: row (relative), id, vector and the metadata it has."""
        _, metadata, _ = self._parquet
        return metadata.schema.to_arrow_schema()

    def columns(
        self, positions: Int64[Array, " m"], names: Sequence[str], types: Mapping[str, pa.DataType]
    ) -> pa.Table:
        """Metadata (or "vector", "id", "row") of positions, in their order; null where the segment lacks a column.

        Only the row groups and columns that are asked for are decoded.
        """
        content, metadata, starts = self._parquet

        def read(_: mmap.mmap) -> pa.Table:
            file = pq.ParquetFile(pa.BufferReader(content), metadata=metadata)
            present = [name for name in names if name in file.schema_arrow.names]
            if not present:
                return pa.table({"": pa.nulls(len(positions))})
            groups, inverse = np.unique(np.searchsorted(starts, positions, side="right") - 1, return_inverse=True)
            table = file.read_row_groups(groups.tolist(), columns=present)
            sizes = np.diff(starts)[groups]
            shift = np.concatenate([[0], np.cumsum(sizes)])[:-1] - starts[groups]
            taken = positions + shift[inverse]
            if len(taken) == len(table) and np.array_equal(taken, np.arange(len(table))):
                return table
            return table.take(arrow.numbers(taken))

        table = self._read(self.record.files["parquet"], read) if len(positions) else pa.table({"": pa.nulls(0)})
        columns = []
        for name in names:
            if name in table.column_names:
                columns.append(pc.cast(table[name], types[name]))
            else:
                columns.append(pa.chunked_array([pa.nulls(len(positions), types[name])]))
        return pa.table(columns, names=list(names)) if names else table.select([])
