"""UMAP: a map that keeps neighbourhoods.

Source: McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction",
arXiv:1802.03426 (2018). Sections and equations below are that paper's.

The graph, the curve and the objective are those of the reference implementation (umap-learn 0.5). The optimiser walks
the same sampled edges in mini-batches of NumPy arrays instead of one by one. It needs no compiler: the first map of a
fresh installation pays no JIT compilation (26 CPU-s to import umap-learn, 15 more in its first fit), and placing an
item never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import curve_fit
from scipy.sparse import coo_array

from latentstore.errors import ConfigInvalid, ShapeMismatch
from latentstore.maps import pca
from latentstore.maps.nearest import nearest
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Int64

_NEGATIVES = 5  # random pairs pushed apart per pair pulled together
_CLIP = 4.0  # longest single move, in units of the map, before the learning rate
_SPEED_FROM_START = 0.1  # a map that is fitted again settles, it does not unfold again
_EXTENT = 10.0  # half the width of the initial layout, as in the reference implementation
_SAMPLE = 100_000  # without given neighbours, brute force beyond this costs minutes


def fit(
    latents: Float32[Array, "n d"],
    *,
    dim: int,
    seed: int,
    neighbours: tuple[Int64[Array, "n k"], Float[Array, "n k"]] | None = None,
    k: int = 15,
    min_dist: float = 0.1,
    epochs: int | None = None,
    sample: int | None = None,
    start: Float[Array, "n dim"] | None = None,
) -> tuple[Float32[Array, "n dim"], dict[str, Array], dict[str, Any]]:
    """Fit a UMAP.

    Args:
        latents: Shape (n, d).
        dim: 2 or 3.
        seed: Of the edge order, the random pairs and the sample.
        neighbours: (indices, Euclidean distances) of each latent's nearest, each (n, ≥ k), nearest first, with
            or without itself. None: found here by brute force, O(n²).
        k: Neighbours per latent, itself included.
        min_dist: How close neighbours may lie on the map, in its units.
        epochs: Walks over the graph. None: 500 up to 10,000 latents, then fewer, down to 150.
        sample: Fit on this many latents, drawn without replacement, and place the others. None: all when `neighbours`
            are given, else at most 100,000.
        start: Begin here instead of at the principal components, so that a map that is fitted again stays recognisable.

    Returns:
        Coordinates, state (`latents`, `coordinates`: those fitted) and parameters.

    Raises:
        ConfigInvalid: An option has an impossible value.
        ShapeMismatch: `neighbours` or `start` do not fit the latents.
    """
    n = len(latents)
    _check(n, k=k, min_dist=min_dist, epochs=epochs, sample=sample)
    if start is not None and (np.shape(start) != (n, dim) or not np.isfinite(start).all()):
        raise ShapeMismatch(f"start has shape {np.shape(start)}; pass finite coordinates of shape ({n}, {dim})")
    rng = np.random.default_rng(seed)
    size = min(n, sample or (n if neighbours is not None else _SAMPLE))
    chosen = np.arange(n) if size == n else np.sort(rng.choice(n, size, replace=False))
    fitted = latents[chosen]
    k = min(k, size)
    if neighbours is None or size < n:
        indices, distances = nearest(fitted, fitted, k)
    else:
        indices, distances = _check_neighbours(neighbours, n, k)
    epochs = epochs or int(np.clip(5_000_000 // size, 150, 500))
    a, b = _curve(min_dist)
    layout = _optimise(
        _initial(fitted, dim, rng) if start is None else np.asarray(start, np.float32)[chosen],
        _graph(indices, distances),
        epochs=epochs,
        speed=1.0 if start is None else _SPEED_FROM_START,
        a=a,
        b=b,
        rng=rng,
    )
    state = {"latents": fitted, "coordinates": layout}
    parameters = {"k": k, "min_dist": min_dist, "epochs": epochs, "sample": size}
    coordinates = layout if size == n else np.empty((n, dim), np.float32)
    if size < n:
        others = np.setdiff1d(np.arange(n), chosen, assume_unique=True)
        coordinates[chosen] = layout
        coordinates[others] = place(latents[others], state, parameters)
    return coordinates, state, parameters


def place(
    latents: Float32[Array, "m d"], state: dict[str, Array], parameters: dict[str, Any]
) -> Float32[Array, "m dim"]:
    """Mean of the k nearest fitted latents' coordinates, weighted by membership; a fitted latent keeps its place."""
    if len(latents) == 0:
        return np.empty((0, state["coordinates"].shape[1]), np.float32)
    indices, distances = nearest(latents, state["latents"], min(parameters["k"], len(state["latents"])))
    weights = _memberships(distances)
    weights[distances[:, 0] == 0, 1:] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    coordinates: Array = np.einsum("mk,mkd->md", weights, state["coordinates"][indices], dtype=np.float32)
    return coordinates


def _check(n: int, *, k: int, min_dist: float, epochs: int | None, sample: int | None) -> None:
    if not 2 <= k <= 200:
        raise ConfigInvalid(f"k={k!r} neighbours do not make a map; choose 2 to 200, usually 15")
    if not 0 <= min_dist < 3:
        raise ConfigInvalid(f"min_dist={min_dist!r} is outside 0 to 3; usually 0.1")
    if epochs is not None and epochs < 1:
        raise ConfigInvalid(f"epochs={epochs!r} must be at least 1; leave it out for a choice by size")
    if sample is not None and not sample >= 3:
        raise ConfigInvalid(f"sample={sample!r} must be at least 3 of the {n} latents")


def _check_neighbours(
    neighbours: tuple[Array, Array], n: int, k: int
) -> tuple[Int64[Array, "n k"], Float32[Array, "n k"]]:
    """Bring neighbours to k columns of which the first is the latent itself, at distance 0."""
    indices, distances = np.asarray(neighbours[0]), np.asarray(neighbours[1], np.float32)
    if indices.shape != distances.shape or indices.ndim != 2 or len(indices) != n or indices.dtype.kind not in "iu":
        raise ShapeMismatch(
            f"neighbours have shapes {indices.shape} and {distances.shape}; "
            f"pass indices and distances, each ({n}, ≥ {k})"
        )
    if indices.size and (indices.min() < 0 or indices.max() >= n or not np.isfinite(distances).all()):
        raise ShapeMismatch(f"neighbours point outside the {n} latents or are not finite; pass {k} real ones for each")
    itself = np.arange(n)[:, None]
    others = indices != itself
    # The first k − 1 that are not the latent itself, in their order.
    order = np.argsort(~others, axis=1, kind="stable")[:, : k - 1]
    if order.shape[1] < k - 1 or not np.take_along_axis(others, order, axis=1).all():
        raise ShapeMismatch(
            f"neighbours have {indices.shape[1]} columns; a map with k={k} needs {k - 1} besides the latent itself"
        )
    return (
        np.hstack([itself, np.take_along_axis(indices, order, axis=1)]),
        np.hstack([np.zeros((n, 1), np.float32), np.take_along_axis(distances, order, axis=1)]),
    )


def _curve(min_dist: float, spread: float = 1.0) -> tuple[float, float]:
    """a, b of 1 / (1 + a d^2b), fitted to 1 below min_dist and an exponential fall beyond (§3.2, definition 11)."""
    d = np.linspace(0, 3 * spread, 300)
    target = np.where(d < min_dist, 1.0, np.exp(-(d - min_dist) / spread))
    (a, b), _ = curve_fit(lambda d, a, b: 1 / (1 + a * d ** (2 * b)), d, target)
    return float(a), float(b)


def _memberships(distances: Float32[Array, "n k"]) -> Float32[Array, "n k"]:
    """Membership of each neighbour, exp(−max(0, d − ρ)/σ), σ such that they sum to log₂ k (§3.1; algorithm 3)."""
    k = distances.shape[1]
    positive = np.where(distances > 0, distances, np.inf).min(axis=1)
    rho = np.where(np.isfinite(positive), positive, 0).astype(np.float32)
    beyond = np.maximum(distances - rho[:, None], 0)
    low, high = np.zeros(len(distances)), np.full(len(distances), np.inf)
    sigma = np.ones(len(distances), np.float32)
    for _ in range(48):  # bisection, to the precision of float32
        too_wide = np.exp(-beyond[:, 1:] / sigma[:, None]).sum(axis=1) > np.log2(k)
        high, low = np.where(too_wide, sigma, high), np.where(too_wide, low, sigma)
        with np.errstate(invalid="ignore"):
            sigma = np.clip(np.where(np.isfinite(high), (low + high) / 2, 2 * sigma), 1e-30, 1e30).astype(np.float32)
    floor = 1e-3 * np.maximum(distances.mean(axis=1), 1e-30)  # keeps ties from making a needle
    memberships: Array = np.exp(-beyond / np.maximum(sigma, floor)[:, None])
    return memberships


def _graph(indices: Int64[Array, "n k"], distances: Float32[Array, "n k"]) -> coo_array:
    """The symmetric neighbour graph: probabilistic union A + Aᵀ − A∘Aᵀ of the memberships, without loops (§3.1)."""
    n, k = indices.shape
    itself = np.arange(n)[:, None]
    weights = np.where(indices == itself, 0, _memberships(distances))
    directed = coo_array(
        (weights.ravel(), (np.broadcast_to(itself, (n, k)).ravel(), indices.ravel())), shape=(n, n)
    ).tocsr()
    return coo_array(directed + directed.T - directed * directed.T)


def _initial(latents: Float32[Array, "n d"], dim: int, rng: np.random.Generator) -> Float32[Array, "n dim"]:
    """Principal components scaled to the initial extent, with a little noise, which parts equal latents."""
    layout = np.zeros((len(latents), dim), np.float32)
    width = min(dim, latents.shape[1])
    layout[:, :width] = pca.fit(latents, dim=width, seed=0)[0]
    layout *= _EXTENT / max(float(np.abs(layout).max()), 1e-30)
    return layout + rng.normal(scale=1e-4, size=layout.shape).astype(np.float32)


def _optimise(
    layout: Float32[Array, "n dim"],
    graph: coo_array,
    *,
    epochs: int,
    speed: float,
    a: float,
    b: float,
    rng: np.random.Generator,
) -> Float32[Array, "n dim"]:
    """Stochastic gradient descent on the cross entropy of graph and map (§3.2, algorithm 5).

    An edge of relative weight w is walked w times per epoch, evenly spread. A mini-batch holds as many edges as there
    are latents, in random order; its random pairs are cyclic shifts of one shuffle of the layout.
    """
    n, dim = layout.shape
    rate = graph.data / max(graph.data.max(initial=0), 1e-30)
    order = rng.permutation(np.flatnonzero(rate >= 1 / epochs))
    heads, tails = graph.row[order].astype(np.int64), graph.col[order].astype(np.int64)
    rate, phase = rate[order].astype(np.float32), rng.random(len(order), dtype=np.float32)
    points = np.ascontiguousarray(layout.T, np.float32)  # (dim, n)
    walked = np.floor(phase)
    for epoch in range(epochs):
        learning_rate = speed * (1 - epoch / epochs)
        target = np.floor(rate * (epoch + 1) + phase)
        due, walked = np.flatnonzero(target > walked), target
        shuffle = rng.permutation(n)
        for first in range(0, len(due), n):
            edges = due[first : first + n]
            head, tail = heads[edges], tails[edges]
            here = _take(points, head)
            pull = _attraction(here - _take(points, tail), a, b)
            move = pull.copy()
            shuffled = np.tile(_take(points, shuffle), 2)
            for shift in rng.integers(0, n, _NEGATIVES):
                move += _repulsion(here - shuffled[:, shift : shift + len(edges)], a, b)
            for axis in range(dim):
                step = np.bincount(head, move[axis], n) - np.bincount(tail, pull[axis], n)
                points[axis] += (learning_rate * step).astype(np.float32)
    return np.ascontiguousarray(points.T)


def _take(points: Float32[Array, "dim n"], positions: Int64[Array, " m"]) -> Float32[Array, "dim m"]:
    # mode="clip" is six times faster than the default, which copies first; positions are our own and in range.
    return np.take(points, positions, axis=1, mode="clip")


def _attraction(difference: Float32[Array, "dim m"], a: float, b: float) -> Float32[Array, "dim m"]:
    """−∂/∂y of the attractive term: −2ab d^2(b−1) / (1 + a d^2b) · (y − y′)."""
    squared = np.maximum(np.einsum("dm,dm->m", difference, difference), np.float32(1e-12))
    power = squared ** np.float32(b)
    factor = np.float32(-2 * a * b) * power / (squared * (np.float32(a) * power + 1))
    force: Array = np.clip(factor * difference, -_CLIP, _CLIP)
    return force


def _repulsion(difference: Float32[Array, "dim m"], a: float, b: float) -> Float32[Array, "dim m"]:
    """−∂/∂y of the repulsive term: 2b / ((0.001 + d²)(1 + a d^2b)) · (y − y′)."""
    squared = np.einsum("dm,dm->m", difference, difference)
    factor = np.float32(2 * b) / ((squared + np.float32(1e-3)) * (np.float32(a) * squared ** np.float32(b) + 1))
    force: Array = np.clip(factor * difference, -_CLIP, _CLIP)
    return force
