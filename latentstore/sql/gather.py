"""Metadata of a few rows, from row groups that stay decoded."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from latentstore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Int64

    from latentstore.storage import Segment, Snapshot
    from latentstore.types import Array


FEW = 64  # rows, for which a kernel of Arrow's costs more than to go through them
_OPEN = 64  # files


class RowGroups:
    """Decoded columns of row groups, the least used dropped; segments never change. Safe from several threads.

    Args:
        most: Bytes that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[tuple[str, int, str], pa.Array] = OrderedDict()
        self._lock = Lock()
        self._files: OrderedDict[str, _File] = OrderedDict()

    def take(self, snapshot: Snapshot, rows: Int64[Array, " m"], names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Metadata columns of live rows, in their order, NULL where a segment lacks one."""
        numbers, positions = snapshot.locate(rows)
        if 0 < len(rows) <= FEW:
            return self._few(snapshot, numbers.tolist(), positions.tolist(), names)
        found: dict[str, list[pa.Array]] = {name: [] for name in names}
        order = []
        for number in np.unique(numbers).tolist():
            segment = snapshot.segments[number]
            file = self._file(segment)
            there = np.flatnonzero(numbers == number)
            groups = np.searchsorted(file.starts, positions[there], side="right") - 1
            for group in np.unique(groups).tolist():
                chosen = there[groups == group]
                order.append(chosen)
                inside = pa.array(positions[chosen] - file.starts[group])
                for name in names:
                    kind = snapshot.column_types[name]
                    known = name in file.names
                    column = self._column(segment, group, name) if known else pa.nulls(len(chosen), kind)
                    part = column.take(inside) if known else column
                    found[name].append(part if part.type == kind else pc.cast(part, kind))
        back = pa.array(np.argsort(np.concatenate([np.empty(0, np.int64), *order]), kind="stable"))
        return {name: pa.chunked_array(parts, snapshot.column_types[name]).take(back) for name, parts in found.items()}

    def _few(
        self, snapshot: Snapshot, numbers: list[int], positions: list[int], names: Sequence[str]
    ) -> dict[str, pa.ChunkedArray]:
        """`take`, slice by slice."""
        found: dict[str, list[pa.Array]] = {name: [] for name in names}
        kinds = {name: snapshot.column_types[name] for name in names}
        for number, position in zip(numbers, positions, strict=True):
            segment = snapshot.segments[number]
            file = self._file(segment)
            group = bisect_right(file.starts, position) - 1
            for name, parts in found.items():
                if name not in file.names:
                    parts.append(pa.nulls(1, kinds[name]))
                    continue
                part = self._column(segment, group, name).slice(position - file.starts[group], 1)
                parts.append(part if part.type == kinds[name] else pc.cast(part, kinds[name]))
        return {name: pa.chunked_array([pa.concat_arrays(parts)]) for name, parts in found.items()}

    def _column(self, segment: Segment, group: int, name: str) -> pa.Array:
        key = (segment.record.uuid, group, name)
        file = self._file(segment)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            try:
                table = file.parquet.read_row_group(group, columns=[name], use_threads=False)
            except (OSError, pa.ArrowException) as error:
                raise StorageError(f"a segment cannot be read: {segment.path}: {error}; run verify") from error
            column = self._kept[key] = pa.concat_arrays(table[name].chunks)
            self._size += column.nbytes
            while self._size > self._most and len(self._kept) > 1:
                self._size -= self._kept.popitem(last=False)[1].nbytes
            return column

    def _file(self, segment: Segment) -> _File:
        with self._lock:
            uuid = segment.record.uuid
            if uuid not in self._files:
                self._files[uuid] = _File.open(segment.checked_path)
                if len(self._files) > _OPEN:
                    self._files.popitem(last=False)
            return self._files[uuid]


@dataclass(frozen=True, eq=False)
class _File:
    """A segment's Parquet file, mapped.

    Attributes:
        parquet: It.
        starts: The position at which each of its row groups begins.
        names: Its columns.
    """

    parquet: pq.ParquetFile
    starts: list[int]
    names: frozenset[str]

    @classmethod
    def open(cls, path: Path) -> _File:
        try:
            file = pq.ParquetFile(path, memory_map=True)
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"a segment cannot be read: {path}: {error}; run verify") from error
        counts = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        return cls(file, [0, *accumulate(counts)][:-1], frozenset(file.schema_arrow.names))
