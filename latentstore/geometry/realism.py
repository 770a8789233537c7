"""How near a latent is to real data, on the data's own scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, NotFinite
from latentstore.geometry.metrics import pairwise_distances
from latentstore.types import Array, Metric

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int64


@dataclass(frozen=True, eq=False)
class RealismScale:
    """Turns "distance to the k-th real neighbour" into "as central as which part of the real items".

    Each real item has a distance to its own k-th nearest other item; in a dense region it is small, at the rim large.
    `distances` holds those of a sample of real items. A latent that is r away from its k-th real neighbour has realism

        score(r) = #{real items with distance ≥ r} / #{real items in the sample}

    1.0: as close to the data as the most central real item. 0.5: like the median real item. 0.02: only 2 % of the
    real items lie as far out. 0.0: farther from the data than every sampled real item. The score falls monotonically
    with r and has no parameter but k; it measures nearness to data, not quality of the decoded item.

    A latent that *is* a stored item has itself as its first neighbour: pass the distance to its (k+1)-th, so that it
    is judged as the sample was.

    Attributes:
        distances: Distances of the sampled real items, ascending, float64, shape (s,).
        k: Which neighbour.
        metric: "l2" or "cosine".
    """

    distances: Float64[Array, " s"]
    k: int
    metric: Metric

    @classmethod
    def fit(
        cls, latents: Float[Array, "n d"], *, k: int = 10, metric: Metric = "l2", sample: int = 2000, seed: int = 0
    ) -> RealismScale:
        """Measure a seeded sample of real latents against all the others, exactly.

        Args:
            latents: Real latents, shape (n, d).
            k: Which neighbour.
            metric: "l2" or "cosine"; in an ip space use "l2".
            sample: How many items are measured; all of them when there are no more. The score's standard error is
                at most 0.5 / √sample.
            seed: Chooses the sample.

        Returns:
            The scale. Costs sample × n × d multiplications; with an index, measure there and use `from_distances`.

        Raises:
            InputError: Fewer than k + 1 latents.
        """
        if not 1 <= k < len(latents):
            raise InputError(f"k is {k} with {len(latents)} real latents; realism needs 1 <= k < the number of latents")
        if sample < 1:
            raise InputError(f"sample is {sample}; measure at least one item")
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.choice(len(latents), size=min(sample, len(latents)), replace=False))
        measured = kth_distances(latents[chosen], latents, k=k, metric=metric, own=chosen)
        return cls.from_distances(measured, k=k, metric=metric)

    @classmethod
    def from_distances(cls, distances: Float[Array, " s"], *, k: int, metric: Metric = "l2") -> RealismScale:
        """Make a scale from measured distances of real items to their k-th other real item, shape (s,), any order."""
        ordered = np.sort(np.asarray(distances, dtype=np.float64).ravel())
        if not ordered.size:
            raise InputError("no distances of real items; measure at least one")
        if not np.isfinite(ordered).all():
            raise NotFinite("distances of real items contain NaN or infinity; measure items that have k neighbours")
        return cls(distances=ordered, k=k, metric=metric)

    def score(self, distances: Float[Array, "*m"]) -> Float64[Array, "*m"]:
        """Fraction of the real items at least as far out.

        Args:
            distances: Distances of latents to their k-th real neighbour, any shape; NaN stays NaN.

        Returns:
            Realism in [0, 1], same shape, float64.
        """
        given = np.asarray(distances, dtype=np.float64)
        nearer = np.searchsorted(self.distances, given, side="left")  # real items strictly nearer to the data
        return np.where(np.isnan(given), np.nan, 1 - nearer / len(self.distances))


def kth_distances(
    queries: Float[Array, "m d"],
    latents: Float[Array, "n d"],
    *,
    k: int,
    metric: Metric = "l2",
    own: Int64[Array, " m"] | None = None,
) -> Float64[Array, " m"]:
    """Distance of each query to its k-th nearest latent, by brute force in bounded memory.

    Args:
        queries: Shape (m, d).
        latents: Real latents, shape (n, d).
        k: Which neighbour, 1 is the nearest.
        metric: "l2" or "cosine".
        own: For queries that are among the latents: their positions, shape (m,), left out of their own neighbours.

    Returns:
        Distances, shape (m,), float64.

    Raises:
        InputError: Fewer than k latents.
    """
    if not 1 <= k <= len(latents) - (own is not None):
        raise InputError(f"k is {k} with {len(latents)} latents; choose 1 <= k <= the number of latents")
    step_q, step_n = 256, 8192
    result = np.empty(len(queries))
    for i in range(0, len(queries), step_q):
        part = slice(i, min(i + step_q, len(queries)))
        best = np.full((part.stop - i, k), np.inf)
        for j in range(0, len(latents), step_n):
            block = pairwise_distances(queries[part], latents[j : j + step_n], metric)
            if own is not None:
                inside = np.flatnonzero((own[part] >= j) & (own[part] < j + step_n))
                block[inside, own[part][inside] - j] = np.inf
            best = np.partition(np.hstack([best, block]), k - 1, axis=1)[:, :k]
        result[part] = best.max(axis=1)
    return result
