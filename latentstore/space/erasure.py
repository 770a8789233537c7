"""Erasing what a column, or a predicate, says of the items of a space."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore import geometry
from latentstore.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.storage import StoreFiles
    from latentstore.types import Array

BLOCK = 65_536  # rows read at a time


def fit_eraser(space: EmbeddingSpace, by: str, *, where: str | None = None) -> geometry.Eraser:
    """Fit LEACE to a space's latents; see `EmbeddingSpace.erase`."""
    rows, concept = _concept(space, by)
    if where is not None:
        inside = np.isin(rows, space.matching(where))
        rows, concept = rows[inside], concept[inside]
    if len(rows) < 2 or not np.ptp(concept, axis=0).any():
        raise InputError(f"{by!r} is the same for all {len(rows)} items it is known of; there is nothing to erase")
    fitter = geometry.EraserFitter(space.dim, concept.shape[1])
    for first in range(0, len(rows), BLOCK):
        part = slice(first, first + BLOCK)
        fitter.update(space.snapshot.vectors(rows[part]), concept[part])
    return fitter.fit()


def _concept(space: EmbeddingSpace, by: str) -> tuple[Int64[Array, " r"], Float64[Array, "r k"]]:
    """Rows that the concept is known of, and what is known, as numbers."""
    rows = space.snapshot.live_rows()
    if by not in space.columns:
        return rows, np.isin(rows, space.matching(by)).astype(np.float64)[:, None]
    column = space.snapshot.columns(rows, [by])[by]
    kind = space.snapshot.column_types[by]
    values = column.to_pylist()
    floating = pa.types.is_floating(kind)
    known = np.array([one is not None and (not floating or isfinite(one)) for one in values], bool)
    rows = rows[known]
    kept = [one for one, there in zip(values, known, strict=True) if there]
    if floating:
        return rows, np.array(kept, np.float64)[:, None]
    texts = np.array([str(one) for one in kept], dtype=object)
    different = len(set(texts))
    if different > space.dim:
        raise InputError(
            f"column {by!r} has {different} values and the space {space.dim} dimensions: nothing would be left; "
            "erase a predicate, or a column of fewer values"
        )
    return rows, geometry.indicators(texts.astype(str)) if len(texts) else np.zeros((0, 1))


def create_erased(store: StoreFiles, name: str, space: EmbeddingSpace, by: str, *, where: str | None = None) -> None:
    """Make a space of the erased latents of another; see `LatentStore.create_erased_space`."""
    eraser = fit_eraser(space, by, where=where)
    source = space.snapshot.manifest.source
    with store.new_space(name, dim=space.dim, metric=space.metric, source=source) as files:
        files.add_source(_erased_rows(space, eraser))


def _erased_rows(space: EmbeddingSpace, eraser: geometry.Eraser) -> pa.RecordBatchReader:
    """All rows with erased vectors, in bounded memory; the schema names no encoder, for it did not make them."""
    schema = pa.schema([pa.field("id", pa.string()), *_metadata(space), _vector(space)])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in space.iterate():
            vectors = np.asarray(batch.column("vector").flatten()).reshape(-1, space.dim)
            erased = pa.FixedSizeListArray.from_arrays(pa.array(eraser.apply(vectors).ravel()), space.dim)
            columns = [erased if name == "vector" else batch.column(name) for name in schema.names]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _metadata(space: EmbeddingSpace) -> list[pa.Field]:
    return [pa.field(name, kind) for name, kind in space.snapshot.column_types.items()]


def _vector(space: EmbeddingSpace) -> pa.Field:
    return pa.field("vector", pa.list_(pa.float32(), space.dim))
