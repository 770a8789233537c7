"""Between latents and places on a stored map, both ways, without fitting anything again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ConfigInvalid, NotSupported, suggest
from latentstore.geometry import normalise
from latentstore.space.latent import as_queries
from latentstore.space.maps import as_mapped, map_record, read_projection
from latentstore.types import check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.maps import Inverse
    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

INVERSES = ("local", "umap")


def place(space: EmbeddingSpace, query: Any, name: str) -> Float32[Array, "... dim"]:
    """Coordinates of latents on a map: see `EmbeddingSpace.place`."""
    latents, single = as_queries(space, query)
    placed = space.projection(name).place(as_mapped(space, latents))
    return placed[0] if single else placed


def from_map(space: EmbeddingSpace, points: Any, name: str, method: str) -> Float32[Array, "... d"]:
    """Latents of places on a map: see `EmbeddingSpace.from_map`."""
    if method not in INVERSES:
        raise ConfigInvalid(f"unknown way back from a map {method!r}; {suggest(method, INVERSES)}")
    record = map_record(space, name)
    checked = check_vectors(points, int(record.properties["dim"]), what="points")
    flat = checked.reshape(-1, checked.shape[-1])
    if method == "local" or not len(flat):
        found = space.inverse(name).at(flat)
    elif record.properties["method"] != "umap":
        raise NotSupported(f"map {name!r} is a {record.properties['method']}; only a UMAP has the inverse 'umap'")
    else:
        found = _by_umap(space, flat, name)
    return found[0] if checked.ndim == 1 else found


def open_inverse(space: EmbeddingSpace, name: str) -> Inverse:
    """The regression of the live items' latents on their places.

    Raises:
        NotFound: No such map.
        NotSupported: None of its items is alive.
    """
    from latentstore.maps import from_stored

    projection, rows = read_projection(space, name)
    alive = np.flatnonzero(space.snapshot.locate(rows)[0] >= 0)
    if not len(alive):
        raise NotSupported(f"no item of map {name!r} is alive, so it leads nowhere; fit it again")
    latents = space.snapshot.vectors(rows[alive])
    return from_stored(projection.coordinates[alive], latents, map_record(space, name).properties.get("inverse"))


def _by_umap(space: EmbeddingSpace, points: Float32[Array, "m dim"], name: str) -> Float32[Array, "m d"]:
    from latentstore.maps.umap_inverse import invert

    projection = space.projection(name)
    found = invert(points, projection.state, projection.parameters)
    if space.metric == "cosine":
        # The map saw directions only; how long latents are there, which a decoder heeds, the items around it know.
        lengths = np.linalg.norm(space.inverse(name).at(points), axis=1, keepdims=True)
        found = np.ascontiguousarray(normalise(found) * lengths, np.float32)
    return found
