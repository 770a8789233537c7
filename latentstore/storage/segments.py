"""Reading one segment: vectors, ids, metadata and which rows are dead."""

from __future__ import annotations

import io
import mmap
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from latentstore.storage import arrow, defaults, hashing
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.manifest import SegmentRecord
from latentstore.storage.mapped import MappedFiles
from latentstore.storage.parquet import ParquetRows
from latentstore.storage.sums import Blocks, check_whole, read_whole
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64, UInt64


class Segment(MappedFiles):
    """One segment of a snapshot, with the dead rows the snapshot knows.

    Attributes:
        record, version: As `MappedFiles`.
    """

    def __init__(self, layout: SpaceLayout, record: SegmentRecord, dim: int, version: int) -> None:
        super().__init__(layout, record, version)
        self._dim = dim

    @property
    def first_row(self) -> int:
        """Absolute row of relative row 0."""
        return self.record.first_row

    @property
    def path(self) -> Path:
        """The Parquet file."""
        return self._layout.file(self.record.files["parquet"].name)

    @property
    def patch_path(self) -> Path | None:
        """The file of metadata that changed since, or None."""
        return None if self.record.patch is None else self._layout.file(self.record.patch.name)

    @property
    def checked_blocks(self) -> Bool[Array, " b"] | None:
        """Which blocks of the raw vectors were checked, at this moment; None when they have no sums."""
        return None if self._f32 is None else self._f32.good.copy()

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
    def id_at(self) -> arrow.Texts:
        """The UTF-8 of the id at a position."""
        return arrow.Texts(self.ids)

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
        positions = self._position_of(rows - self.first_row)
        return positions if self.alive is None else np.where(self.alive[positions], positions, -1)

    def _position_of(self, relative: Int64[Array, " m"]) -> Int64[Array, " m"]:
        """Positions of relative rows, dead ones too, −1 where there is none."""
        inside = (relative >= 0) & (relative < self.record.span)
        if self.record.span == self.record.count:
            return np.where(inside, relative, -1)
        positions = np.minimum(np.searchsorted(self.relative_rows, relative), self.record.count - 1)
        return np.where(inside & (self.relative_rows[positions] == relative), positions, -1)

    def relative_of(self, positions: Int64[Array, " m"]) -> Int64[Array, " m"]:
        """Relative rows of positions."""
        return positions if self.record.span == self.record.count else self.relative_rows[positions]

    def find(self, wanted: pa.LargeStringArray, hashes: UInt64[Array, " m"]) -> Int64[Array, " m"]:
        """Positions of live ids, −1 where an id is not here."""
        return hashing.match(wanted, hashes, self.hashes, self.hash_positions, self.ids, self.alive)

    def find_one(self, wanted: bytes, hashed: int) -> int:
        """`find` of one id."""
        return hashing.match_one(wanted, hashed, self.hashes, self.hash_positions, self.id_at, self.alive)

    @property
    def checked_path(self) -> Path:
        """`path`, all of it but the vectors checked, and all of `patch_path`: for readers that check nothing."""
        _ = self._parquet, self._patch
        for path in (self.path, self.patch_path):
            if path is not None and not path.exists():  # those readers open it by name
                raise self._gone(path)
        return self.path

    @cached_property
    def _parquet(self) -> ParquetRows:
        blocks = self._blocks("parquet")
        count = self.record.count
        return self._read(self.record.files["parquet"], lambda content: ParquetRows(content, count, blocks))

    @property
    def schema(self) -> pa.Schema:
        """Columns of the Parquet file: row (relative), id, vector and the metadata it has."""
        return self._parquet.schema

    @cached_property
    def _patch(self) -> tuple[ParquetRows, Int64[Array, " k"]] | None:
        """The patch and the positions it is about, ascending."""
        patch = self.record.patch
        if patch is None:
            return None

        def read(content: mmap.mmap) -> tuple[ParquetRows, Array]:
            check_whole(content, patch)
            rows = ParquetRows(content, self.record.patched)
            relative = rows.take(np.arange(self.record.patched), ["row"])["row"].combine_chunks()
            numbers: Array = arrow.numpy_of(relative)
            positions = self._position_of(numbers)
            if (positions < 0).any() or (np.diff(positions) <= 0).any():
                raise ValueError("its rows are not rows of the segment, ascending")
            return rows, positions

        return self._read(patch, read)

    @property
    def patched_positions(self) -> Int64[Array, " k"]:
        """Positions whose metadata changed since the segment was written, ascending."""
        return np.empty(0, np.int64) if self._patch is None else self._patch[1]

    def columns(
        self, positions: Int64[Array, " m"], names: Sequence[str], types: Mapping[str, pa.DataType]
    ) -> pa.Table:
        """Metadata of positions, in their order; the column's default, or null, where the segment lacks a column."""
        if self._patch is None or not len(positions) or not names:
            return self._decoded(self._parquet, "parquet", positions, names, types)
        patch, patched = self._patch
        slots = np.minimum(np.searchsorted(patched, positions), len(patched) - 1)
        newer = patched[slots] == positions
        if not newer.any():
            return self._decoded(self._parquet, "parquet", positions, names, types)
        changed = self._decoded(patch, "patch", slots[newer], names, types)
        if newer.all():
            return changed
        plain = self._decoded(self._parquet, "parquet", positions[~newer], names, types)
        order = np.empty(len(positions), np.int64)
        order[~newer] = np.arange(len(plain))
        order[newer] = len(plain) + np.arange(len(changed))
        return pa.concat_tables([plain, changed]).take(arrow.numbers(order))

    def _decoded(
        self,
        rows: ParquetRows,
        kind: str,
        positions: Int64[Array, " m"],
        names: Sequence[str],
        types: Mapping[str, pa.DataType],
    ) -> pa.Table:
        """Metadata as one of the two files has it."""
        stored = {name: self.record.names.get(name, name) for name in names}
        present = [one for one in stored.values() if one in rows.names]
        record = self.record.patch if kind == "patch" else self.record.files["parquet"]
        assert record is not None
        table = self._read(record, lambda _: rows.take(positions, present)) if present and len(positions) else None
        columns = []
        for name, kind_ in ((name, types[name]) for name in names):
            if table is not None and stored[name] in rows.names:
                columns.append(table[stored[name]].cast(kind_))
            elif stored[name] not in rows.names and name in self.record.defaults:
                value = defaults.read(self.record.defaults[name], kind_)
                columns.append(pa.chunked_array([pa.repeat(value, len(positions))], kind_))
            else:
                columns.append(pa.chunked_array([pa.nulls(len(positions), kind_)]))
        if not names:
            return pa.table({"": pa.nulls(len(positions))}).select([])
        return pa.table(columns, names=list(names))
