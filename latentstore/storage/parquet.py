"""Rows of one mapped Parquet file by position: only the row groups and columns that are asked for are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.storage import arrow
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64


class ParquetRows:
    """A Parquet file, mapped, its footer parsed once.

    Args:
        path: The file.
        count: Rows it must have.

    Raises:
        ValueError: It has another number of rows.
    """

    def __init__(self, path: Path, count: int) -> None:
        self._content = pa.memory_map(str(path)).read_buffer()
        self._metadata = pq.ParquetFile(pa.BufferReader(self._content)).metadata
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
