"""The mean of directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError, NotFinite, ShapeMismatch
from latentstore.geometry.metrics import normalise
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float64


def spherical_mean(
    latents: Float[Array, "k d"],
    weights: Float[Array, " k"],
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 1_000,
) -> Float64[Array, " d"]:
    """The weighted mean of latents on the sphere, of weighted mean length: what slerp is for two of them.

    Args:
        latents: Shape (k, d), none of them zero.
        weights: Not negative, not all 0, shape (k,); only their ratios count.
        tolerance: Length of the mean tangent at the result, radians.
        max_iterations: At most.

    Returns:
        Latent, shape (d,): the direction with the least Σ wᵢ angle², times Σ wᵢ |zᵢ|.

    Raises:
        ShapeMismatch: Another number of weights than of latents.
        NotFinite: A zero vector, or what is not finite.
        InputError: Negative weights, or directions that cancel, so that no mean is the nearest.
        DidNotConverge: `max_iterations` were not enough.

    Source: S. Buss, J. Fillmore, Spherical averages, ACM Transactions on Graphics 2001, algorithm A1.
    """
    points, shares = np.asarray(latents, np.float64), np.asarray(weights, np.float64)
    if points.ndim != 2 or shares.shape != (len(points),) or not len(points):
        raise ShapeMismatch(f"latents have shape {points.shape} and weights {shares.shape}; pass (k, d) and (k,)")
    if not (np.isfinite(points).all() and np.isfinite(shares).all()):
        raise NotFinite("latents or weights contain NaN or infinity; pass finite numbers")
    if (shares < 0).any() or not shares.any():
        raise InputError(f"weights are {shares.tolist()}; pass none below 0, and one at least above")
    shares = shares / shares.sum()
    directions = normalise(points)
    length = float(shares @ np.linalg.norm(points, axis=1))
    start = shares @ directions
    if np.linalg.norm(start) < 1e-6:
        raise InputError("the directions cancel each other: no mean is nearest to them; change a weight, or use lerp")
    mean, residual = start / np.linalg.norm(start), np.inf
    for _ in range(max_iterations):
        cosines = np.clip(directions @ mean, -1, 1)
        angles = np.arccos(cosines)
        sines = np.sqrt(1 - cosines**2)
        stretch = np.divide(angles, sines, out=np.ones_like(angles), where=sines > 1e-12)
        tangent = shares @ (stretch[:, None] * (directions - cosines[:, None] * mean))
        residual = float(np.linalg.norm(tangent))
        if residual < tolerance:
            if (shares[cosines < -1 + 1e-12] > 0).any():  # turning either way would bring it nearer
                raise InputError(
                    "two directions are opposite: no mean is nearest to them; change a weight, or use lerp"
                )
            return np.asarray(length * mean)
        mean = np.cos(residual) * mean + np.sin(residual) * tangent / residual
        mean /= np.linalg.norm(mean)
    raise DidNotConverge(
        "the spherical mean was not found; give latents that lie nearer together, or use lerp",
        iterations=max_iterations,
        residual=residual,
    )
