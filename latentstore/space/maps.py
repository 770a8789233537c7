"""Maps of a snapshot: projections of its latents to two or three dimensions, stored beside them with their quality."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.errors import ChecksumMismatch, ConfigInvalid, NotFound, suggest
from latentstore.geometry import normalise
from latentstore.space.concepts import read_parquet
from latentstore.storage import ArtefactRecord
from latentstore.types import check_seed

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.maps import Projection
    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.storage import Manifest, Snapshot
    from latentstore.types import Array

AXES = ("x", "y", "z")
MEASURED_NEIGHBOURS, MEASURED_ITEMS = 10, 1_000  # of the quality stored with a map: all items answer, so many ask
LABEL = "label"  # the column whose labels should stay together, where a space has it and no other is named


def _check_name(name: Any) -> None:
    try:
        name.encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise ConfigInvalid(f"a map cannot be called {name!r}; pass UTF-8 text") from error


def fit_map(
    space: EmbeddingSpace,
    method: str,
    *,
    dim: int = 2,
    seed: int = 0,
    name: str | None = None,
    column: str | None = None,
    afresh: bool = False,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> Manifest:
    """Project all live latents and publish the map as a new version: see `EmbeddingSpace.fit_map`.

    Raises:
        ConfigInvalid: Unknown method, option or dim.
        InputError: Too few items, or no such column.
        NotSupported: A method that cannot do so many items in so many dimensions.
        ChecksumMismatch: The earlier map that this one would begin from is damaged.
    """
    from latentstore.maps import GIVEN, check_options, fit_inverse, neighbours_used, project, quality

    for option in options:
        if option in GIVEN:
            raise ConfigInvalid(f"option {option!r} of a map comes from the space itself; leave it out")
    check_options(method, options)
    check_seed(seed)
    _check_name(name or method)
    snapshot = space.snapshot
    rows = snapshot.live_rows()
    original = snapshot.vectors(rows)
    latents = as_mapped(space, original)
    given: dict[str, Any] = {"progress": progress} if method == "tsne" else {}
    wanted = min(neighbours_used(method, **options), len(rows))
    if wanted and space.metric != "ip":
        # The graph comes from the space's own index: the projection then costs the layout only.
        found, distances, _ = space.searcher.search(latents, wanted)
        if space.metric == "cosine":
            distances = np.sqrt(2 * np.maximum(distances, 0))
        given["neighbours"] = np.searchsorted(rows, found), distances
    start = None if afresh else _earlier(space, name or method, method, dim, rows, latents)
    projection = project(method, latents, dim=dim, seed=seed, start=start, **given, **options)
    labels = _labels(space, rows, column)
    measured = quality(
        latents,
        projection.coordinates,
        labels,
        k=min(MEASURED_NEIGHBOURS, (len(rows) - 1) // 2),
        sample=MEASURED_ITEMS,
        seed=seed,
    )
    properties = {
        "method": method,
        "dim": dim,
        "seed": seed,
        **({"options": options} if options else {}),
        "parameters": dict(projection.parameters),
        "start": "afresh" if start is None else "earlier map",
        "quality": measured,
        "column": None if labels is None else column or LABEL,
        "inverse": fit_inverse(projection.coordinates, original, seed=seed)[1],
        "next_row": snapshot.manifest.next_row,
        "rows": len(rows),
    }
    written = _write(space, projection, rows)
    record = ArtefactRecord(name or method, method, snapshot.version, written, properties)
    return space.files.put_artefacts(snapshot.version, maps=[record])


def read_map(space: EmbeddingSpace, name: str) -> pa.Table:
    """Coordinates of the snapshot's live items on a map: id, x, y (and z).

    Raises:
        NotFound: No such map.
    """
    table = read_parquet(space.snapshot.read(map_record(space, name).files["parquet"]))
    return table.filter(pa.array(_alive(space.snapshot, table))).drop_columns(["row"])


def map_record(space: EmbeddingSpace, name: str) -> ArtefactRecord:
    """What the manifest says of a map.

    Raises:
        NotFound: No such map.
    """
    records = {record.name: record for record in space.snapshot.manifest.maps}
    if name not in records:
        hint = suggest(name, records) if records else f"make it with fit_map({name!r})"
        raise NotFound(f"space {space.name!r} has no map {name!r}; {hint}")
    return records[name]


def stored_quality(record: ArtefactRecord) -> dict[str, float]:
    """What was measured of a map when it was fitted; empty for maps older than that."""
    found = {str(key): float(value) for key, value in record.properties.get("quality", {}).items()}
    if "inverse" in record.properties:
        found["inverse_explained"] = float(record.properties["inverse"]["explained"])
    return found


def read_projection(space: EmbeddingSpace, name: str) -> tuple[Projection, Int64[Array, " n"]]:
    """A stored map as it was fitted, and the rows it was fitted to, dead ones too."""
    from latentstore.maps import Projection

    record = map_record(space, name)
    table = read_parquet(space.snapshot.read(record.files["parquet"]))
    coordinates = np.column_stack([table[axis].to_numpy() for axis in AXES if axis in table.column_names])
    with np.load(io.BytesIO(space.snapshot.read(record.files["state"])), allow_pickle=False) as stored:
        state = {key: stored[key] for key in stored.files}
    parameters = dict(record.properties["parameters"])
    return Projection(str(record.properties["method"]), coordinates, state, parameters), table["row"].to_numpy()


def as_mapped(space: EmbeddingSpace, latents: Float32[Array, "n d"]) -> Float32[Array, "n d"]:
    """Latents as maps see them: on the unit sphere |a − b|² = 2 (1 − cos), so a Euclidean map shows the cosine."""
    return normalise(latents) if space.metric == "cosine" else latents


def _alive(snapshot: Snapshot, table: pa.Table) -> Array:
    return np.asarray(snapshot.locate(table["row"].to_numpy())[0] >= 0)


def _earlier(
    space: EmbeddingSpace, name: str, method: str, dim: int, rows: Int64[Array, " n"], latents: Float32[Array, "n d"]
) -> Float32[Array, "n dim"] | None:
    """Where the map of this name has the items, new ones placed on it; None where there is none like it to begin from.

    A map of other rows (all were replaced or restored since), or by another method, is no place to begin.
    """
    manifest = space.snapshot.manifest
    record = next((record for record in manifest.maps if record.name == name), None)
    if record is None or record.version < manifest.revived_version:
        return None
    if (record.properties["method"], record.properties["dim"]) != (method, dim):
        return None
    try:
        projection, known = read_projection(space, name)
    except ChecksumMismatch as error:
        raise ChecksumMismatch(f"{error}; pass afresh=True to fit map {name!r} without its earlier state") from error
    order = np.argsort(known, kind="stable")
    at = order[np.searchsorted(known, rows, sorter=order).clip(max=len(known) - 1)]
    there = known[at] == rows
    if not there.any():
        return None
    start = np.array(projection.coordinates[at], np.float32)
    start[~there] = projection.place(latents[~there])
    return start


def _labels(space: EmbeddingSpace, rows: Int64[Array, " n"], column: str | None) -> list[Any] | None:
    if column is None and LABEL not in space.columns:
        return None
    chosen = column or LABEL
    labels: list[Any] = space.snapshot.columns(rows, [chosen])[chosen].to_pylist()
    return labels


def _write(space: EmbeddingSpace, projection: Projection, rows: Int64[Array, " n"]) -> dict[str, Any]:
    axes = {axis: projection.coordinates[:, i] for i, axis in enumerate(AXES[: projection.dim])}
    table = pa.table({"id": pa.array(space.snapshot.ids(rows), pa.string()), "row": rows, **axes})
    coordinates, state = io.BytesIO(), io.BytesIO()
    pq.write_table(table, coordinates, compression="zstd")
    np.savez(state, allow_pickle=False, **projection.state)
    return {
        "parquet": space.files.write("maps", ".parquet", coordinates.getbuffer()),
        "state": space.files.write("maps", ".npz", state.getbuffer()),
    }
