"""Maps of a snapshot: projections of its latents to two or three dimensions, stored beside them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentstore.errors import NotFound, suggest
from latentstore.geometry import normalise
from latentstore.space.concepts import read_parquet
from latentstore.storage import ArtefactRecord

if TYPE_CHECKING:
    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.storage import Manifest

AXES = ("x", "y", "z")
GRAPH_NEIGHBOURS = 15  # neighbours per item that UMAP builds its graph from


def fit_map(space: EmbeddingSpace, method: str, *, dim: int = 2, seed: int = 0, name: str | None = None) -> Manifest:
    """Project all live latents and publish the coordinates as a new version.

    Raises:
        ConfigInvalid: Unknown method or dim.
        InputError: Too few items.
    """
    from latentstore.maps import project

    snapshot = space.snapshot
    rows = snapshot.live_rows()
    latents = snapshot.vectors(rows)
    options: dict[str, Any] = {}
    if space.metric == "cosine":
        latents = normalise(latents)  # on the unit sphere |a − b|² = 2 (1 − cos), so a Euclidean map shows the cosine
    if method == "umap" and space.metric != "ip":
        # The graph comes from the space's own index: the projection then costs the layout only.
        found, distances, _ = space.searcher.search(latents, min(GRAPH_NEIGHBOURS, len(rows)))
        if space.metric == "cosine":
            distances = np.sqrt(2 * distances)
        options["neighbours"] = np.searchsorted(rows, found), distances
    projection = project(method, latents, dim=dim, seed=seed, **options)
    table = pa.table(
        {
            "id": pa.array(snapshot.ids(rows), pa.string()),
            "row": rows,
            **{axis: projection.coordinates[:, i] for i, axis in enumerate(AXES[:dim])},
        }
    )
    coordinates, state = io.BytesIO(), io.BytesIO()
    pq.write_table(table, coordinates, compression="zstd")
    np.savez(state, allow_pickle=False, **projection.state)
    written = {
        "parquet": space.files.write("maps", ".parquet", coordinates.getbuffer()),
        "state": space.files.write("maps", ".npz", state.getbuffer()),
    }
    properties = {
        "method": method,
        "dim": dim,
        "seed": seed,
        "parameters": dict(projection.parameters),
        "next_row": snapshot.manifest.next_row,
        "rows": len(rows),
    }
    record = ArtefactRecord(name or method, method, snapshot.version, written, properties)
    return space.files.put_artefacts(snapshot.version, maps=[record])


def read_map(space: EmbeddingSpace, name: str) -> pa.Table:
    """Coordinates of the snapshot's live items on a map: id, x, y (and z).

    Raises:
        NotFound: No such map.
    """
    records = {record.name: record for record in space.snapshot.manifest.maps}
    if name not in records:
        hint = suggest(name, records) if records else f"make it with fit_map({name!r})"
        raise NotFound(f"space {space.name!r} has no map {name!r}; {hint}")
    table = read_parquet(space.snapshot.read(records[name].files["parquet"]))
    alive = space.snapshot.locate(table["row"].to_numpy())[0] >= 0
    return table.filter(pa.array(alive)).drop_columns(["row"])
