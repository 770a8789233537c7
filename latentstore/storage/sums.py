"""Block sums: a hash of every 64 KiB of a segment's files, so that a mapped file is checked where it is read.

The sha256 of a whole file takes seconds for each GB, too much for every opening. The sums of a segment's files stand
in one small file beside them (`<uuid>.sums`, itself checked by sha256 when it is read): little-endian uint64, xxh3_64
of each block, the files one after the other in the order of `SUMMED`. A reader checks each block once, before it uses
what is in it; what the disk does to a block after that is found by `verify`, or by the next process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from latentstore.types import Array

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    from jaxtyping import Int64, UInt8, UInt64

    from latentstore.storage.manifest import FileRecord

BLOCK = 1 << 16
SUMMED = ("f32", "ids", "parquet")
_READ = 64 * BLOCK


class Summing:
    """Sums of the blocks of a file that is being written."""

    def __init__(self) -> None:
        self._sums: list[int] = []
        self._block = xxhash.xxh3_64()
        self._filled = 0

    def update(self, content: Any) -> None:
        """Go on with more bytes."""
        view = memoryview(content)
        while view:
            part = view[: BLOCK - self._filled]
            self._block.update(part)
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == BLOCK:
                self._close_block()

    def _close_block(self) -> None:
        self._sums.append(self._block.intdigest())
        self._block.reset()
        self._filled = 0

    def finish(self) -> UInt64[Array, " b"]:
        """The sums, the last block as short as it is."""
        if self._filled:
            self._close_block()
        return np.array(self._sums, "<u8")


def read_sums(content: bytes | mmap, record: FileRecord, sizes: Mapping[str, int]) -> dict[str, UInt64[Array, " b"]]:
    """The sums of each file of a segment, from the file that holds them all; ValueError if that is damaged."""
    counts = [-(-sizes[kind] // BLOCK) for kind in SUMMED]
    sums = np.frombuffer(read_whole(content, record), "<u8")
    if len(sums) != sum(counts):
        raise Damaged(f"{len(sums)} sums for {sum(counts)} blocks")
    return dict(zip(SUMMED, np.split(sums, np.cumsum(counts)[:-1]), strict=True))


def read_whole(content: bytes | mmap, record: FileRecord) -> bytes:
    """A small file, its sha256 compared; `Damaged` when it is another."""
    whole = content[:]
    check_whole(whole, record)
    return whole


def check_whole(content: bytes | mmap, record: FileRecord) -> None:
    """Compare the sha256 of a file; `Damaged` when it is another."""
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise Damaged("its sha256 is not what the manifest says")


def sums_of(paths: Mapping[str, Path]) -> UInt64[Array, " b"]:
    """What the file of sums holds for these files of a segment."""
    parts = []
    for kind in SUMMED:
        summing = Summing()
        with paths[kind].open("rb") as file:
            while part := file.read(_READ):
                summing.update(part)
        parts.append(summing.finish())
    return np.concatenate(parts)


def flat_columns(metadata: pq.FileMetaData) -> Iterator[tuple[int, int]]:
    """Where the columns of a Parquet file lie in it, but for the vectors: start and stop in bytes."""
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if not column.path_in_schema.startswith("vector."):
                start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
                yield start, start + column.total_compressed_size


class Damaged(ValueError):
    """A block is not what was written."""


class Blocks:
    """The blocks of one mapped file, each compared with its sum before it is used for the first time.

    Safe from several threads: at worst two of them check the same block.

    Args:
        content: The file, mapped.
        sums: Of its blocks.

    Attributes:
        good: Which were checked.
        whole: All were.
    """

    def __init__(self, content: UInt8[Array, " n"], sums: UInt64[Array, " b"]) -> None:
        self._content = content
        self._sums = sums
        self.good = np.zeros(len(sums), np.bool_)
        self.whole = False

    def check(self) -> None:
        """Check the whole file; raises `Damaged`."""
        if not self.whole:
            self._compare(np.flatnonzero(~self.good))

    def check_bytes(self, start: int, stop: int) -> None:
        """Check a range of bytes; raises `Damaged`."""
        blocks = np.arange(start // BLOCK, -(-stop // BLOCK))
        self._compare(blocks[~self.good[blocks]])

    def check_rows(self, positions: Int64[Array, " m"], width: int) -> None:
        """Check rows of `width` bytes each; raises `Damaged`."""
        if self.whole:
            return
        first = positions * width // BLOCK
        last = (positions * width + (width - 1)) // BLOCK
        if self.good[first].all() and self.good[last].all() and width <= BLOCK:
            return
        steps = np.arange(width // BLOCK + 2)
        touched = np.zeros(len(self.good), np.bool_)
        touched[np.minimum(first[:, None] + steps, last[:, None])] = True
        self._compare(np.flatnonzero(touched & ~self.good))

    def _compare(self, blocks: Int64[Array, " k"]) -> None:
        for block in blocks.tolist():
            start = block * BLOCK
            if xxhash.xxh3_64_intdigest(self._content[start : start + BLOCK].data) != int(self._sums[block]):
                raise Damaged(f"the bytes from {start} on are not those that were written")
            self.good[block] = True
        self.whole = bool(self.good.all())
