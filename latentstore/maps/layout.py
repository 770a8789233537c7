"""Where a map begins, and how it is laid on an earlier one, so that a point does not jump without cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import ShapeMismatch
from latentstore.maps import pca
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32


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
    """Shift, turn and mirror a map onto an earlier one; distances on it stay as they are.

    The turn is the orthogonal matrix R that minimises ‖(Y − Ȳ) R − (S − S̄)‖.
    Source: Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31, 1966.
    """
    from scipy.linalg import orthogonal_procrustes

    here, there = coordinates.mean(axis=0), start.mean(axis=0)
    turn, _ = orthogonal_procrustes(coordinates - here, start - there)
    return np.ascontiguousarray((coordinates - here) @ turn + there, np.float32)
