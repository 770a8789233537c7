"""Lengths, distances and similarities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import ConfigInvalid, NotFinite, ShapeMismatch
from latentstore.types import Array, Metric, check_metric

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

# Below this fraction of |a|² + |b|², a squared distance taken from the Gram matrix has lost half its digits.
_CANCELLATION = 1e-7


def normalise(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Scale vectors to length 1.

    Args:
        x: Vectors, shape (..., d).

    Returns:
        Unit vectors, shape and dtype of `x` (float64 for integers).

    Raises:
        NotFinite: A vector is zero and so has no direction.
    """
    x = np.asarray(x)
    wide = x.astype(np.float64)
    peak = np.max(np.abs(wide), axis=-1, keepdims=True, initial=0.0)  # taken out first: squares of 1e200 overflow
    if not peak.all():
        row = int(np.flatnonzero(peak.ravel() == 0)[0])
        raise NotFinite(f"row {row} is the zero vector, which has no direction; drop it")
    wide /= peak
    wide /= np.linalg.norm(wide, axis=-1, keepdims=True)
    return wide.astype(x.dtype if x.dtype.kind == "f" else np.float64)


def pairwise_distances(a: Float[Array, "n d"], b: Float[Array, "m d"], metric: Metric = "l2") -> Float64[Array, "n m"]:
    """Distances between all rows of two arrays; smaller is nearer.

    Args:
        a: Vectors, shape (n, d).
        b: Vectors, shape (m, d).
        metric: "l2" is Euclidean, not squared; "cosine" is 1 − cos, in [0, 2].

    Returns:
        Distances, shape (n, m), float64. Nearly equal vectors keep full relative precision; equal ones are at 0.

    Raises:
        ShapeMismatch: The widths differ.
        NotFinite: A zero vector under cosine.
        ConfigInvalid: The metric is "ip", which is a similarity.
    """
    a, b = _same_width(a, b)
    if check_metric(metric) == "ip":
        raise ConfigInvalid("'ip' is a similarity and has no distances; use pairwise_similarities, or l2 or cosine")
    if metric == "cosine":
        # |u − v|² / 2 = 1 − cos for unit vectors, without the cancellation of 1 − cos
        return _squared_distances(normalise(a), normalise(b)) / 2
    return np.sqrt(_squared_distances(a, b))


def pairwise_similarities(
    a: Float[Array, "n d"], b: Float[Array, "m d"], metric: Metric = "cosine"
) -> Float64[Array, "n m"]:
    """Similarities between all rows of two arrays; larger is nearer.

    Args:
        a: Vectors, shape (n, d).
        b: Vectors, shape (m, d).
        metric: "cosine" in [−1, 1], or "ip" (inner product).

    Returns:
        Similarities, shape (n, m), float64.

    Raises:
        ShapeMismatch: The widths differ.
        NotFinite: A zero vector under cosine.
        ConfigInvalid: The metric is "l2", which is a distance.
    """
    a, b = _same_width(a, b)
    if check_metric(metric) == "l2":
        raise ConfigInvalid("'l2' is a distance and has no similarities; use pairwise_distances, or ip or cosine")
    return np.clip(normalise(a) @ normalise(b).T, -1, 1) if metric == "cosine" else a @ b.T


def _same_width(a: Array, b: Array) -> tuple[Array, Array]:
    """Both arrays as float64 of shape (n, d)."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ShapeMismatch(f"vectors have shapes {a.shape} and {b.shape}; pass (n, d) and (m, d)")
    return a, b


def _squared_distances(a: Float64[Array, "n d"], b: Float64[Array, "m d"]) -> Float64[Array, "n m"]:
    """|a|² + |b|² − 2ab about the mean of b; entries that cancel are recomputed as |a − b|²."""
    if not (a.size and b.size):
        return np.zeros((len(a), len(b)))
    centre = b.mean(axis=0)
    a, b = a - centre, b - centre
    scale = np.einsum("nd,nd->n", a, a)[:, None] + np.einsum("md,md->m", b, b)
    squares = a @ b.T
    squares *= -2
    squares += scale
    rows, columns = np.nonzero(squares <= _CANCELLATION * scale)
    block = max(1, 2**22 // a.shape[1])
    for i in range(0, len(rows), block):
        near = rows[i : i + block], columns[i : i + block]
        difference = a[near[0]] - b[near[1]]
        squares[near] = np.einsum("nd,nd->n", difference, difference)
    return squares
