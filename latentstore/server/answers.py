"""Hits as they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from latentstore.server.wire import Found
from latentstore.types import ends_missing

if TYPE_CHECKING:
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array, Neighbours

_encode_lines = msgspec.json.Encoder().encode_lines


def encoded_hits(space: EmbeddingSpace, queries: Sequence[Any] | Array, k: int) -> bytes:
    """The bodies of the answers to several vectors, (m, d) together, a line each.

    Raises:
        ShapeMismatch, NotFinite, InputError: Whatever `EmbeddingSpace.search` has against one of them.
    """
    found = space.search(queries[0] if len(queries) == 1 else queries, k)
    name, version, metric, ip = space.name, found.version, found.metric, found.metric == "ip"
    return _encode_lines(
        [
            Found(space=name, version=version, metric=metric, k=k, ids=ids, similarities=far, shortfall=k - len(ids))
            if ip
            else Found(space=name, version=version, metric=metric, k=k, ids=ids, distances=far, shortfall=k - len(ids))
            for ids, far in lists_of(found)
        ]
    )


def identity(space: EmbeddingSpace) -> str:
    """Names a snapshot for good: a space that was removed and made anew begins again with version 1."""
    manifest = space.snapshot.manifest
    return f"{manifest.version} {manifest.created} {manifest.segments[-1].uuid if manifest.segments else ''}"


def lists_of(found: Neighbours) -> list[tuple[list[Any], list[Any]]]:
    """Ids and distances of one query, or of each of a batch, without the places where none matched."""
    ids, distances = found.ids.tolist(), found.distances.tolist()
    if found.rows.ndim == 1:
        return [(ids, distances)]
    if not ends_missing(found.rows):
        return list(zip(ids, distances, strict=True))
    kept = (found.rows >= 0).sum(axis=1).tolist()
    return [(i[:n], d[:n]) for i, d, n in zip(ids, distances, kept, strict=True)]


def named(space: EmbeddingSpace, distances: list[Any]) -> dict[str, Any]:
    """What was measured, under its name: the inner product is no distance."""
    return {"similarities" if space.metric == "ip" else "distances": distances}
