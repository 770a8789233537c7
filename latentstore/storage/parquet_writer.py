"""Writing a segment's Parquet file: pyarrow writes the metadata, `vector_pages` the vectors between its row groups."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.storage import arrow, thrift
from latentstore.storage.vector_pages import PATH, VectorPages, compressible
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.storage.sink import Sink

ROW_GROUP = 16_384  # rows: small enough to fetch few rows, large enough to compress
SAMPLE_ROWS = 256  # that tell whether vectors can be compressed, and values repeat
WORTHWHILE = 0.75  # of the vectors' bytes must be left at most

_END = 8  # bytes: the length of the footer and "PAR1"
_VECTOR = 2  # its place among the columns, after row and id

# Numbers of fields in the footer, see parquet.thrift.
_ROWS, _ROW_GROUPS = 3, 4  # of FileMetaData
_COLUMNS, _GROUP_BYTES, _GROUP_OFFSET, _GROUP_STORED = 1, 2, 5, 6  # of RowGroup
_COLUMN = 3  # of ColumnChunk
_OFFSETS = {9, 10, 11}  # of ColumnMetaData: data, index and dictionary page


class SegmentParquet:
    """Writes one Parquet file in row groups of `ROW_GROUP`; vectors at once, metadata when a group is full.

    Args:
        sink: The new file.
        dim: Width d.
        metadata: Schema of the metadata columns.
        first: The first rows, which tell how to encode: vectors; row, id and metadata.
    """

    def __init__(
        self, sink: Sink, dim: int, metadata: pa.Schema, first: tuple[Float32[Array, "n d"], list[pa.ChunkedArray]]
    ) -> None:
        self._sink = _Spliced(sink)
        row_and_id = [pa.field("row", pa.int64(), nullable=False), pa.field("id", pa.string(), nullable=False)]
        self._flat = pa.schema([*row_and_id, *metadata])
        self._whole = pa.schema([*row_and_id, pa.field(PATH[0], arrow.vector_type(dim), nullable=False), *metadata])
        self._pages = VectorPages(sink, compressed=compressible(first[0], SAMPLE_ROWS, WORTHWHILE))
        self._waiting: list[pa.Table] = []  # metadata of the open row group
        self._groups: list[tuple[thrift.Struct, int, int]] = []  # of vectors: ColumnChunk, bytes plain and stored
        paths = [one.name + _within(one.type) for one in self._flat]
        self._writer = pq.ParquetWriter(
            self._sink,
            self._flat,
            compression="zstd",
            compression_level=1,
            # A dictionary of ids, hashes or measured numbers costs twice the time and saves nothing.
            use_dictionary=[path for path, column in zip(paths, first[1], strict=True) if _repeating(column)],
            column_encoding={"row": "DELTA_BINARY_PACKED"},
        )

    def write(self, vectors: Float32[Array, "n d"], columns: list[pa.ChunkedArray]) -> None:
        """Append rows: their vectors, which must not change before the sink is finished; row, id and metadata."""
        table = pa.table(columns, schema=self._flat)
        start = 0
        while start < len(table):
            room = ROW_GROUP - sum(map(len, self._waiting))
            self._pages.write(vectors[start : start + room])
            self._waiting.append(table.slice(start, room))
            start += room
            if start <= len(table):
                self._end_group()

    def _end_group(self) -> None:
        description, chunk = self._pages.end_chunk()
        self._groups.append((description, chunk.plain, chunk.stored))
        table, self._waiting = pa.concat_tables(self._waiting), []
        self._writer.write_table(table, row_group_size=ROW_GROUP)

    def close(self) -> None:
        """Write what waits, and the footer."""
        if self._waiting:
            self._end_group()
        with self._sink.held() as held:
            self._writer.close()
        footer = bytes(held)
        assert int.from_bytes(footer[-_END:-4], "little") == len(footer) - _END, "only the footer is written at the end"
        content = thrift.serialise(self._described(thrift.parse(footer[:-_END])))
        self._sink.write(content + len(content).to_bytes(4, "little") + footer[-4:])

    def _described(self, flat: thrift.Struct) -> thrift.Struct:
        """The footer (FileMetaData) of the whole file, from the one that pyarrow wrote for the columns it knows."""
        kind, (element, groups) = flat[_ROW_GROUPS]
        before = 0  # bytes of vectors, which pyarrow did not see
        for group, (description, plain, stored) in zip(groups, self._groups, strict=True):
            before += stored
            columns = group[_COLUMNS][1][1]
            for column in columns:
                _shift(column[_COLUMN][1], _OFFSETS, before)
            columns.insert(_VECTOR, description)
            _shift(group, {_GROUP_BYTES}, plain)
            _shift(group, {_GROUP_STORED}, stored)
            _shift(group, {_GROUP_OFFSET}, before)
        return {**_empty(self._whole), _ROWS: flat[_ROWS], _ROW_GROUPS: (kind, (element, groups))}

    def abandon(self) -> None:
        """Close when the sink takes nothing any more; else a footer would be written when this is collected."""
        self._writer.close()


class _Spliced(io.RawIOBase):
    """What pyarrow writes to: it goes into the sink, between vectors."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink
        self._held: bytearray | None = None

    def writable(self) -> bool:
        """Always; part of the file protocol."""
        return True

    def write(self, content: Any) -> int:
        """Write, or keep."""
        if self._held is None:
            return self._sink.write(content)
        self._held += content
        return len(content)

    @contextmanager
    def held(self) -> Iterator[bytearray]:
        """Keep what is written meanwhile."""
        self._held = held = bytearray()
        try:
            yield held
        finally:
            self._held = None


def _shift(struct: thrift.Struct, fields: Collection[int], by: int) -> None:
    """Add to numbers of a struct, where it has them."""
    for field in fields:
        if field in struct:
            kind, value = struct[field]
            struct[field] = kind, value + by


@lru_cache(maxsize=64)
def _empty(schema: pa.Schema) -> thrift.Struct:
    """The footer (FileMetaData) of a file of these columns without rows."""
    file = io.BytesIO()
    pq.write_metadata(schema, file)
    content = file.getvalue()
    return thrift.parse(content[-_END - int.from_bytes(content[-_END:-4], "little") : -_END])


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
