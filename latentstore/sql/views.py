"""A space as tables."""
# ruff: noqa: S608 - the SQL here is made of quoted names of spaces and columns, never of what a user asked

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore.filters import segment_relation
from latentstore.filters.allowed import duckdb_type, quote
from latentstore.space.filtering import segment_files

if TYPE_CHECKING:
    import duckdb

    from latentstore.space import EmbeddingSpace


def create_views(connection: duckdb.DuckDBPyConnection, name: str, space: EmbeddingSpace, query: str) -> None:
    """The space as a view in main, and beside it the tables of a schema of its name that the text mentions."""
    schema = quote(name)
    snapshot = space.snapshot
    connection.execute(f"CREATE SCHEMA {schema}")
    columns = {"id": "VARCHAR"}
    columns |= {column: duckdb_type(kind) or "BLOB" for column, kind in snapshot.column_types.items()}
    columns["vector"] = f"FLOAT[{snapshot.dim}]"
    relations = [segment_relation(file, columns) for file in segment_files(snapshot)]
    if not relations:
        nulls = (f"CAST(NULL AS {kind}) AS {quote(column)}" for column, kind in columns.items())
        relations = [f"SELECT 0 AS row, {', '.join(nulls)} WHERE false"]
    dead = [s.rows[s.dead_positions] for s in snapshot.segments if s.alive is not None]
    alive = ""
    if dead:
        _create_table(connection, f"{schema}.dead_rows", pa.table({"row": np.concatenate(dead)}))
        alive = f" WHERE row NOT IN (SELECT row FROM {schema}.dead_rows)"
    listed = ", ".join(map(quote, columns))
    connection.execute(f"CREATE VIEW {schema} AS SELECT {listed} FROM ({' UNION ALL '.join(relations)}){alive}")
    for beside, make in _BESIDE.items():
        if beside in query.lower() or name not in query.lower():
            _create_table(connection, f"{schema}.{beside}", make(space))


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


_BESIDE: dict[str, Callable[[EmbeddingSpace], pa.Table]] = {
    "centroids": lambda space: space.centroids,
    "attributes": lambda space: space.attributes,
    "maps": _maps,
    "versions": _versions,
}
