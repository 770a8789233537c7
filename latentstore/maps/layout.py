"""Where a map begins, and how it is laid on an earlier one, so that a point does not jump without cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import ShapeMismatch
from latentstore.maps import pca
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32


_ROUNDS = 20  # of reweighting
_ALIKE = 0.5  # correlation of two maps from which their scales are compared


def principal(latents: Float32[Array, "n d"], dim: int) -> Float32[Array, "n dim"]:
    """Principal components as a first layout; zeros in the dimensions that narrow latents lack.

    Source: Kobak and Linderman, "Initialization is critical for preserving global data structure in both t-SNE and
    UMAP", Nature Biotechnology 39, 2021.
    """
    layout = np.zeros((len(latents), dim), np.float32)
    width = min(dim, latents.shape[1])
    layout[:, :width] = pca.fit(latents, dim=width, seed=0)[0]
    return layout


def check_start(start: Float[Array, "n dim"], n: int, dim: int) -> Float32[Array, "n dim"]:
    """Coordinates to begin at, float32.

    Raises:
        ShapeMismatch: Not (n, dim), or not finite.
    """
    if np.shape(start) != (n, dim) or not np.isfinite(start).all():
        raise ShapeMismatch(f"start has shape {np.shape(start)}; pass finite coordinates of shape ({n}, {dim})")
    return np.array(start, np.float32)


def aligned(coordinates: Float32[Array, "n dim"], start: Float32[Array, "n dim"]) -> Float32[Array, "n dim"]:
    """Shift, turn, mirror and scale a map as a whole onto an earlier one.

    The similarity minimises Σ wᵢ ‖s (yᵢ − ȳ) R + t − startᵢ‖². Weights fall with a point's own residual and are found
    by iteration: points that stayed decide, those with a cause to move do not pull them along. Scale is part of it as
    t-SNE and UMAP go on growing while they are optimised, which says nothing: 500 items added to a t-SNE of 10,000 and
    250 iterations move the median item by 3.7 % of the map without it, by .5 % with it (a map fitted afresh: 1.0 %,
    its 95th percentile 4.9 % for 1.5 %). Maps that hardly resemble each other keep their scale.

    Sources: Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31, 1966;
    Holland and Welsch, "Robust regression using iteratively reweighted least-squares", 1977 (Cauchy's weights).
    """
    given, wanted = coordinates.astype(np.float64), start.astype(np.float64)
    weights, moved = np.ones(len(given)), given
    for _ in range(_ROUNDS):
        share = weights / weights.sum()
        there = share @ wanted
        apart, target = given - share @ given, wanted - there
        left, values, right = np.linalg.svd((share[:, None] * apart).T @ target)
        own, theirs = share @ (apart**2).sum(axis=1), share @ (target**2).sum(axis=1)
        alike = values.sum() / max(np.sqrt(own * theirs), 1e-300)  # the correlation of the two
        scale = values.sum() / own if alike > _ALIKE else 1.0
        moved = scale * apart @ (left @ right) + there
        residual = np.linalg.norm(moved - wanted, axis=1)
        weights = 1 / (1 + (residual / max(float(np.median(residual)), 1e-300)) ** 2)
    return np.ascontiguousarray(moved, np.float32)
