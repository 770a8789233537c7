"""t-SNE by openTSNE: a map that keeps neighbours better than any other; new items are placed from stored arrays.

Sources: van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 9, 2008 (p, q, perplexity: its eq. 1 to 5);
Linderman et al., "Fast interpolation-based t-SNE", Nature Methods 16, 2019 (the flat map);
Poličar, Stražar, Zupan, "openTSNE", JSS 109, 2024 (the code);
Belkina et al., "Automated optimized parameters for t-SNE", Nature Communications 10, 2019 (the learning rate).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ConfigInvalid, NotSupported
from latentstore.maps.layout import aligned, check_start, principal
from latentstore.maps.nearest import check_neighbours, nearest
from latentstore.maps.placing import pulled
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Int64

# Interpolation is flat, so three dimensions go through Barnes-Hut's tree: 84 s of CPU for 10,000 × 32 (flat: 44 s), and
# growing faster than n, where the flat map of 70,000 takes 115 s of CPU (1.7 minutes on two cores with the search).
MOST_IN_3D = 20_000
_EARLY = (250, 12.0)  # iterations with attraction exaggerated, and by how much
_ITERATIONS = 500
_AGAIN = 250  # iterations from an earlier map: it is near its end already
_SPREAD = 1e-4  # standard deviation of the first layout: small, so that no cluster is kept from its place by others
_PLACED_PERPLEXITY = 10.0  # of a new item's neighbours: from 5 to 12 it hardly matters


def fit(
    latents: Float32[Array, "n d"],
    *,
    dim: int,
    seed: int,
    neighbours: tuple[Int64[Array, "n k"], Float[Array, "n k"]] | None = None,
    perplexity: float = 30.0,
    iterations: int | None = None,
    start: Float[Array, "n dim"] | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[Float32[Array, "n dim"], dict[str, Array], dict[str, Any]]:
    """Fit a t-SNE, starting from the principal components.

    Args:
        latents: Shape (n, d).
        dim: 2 (interpolation on a grid, O(n)) or 3 (Barnes-Hut, O(n log n) and slow: up to `MOST_IN_3D` latents).
        seed: Of the noise that parts equal latents.
        neighbours: (indices, Euclidean distances) of each latent's nearest, each (n, ≥ 3 · perplexity others), nearest
            first, with or without itself. None: found here by brute force, O(n²).
        perplexity: Effective number of neighbours of each latent; at most a third of the others, and made so.
        iterations: After the early ones. None: 500, or 250 from a `start`.
        start: Begin here instead of at the principal components, without early exaggeration, so that a map that is
            fitted again stays recognisable.
        threads: None: one per core that this process may use. Sums over threads may round differently, and t-SNE
            amplifies that: the same map to the last bit needs the same number of them.
        progress: Told the fraction that is done.

    Returns:
        Coordinates, state (`latents`, `coordinates`) and parameters.

    Raises:
        ConfigInvalid: An option has an impossible value.
        NotSupported: Three dimensions and more than `MOST_IN_3D` latents.
        ShapeMismatch: `neighbours` or `start` do not fit the latents.
    """
    n = len(latents)
    _check(perplexity=perplexity, iterations=iterations, threads=threads)
    if dim > 2 and n > MOST_IN_3D:
        raise NotSupported(
            f"a t-SNE of {n} latents in {dim} dimensions would take long, as interpolation is flat; "
            f"use dim=2, or method 'umap', or at most {MOST_IN_3D} items"
        )
    if start is not None:
        start = check_start(start, n, dim)
    perplexity = min(float(perplexity), (n - 1) / 3)
    k = neighbours_of(perplexity)
    indices, distances = nearest(latents, latents, k) if neighbours is None else check_neighbours(neighbours, n, k)
    iterations = iterations or (_ITERATIONS if start is None else _AGAIN)
    layout = _optimised(
        indices[:, 1:],
        distances[:, 1:].astype(np.float64),
        _first(latents, dim, seed) if start is None else start.astype(np.float64),
        perplexity=perplexity,
        phases=([] if start is not None else [_EARLY]) + [(iterations, 1.0)],
        threads=threads or len(os.sched_getaffinity(0)),
        progress=progress,
    )
    coordinates = layout if start is None else aligned(layout, start)
    state = {"latents": latents, "coordinates": coordinates}
    return coordinates, state, {"perplexity": perplexity, "iterations": iterations}


def neighbours_of(perplexity: float) -> int:
    """Neighbours a fit looks at, each latent itself included: beyond three times the perplexity p is about 0."""
    return int(3 * perplexity) + 1


def place(
    latents: Float32[Array, "m d"], state: dict[str, Array], parameters: dict[str, Any]
) -> Float32[Array, "m dim"]:
    """Where the fitted neighbours pull a new item; a fitted latent keeps its place. No compiler, no openTSNE."""
    del parameters
    return pulled(latents, state["latents"], state["coordinates"], perplexity=_PLACED_PERPLEXITY)


def _optimised(
    indices: Int64[Array, "n k"],
    distances: Float64[Array, "n k"],
    first: Float64[Array, "n dim"],
    *,
    perplexity: float,
    phases: list[tuple[int, float]],
    threads: int,
    progress: Callable[[float], None] | None,
) -> Float32[Array, "n dim"]:
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    affinities = PerplexityBasedNN(
        knn_index=PrecomputedNeighbors(indices, distances), perplexity=perplexity, n_jobs=threads
    )
    n, dim = first.shape
    # "fft" lays points on a grid of at least 50 × 50 cells; below some thousand, a tree is faster and as exact.
    layout = TSNEEmbedding(
        first, affinities, negative_gradient_method="fft" if dim == 2 and n > 5_000 else "bh", n_jobs=threads
    )
    total, done = sum(count for count, _ in phases), 0
    for count, exaggeration in phases:
        before = done

        def tell(iteration: int, _error: float, _layout: Array, before: int = before) -> None:
            if progress is not None:
                progress((before + iteration) / total)

        layout.optimize(
            n_iter=count,
            exaggeration=exaggeration,
            learning_rate=max(n / exaggeration, 1.0),
            momentum=0.5 if exaggeration > 1 else 0.8,
            inplace=True,
            use_callbacks=progress is not None,
            callbacks=[tell],
            callbacks_every_iters=25,
        )
        done += count
    return np.ascontiguousarray(layout, np.float32)


def _first(latents: Float32[Array, "n d"], dim: int, seed: int) -> Float64[Array, "n dim"]:
    """Principal components at the initial spread, with a little noise, which parts equal latents."""
    first = principal(latents, dim).astype(np.float64)
    first *= _SPREAD / max(float(first[:, 0].std()), 1e-30)
    return first + np.random.default_rng(seed).normal(scale=_SPREAD / 100, size=first.shape)


def _check(*, perplexity: float, iterations: int | None, threads: int | None) -> None:
    if not 1 <= perplexity <= 200:
        raise ConfigInvalid(f"perplexity={perplexity!r} is outside 1 to 200; usually 30")
    if iterations is not None and iterations < 1:
        raise ConfigInvalid(f"iterations={iterations!r} must be at least 1; leave it out for {_ITERATIONS}")
    if threads is not None and threads < 1:
        raise ConfigInvalid(f"threads={threads!r} must be at least 1; leave it out for one per core")
