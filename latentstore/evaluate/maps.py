"""What a map of a space is worth: its quality, and how far a place on it tells the item that lies there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import NotSupported, UnknownItem
from latentstore.geometry import normalise
from latentstore.maps import from_stored, quality
from latentstore.space.maps import as_mapped, map_record, read_projection, stored_quality

if TYPE_CHECKING:
    from jaxtyping import Float32

    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

NEIGHBOURS = 10


def map_metrics(
    space: EmbeddingSpace, name: str, *, column: str | None = None, asking: int = 1_000, seed: int = 0
) -> dict[str, float]:
    """Quality of a map: what was measured when it was fitted, or measured now where that is not of these rows.

    Args:
        space: Whose map.
        name: The map.
        column: Metadata column of labels; without it, or in a space that has none of this name, no accuracies.
        asking: Items that ask, where it is measured now; all answer.
        seed: Chooses them.

    Returns:
        As `latentstore.maps.quality`.
    """
    record = map_record(space, name)
    column = column if column in space.columns else None
    known = stored_quality(record)
    fresh = record.version >= space.snapshot.manifest.rows_version and record.properties.get("column") == column
    if known and fresh:
        return known
    projection, rows = read_projection(space, name)
    alive = np.flatnonzero(space.snapshot.locate(rows)[0] >= 0)
    rows = rows[alive]
    labels: Any = None if column is None else space.snapshot.columns(rows, [column])[column].to_pylist()
    return quality(
        as_mapped(space, space.snapshot.vectors(rows)),
        projection.coordinates[alive],
        labels,
        k=min(NEIGHBOURS, (len(rows) - 1) // 2),
        sample=asking,
        seed=seed,
    )


def image_metrics(
    space: EmbeddingSpace,
    name: str,
    ids: Sequence[str],
    read: Callable[[Sequence[str]], Array],
    *,
    umap_inverse: int = 0,
) -> dict[str, float]:
    """How much of an item is left after item → its place on the map → latent → decoded item.

    The items asked for are taken out of what places them and of what leads back, so the map knows of them only what
    they did to the places of others when it was fitted.

    Args:
        space: Whose map; its encoder must decode.
        name: The map.
        ids: The items.
        read: Gives the items themselves, float in [0, 1] or uint8.
        umap_inverse: So many of them also by umap-learn's `inverse_transform`, where the map is a UMAP: slow.

    Returns:
        `image_mse` (mean squared error per pixel, pixels from 0 to 1), `image_floor_mse` (of the items' own latents
        decoded: what no map can beat), `place_ms` and `image_ms` (milliseconds per item, in one batch), and, of the
        first `umap_inverse` items by both ways, `image_mse_umap_inverse` and `image_mse_beside_umap_inverse`.

    Raises:
        NotSupported: The space has no decoder.
        UnknownItem: An item is not on the map.
    """
    projection, rows = read_projection(space, name)
    wanted = space.rows_of(ids)
    order = np.argsort(rows, kind="stable")
    at = order[np.searchsorted(rows, wanted, sorter=order).clip(max=len(rows) - 1)]
    if (rows[at] != wanted).any():
        missing = ids[int(np.flatnonzero(rows[at] != wanted)[0])]
        raise UnknownItem(f"item {missing!r} came after map {name!r} of space {space.name!r}; fit the map again")
    out = np.union1d(at, np.flatnonzero(space.snapshot.locate(rows)[0] < 0))
    if len(rows) - len(out) < 3:
        raise NotSupported(f"map {name!r} has {len(rows)} items; ask for fewer of them, so that others are left")
    rest, latents = projection.without(out), space.snapshot.vectors(np.delete(rows, out))
    items = _as_floats(read(ids))
    own = space.snapshot.vectors(wanted)
    floor = _error(space.decode(own), items)  # first, as it loads the decoder
    started = time.perf_counter()
    places = rest.place(as_mapped(space, own))
    placed = time.perf_counter()
    inverse = from_stored(rest.coordinates, latents, map_record(space, name).properties.get("inverse"))
    inverse.at(places[:1])  # builds its tree
    opened = time.perf_counter()
    found = inverse.at(places)
    drawn = space.decode(found)
    ended = time.perf_counter()
    measured = {
        "image_mse": _error(drawn, items),
        "image_floor_mse": floor,
        "place_ms": 1e3 * (placed - started) / len(ids),
        "image_ms": 1e3 * (ended - opened) / len(ids),
    }
    if umap_inverse and projection.method == "umap":
        from latentstore.maps.umap_inverse import invert

        some = slice(0, umap_inverse)
        theirs = invert(places[some], rest.state, rest.parameters)
        if space.metric == "cosine":  # as `space.from_map`: the map saw directions only
            theirs = normalise(theirs) * np.linalg.norm(found[some], axis=1, keepdims=True)
        measured["image_mse_umap_inverse"] = _error(space.decode(theirs), items[some])
        measured["image_mse_beside_umap_inverse"] = _error(drawn[some], items[some])
    return measured


def _as_floats(items: Array) -> Float32[Array, "n ..."]:
    return np.asarray(items / np.float32(255) if items.dtype == np.uint8 else items, np.float32)


def _error(drawn: Array, items: Array) -> float:
    return float(((drawn - items) ** 2).mean(dtype=np.float64))
