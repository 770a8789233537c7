"""Rows from a file into a space: in bounded memory, in one commit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from latentstore.errors import InputError, ShapeMismatch, SpaceMismatch
from latentstore.storage import Manifest, SpaceFiles, StagedSegment
from latentstore.storage.columns import parse_type
from latentstore.storage.files import discard
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32

STAGED_BYTES = 128 << 20  # of vectors in one staged segment: what is held in memory


def batch_rows(dim: int | None) -> int:
    """How many rows to read at a time."""
    return max(64, min(8192, (16 << 20) // (4 * (dim or 1024))))


@dataclass
class Source:
    """A file that rows are read from.

    Attributes:
        path: Where.
        dim: Width d, where the file says so.
        batches: Record batches of id, vector and metadata columns.
        about: What latentstore wrote beside them; empty for files of others.
        id_column, vector_column: How the file calls them.
    """

    path: Path
    dim: int | None
    batches: Iterator[pa.RecordBatch]
    about: dict[str, Any] = field(default_factory=dict)
    id_column: str = "id"
    vector_column: str = "vector"


def import_rows(files: SpaceFiles, source: Source, *, replace: bool = False, encoder: str | None = None) -> Manifest:
    """Append a source's rows to a space as one version, all or none.

    Rows are staged segment by segment, which no version names; what a killed import staged is garbage for vacuum.

    Args:
        files: Of the space.
        source: From `open_source`.
        replace: Replace rows whose id exists; else they are refused.
        encoder: Fingerprint that the vectors come from, compared with the space's.

    Raises:
        AlreadyExists: An id is taken.
        SpaceMismatch: Vectors of another encoder or width.
        InputError: A column is missing or does not fit.
    """
    manifest = files.snapshot().manifest
    if encoder is not None and encoder != manifest.encoder:
        raise SpaceMismatch(
            f"{source.path} holds latents of encoder {encoder}, space {manifest.space!r} those of "
            f"{manifest.encoder or 'no encoder'}; import it as a space of its own"
        )
    staged: list[StagedSegment] = []
    try:
        for table in _groups(source, manifest.dim):
            ids = _ids(table, source)
            vectors = _vectors(table[source.vector_column], manifest.dim, source)
            metadata = _typed(table.drop_columns([source.id_column, source.vector_column]), source)
            staged.append(files.stage(ids, vectors, metadata if metadata.column_names else None))
        return files.append(
            staged, on_existing="replace" if replace else "refuse", operation=f"import {source.path.name}"
        )
    except BaseException:
        for one in staged:
            discard(one.paths() if not _committed(files, one) else [])
        raise


def _committed(files: SpaceFiles, staged: StagedSegment) -> bool:
    """Whether a version names it: an append may fail after its commit became visible."""
    uuids = {segment.uuid for segment in files.versions()[-1].segments}
    return staged.record is not None and staged.record.uuid in uuids


def _groups(source: Source, dim: int) -> Iterator[pa.Table]:
    """Batches joined to tables of the size of a staged segment."""
    waiting: list[pa.RecordBatch] = []
    limit, held = max(1, STAGED_BYTES // (4 * dim)), 0
    for batch in source.batches:
        for name in (source.id_column, source.vector_column):
            if name not in batch.schema.names:
                raise InputError(f"{source.path} has no column {name!r}; name the right one ({batch.schema.names})")
        for start in range(0, batch.num_rows, limit):
            part = batch.slice(start, limit)
            waiting.append(part)
            held += part.num_rows
            if held >= limit:
                yield pa.Table.from_batches(waiting)
                waiting, held = [], 0
    if held:
        yield pa.Table.from_batches(waiting)


def _typed(metadata: pa.Table, source: Source) -> pa.Table:
    """Columns in the types they had: Parquet has no seconds, for one."""
    for name, kind in source.about.get("columns", []):
        if name in metadata.column_names and str(metadata[name].type) != kind:
            place = metadata.column_names.index(name)
            try:
                metadata = metadata.set_column(place, name, metadata[name].cast(parse_type(kind)))
            except (pa.ArrowException, ValueError) as error:
                raise InputError(f"column {name!r} of {source.path} is no {kind} ({error}); export it again") from error
    return metadata


def _ids(table: pa.Table, source: Source) -> list[str]:
    column = table[source.id_column]
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InputError(f"column {source.id_column!r} of {source.path} has type {column.type}; ids are text: cast it")
    ids: list[str] = column.to_pylist()
    return ids


def _vectors(column: pa.ChunkedArray, dim: int, source: Source) -> Float32[Array, "n d"]:
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise InputError(f"column {source.vector_column!r} of {source.path} has type {kind}; vectors are lists")
    parts = []
    for chunk in column.chunks:
        flat = chunk.flatten()
        lengths = np.full(len(chunk), kind.list_size) if pa.types.is_fixed_size_list(kind) else _lengths(chunk)
        if chunk.null_count or flat.null_count or (lengths != dim).any():
            wrong = sorted({int(one) for one in lengths[lengths != dim][:3]})
            what = f"widths {wrong}" if wrong else "nulls"
            raise ShapeMismatch(f"column {source.vector_column!r} of {source.path} has {what}; the space needs d={dim}")
        parts.append(flat.to_numpy(zero_copy_only=False).reshape(-1, dim))
    return np.concatenate(parts) if len(parts) != 1 else parts[0]


def _lengths(chunk: pa.Array) -> Array:
    import pyarrow.compute as pc

    lengths: Array = pc.list_value_length(chunk).fill_null(-1).to_numpy(zero_copy_only=False)
    return lengths
