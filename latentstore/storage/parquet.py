"""Rows of one mapped Parquet file by position: only the row groups and columns that are asked for are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from mmap import mmap
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.storage import arrow
from latentstore.storage.sums import Blocks, flat_columns
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64


class ParquetRows:
    """A Parquet file, mapped, its footer parsed once.

    Args:
        content: The file.
        count: Rows it must have.
        blocks: By which the footer and all columns but the vectors are checked; None when it has no sums.

    Raises:
        ValueError: It has another number of rows, or is damaged.
    """

    def __init__(self, content: mmap, count: int, blocks: Blocks | None = None) -> None:
        self._content = pa.py_buffer(content)
        size = self._content.size
        if blocks is not None:
            blocks.check_bytes(max(size - 8, 0), size)  # the length of the footer and "PAR1"
            footer = int.from_bytes(self._content[-8:-4].to_pybytes(), "little") + 8
            blocks.check_bytes(max(size - footer, 0), size)
        self._metadata = pq.ParquetFile(pa.BufferReader(self._content)).metadata
        if blocks is not None:
            for start, stop in flat_columns(self._metadata):
                blocks.check_bytes(start, stop)
        counts = [self._metadata.row_group(i).num_rows for i in range(self._metadata.num_row_groups)]
        if sum(counts) != count:
            raise ValueError(f"{sum(counts)} rows for {count}")
        self._starts: Array = np.concatenate([[0], np.cumsum(counts)])
        self.names = frozenset(self.schema.names)

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self._metadata.schema.to_arrow_schema()

    def take(self, positions: Int64[Array, " m"], names: Sequence[str]) -> pa.Table:
        """Columns that are there, of positions in the order asked for."""
        file = pq.ParquetFile(pa.BufferReader(self._content), metadata=self._metadata)
        groups, inverse = np.unique(np.searchsorted(self._starts, positions, side="right") - 1, return_inverse=True)
        table = file.read_row_groups(groups.tolist(), columns=list(names))
        sizes = np.diff(self._starts)[groups]
        shift = np.concatenate([[0], np.cumsum(sizes)])[:-1] - self._starts[groups]
        taken = positions + shift[inverse]
        if len(taken) == len(table) and np.array_equal(taken, np.arange(len(table))):
            return table
        return table.take(arrow.numbers(taken))
