"""umap-learn's own way from the map to latents, to hold ours against: slow, compiled on first use.

Source: umap-learn, `UMAP.inverse_transform`: a Delaunay complex of the map, then gradient descent of UMAP's cross
entropy with the roles of the map and the space exchanged.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import NotSupported
from latentstore.maps.nearest import nearest
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32


def invert(
    points: Float32[Array, "m dim"], state: dict[str, Array], parameters: dict[str, Any]
) -> Float32[Array, "m d"]:
    """Latents of points of a fitted UMAP by umap-learn's `inverse_transform`.

    The model is built again from the stored latents and coordinates, without a layout: seconds for 10,000 latents, then
    about 50 ms a point, and ten seconds of compiling in a process that has not done it yet.

    Args:
        points: Map coordinates, shape (m, dim); best within the hull of the items.
        state: Of the fit: `latents`, `coordinates`.
        parameters: Of the fit.

    Raises:
        NotSupported: Fewer latents than umap-learn's simplices need.
    """
    latents, coordinates = state["latents"], state["coordinates"]
    n, d = latents.shape
    if n < d + 2:
        raise NotSupported(f"umap-learn's inverse needs more than the {n} latents there are; use method='local'")
    k = min(int(parameters["k"]), n - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap-learn's, numba's and SciPy's remarks on their own internals
        from umap import UMAP

        model = UMAP(
            n_neighbors=k,
            n_components=coordinates.shape[1],
            min_dist=parameters["min_dist"],
            n_epochs=0,
            init=coordinates.copy(),
            random_state=int(parameters["seed"]),
            n_jobs=1,
            precomputed_knn=(*nearest(latents, latents, k), None),
            force_approximation_algorithm=True,
        ).fit(latents)
        model.embedding_, model.n_epochs = coordinates, None  # None: as many epochs as umap-learn thinks right
        found: Array = np.ascontiguousarray(model.inverse_transform(points), np.float32)
    return found
