"""Kinds of items inside a class that has no finer labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore import geometry
from latentstore.errors import InputError
from latentstore.types import check_seed

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

EXEMPLARS = 8
MOST_ROWS = 20_000  # that k-means sees; the others join the nearest centre


@dataclass(frozen=True, eq=False)
class Subcluster:
    """One of them.

    Attributes:
        ids: Its items, dtype object, shape (m,), the most typical first.
        centre: Mean latent (of unit latents in a cosine space), float32, shape (d,).
        spread: Root mean square Euclidean distance of its items to the centre.
        share: Of all items that were looked at, in [0, 1].
    """

    ids: Shaped[Array, " m"]
    centre: Float32[Array, " d"]
    spread: float
    share: float

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def medoid(self) -> str:
        """The item whose mean squared distance to the others is least."""
        return str(self.ids[0])

    @property
    def exemplars(self) -> list[str]:
        """Up to eight items nearest to the centre."""
        return [str(one) for one in self.ids[:EXEMPLARS]]


@dataclass(frozen=True, eq=False)
class Subclusters:
    """The kinds of items that a predicate matches, largest first.

    Attributes:
        space: Where they are.
        where: The predicate.
        parts: The kinds.
        silhouette: How well they are apart, in [−1, 1]: 0 means that nothing parts them.
        tried: The silhouette by number of kinds.
    """

    space: EmbeddingSpace
    where: str
    parts: tuple[Subcluster, ...]
    silhouette: float
    tried: dict[int, float]

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Subcluster]:
        return iter(self.parts)

    def __getitem__(self, number: int) -> Subcluster:
        return self.parts[number]

    def to_arrow(self) -> pa.Table:
        """One row per kind: cluster, items, share, spread, medoid, exemplars."""
        rows = [
            {
                "cluster": number,
                "items": len(one),
                "share": one.share,
                "spread": one.spread,
                "medoid": one.medoid,
                "exemplars": one.exemplars,
            }
            for number, one in enumerate(self.parts)
        ]
        numbers = {"cluster": pa.int64(), "items": pa.int64(), "share": pa.float64(), "spread": pa.float64()}
        schema = pa.schema({**numbers, "medoid": pa.string(), "exemplars": pa.list_(pa.string())})
        return pa.Table.from_pylist(rows, schema=schema)


def subclusters(space: EmbeddingSpace, where: str, count: int | None = None, *, seed: int = 0) -> Subclusters:
    """Part the items that a predicate matches; see `EmbeddingSpace.subclusters`."""
    check_seed(seed)
    rows = space.matching(where)
    if len(rows) < 3:
        raise InputError(f"{len(rows)} items match {where!r}; clusters need at least 3")
    chosen = rows
    if len(rows) > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))
    found = geometry.cluster(_compared(space, chosen), count, seed=seed)
    latents = _compared(space, rows)
    centres = found.centres
    far = geometry.pairwise_distances(latents, centres) if chosen is not rows else None
    members = found.members if far is None else far.argmin(axis=1)
    ids, parts = space.snapshot.ids(rows), []
    for part, centre in enumerate(centres):
        inside = np.flatnonzero(members == part)
        squares = np.square(latents[inside] - centre).sum(axis=1)
        order = inside[np.argsort(squares, kind="stable")]
        spread = float(np.sqrt(squares.mean()))
        parts.append(Subcluster(ids[order], centre.astype(np.float32), spread, len(inside) / len(rows)))
    return Subclusters(space, where, tuple(parts), found.silhouette, found.tried)


def _compared(space: EmbeddingSpace, rows: Array) -> Array:
    """Latents as Euclidean distance compares them like the space's metric does."""
    latents = space.snapshot.vectors(rows)
    return geometry.normalise(latents) if space.metric == "cosine" else latents
