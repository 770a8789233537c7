"""The ways from one latent to another, many at once: by formula, by the decoder's metric, through real neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from latentstore import geometry
from latentstore.errors import ConfigInvalid, DidNotConverge, InputError, NotSupported, suggest
from latentstore.geometry.polylines import WIDEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float32, Float64, Int64

    from latentstore.encoders import Geodesics, GeodesicSolver
    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

FORMULAS: dict[str, Callable[..., Array]] = {
    "lerp": geometry.lerp,
    "slerp": geometry.slerp,
    "gaussian": geometry.gaussian,
}
METHODS = (*FORMULAS, "geodesic", "graph")
REFERENCE = 512  # real latents that the decoder's mean metric is measured at
GRAPH_ITEMS = 10_000  # nodes: a shortest path takes some 3 ms, with 20,000 twice that, and is no more realistic
GRAPH_NEIGHBOURS = 10
ODD = 0.05  # share of the items that the graph leaves out: those farthest from their 10th neighbour


class Curves(Protocol):
    """Ways from b starts to b ends."""

    @property
    def lengths(self) -> Float64[Array, " b"]:
        """By which frames are shared out among the legs of one path."""
        ...

    def frames(self, number: int, steps: int) -> Array:
        """Latents (steps, d) on one of them; the first and last are its ends."""
        ...


def curves(
    space: EmbeddingSpace,
    starts: Float32[Array, "b d"],
    ends: Float32[Array, "b d"],
    method: str,
    *,
    smoothing: float = 0.0,
) -> Curves:
    """Ways from each start to its end.

    Args:
        space: Whose decoder, or items, they follow.
        starts: Shape (b, d).
        ends: Shape (b, d).
        method: One of METHODS.
        smoothing: Of graph: how far corners are rounded off, as a fraction of the length (`geometry.smooth`).

    Raises:
        ConfigInvalid: Unknown method; smoothing with another method than graph.
        NotSupported: geodesic without a decoder, graph without items.
        DidNotConverge: geodesic, for some pair.
        InputError: A negative smoothing; slerp between opposite directions.
    """
    check(method, smoothing)
    if method == "geodesic":
        return _Solved(converged(solver(space).solve(starts, ends)))
    if method == "graph":
        lines = space.neighbour_graph.polylines(starts, ends, cosine=space.metric == "cosine")
        return _Walked([geometry.smooth(line, smoothing) for line in lines])
    return _Formula(method, starts, ends)


def check(method: str, smoothing: float) -> None:
    """Refuse a method that does not exist, and smoothing where there is nothing to smooth."""
    if method not in METHODS:
        raise ConfigInvalid(f"unknown interpolation method {method!r}; {suggest(method, METHODS)}")
    if smoothing and method != "graph":
        raise ConfigInvalid(f"smoothing {smoothing} is for method 'graph'; {method} has no corners, leave it out")
    if not 0 <= smoothing <= WIDEST:
        raise InputError(f"smoothing is {smoothing}; choose 0 (none) to about 0.5, a fraction of the path's length")


@dataclass(frozen=True, eq=False)
class _Formula:
    method: str
    starts: Float32[Array, "b d"]
    ends: Float32[Array, "b d"]

    @property
    def lengths(self) -> Float64[Array, " b"]:
        return _distances(self.starts, self.ends)

    def frames(self, number: int, steps: int) -> Array:
        return FORMULAS[self.method](self.starts[number], self.ends[number], np.linspace(0, 1, steps))


@dataclass(frozen=True, eq=False)
class _Solved:
    geodesics: Geodesics

    @property
    def lengths(self) -> Float64[Array, " b"]:
        return _distances(self.geodesics.starts, self.geodesics.ends)

    def frames(self, number: int, steps: int) -> Array:
        return np.asarray(self.geodesics.at(np.linspace(0, 1, steps), slice(number, number + 1))[0])


@dataclass(frozen=True, eq=False)
class _Walked:
    lines: list[Array]

    @property
    def lengths(self) -> Float64[Array, " b"]:
        return np.array([geometry.polyline_length(line) for line in self.lines])

    def frames(self, number: int, steps: int) -> Array:
        return geometry.resample(self.lines[number], steps).astype(np.float32)


def _distances(starts: Float32[Array, "b d"], ends: Float32[Array, "b d"]) -> Float64[Array, " b"]:
    return np.asarray(np.linalg.norm(ends.astype(np.float64) - starts, axis=1))


# The decoder's metric


def solver(space: EmbeddingSpace) -> GeodesicSolver:
    """The space's own solver; `NotSupported` where there is no decoder."""
    try:
        return space.geodesic_solver
    except NotSupported as error:
        raise NotSupported(f"no geodesic in space {space.name!r}, for it is the decoder's: {error}") from error


def make_solver(space: EmbeddingSpace) -> GeodesicSolver:
    """Measure the decoder's metric at a fixed sample of the items.

    Raises:
        NotSupported: No encoder, no decoder, or no items.
    """
    from latentstore.encoders import GeodesicSolver

    if space.encoder is None:
        raise NotSupported("the space holds ready vectors; use lerp, slerp or graph")
    rows = _sample(space, REFERENCE)
    if not len(rows):
        raise NotSupported("the space has no items to measure the decoder's metric at; add some")
    return GeodesicSolver(space.encoder, space.snapshot.vectors(rows))


def converged(found: Geodesics) -> Geodesics:
    """The same; `DidNotConverge` when some of them did not."""
    if not found.converged.all():
        worst = int(found.residual.argmax())
        raise DidNotConverge(
            f"{int((~found.converged).sum())} of {len(found.converged)} geodesics did not converge; "
            "use method='lerp', or anchors that are nearer to each other",
            iterations=int(found.iterations[worst]),
            residual=float(found.residual[worst]),
        )
    return found


# Real neighbours


def join_neighbours(space: EmbeddingSpace) -> geometry.NeighbourGraph:
    """The graph of a fixed sample of the items, each joined to its 10 nearest of the sample, by the space's metric.

    Under ip, which is no distance, neighbours are Euclidean. The items farthest from their own neighbours, 5 % of them,
    are left out: that they are real does not make their surroundings so.

    Raises:
        NotSupported: Fewer than 2 items.
    """
    from latentstore.index import exact_search

    rows = _sample(space, GRAPH_ITEMS)
    if len(rows) < 2:
        raise NotSupported(f"a graph of neighbours needs items, and space {space.name!r} has {len(rows)}; add some")
    vectors = space.snapshot.vectors(rows)
    k = min(GRAPH_NEIGHBOURS, len(rows) - 1)
    found, distances = exact_search(vectors, vectors, k + 1, "l2" if space.metric == "ip" else space.metric)
    reach = distances[:, k]  # the first is the item itself
    return geometry.NeighbourGraph.join(vectors, found, leave_out=reach > np.quantile(reach, 1 - ODD))


def _sample(space: EmbeddingSpace, most: int) -> Int64[Array, " r"]:
    rows = space.snapshot.live_rows()
    return np.asarray(np.sort(np.random.default_rng(0).choice(rows, min(most, len(rows)), replace=False)))
