"""The vector column of a Parquet file: a list of d floats a row, as data pages.

Parquet stores a list as its numbers and, for each of them, whether it begins a list. Of lists that all have d numbers
that is known beforehand, so a page is a few constant bytes and the vectors as they lie in memory. (A general writer
works the levels out number by number, which took longer than writing and hashing the file.)
Source: the Apache Parquet specification, "Data pages" and "Run Length Encoding / Bit-Packing Hybrid".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from latentstore.storage import thrift
from latentstore.storage.thrift import BINARY, I32, I64, LIST, STRUCT
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.storage.sink import Sink

PAGE = 1 << 20  # bytes of vectors in a page: what readers decode at a time
PATH = ("vector", "list", "element")
RUNS_FROM = 40  # numbers of a list from which two runs (5 bytes) are less than a bit for each of them

_DATA_PAGE, _FLOAT, _PLAIN, _RLE = 0, 4, 0, 3
_UNCOMPRESSED, _LZ4_RAW = 0, 7


@dataclass
class Chunk:
    """What a row group's footer must say of its vectors.

    Attributes:
        start: Offset of the first page.
        numbers: That are stored.
        plain: Bytes before compression, page headers included.
        stored: And after it.
    """

    start: int
    numbers: int = 0
    plain: int = 0
    stored: int = 0


class VectorPages:
    """Writes vectors as pages, one column chunk after the other.

    Args:
        sink: The Parquet file.
        compressed: With lz4, or as they are.
    """

    def __init__(self, sink: Sink, *, compressed: bool) -> None:
        self._sink = sink
        self._codec = pa.Codec("lz4_raw") if compressed else None
        self.chunk: Chunk | None = None

    def write(self, vectors: Float32[Array, "n d"]) -> None:
        """Add rows to the open chunk; they must not change before the sink is finished."""
        dim = vectors.shape[1]
        rows = max(1, PAGE // (4 * dim))
        for start in range(0, len(vectors), rows):
            self._page(np.ascontiguousarray(vectors[start : start + rows], dtype="<f4"))

    def _page(self, vectors: Float32[Array, "n d"]) -> None:
        if self.chunk is None:
            self.chunk = Chunk(self._sink.tell())
        levels = _levels(*vectors.shape)
        plain = len(levels) + vectors.nbytes
        if self._codec is None:
            header = _header(vectors.size, plain, plain)
            self._sink.write(header + levels)
            self._sink.write(vectors)
            stored = plain
        else:
            body = self._codec.compress(levels + vectors.tobytes())
            header, stored = _header(vectors.size, plain, len(body)), len(body)
            self._sink.write(header)
            self._sink.write(body)
        self.chunk.numbers += vectors.size
        self.chunk.plain += len(header) + plain
        self.chunk.stored += len(header) + stored

    def end_chunk(self) -> tuple[thrift.Struct, Chunk]:
        """End the chunk: its ColumnChunk for the footer, and its sizes."""
        chunk, self.chunk = self.chunk, None
        assert chunk is not None, "a row group has rows"
        description: dict[int, tuple[int, Any]] = {
            1: (I32, _FLOAT),
            2: (LIST, (I32, [_PLAIN, _RLE])),
            3: (LIST, (BINARY, [part.encode() for part in PATH])),
            4: (I32, _UNCOMPRESSED if self._codec is None else _LZ4_RAW),
            5: (I64, chunk.numbers),
            6: (I64, chunk.plain),
            7: (I64, chunk.stored),
            9: (I64, chunk.start),
        }
        return {2: (I64, 0), 3: (STRUCT, description)}, chunk


def _header(numbers: int, plain: int, stored: int) -> bytes:
    """PageHeader of a data page."""
    page = {1: (I32, numbers), 2: (I32, _PLAIN), 3: (I32, _RLE), 4: (I32, _RLE)}
    return thrift.serialise({1: (I32, _DATA_PAGE), 2: (I32, plain), 3: (I32, stored), 5: (STRUCT, page)})


@lru_cache(maxsize=64)
def _levels(rows: int, dim: int) -> bytes:
    """Repetition levels (0 where a list begins, else 1) and definition levels (all 1), each behind its length."""
    if dim >= RUNS_FROM:
        repetition = (thrift.varint(1 << 1) + b"\0" + thrift.varint(dim - 1 << 1) + b"\1") * rows
    else:
        bits = np.tile(np.arange(dim) > 0, rows)
        repetition = thrift.varint(-(-len(bits) // 8) << 1 | 1) + np.packbits(bits, bitorder="little").tobytes()
    definition = thrift.varint(rows * dim << 1) + b"\1"
    return b"".join(len(part).to_bytes(4, "little") + part for part in (repetition, definition))


def compressible(vectors: Float32[Array, "n d"], rows: int, left: float) -> bool:
    """Whether lz4 leaves less than such a share of their bytes, by a sample of rows.

    Pixels are compressed; latents are not: they would save a twelfth of a segment, Parquet and raw file, for three
    times the time.
    """
    sample = np.ascontiguousarray(vectors[:: max(1, len(vectors) // rows)][:rows], dtype="<f4")
    return len(pa.Codec("lz4_raw").compress(sample)) < left * sample.nbytes
