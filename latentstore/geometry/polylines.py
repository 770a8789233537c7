"""Paths given by the points they pass: their length, walking them evenly, smoothing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, ShapeMismatch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

FINE = 128  # pieces that a polyline is cut into before it is smoothed; a walk through real neighbours has 5 to 15
WIDEST = 10.0  # smoothing, as a fraction of the length: of the curve nothing but its chord is left long before


def resample(points: Float[Array, "n d"], steps: int) -> Float64[Array, "steps d"]:
    """Walk a polyline evenly: frames at equal distances along it.

    Frames of a straight stretch are equally far apart; across a corner they are nearer, never farther.

    Args:
        points: Corners, shape (n, d), n ≥ 1; equal ones may follow each other.
        steps: Frames, both ends included, ≥ 2.

    Returns:
        Frames, shape (steps, d), float64; both ends are exact.

    Raises:
        ShapeMismatch: `points` is not (n, d).
        InputError: Fewer than 2 steps.
    """
    corners = np.asarray(points, dtype=np.float64)
    if corners.ndim != 2 or not len(corners):
        raise ShapeMismatch(f"points have shape {np.shape(points)}; a polyline is (n, d) with at least one point")
    if steps < 2:
        raise InputError(f"steps is {steps}; a walk has at least its 2 ends")
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    distinct = np.concatenate([[True], np.diff(along) > 0])
    corners_at, reached = corners[distinct], along[distinct]
    if len(reached) == 1:
        return np.repeat(corners[:1], steps, axis=0)
    wanted = np.linspace(0, reached[-1], steps)
    piece = np.clip(np.searchsorted(reached, wanted, side="right") - 1, 0, len(reached) - 2)
    share = ((wanted - reached[piece]) / (reached[piece + 1] - reached[piece]))[:, None]
    frames = (1 - share) * corners_at[piece] + share * corners_at[piece + 1]
    frames[0], frames[-1] = corners[0], corners[-1]
    return np.asarray(frames)


def polyline_length(points: Float[Array, "n d"]) -> float:
    """Sum of the Euclidean lengths of the pieces; 0 for a single point."""
    return float(np.linalg.norm(np.diff(np.asarray(points, dtype=np.float64), axis=0), axis=1).sum())


def smooth(points: Float[Array, "n d"], width: float) -> Float64[Array, "m d"]:
    """Round off a polyline, its ends held: heat flow of the curve.

    Written as its chord plus a sine series, z(t) = chord(t) + Σ cₖ sin πkt with t the fraction of its length, the curve
    becomes chord(t) + Σ cₖ exp(−(πk·width)²/2) sin πkt: what a Gaussian filter does, reflected at the ends so that they
    stay. With width → ∞ only the chord is left, so this goes all the way from the polyline to lerp.

    Args:
        points: Corners, shape (n, d), n ≥ 1.
        width: Standard deviation of the filter, ≥ 0. Unit: fraction of the whole length. 0 changes nothing.

    Returns:
        Corners of the smooth curve, shape (m, d), float64; `points` themselves when the width is 0.

    Raises:
        InputError: A negative width, one beyond `WIDEST`, or not a number.
    """
    from scipy.fft import dst, idst  # here: a reader that smooths nothing need not wait for it

    if not 0 <= width <= WIDEST:
        raise InputError(f"the width of smoothing is {width}; choose 0 (none) to about 0.5, a fraction of the length")
    corners = np.asarray(points, dtype=np.float64)
    if width == 0 or len(corners) < 2:
        return corners
    curve = resample(corners, FINE + 1)
    t = np.linspace(0, 1, FINE + 1)[:, None]
    chord = (1 - t) * curve[0] + t * curve[-1]
    order = np.arange(1, FINE)[:, None]
    series = dst((curve - chord)[1:-1], type=1, axis=0) * np.exp(-((np.pi * order * width) ** 2) / 2)
    chord[1:-1] += idst(series, type=1, axis=0)
    return np.asarray(chord)
