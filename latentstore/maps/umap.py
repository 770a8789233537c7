"""UMAP by umap-learn: a map that keeps neighbourhoods; new items are placed from stored arrays, without its compiler.

Source: McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction",
arXiv:1802.03426 (2018). Sections below are that paper's.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ConfigInvalid
from latentstore.maps.layout import aligned, check_start, principal
from latentstore.maps.nearest import check_neighbours, nearest
from latentstore.maps.placing import pulled
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Int64

_EXTENT = 10.0  # half the width of the initial layout, as umap-learn scales its own
_PLACED_PERPLEXITY = 5.0  # of a new item's neighbours: better than memberships, which fall off too slowly (.21 for .24)
_SMALL = 10_000  # latents up to which umap-learn's 500 epochs cost seconds
_AGAIN = (100, 0.1)  # epochs and learning rate (of 1) from an earlier map
_EPOCHS = (500, 100)  # beyond: on 70,000 × 32, 100 epochs reach the trustworthiness of 200 (.985) in 60 % of the time


def fit(
    latents: Float32[Array, "n d"],
    *,
    dim: int,
    seed: int,
    neighbours: tuple[Int64[Array, "n k"], Float[Array, "n k"]] | None = None,
    k: int = 15,
    min_dist: float = 0.1,
    epochs: int | None = None,
    start: Float[Array, "n dim"] | None = None,
) -> tuple[Float32[Array, "n dim"], dict[str, Array], dict[str, Any]]:
    """Fit a UMAP, starting from the principal components.

    The first call on a machine compiles for about half a minute; later processes load what it compiled in seconds.

    Args:
        latents: Shape (n, d).
        dim: 2 or 3.
        seed: Of the layout. A seed means one thread.
        neighbours: (indices, Euclidean distances) of each latent's nearest, each (n, ≥ k − 1 others), nearest first,
            with or without itself. None: found here by brute force, O(n²).
        k: Neighbours per latent, itself included.
        min_dist: How close neighbours may lie on the map, in its units.
        epochs: Walks over the graph. None: 500 up to 10,000 latents, else 100; from a `start` 100.
        start: Begin here instead of at the principal components, so that a map that is fitted again stays recognisable.

    Returns:
        Coordinates, state (`latents`, `coordinates`) and parameters.

    Raises:
        ConfigInvalid: An option has an impossible value.
        ShapeMismatch: `neighbours` or `start` do not fit the latents.
    """
    n = len(latents)
    _check(k=k, min_dist=min_dist, epochs=epochs)
    if start is not None:
        start = check_start(start, n, dim)
    k = min(k, n - 1)
    indices, distances = nearest(latents, latents, k) if neighbours is None else check_neighbours(neighbours, n, k)
    epochs = epochs or (_EPOCHS[n > _SMALL] if start is None else _AGAIN[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # that a variant which needs TensorFlow is not there
        from umap import UMAP

    model = UMAP(
        n_neighbors=k,
        n_components=dim,
        min_dist=min_dist,
        n_epochs=epochs if start is None else 0,  # 0: the graph alone
        init=_initial(latents, dim, seed) if start is None else start,
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(indices, distances, None),
        force_approximation_algorithm=True,  # below 4,096 latents umap-learn would ignore the neighbours given
    )
    with warnings.catch_warnings():
        # Said of the missing third element above, a search structure for its own `transform`; `place` needs none.
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]", category=UserWarning)
        coordinates = np.ascontiguousarray(model.fit_transform(latents), np.float32)
    if start is not None:
        coordinates = aligned(_moved_on(model, start, epochs=epochs, seed=seed), start)
    state = {"latents": latents, "coordinates": coordinates}
    return coordinates, state, {"k": k, "min_dist": min_dist, "epochs": epochs}


def place(
    latents: Float32[Array, "m d"], state: dict[str, Array], parameters: dict[str, Any]
) -> Float32[Array, "m dim"]:
    """Where the fitted neighbours pull a new item; a fitted latent keeps its place. No compiler, no umap-learn."""
    del parameters
    return pulled(latents, state["latents"], state["coordinates"], perplexity=_PLACED_PERPLEXITY)


def _moved_on(model: Any, start: Float32[Array, "n dim"], *, epochs: int, seed: int) -> Float32[Array, "n dim"]:
    """The layout of a model's graph, optimised from an earlier map at its own scale and at a tenth of the rate.

    `UMAP.fit` would stretch its start to a box of 10 × 10 and shake it at full rate. Measured with 500 items added to
    10,000: the median item then moves by 6.3 % of the map, this way by 2.4 %, at a better trustworthiness.
    """
    from umap.layouts import optimize_layout_euclidean
    from umap.umap_ import make_epochs_per_sample

    graph = model.graph_.tocoo()
    kept = graph.data >= graph.data.max() / epochs  # as umap-learn: what would not be walked once
    weights = graph.data[kept]
    layout = start.copy()
    state = np.random.default_rng(seed).integers(-(2**31) + 1, 2**31 - 1, 3).astype(np.int64)
    moved: Array = optimize_layout_euclidean(
        layout,
        layout,
        graph.row[kept],
        graph.col[kept],
        epochs,
        len(layout),
        make_epochs_per_sample(weights, epochs),
        model._a,
        model._b,
        state,
        initial_alpha=_AGAIN[1],
    )
    return moved


def _check(*, k: int, min_dist: float, epochs: int | None) -> None:
    if not 2 <= k <= 200:
        raise ConfigInvalid(f"k={k!r} neighbours do not make a map; choose 2 to 200, usually 15")
    if not 0 <= min_dist <= 1:
        raise ConfigInvalid(f"min_dist={min_dist!r} is outside 0 to 1; usually 0.1")
    if epochs is not None and epochs < 1:
        raise ConfigInvalid(f"epochs={epochs!r} must be at least 1; leave it out for a choice by size")


def _initial(latents: Float32[Array, "n d"], dim: int, seed: int) -> Float32[Array, "n dim"]:
    """Principal components scaled to the initial extent, with a little noise, which parts equal latents."""
    layout = principal(latents, dim)
    layout *= _EXTENT / max(float(np.abs(layout).max()), 1e-30)
    layout += np.random.default_rng(seed).normal(scale=1e-4, size=layout.shape)
    return layout
