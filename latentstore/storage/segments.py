"""Reading one segment: everything is mapped, and opened when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from latentstore.errors import ChecksumMismatch, UnknownVersion
from latentstore.storage import arrow, files, hashing
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.manifest import FileRecord, SegmentRecord
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64, UInt64

REMEDY = "run verify to see what is damaged, then restore the file from a backup or go back to a version without it"

T = TypeVar("T")


class Segment:
    """One segment of a snapshot, with the dead rows the snapshot knows.

    Attributes:
        record: What the manifest says.
        version: The newest snapshot that shares this object.
    """

    def __init__(self, layout: SpaceLayout, record: SegmentRecord, dim: int, version: int) -> None:
        self.record = record
        self.version = version
        self._layout = layout
        self._dim = dim

    @property
    def first_row(self) -> int:
        """Absolute row of relative row 0."""
        return self.record.first_row

    @property
    def path(self) -> Path:
        """The Parquet file."""
        return self._layout.file(self.record.files["parquet"].name)

    def check(self) -> None:
        """Compare the size of every file with the manifest.

        Raises:
            ChecksumMismatch: A file is missing or has another size.
            UnknownVersion: Files are gone because the version was vacuumed.
        """
        deletes = self.record.deletes
        for record in (*self.record.files.values(), *([deletes] if deletes else [])):
            self._sized(record)

    def _sized(self, record: FileRecord) -> Path:
        path = self._layout.file(record.name)
        try:
            size = path.stat().st_size
        except FileNotFoundError as error:
            raise self._gone(path) from error
        except OSError as error:
            raise files.unreadable(path, error) from error
        if size != record.size:
            raise ChecksumMismatch(f"{path} has {size} bytes, the manifest says {record.size}; {REMEDY}")
        return path

    def _gone(self, path: Path) -> ChecksumMismatch | UnknownVersion:
        if self._layout.manifest(self.version).exists():
            return ChecksumMismatch(f"{path} is missing; {REMEDY}")
        return UnknownVersion(f"version {self.version} was vacuumed while it was open; open the newest snapshot")

    def _read(self, record: FileRecord, read: Callable[[Path], T]) -> T:
        path = self._sized(record)
        try:
            return read(path)
        except FileNotFoundError as error:
            raise self._gone(path) from error
        except (pa.ArrowException, ValueError, OSError, EOFError, KeyError) as error:
            raise ChecksumMismatch(f"{path} cannot be read ({error}); {REMEDY}") from error

    @cached_property
    def vectors(self) -> Float32[Array, "n d"]:
        """All vectors in row order, dead ones too, mapped and read-only."""
        shape = (self.record.count, self._dim)
        return self._read(
            self.record.files["f32"], lambda path: np.memmap(path, "<f4", "r", shape=shape).view(np.ndarray)
        )

    @cached_property
    def _table(self) -> pa.RecordBatch:
        def read(path: Path) -> pa.RecordBatch:
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
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
        if self.record.deletes is None:
            return np.empty(0, np.int64)

        def read(path: Path) -> Array:
            positions: Array = np.load(path, allow_pickle=False)
            if positions.dtype != np.int64 or positions.shape != (self.record.dead,):
                raise ValueError(f"{positions.dtype} {positions.shape} for {self.record.dead} dead rows")
            if len(positions) and not 0 <= positions[0] <= positions[-1] < self.record.count:
                raise ValueError("positions out of range")
            return positions

        return self._read(self.record.deletes, read)

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

    @cached_property
    def _parquet(self) -> tuple[pa.Buffer, pq.FileMetaData, Array]:
        def read(path: Path) -> tuple[pa.Buffer, pq.FileMetaData, Array]:
            content = pa.memory_map(str(path)).read_buffer()
            metadata = pq.ParquetFile(pa.BufferReader(content)).metadata
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

        def read(_: Path) -> pa.Table:
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
