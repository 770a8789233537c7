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
from latentstore.errors import ConfigInvalid, InputError, UnknownLabel, suggest
from latentstore.expression import parse
from latentstore.storage import ArtefactRecord

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.storage import Manifest, Snapshot
    from latentstore.types import Array

METHODS = {"mean_difference": geometry.mean_difference, "logistic": geometry.logistic}


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
        """One row per attribute vector: name, method, clauses, counts, held-out AUC and accuracy, version, vector."""
        return self._read("attribute", _attribute_schema(self._snapshot.dim))

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
            read_parquet(self._snapshot.read(record.files["parquet"])).cast(schema)
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
    labels = [None if x is None else str(x) for x in snapshot.columns(rows, [column])[column].to_pylist()]
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
    return _publish(space, f"centroids/{column}", "centroids", table, {"column": column})


def fit_attribute(
    space: EmbeddingSpace, name: str, *, positive: str, negative: str, method: str = "mean_difference", seed: int = 0
) -> Manifest:
    """Fit an attribute vector from two `where` clauses and publish it as a new version.

    Raises:
        ConfigInvalid: Unknown method, or a name the algebra could not read.
        FilterRefused: A clause that is none.
        InputError: A clause matches nothing, or both match the same items.
        DidNotConverge: The logistic regression did not.
    """
    if method not in METHODS:
        raise ConfigInvalid(f"unknown method {method!r} of attribute {name!r}; {suggest(method, METHODS)}")
    check_attribute_name(name)
    snapshot = space.snapshot
    with_it, without = space.matching(positive), space.matching(negative)
    both = np.intersect1d(with_it, without)
    if len(both):
        example = snapshot.ids(both[:1])[0]
        raise InputError(
            f"{len(both)} items, {example!r} among them, match both {positive!r} and {negative!r}; "
            "an item either has an attribute or has it not"
        )
    fitted = METHODS[method](
        snapshot.vectors(with_it), snapshot.vectors(without), seed=seed, clauses=(positive, negative)
    )
    row = {
        "name": name,
        "method": method,
        "positive": positive,
        "negative": negative,
        "positives": fitted.positives,
        "negatives": fitted.negatives,
        "auc": fitted.auc,
        "accuracy": fitted.accuracy,
        "midpoint": fitted.midpoint,
        "seed": seed,
        "version": snapshot.version,
        "vector": fitted.direction,
    }
    table = pa.Table.from_pylist([row], schema=_attribute_schema(snapshot.dim))
    properties = {"positive": positive, "negative": negative, "method": method, "seed": seed}
    return _publish(space, f"attribute/{name}", "attribute", table, properties)


def check_attribute_name(name: str) -> None:
    """Refuse an attribute name that is empty or too long to be written in an expression."""
    if not name or len(name) > 200:
        raise ConfigInvalid(f"attribute name {name!r} is empty or longer than 200 characters; choose a plain word")
    quoted = name.replace("'", "''")
    parse(f"attribute('{quoted}')")


def read_parquet(content: bytes) -> pa.Table:
    """Decode Parquet bytes in this thread only.

    Threads of pyarrow let go of a Python buffer after `read_table` has returned; when the process ends just then,
    such a thread meets an interpreter without a lock to take and aborts the process ("terminate called without an
    active exception").
    """
    return pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)


def _publish(space: EmbeddingSpace, name: str, kind: str, table: pa.Table, properties: dict[str, Any]) -> Manifest:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    written = {"parquet": space.files.write("concepts", ".parquet", sink.getbuffer())}
    stamp = properties | {"next_row": space.snapshot.manifest.next_row, "rows": len(space.snapshot)}
    record = ArtefactRecord(name, kind, space.version, written, stamp)
    return space.files.put_artefacts(space.version, concepts=[record])


def _vectors(table: pa.Table) -> Float32[Array, "n d"]:
    column = table["vector"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat).reshape(len(table), column.type.list_size)


def _vector_column(vectors: Float32[Array, "n d"]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), vectors.shape[1])


def _centroid_schema(dim: int) -> pa.Schema:
    fields = {"column": pa.string(), "label": pa.string(), "count": pa.int64(), "spread": pa.float64()}
    return pa.schema({**fields, "version": pa.int64(), "vector": pa.list_(pa.float32(), dim)})


def _attribute_schema(dim: int) -> pa.Schema:
    texts = {name: pa.string() for name in ("name", "method", "positive", "negative")}
    counts = {name: pa.int64() for name in ("positives", "negatives")}
    scores = {name: pa.float64() for name in ("auc", "accuracy", "midpoint")}
    stamps = {name: pa.int64() for name in ("seed", "version")}
    return pa.schema({**texts, **counts, **scores, **stamps, "vector": pa.list_(pa.float32(), dim)})
