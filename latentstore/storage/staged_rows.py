"""A caller's rows as staged segments: checked at the door and written, to be committed as one version."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from latentstore.errors import InputError, ShapeMismatch
from latentstore.storage.columns import fit_columns
from latentstore.storage.snapshot import Snapshot
from latentstore.storage.staging import StagedSegment
from latentstore.storage.writing import Scratch, write_segment
from latentstore.types import Array, Metric, check_vectors

SIDE_BY_SIDE = 1 << 26  # bytes of vectors of each segment that is written at the same time as others


def stage(
    snapshot: Snapshot, scratch: Scratch, ids: list[str], parts: Iterable[tuple[Any, Any]], dim: int | None = None
) -> StagedSegment:
    """Write rows as one segment, each part when it is there; durable but for the folder.

    Args:
        snapshot: Whose width, metric and columns they must fit.
        scratch: Where the files are made, and removed again when a part turns out to be bad.
        ids: Of all rows, (n,), checked.
        parts: Vectors (m, d) and metadata of m rows, one part at least, n rows in all.
        dim: Their width where they are to replace all rows, columns and width included.

    Raises:
        InputError: Vectors or metadata that do not fit; see the message.
    """
    width, columns = (snapshot.dim, snapshot.column_types) if dim is None else (dim, {})
    return _written(scratch, ids, width, _checked(parts, len(ids), width, snapshot.metric, columns))


def stage_side_by_side(
    snapshot: Snapshot, scratch: Scratch, ids: list[str], vectors: Any, metadata: Any
) -> list[StagedSegment]:
    """`stage`, of many rows as a segment for each core: one alone would encode Parquet while the others wait."""
    ((checked, table),) = _checked(
        [(vectors, metadata)], len(ids), snapshot.dim, snapshot.metric, snapshot.column_types
    )
    count = min(os.cpu_count() or 1, checked.nbytes // SIDE_BY_SIDE)
    if count < 2:
        return [_written(scratch, ids, snapshot.dim, iter([(checked, table)]))]
    cuts = np.linspace(0, len(ids), count + 1).astype(int).tolist()
    with ThreadPoolExecutor(count, "segment") as pool:
        parts = [(ids[a:b], snapshot.dim, iter([(checked[a:b], table[a:b])])) for a, b in pairwise(cuts)]
        return list(pool.map(lambda part: _written(scratch, *part), parts))


def _written(scratch: Scratch, ids: list[str], dim: int, checked: Iterator[tuple[Array, pa.Table]]) -> StagedSegment:
    first = next(checked)
    columns = tuple((field.name, str(field.type)) for field in first[1].schema)
    stored = [name for name, kind in columns if kind != "null"]
    rows = ((vectors, table.select(stored)) for vectors, table in chain([first], checked))
    record = write_segment(scratch, ids, dim, rows) if ids else None
    return StagedSegment(scratch.layout, record, dim, columns)


def _checked(
    parts: Iterable[tuple[Any, Any]], n: int, dim: int, metric: Metric, columns: Mapping[str, pa.DataType]
) -> Iterator[tuple[Array, pa.Table]]:
    """Vectors and metadata of each part, checked at the door; together they are n rows."""
    schema, rows = None, 0
    for vectors, metadata in parts:
        checked = check_vectors(vectors, dim, metric, first_row=rows)
        rows += len(checked)
        if checked.ndim != 2 or rows > n:
            raise ShapeMismatch(f"vectors have shape {checked.shape} for {n} ids; pass one row per id")
        table = fit_columns(metadata, len(checked), columns)
        if schema is not None and table.schema != schema:
            raise InputError(f"metadata of row {rows - 1} has columns {table.schema}, of row 0 {schema}; pass the same")
        schema = table.schema
        yield checked, table
    if rows != n:
        raise ShapeMismatch(f"vectors have {rows} rows for {n} ids; pass one row per id")
