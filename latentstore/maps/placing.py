"""Where the neighbours of a new item pull it on a fitted map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.maps.nearest import nearest
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64

_STEPS = 30  # the weights change by less than 1e-3 long before


def pulled(
    latents: Float32[Array, "m d"],
    fitted: Float32[Array, "n d"],
    coordinates: Float32[Array, "n dim"],
    *,
    perplexity: float,
) -> Float32[Array, "m dim"]:
    """Coordinates at which the attraction of the fitted neighbours vanishes; a fitted latent keeps its place.

    A new y is attracted to fitted yⱼ along the gradient of Σⱼ pⱼ log(1 + ‖y − yⱼ‖²): t-SNE's eq. 5 without repulsion,
    which one item among its neighbours hardly feels, and nearly UMAP's. It vanishes where y is the mean of the yⱼ with
    weights pⱼ / (1 + ‖y − yⱼ‖²), which is iterated from their median. So an item whose neighbours are in two clusters
    goes to one of them; their plain mean lies in the void between. Measured on 500 unseen items of Fashion-MNIST (9,500
    fitted, d = 32), of the 10 true neighbours among the 10 nearest on the map: t-SNE .39, by the mean .21; UMAP .24,
    by the mean .17.

    Args:
        latents: New ones, shape (m, d).
        fitted: Shape (n, d).
        coordinates: Of the fitted, shape (n, dim).
        perplexity: Effective number of neighbours that pull; three times as many are looked at.

    Sources: van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 9, 2008 (eq. 1 and 5);
    Holland and Welsch, "Robust regression using iteratively reweighted least-squares", 1977 (the iteration).
    """
    if len(latents) == 0:
        return np.empty((0, coordinates.shape[1]), np.float32)
    indices, distances = nearest(latents, fitted, min(int(3 * perplexity), len(fitted)))
    weights = probabilities(distances.astype(np.float64) ** 2, min(perplexity, indices.shape[1] / 2))
    around = coordinates[indices].astype(np.float64)
    placed = np.median(around, axis=1)
    for _ in range(_STEPS):
        pulls = weights / (1 + ((placed[:, None] - around) ** 2).sum(axis=2))
        placed = np.einsum("mk,mkd->md", pulls, around) / pulls.sum(axis=1, keepdims=True)
    placed = np.where(distances[:, :1] == 0, around[:, 0], placed)
    return np.ascontiguousarray(placed, np.float32)


def probabilities(squared: Float64[Array, "m k"], perplexity: float) -> Float64[Array, "m k"]:
    """pⱼ ∝ exp(−β d²ⱼ) with β such that exp(entropy) is the perplexity (eq. 1), by bisection on log β.

    Where that cannot be, as all distances are equal, p is uniform.
    """
    squared = squared - squared.min(axis=1, keepdims=True)
    scale = np.maximum(squared.mean(axis=1, keepdims=True), 1e-300)
    low, high = np.full((len(squared), 1), -30.0), np.full((len(squared), 1), 30.0)
    p: Array = np.ones_like(squared)
    for _ in range(50):
        middle = (low + high) / 2
        p = np.exp(-np.exp(middle) * squared / scale)
        p /= p.sum(axis=1, keepdims=True)
        entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1, keepdims=True)
        wide = entropy > np.log(perplexity)
        low, high = np.where(wide, middle, low), np.where(wide, high, middle)
    return p
