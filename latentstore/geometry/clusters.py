"""Parts of a class that nobody labelled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError
from latentstore.geometry.cores import one_core
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int64

MOST = 8  # parts that are tried where their number is not given
STARTS = 10
ITERATIONS = 300
JUDGED = 2000  # items that silhouettes are measured on: all pairs of them


@dataclass(frozen=True, eq=False)
class Clusters:
    """Items in c parts, largest part first.

    Attributes:
        members: Part of each item, int64, shape (n,).
        centres: Mean latent of each part, float64, shape (c, d).
        spreads: Root mean square distance of a part's items to its centre, float64, shape (c,).
        silhouette: Mean silhouette of a sample of the items, in [−1, 1]: 0 where an item is as far from its own part
            as from the next, 1 where parts are points.
        tried: The silhouette of each number of parts that was tried.
    """

    members: Int64[Array, " n"]
    centres: Float64[Array, "c d"]
    spreads: Float64[Array, " c"]
    silhouette: float
    tried: dict[int, float] = field(default_factory=dict)

    def nearest(self, latents: Float[Array, "n d"], part: int, count: int) -> Int64[Array, " m"]:
        """Positions of the `count` members nearest to the part's centre, the nearest first.

        The first is the medoid under squared distance: Σⱼ |x − xⱼ|² = n |x − centre|² + a constant.
        """
        rows = np.flatnonzero(self.members == part)
        far = np.square(np.asarray(latents[rows], np.float64) - self.centres[part]).sum(axis=1)
        return np.asarray(rows[np.argsort(far, kind="stable")[:count]])


def cluster(latents: Float[Array, "n d"], count: int | None = None, *, seed: int = 0) -> Clusters:
    """Part latents by k-means, into as many parts as have the largest silhouette.

    Args:
        latents: Shape (n, d).
        count: How many parts; None tries 2 to 8.
        seed: Of the starts, ten of them, and of the sample that silhouettes are measured on.

    Returns:
        The parts.

    Raises:
        InputError: Fewer different latents than parts, or a count below 2.
        DidNotConverge: Lloyd's iterations did not come to rest.

    Source: P. Rousseeuw, Silhouettes, J. Comput. Appl. Math. 20 (1987).
    """
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits

    if count is not None and count < 2:
        raise InputError(f"count is {count}; ask for at least 2 clusters, or None to have the number chosen")
    different = len(np.unique(latents, axis=0))
    if different <= (count or 2):
        raise InputError(f"{different} different latents do not fall into {count or 2} clusters; choose more items")
    sample = np.random.default_rng(seed).permutation(len(latents))[:JUDGED]
    best: Clusters | None = None
    tried: dict[int, float] = {}
    with one_core(), threadpool_limits(1, user_api="openmp"):
        for parts in [count] if count is not None else range(2, min(MOST, different - 1) + 1):
            members, centres = _lloyd(latents, parts, seed)
            if len(np.unique(members[sample])) < 2:
                score = -1.0  # all but a handful in one part
            else:
                score = float(silhouette_score(latents[sample], members[sample]))
            tried[parts] = score
            if best is None or score > best.silhouette:
                best = _sorted(latents, members, centres, score)
    assert best is not None
    return Clusters(best.members, best.centres, best.spreads, best.silhouette, tried)


def _lloyd(latents: Float[Array, "n d"], parts: int, seed: int) -> tuple[Array, Array]:
    from sklearn.cluster import KMeans

    model = KMeans(parts, n_init=STARTS, max_iter=ITERATIONS, random_state=seed).fit(np.asarray(latents, np.float32))
    if model.n_iter_ >= ITERATIONS:
        raise DidNotConverge(
            f"k-means of {parts} clusters did not come to rest; ask for another count",
            iterations=int(model.n_iter_),
            residual=float(model.inertia_),
        )
    return model.labels_.astype(np.int64), model.cluster_centers_


def _sorted(latents: Float[Array, "n d"], members: Array, centres: Array, score: float) -> Clusters:
    """Largest part first, centres and spreads computed anew in float64."""
    order = np.argsort(-np.bincount(members, minlength=len(centres)), kind="stable")
    renamed = np.argsort(order)[members]
    means, spreads = [], []
    for part in range(len(centres)):
        inside = np.asarray(latents[renamed == part], np.float64)
        means.append(inside.mean(axis=0))
        spreads.append(float(np.sqrt(np.square(inside - means[-1]).sum(axis=1).mean())))
    return Clusters(renamed, np.array(means), np.array(spreads), score)
