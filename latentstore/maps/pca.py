"""Principal components: the linear map that keeps most variance.

Source: Jolliffe, "Principal Component Analysis", 2nd ed., Springer 2002.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ShapeMismatch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32


def fit(
    latents: Float32[Array, "n d"], *, dim: int, seed: int, start: Float[Array, "n dim"] | None = None
) -> tuple[Float32[Array, "n dim"], dict[str, Array], dict[str, Any]]:
    """Project to the first `dim` principal components. `seed` is not used: the answer is unique.

    Signs are fixed so that the largest entry of each component is positive; with a `start`, so that no axis points
    against that of the earlier coordinates.

    Raises:
        ShapeMismatch: d < dim, or `start` is not (n, dim).
    """
    del seed
    n, d = latents.shape
    if d < dim:
        raise ShapeMismatch(f"latents of width {d} have no {dim} principal components; use dim={d} or another method")
    mean = latents.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((d, d))
    for first in range(0, n, 65_536):  # in chunks, so that float64 never holds the whole space
        centred = latents[first : first + 65_536] - mean
        covariance += centred.T @ centred
    variances, directions = np.linalg.eigh(covariance / max(n - 1, 1))
    components = directions[:, ::-1][:, :dim].T
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components = components * np.where(largest < 0, -1.0, 1.0)
    if start is not None:
        if np.shape(start) != (n, dim):
            raise ShapeMismatch(f"start has shape {np.shape(start)}; pass coordinates of shape ({n}, {dim})")
        agreement = np.einsum("nc,nc->c", (latents - mean) @ components.T, start - np.mean(start, axis=0))
        components = components * np.where(agreement < 0, -1.0, 1.0)[:, None]
    total = variances.sum()
    ratio = np.clip(variances[::-1][:dim], 0, None) / (total if total > 0 else 1.0)
    state = {"mean": mean.astype(np.float32), "components": components.astype(np.float32)}
    parameters = {"explained_variance_ratio": [round(float(r), 6) for r in ratio]}
    return place(latents, state, parameters), state, parameters


def place(
    latents: Float32[Array, "m d"], state: dict[str, Array], parameters: dict[str, Any]
) -> Float32[Array, "m dim"]:
    """Project onto the stored components."""
    del parameters
    coordinates: Array = (latents - state["mean"]) @ state["components"].T
    return coordinates
