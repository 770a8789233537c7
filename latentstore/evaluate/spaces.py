"""What a published space is worth: does the index find what is there, how fast, and how true is the map."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError
from latentstore.geometry import levina_bickel, two_nn

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

SINGLES = 200  # searches timed one by one


def index_metrics(space: EmbeddingSpace, *, queries: int = 1000, k: int = 10, seed: int = 0) -> dict[str, float]:
    """Hold the space's own search against an exact scan, with stored latents as queries.

    A query's own row is left out of both answers, as finding it again is no merit.

    Args:
        space: What is searched.
        queries: How many stored latents are asked for; all when there are fewer.
        k: Neighbours per query.
        seed: Chooses the queries.

    Returns:
        name → value: `index_recall` (share of the true k nearest that are returned), `index_ms` and `exact_ms`
        (median wall time of one query, milliseconds), `index_batch_per_s` and `exact_batch_per_s` (queries per second
        asked all at once).
    """
    live = space.snapshot.live_rows()
    if len(live) <= k:
        raise InputError(f"space {space.name!r} has {len(live)} items; recall@{k} needs at least {k + 1}")
    rows = np.sort(np.random.default_rng(seed).choice(live, min(queries, len(live)), replace=False))
    vectors = space.snapshot.vectors(rows)

    def ours(part: Float32[Array, "m d"]) -> Int64[Array, "m k1"]:
        return space.search(part, k + 1).rows

    def exact(part: Float32[Array, "m d"]) -> Int64[Array, "m k1"]:
        return space.search(part, k + 1, recall=1.0).rows

    found, batch = _timed(ours, vectors)
    truth, exact_batch = _timed(exact, vectors)
    return {
        "index_recall": recall(_without_own(found, rows), _without_own(truth, rows)),
        "index_ms": _median_ms(ours, vectors),
        "exact_ms": _median_ms(exact, vectors),
        "index_batch_per_s": len(rows) / batch,
        "exact_batch_per_s": len(rows) / exact_batch,
    }


def dimension_metrics(space: EmbeddingSpace, *, queries: int = 1000, k: int = 20, seed: int = 0) -> dict[str, float]:
    """In how many directions the latents vary, of the d they could: exact neighbours of some, among all.

    Args:
        space: Which; under cosine, distances are chords of the unit sphere. Inner products are no distances.
        queries: How many stored latents look at their neighbours; all when there are fewer.
        k: Neighbours of the likelihood; made smaller in a space of fewer items.
        seed: Chooses the latents.

    Returns:
        `dimension_two_nn` and `dimension_mle`, each with its standard error as `…_error`: see
        `latentstore.geometry.two_nn` and `levina_bickel`. Empty under "ip", and where most latents have a twin.
    """
    live = space.snapshot.live_rows()
    k = min(k, len(live) - 1)
    if space.metric == "ip" or k < 3:
        return {}
    rows = np.sort(np.random.default_rng(seed).choice(live, min(queries, len(live)), replace=False))
    hits = space.search(space.snapshot.vectors(rows), k + 1, recall=1.0)
    kept = hits.rows != rows[:, None]
    kept[kept.all(axis=1), -1] = False
    distances = hits.distances[kept].reshape(len(rows), k).astype(np.float64)
    if space.metric == "cosine":
        distances = np.sqrt(2 * np.maximum(distances, 0))
    found: dict[str, float] = {}
    with suppress(InputError):  # too few latents that have no twin
        for name, estimate in (("two_nn", two_nn(distances)), ("mle", levina_bickel(distances))):
            found |= {f"dimension_{name}": estimate.value, f"dimension_{name}_error": estimate.error}
    return found


def recall(found: Int64[Array, "m k"], truth: Int64[Array, "m k"]) -> float:
    """Share of the true neighbours (−1 for none) that were found, in any order."""
    hits = (truth[:, :, None] == found[:, None, :]).any(axis=2) & (truth >= 0)
    return float(hits.sum() / max(1, (truth >= 0).sum()))


def _without_own(rows: Int64[Array, "m k1"], own: Int64[Array, " m"]) -> Int64[Array, "m k"]:
    """Drop each query's own row, or else the last, so that k are left."""
    kept = rows != own[:, None]
    kept[kept.all(axis=1), -1] = False
    return np.asarray(rows[kept].reshape(len(rows), -1))


def _timed(
    search: Callable[[Float32[Array, "m d"]], Int64[Array, "m k1"]], vectors: Float32[Array, "m d"]
) -> tuple[Int64[Array, "m k1"], float]:
    search(vectors[:1])  # opens files and index
    start = time.perf_counter()
    return search(vectors), time.perf_counter() - start


def _median_ms(
    search: Callable[[Float32[Array, "m d"]], Int64[Array, "m k1"]], vectors: Float32[Array, "m d"]
) -> float:
    times = []
    for vector in vectors[:SINGLES]:
        start = time.perf_counter()
        search(vector[None])
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1e3)
