"""`project` latents to a map; a `Projection` places new latents on it without fitting again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from latentstore.errors import ConfigInvalid, ShapeMismatch, suggest
from latentstore.maps import pca, tsne, umap
from latentstore.types import Array, check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, Num

State: TypeAlias = dict[str, Array]
Parameters: TypeAlias = dict[str, Any]  # JSON

_FIT: dict[str, Callable[..., tuple[Array, State, Parameters]]] = {
    "pca": pca.fit,
    "umap": umap.fit,
    "tsne": tsne.fit,
}
_PLACE: dict[str, Callable[[Array, State, Parameters], Array]] = {
    "pca": pca.place,
    "umap": umap.place,
    "tsne": tsne.place,
}
METHODS = tuple(_FIT)
GIVEN = ("neighbours", "start", "progress")  # options that are no plain values: a space gives them, no file can
_NOT_OPTIONS = {"latents", "dim", "seed"}
_PER_LATENT = ("latents", "coordinates")  # arrays of a state that have a row per latent


@dataclass(frozen=True, eq=False)
class Projection:
    """A fitted map. Its four fields are all there is to store: arrays and JSON, no pickle.

    Attributes:
        method: One of `METHODS`.
        coordinates: float32 (n, dim), one row per latent that was projected, in their order.
        state: What `place` needs, named arrays.
        parameters: What `place` needs beside them, and what describes the fit; JSON.
    """

    method: str
    coordinates: Float32[Array, "n dim"]
    state: State
    parameters: Parameters

    @property
    def dim(self) -> int:
        """2 or 3."""
        return int(self.coordinates.shape[1])

    def place(self, latents: Num[Array, "m d"]) -> Float32[Array, "m dim"]:
        """Place latents of the same space on this map; nothing is fitted again.

        PCA is exact. UMAP and t-SNE go where the attraction of the fitted neighbours vanishes
        (`latentstore.maps.placing`). A latent that was fitted stays where it is. Nothing is compiled.

        Args:
            latents: Shape (m, d).

        Returns:
            Coordinates, float32 (m, dim).

        Raises:
            ShapeMismatch: Another width than the map was fitted to.
            NotFinite: NaN or infinity.
        """
        checked = _check_latents(latents, width=int(self.parameters["d"]))
        return _PLACE[self.method](checked, self.state, self.parameters)

    def without(self, positions: Int64[Array, " _"]) -> Projection:
        """This map as `place` would see it had some of its latents not been there; the others stay where they are."""
        state = {
            name: np.delete(array, positions, axis=0) if name in _PER_LATENT else array
            for name, array in self.state.items()
        }
        return Projection(self.method, np.delete(self.coordinates, positions, axis=0), state, self.parameters)


def project(method: str, latents: Num[Array, "n d"], *, dim: int = 2, seed: int = 0, **options: Any) -> Projection:
    """Fit a map.

    Args:
        method: "pca" (linear, exact, global distances), "umap" or "tsne" (neighbourhoods); see `fit` in the modules of
            `latentstore.maps` of these names.
        latents: Shape (n, d), at least 3 rows.
        dim: 2 or 3.
        seed: The same latents, options and seed give the same map on the same machine.
        **options: The method's own, for example `neighbours=(indices, distances)`, `epochs=200` for "umap",
            `perplexity=50` for "tsne"; `start`, earlier coordinates of the same latents, for all.

    Returns:
        The fitted projection.

    Raises:
        ConfigInvalid: Unknown method or option, or an impossible value.
        ShapeMismatch: Not (n, d), or d < dim under "pca".
        NotSupported: A "tsne" of many latents in three dimensions.
        NotFinite: NaN or infinity.
    """
    check_options(method, options)
    if dim not in (2, 3):
        raise ConfigInvalid(f"a map has dim 2 or 3, not {dim!r}")
    checked = _check_latents(latents)
    if len(checked) < 3:
        raise ShapeMismatch(f"a map needs at least 3 latents, not {len(checked)}; add items first")
    coordinates, state, parameters = _FIT[method](checked, dim=dim, seed=seed, **options)
    return Projection(method, coordinates, state, {"d": checked.shape[1], "dim": dim, "seed": seed, **parameters})


def check_options(method: str, options: Iterable[str]) -> None:
    """See that a method is known and has options of these names.

    Raises:
        ConfigInvalid: It is not, or has not.
    """
    known = options_of(method)
    for option in options:
        if option not in known:
            raise ConfigInvalid(f"map method {method!r} has no option {option!r}; {suggest(option, known)}")


def options_of(method: str) -> set[str]:
    """Names of a method's options.

    Raises:
        ConfigInvalid: Unknown method.
    """
    if method not in _FIT:
        raise ConfigInvalid(f"unknown map method {method!r}; {suggest(method, METHODS)}")
    return set(inspect.signature(_FIT[method]).parameters) - _NOT_OPTIONS


def neighbours_used(method: str, *, k: int = 15, perplexity: float = 30.0, **_: Any) -> int:
    """How many neighbours per latent, itself included, a method with these options looks at; 0 for none."""
    return {"umap": k, "tsne": tsne.neighbours_of(perplexity)}.get(method, 0)


def _check_latents(latents: Num[Array, "n d"], width: int | None = None) -> Float32[Array, "n d"]:
    shape = np.shape(latents)
    if len(shape) != 2 or shape[1] == 0:
        raise ShapeMismatch(f"latents have shape {shape}; pass (n, {'d' if width is None else width})")
    return check_vectors(latents, width or shape[1], what="latents")
