"""The graph of real neighbours, and shortest paths through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import InputError, ShapeMismatch
from latentstore.geometry.metrics import pairwise_distances
from latentstore.types import Array, Metric

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64

LEAST_SHARE = 0.01  # of the nodes: a smaller component is a few odd items that know only each other
SOURCES = 64  # shortest-path trees at a time: 64 × 10,000 nodes × 12 bytes stay in some 8 MB
_TINY = 1e-9  # of the median length: equal latents are neighbours at a distance that a sparse matrix can hold


@dataclass(frozen=True, eq=False)
class NeighbourGraph:
    """Real latents, each joined to its nearest: a walk along its edges stays where the data is.

    Attributes:
        nodes: Latents that are in the graph, shape (n, d), float32; all are joined, directly or not.
        positions: Where each node stands in the latents that `join` was given, shape (n,).
        edges: Symmetric, scipy CSR, shape (n, n): Euclidean lengths.
        bridges: How many edges had to be added between parts that no neighbours join.
    """

    nodes: Float32[Array, "n d"]
    positions: Int64[Array, " n"]
    edges: Any
    bridges: int

    @classmethod
    def join(
        cls,
        latents: Float32[Array, "n d"],
        neighbours: Int64[Array, "n k"],
        *,
        leave_out: Bool[Array, " n"] | None = None,
    ) -> NeighbourGraph:
        """Join latents to their neighbours.

        Parts that no edge joins are bridged where they are nearest to each other; parts of less than 1 % are dropped.

        Args:
            latents: Shape (n, d).
            neighbours: Positions of the nearest of each, shape (n, k); −1 for none. Itself may be among them.
            leave_out: Latents that no path may use, for example the 5 % farthest from the others; shape (n,).

        Raises:
            ShapeMismatch: Not one row of neighbours for each latent.
            InputError: Nothing is left.

        Source: the graph of J. B. Tenenbaum, V. de Silva, J. C. Langford, A global geometric framework for nonlinear
        dimensionality reduction, Science 290, 2000.
        """
        from scipy.sparse.csgraph import connected_components  # here: a third of the time a reader takes to start

        if neighbours.ndim != 2 or len(neighbours) != len(latents):
            raise ShapeMismatch(f"{len(latents)} latents with neighbours of shape {neighbours.shape}; pass (n, k)")
        start = np.repeat(np.arange(len(latents)), neighbours.shape[1])
        end = neighbours.ravel()
        used = np.ones(len(latents), bool) if leave_out is None else ~leave_out
        proper = (end >= 0) & (start != end)
        proper &= used[start] & used[np.where(end < 0, 0, end)]
        graph = _symmetric(latents, start[proper], end[proper])
        _, part = connected_components(graph, directed=False)
        sizes = np.bincount(part[used], minlength=part.max(initial=0) + 1)
        kept = np.flatnonzero(used & (sizes[part] >= max(1, LEAST_SHARE * used.sum())))
        if not len(kept):
            raise InputError(f"of {len(latents)} latents none is left for a graph; add items")
        nodes, edges, bridges = latents[kept], graph[kept][:, kept], 0
        while True:
            parts, part = connected_components(edges, directed=False)
            if parts == 1:
                return cls(np.ascontiguousarray(nodes), kept, edges, bridges)
            edges, bridges = _bridged(nodes, edges, part), bridges + 1

    def nearest(self, points: Float32[Array, "m d"], *, cosine: bool = False) -> Int64[Array, " m"]:
        """The node nearest to each point, Euclidean or by angle, shape (m,)."""
        metric: Metric = "cosine" if cosine else "l2"
        rows = max(1, 2**22 // len(self.nodes))
        return np.concatenate([
            np.zeros(0, np.int64),
            *(
                pairwise_distances(points[i : i + rows], self.nodes, metric).argmin(axis=1)
                for i in range(0, len(points), rows)
            ),
        ])  # fmt: skip

    def shortest(self, starts: Int64[Array, " m"], ends: Int64[Array, " m"]) -> list[Int64[Array, " p"]]:
        """Nodes on the shortest path from each start to its end, both included: Dijkstra's, one tree per start.

        Args:
            starts: Nodes, shape (m,).
            ends: Nodes, shape (m,).
        """
        from scipy.sparse.csgraph import dijkstra

        found: list[Any] = [None] * len(starts)
        sources, which = np.unique(starts, return_inverse=True)
        for first in range(0, len(sources), SOURCES):
            # The matrix is symmetric: taken as directed it is walked once, not once more transposed.
            _, before = dijkstra(
                self.edges, directed=True, indices=sources[first : first + SOURCES], return_predecessors=True
            )
            for i in np.flatnonzero((which >= first) & (which < first + SOURCES)):
                found[i] = _walk_back(before[which[i] - first], int(starts[i]), int(ends[i]))
        return found

    def polylines(
        self, starts: Float32[Array, "m d"], ends: Float32[Array, "m d"], *, cosine: bool = False
    ) -> list[Float32[Array, "p d"]]:
        """Corners of the shortest path from each point to another, over the nodes nearest to them, points included."""
        both = self.nearest(np.concatenate([starts, ends]), cosine=cosine)
        walks = self.shortest(both[: len(starts)], both[len(starts) :])
        return [
            np.concatenate([start[None], self.nodes[walk], end[None]])
            for start, walk, end in zip(starts, walks, ends, strict=True)
        ]


def _symmetric(latents: Float32[Array, "n d"], start: Int64[Array, " e"], end: Int64[Array, " e"]) -> Any:
    from scipy.sparse import coo_matrix

    lengths = np.linalg.norm((latents[start] - latents[end]).astype(np.float64), axis=1)
    least = _TINY * float(np.median(lengths)) if len(lengths) else 0.0
    lengths = np.maximum(lengths, least or _TINY)
    graph = coo_matrix((lengths, (start, end)), shape=(len(latents), len(latents))).tocsr()
    return graph.maximum(graph.T).tocsr()


def _bridged(nodes: Float32[Array, "n d"], edges: Any, part: Int64[Array, " n"]) -> Any:
    """One more edge: between the smallest part and the rest, where they are nearest."""
    from scipy.sparse import coo_matrix

    small = part == np.bincount(part).argmin()
    inside, outside = np.flatnonzero(small), np.flatnonzero(~small)
    best = (np.inf, 0, 0)
    rows = max(1, 2**22 // len(outside))
    for first in range(0, len(inside), rows):
        block = pairwise_distances(nodes[inside[first : first + rows]], nodes[outside])
        i, j = divmod(int(block.argmin()), len(outside))
        best = min(best, (float(block[i, j]), int(inside[first + i]), int(outside[j])))
    length, i, j = best
    return (edges + coo_matrix(([length or _TINY] * 2, ([i, j], [j, i])), shape=edges.shape)).tocsr()


def _walk_back(before: Sequence[int], start: int, end: int) -> Int64[Array, " p"]:
    walk = [end]
    while walk[-1] != start:
        walk.append(int(before[walk[-1]]))
    return np.array(walk[::-1])
