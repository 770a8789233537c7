"""Centroids and attribute vectors of a snapshot: fitted from its rows, stored beside them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore import geometry
from latentstore.errors import UnknownLabel
from latentstore.storage import ArtefactRecord, FileRecord
from latentstore.types import without_nan

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.storage import Manifest, Snapshot
    from latentstore.types import Array


class Concepts:
    """The centroids and attribute vectors that a snapshot's manifest names, read on first use."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @cached_property
    def centroids(self) -> pa.Table:
        """One row per label: column, label, count, spread, version, vector."""
        return self._read("centroids", _centroid_schema(self._snapshot.dim))

    @cached_property
    def attributes(self) -> pa.Table:
        """One row per attribute vector: name, method, clauses, counts, how far to trust it, version, vector."""
        return self._read("attribute", attribute_schema(self._snapshot.dim))

    @cached_property
    def centroid_vectors(self) -> Mapping[str, Float32[Array, " d"]]:
        """Mean latent by label."""
        vectors: dict[str, Any] = {}
        table = self.centroids
        for label, vector in zip(table["label"].to_pylist(), _vectors(table), strict=True):
            if label in vectors:
                raise UnknownLabel(f"label {label!r} stands in more than one column; keep one of the two centroid sets")
            vectors[label] = vector
        return vectors

    @cached_property
    def attribute_vectors(self) -> Mapping[str, Float32[Array, " d"]]:
        """Direction by name."""
        return dict(zip(self.attributes["name"].to_pylist(), _vectors(self.attributes), strict=True))

    def _read(self, kind: str, schema: pa.Schema) -> pa.Table:
        tables = [
            _completed(read_parquet(self._snapshot.read(record.files["parquet"])), schema)
            for record in self._snapshot.manifest.concepts
            if record.kind == kind
        ]
        return pa.concat_tables(tables) if tables else schema.empty_table()


def fit_centroids(space: EmbeddingSpace, column: str = "label") -> Manifest:
    """Average the latents of each value of a column and publish them as a new version.

    Raises:
        ConfigInvalid: No such column.
        InputError: The column has no value.
    """
    snapshot = space.snapshot
    space.check_columns([column])
    rows = snapshot.live_rows()
    values = without_nan(snapshot.columns(rows, [column])[column].to_pylist())
    labels = [None if x is None else str(x) for x in values]
    fitted = geometry.centroids(snapshot.vectors(rows), labels)
    table = pa.table(
        {
            "column": [column] * len(fitted),
            "label": pa.array(fitted.labels, pa.string()),
            "count": fitted.counts,
            "spread": fitted.spreads,
            "version": pa.array([snapshot.version] * len(fitted), pa.int64()),
            "vector": _vector_column(fitted.vectors),
        },
        schema=_centroid_schema(snapshot.dim),
    )
    record = concept_record(space, f"centroids/{column}", "centroids", table, {"column": column})
    return space.files.put_artefacts(space.version, concepts=[record])


def read_parquet(content: bytes) -> pa.Table:
    """Decode Parquet bytes in this thread only.

    Threads of pyarrow let go of a Python buffer after `read_table` has returned; when the process ends just then,
    such a thread meets an interpreter without a lock to take and aborts the process ("terminate called without an
    active exception").
    """
    return pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)


def concept_record(
    space: EmbeddingSpace, name: str, kind: str, table: pa.Table, properties: dict[str, Any], **beside: FileRecord
) -> ArtefactRecord:
    """Write a table and describe it, with files beside it, as an artefact of the space's snapshot."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    written = {"parquet": space.files.write("concepts", ".parquet", sink.getbuffer()), **beside}
    stamp = properties | {"next_row": space.snapshot.manifest.next_row, "rows": len(space.snapshot)}
    return ArtefactRecord(name, kind, space.version, written, stamp)


def _completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table as it is written now: columns that an older release did not write are null."""
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type) for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)


def _vectors(table: pa.Table) -> Float32[Array, "n d"]:
    column = table["vector"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat).reshape(len(table), column.type.list_size)


def _vector_column(vectors: Float32[Array, "n d"]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), vectors.shape[1])


def _centroid_schema(dim: int) -> pa.Schema:
    fields = {"column": pa.string(), "label": pa.string(), "count": pa.int64(), "spread": pa.float64()}
    return pa.schema({**fields, "version": pa.int64(), "vector": pa.list_(pa.float32(), dim)})


def attribute_schema(dim: int) -> pa.Schema:
    """The columns of an attribute's row; those that came later, and do not apply to each method, may be null."""
    texts = {name: pa.string() for name in ("name", "method", "positive", "negative")}
    counts = {name: pa.int64() for name in ("positives", "negatives")}
    scores = {name: pa.float64() for name in ("auc", "accuracy", "midpoint")}
    stamps = {name: pa.int64() for name in ("seed", "version")}
    trust = {name: pa.float64() for name in ("stability", "stability_low", "p_value", "share")}
    beside = {name: pa.list_(pa.string()) for name in ("balance", "orthogonal_to")}
    fields = {**texts, **counts, **scores, **stamps, **trust, **beside, "vector": pa.list_(pa.float32(), dim)}
    return pa.schema(fields)
