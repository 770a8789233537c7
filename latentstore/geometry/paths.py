"""Paths between two latents by formula: the straight line, the great circle, the mix that stays Gaussian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, NotFinite, ShapeMismatch
from latentstore.geometry.metrics import normalise
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float

# |u + v| of unit vectors; what is closer to antipodal than float32 resolves would turn in a direction made of rounding.
_ANTIPODAL = 1e-6


def lerp(
    start: Float[Array, "*b d"], end: Float[Array, "*b d"], t: Float[Array, " m"] | float
) -> Float[Array, "*b m d"]:
    """Walk the straight line from one latent to another.

    Args:
        start: Latent, shape (d,), or a batch of them, shape (b, d).
        end: Latents of the same embedding space, same shape.
        t: Positions, shape (m,). Unit: fraction of the way, 0 at `start`; beyond [0, 1] extrapolates.

    Returns:
        Latents, shape (m, d), row i at t[i]; (b, m, d) for a batch. Same dtype as `start`. Both ends are exact.

    Raises:
        ShapeMismatch: `start` and `end` differ in shape, or `t` is not one-dimensional.
        NotFinite: `t` has NaN or infinity.
    """
    a, b, s, dtype = _checked(start, end, t)
    return np.asarray((1 - s) * a + s * b, dtype=dtype)


def slerp(
    start: Float[Array, "*b d"], end: Float[Array, "*b d"], t: Float[Array, " m"] | float
) -> Float[Array, "*b m d"]:
    """Walk the great circle from one latent to another at constant angular speed; the length changes linearly.

    Args:
        start: Latent, shape (d,), or a batch of them, shape (b, d).
        end: Latents of the same embedding space, same shape.
        t: Positions, shape (m,). Unit: fraction of the angle, 0 at `start`; beyond [0, 1] extrapolates.

    Returns:
        Latents, shape (m, d), row i at t[i]; (b, m, d) for a batch. Same dtype as `start`. Parallel latents give the
        straight line.

    Raises:
        ShapeMismatch: `start` and `end` differ in shape, or `t` is not one-dimensional.
        NotFinite: An end is the zero vector, or `t` has NaN or infinity.
        InputError: The ends are antipodal (every great circle through one passes the other), or extrapolation
            shrinks the length below zero.

    Source: K. Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985.
    """
    a, b, s, dtype = _checked(start, end, t)
    u, v = normalise(a), normalise(b)
    opposite = np.linalg.norm(u + v, axis=-1, keepdims=True)
    if (opposite < _ANTIPODAL).any():
        raise InputError(
            "start and end point in opposite directions, so the great circle between them is not unique; "
            "use lerp, or go through a third latent"
        )
    angle = 2 * np.arctan2(np.linalg.norm(u - v, axis=-1, keepdims=True), opposite)  # exact at both small and wide
    # sin(sω)/sin ω written with sinc(x) = sin(πx)/πx: no division by zero and no branch as ω → 0
    along = [f * np.sinc(f * angle / np.pi) / np.sinc(angle / np.pi) for f in (1 - s, s)]
    direction = along[0] * u + along[1] * v
    length = (1 - s) * np.linalg.norm(a, axis=-1, keepdims=True) + s * np.linalg.norm(b, axis=-1, keepdims=True)
    if (length < 0).any():
        raise InputError("extrapolation reaches a negative length; keep t nearer to [0, 1], or use lerp")
    return np.asarray(length * direction, dtype=dtype)


def gaussian(
    start: Float[Array, "*b d"], end: Float[Array, "*b d"], t: Float[Array, " m"] | float
) -> Float[Array, "*b m d"]:
    """Walk from one latent to another so that every frame is distributed as the ends are.

        z(t) = ((1 − t) a + t b) / √((1 − t)² + t²)

    If a and b are drawn independently from N(0, Σ), whatever Σ, then so is z(t), at every t. The straight line's middle
    has half that variance: in 32 dimensions the prior hardly ever draws anything as short.

    Args:
        start: Latent, shape (d,), or a batch of them, shape (b, d).
        end: Latents of the same embedding space, same shape.
        t: Positions, shape (m,). Unit: fraction of the way, 0 at `start`; beyond [0, 1] extrapolates.

    Returns:
        Latents, shape (m, d), row i at t[i]; (b, m, d) for a batch. Same dtype as `start`. Both ends are exact.

    Raises:
        ShapeMismatch: `start` and `end` differ in shape, or `t` is not one-dimensional.
        NotFinite: `t` has NaN or infinity.

    Source: E. Agustsson et al., Optimal transport maps for distribution preserving operations on latent spaces of
    generative models, ICLR 2019: the optimal transport of the line's distribution back to a Gaussian prior.
    """
    a, b, s, dtype = _checked(start, end, t)
    return np.asarray(((1 - s) * a + s * b) / np.hypot(1 - s, s), dtype=dtype)


def mix_gaussian(anchors: Float[Array, "m d"], weights: Float[Array, "*w m"]) -> Float[Array, "*w d"]:
    """Mix any number of latents so that the mix is distributed as they are: Σ wᵢ aᵢ / √Σ wᵢ².

    Args:
        anchors: Latents, shape (m, d), independent draws of one N(0, Σ).
        weights: Shape (..., m); only their ratios count.

    Returns:
        Latents, shape (..., d), same dtype as `anchors`.

    Raises:
        ShapeMismatch: Another number of weights than of anchors.
        NotFinite: Weights that are all zero, or not finite.

    Source: as `gaussian`, whose formula this is for more than two; E. Bodin et al., Linear combinations of latents in
    generative models, ICLR 2025.
    """
    points, w = np.asarray(anchors), np.asarray(weights, dtype=np.float64)
    if points.ndim != 2 or w.ndim < 1 or w.shape[-1] != len(points):
        raise ShapeMismatch(f"anchors have shape {points.shape} and weights {w.shape}; pass (m, d) and (..., m)")
    size = np.linalg.norm(w, axis=-1, keepdims=True)
    if not np.isfinite(size).all() or not size.all():
        raise NotFinite("weights contain NaN or infinity, or are all zero; give at least one anchor a weight")
    dtype = points.dtype if points.dtype.kind == "f" else np.dtype(np.float64)
    return np.asarray((w / size) @ points.astype(np.float64), dtype=dtype)


def _checked(start: Array, end: Array, t: Array | float) -> tuple[Array, Array, Array, np.dtype[np.floating]]:
    """Ends as float64 (..., 1, d), positions as (m, 1), and the dtype of the answer."""
    start, end, positions = np.asarray(start), np.asarray(end), np.asarray(t, dtype=np.float64)
    if start.shape != end.shape or start.ndim == 0:
        raise ShapeMismatch(f"start has shape {start.shape} and end {end.shape}; both must be (d,) or (b, d)")
    if positions.ndim > 1:
        raise ShapeMismatch(f"t has shape {positions.shape}; pass positions of shape (m,)")
    if not np.isfinite(positions).all():
        raise NotFinite("t contains NaN or infinity; pass finite fractions of the way")
    dtype = start.dtype if start.dtype.kind == "f" else np.dtype(np.float64)
    a, b = start.astype(np.float64)[..., None, :], end.astype(np.float64)[..., None, :]
    return a, b, np.atleast_1d(positions)[:, None], dtype
