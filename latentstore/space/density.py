"""Where the data lies: how real a latent looks, and how new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore import geometry
from latentstore.errors import NotSupported

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array, Metric

NEIGHBOUR = 10  # realism compares distances to the 10th neighbour: one odd item nearby does not make a place real
REFERENCE = 2000  # real items measured for comparison: the score's standard error is ≤ .5/√2000 = .011


def realism_scale(space: EmbeddingSpace) -> geometry.RealismScale:
    """Measure a fixed sample of the space's own items; see `geometry.RealismScale`.

    Raises:
        NotSupported: Too few items to have neighbours.
    """
    rows = space.snapshot.live_rows()
    if len(rows) <= NEIGHBOUR:
        raise NotSupported(
            f"realism compares with a {NEIGHBOUR}th neighbour, and the space has {len(rows)} items; add more"
        )
    chosen = np.sort(np.random.default_rng(0).choice(rows, min(REFERENCE, len(rows)), replace=False))
    found, distances = nearest(space, space.snapshot.vectors(chosen), NEIGHBOUR + 1)
    return geometry.RealismScale.from_distances(
        _of_others(chosen[:, None] == found, distances), k=NEIGHBOUR, metric=_metric(space)
    )


def realism(space: EmbeddingSpace, latents: Float32[Array, "n d"]) -> Float64[Array, " n"]:
    """Score latents (n, d) on the space's scale. A latent equal to a stored one does not count as its own neighbour."""
    _, distances = nearest(space, latents, NEIGHBOUR + 1)
    itself = np.zeros(distances.shape, bool)
    itself[:, 0] = distances[:, 0] == 0
    return space.realism_scale.score(_of_others(itself, distances))


def nearest(
    space: EmbeddingSpace, latents: Float32[Array, "n d"], k: int
) -> tuple[Int64[Array, "n k"], Float32[Array, "n k"]]:
    """Rows and distances of the k items nearest to latents (n, d); −1 and NaN where there are fewer.

    By the space's metric. Under ip, which is no distance (far out is "near" to everything), by the Euclidean one,
    from all items.
    """
    if space.metric == "ip":
        return space.searcher.euclidean(latents, k)
    rows, distances, _ = space.searcher.search(latents, k)
    return rows, distances


def _of_others(itself: Array, distances: Array) -> Array:
    """Distance to the NEIGHBOUR-th neighbour that is not the item itself, from NEIGHBOUR + 1 found."""
    return np.where(itself.any(axis=1), distances[:, NEIGHBOUR], distances[:, NEIGHBOUR - 1])


def _metric(space: EmbeddingSpace) -> Metric:
    """What `nearest` measures by."""
    return "l2" if space.metric == "ip" else space.metric


def novelty_scale(space: EmbeddingSpace) -> geometry.RealismScale:
    """How far a fixed sample of the space's items lies from the nearest other item.

    Raises:
        NotSupported: Fewer than 2 items.
    """
    rows = space.snapshot.live_rows()
    if len(rows) < 2:
        raise NotSupported(f"what is new is told from how far items are apart, and the space has {len(rows)}; add more")
    chosen = np.sort(np.random.default_rng(0).choice(rows, min(REFERENCE, len(rows)), replace=False))
    found, distances = nearest(space, space.snapshot.vectors(chosen), 2)
    others = np.where(found[:, 0] == chosen, distances[:, 1], distances[:, 0])
    return geometry.RealismScale.from_distances(others, k=1, metric=_metric(space))


def novelty(space: EmbeddingSpace, latents: Float32[Array, "n d"]) -> Float64[Array, " n"]:
    """Share of real items that are nearer to another one than each latent (n, d) is to its nearest item, in [0, 1].

    0 is a copy, or as good as one; .5 keeps the distance that the median item keeps.
    """
    _, distances = nearest(space, latents, 1)
    return 1 - space.novelty_scale.score(distances[:, 0])
