"""A space as tables."""
# ruff: noqa: S608 - the SQL here is made of quoted names of spaces and columns, never of what a user asked

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore.errors import InputError
from latentstore.filters import segment_relation
from latentstore.filters.allowed import duckdb_type, quote
from latentstore.space.filtering import segment_files

if TYPE_CHECKING:
    import duckdb
    from jaxtyping import Float32, Int64

    from latentstore.space import EmbeddingSpace
    from latentstore.sql.functions import Functions
    from latentstore.storage import Snapshot
    from latentstore.types import Array


def create_views(
    connection: duckdb.DuckDBPyConnection, name: str, space: EmbeddingSpace, beside: Iterable[str], functions: Functions
) -> dict[str, str]:
    """The space as a view in main, and tables (names of `BESIDE`) in a schema of its name; returns its columns' types.

    Vectors do not come from Parquet, which takes 2–3 s to decode a million of them, but from the mapped file beside
    it, and only those of the rows that are left when a query gets to look at them.
    """
    schema = quote(name)
    snapshot = space.snapshot
    connection.execute(f"CREATE SCHEMA {schema}")
    columns = {"id": "VARCHAR"}
    columns |= {column: duckdb_type(kind) or "BLOB" for column, kind in snapshot.column_types.items()}
    vector = quote(f"vector_of_{name}")
    read = partial(_stored_vectors, snapshot)
    functions.add(connection, f"vector_of_{name}", read, ["INTEGER", "BIGINT"], f"FLOAT[{snapshot.dim}]")
    relations = [
        f"SELECT *, {vector}({number}, position) AS vector FROM ({segment_relation(file, columns, position=True)})"
        for number, file in enumerate(segment_files(snapshot))
    ]
    if not relations:
        nulls = (f"CAST(NULL AS {kind}) AS {quote(column)}" for column, kind in columns.items())
        relations = [f"SELECT 0 AS row, {', '.join(nulls)}, {vector}(NULL, NULL) AS vector WHERE false"]
    dead = [s.rows[s.dead_positions] for s in snapshot.segments if s.alive is not None]
    alive = ""
    if dead:
        _create_table(connection, f"{schema}.dead_rows", pa.table({"row": np.concatenate(dead)}))
        alive = f" WHERE row NOT IN (SELECT row FROM {schema}.dead_rows)"
    listed = ", ".join(map(quote, [*columns, "vector"]))
    connection.execute(f"CREATE VIEW {schema} AS SELECT {listed} FROM ({' UNION ALL '.join(relations)}){alive}")
    for table in beside:
        _create_table(connection, f"{schema}.{table}", BESIDE[table](space))
    return columns | {"vector": f"FLOAT[{snapshot.dim}]"}


def _stored_vectors(snapshot: Snapshot, numbers: pa.Array, positions: pa.Array) -> pa.Array:
    """Vectors at positions of segments, gathered from the mapped files."""
    number, position = (np.asarray(column.fill_null(0)) for column in (numbers, positions))
    gathered = np.empty((len(number), snapshot.dim), np.float32)
    for one in np.unique(number).tolist():
        count = snapshot.segments[one].record.count if 0 <= one < len(snapshot.segments) else 0
        chosen = np.flatnonzero(number == one)
        wanted = position[chosen]
        if not ((wanted >= 0) & (wanted < count)).all():
            raise InputError(f"there is no vector {wanted.max()} of segment {one}; read the column `vector`")
        gathered[chosen] = snapshot.segments[one].vectors_for(wanted)[wanted]
    return _fixed(gathered)


def vectors_of(snapshot: Snapshot, rows: Int64[Array, " m"]) -> pa.FixedSizeListArray:
    """Vectors of live rows as a column."""
    return _fixed(snapshot.vectors(rows))


def _fixed(vectors: Float32[Array, "m d"]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def _create_table(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("source", table)
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM source")
    connection.unregister("source")


def _maps(space: EmbeddingSpace) -> pa.Table:
    """Coordinates on all maps: map, id, x, y, z (null on flat maps)."""
    schema = pa.schema({"map": pa.string(), "id": pa.string(), "x": pa.float32(), "y": pa.float32(), "z": pa.float32()})
    parts = []
    for record in space.snapshot.manifest.maps:
        table = space.map(record.name)
        columns = {"map": pa.array([record.name] * len(table), pa.string())}
        for field in list(schema)[1:]:
            known = field.name in table.column_names
            columns[field.name] = table[field.name].cast(field.type) if known else pa.nulls(len(table), field.type)
        parts.append(pa.table(columns, schema=schema))
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _versions(space: EmbeddingSpace) -> pa.Table:
    """The versions that still exist: version, created, operation, rows, segments, encoder, tags."""
    tags: dict[int, list[str]] = {}
    for tag, version in space.files.tags().items():
        tags.setdefault(version, []).append(tag)
    return pa.Table.from_pylist(
        [
            {
                "version": manifest.version,
                "created": str(manifest.created),
                "operation": manifest.operation,
                "rows": manifest.live,
                "segments": len(manifest.segments),
                "encoder": manifest.encoder,
                "tags": sorted(tags.get(manifest.version, [])),
            }
            for manifest in space.versions()
        ],
        schema=pa.schema(
            {
                "version": pa.int64(),
                "created": pa.string(),
                "operation": pa.string(),
                "rows": pa.int64(),
                "segments": pa.int64(),
                "encoder": pa.string(),
                "tags": pa.list_(pa.string()),
            }
        ),
    )


BESIDE: dict[str, Callable[[EmbeddingSpace], pa.Table]] = {
    "centroids": lambda space: space.centroids,
    "attributes": lambda space: space.attributes,
    "leakage": lambda space: space.leakage(),
    "maps": _maps,
    "evaluations": lambda space: space.evaluations(),
    "versions": _versions,
}
