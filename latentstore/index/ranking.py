"""The exact ranking of candidates, which every search ends with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.types import Array, Metric

RANKED_FLOATS = 1 << 19  # gathered candidates at a time: 2 MiB stay in the cache
COMPILED_NUMBERS = 1 << 20  # candidates at a time where nothing is gathered
COMPILED_QUERIES = 16  # from so many on, FAISS's loops win over NumPy's


class Vectors(Protocol):
    """Vectors by number, wherever they lie."""

    def __call__(self, numbers: Int64[Array, " c"], /) -> Float32[Array, "c d"]:
        """Vectors of numbers, copied: the caller may change them."""
        ...

    def runs(self, numbers: Int64[Array, " c"], /) -> Sequence[tuple[slice, Float32[Array, "n d"], Int64[Array, " c"]]]:
        """Ascending numbers, by the contiguous block they lie in: which of them, the block, and their places in it."""
        ...

    def pieces(self, numbers: Int64[Array, "m c"], /) -> Iterable[tuple[Float32[Array, "n d"], Int64[Array, "m c"]]]:
        """Contiguous blocks, and at which place in each the numbers are; −1 for those that are not in it."""
        ...


class InArray:
    """The vectors of one array, numbered 0 … n−1."""

    def __init__(self, vectors: Float32[Array, "n d"]) -> None:
        self._vectors = np.ascontiguousarray(vectors)

    def __call__(self, numbers: Int64[Array, " c"], /) -> Float32[Array, "c d"]:
        """See `Vectors`."""
        found: Float32[Array, "c d"] = self._vectors[numbers]
        return found

    def runs(self, numbers: Int64[Array, " c"], /) -> Sequence[tuple[slice, Float32[Array, "n d"], Int64[Array, " c"]]]:
        """See `Vectors`."""
        return [(slice(None), self._vectors, numbers)]

    def pieces(self, numbers: Int64[Array, "m c"], /) -> Iterable[tuple[Float32[Array, "n d"], Int64[Array, "m c"]]]:
        """See `Vectors`."""
        return [(self._vectors, numbers)]


def rank(
    vectors: Vectors, queries: Float32[Array, "m d"], candidates: Int64[Array, "m c"], k: int, metric: Metric
) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
    """Order candidates by their exact distance and keep the k nearest; ties go to the smaller number.

    Args:
        vectors: What the numbers name.
        queries: Shape (m, d).
        candidates: Numbers `vectors` knows, −1 for none, each at most once in a row.
        k: How many to keep; fewer candidates are padded with −1 and NaN.
        metric: l2, cosine or ip.

    Returns:
        Numbers (m, k) and distances (m, k), as `exact_search`.
    """
    m, width = candidates.shape
    if m == 1 and width:
        return _rank_one(vectors, queries, candidates[0], k, metric)
    if m < COMPILED_QUERIES and m * width * queries.shape[1] <= RANKED_FLOATS and 0 < k <= width:
        return _rank_few(vectors, queries, candidates, k, metric)
    numbers, distances = np.empty((m, k), np.int64), np.empty((m, k), np.float32)
    numbers[:, width:], distances[:, width:] = -1, np.nan
    compiled = metric != "cosine" and m >= COMPILED_QUERIES
    step = max(1, (COMPILED_NUMBERS if compiled else RANKED_FLOATS // queries.shape[1]) // max(1, width))
    for start in range(0, m if width else 0, step):
        part = slice(start, min(start + step, m))
        tried = np.sort(candidates[part], axis=1)  # by number, so that the stable sort below settles ties
        keys = (_keys_compiled if compiled else _keys)(vectors, queries[part], tried, metric)
        order = keys.argsort(axis=1, kind="stable")[:, :k]
        lines, kept = np.arange(len(tried))[:, None], order.shape[1]
        numbers[part, :kept] = tried[lines, order]
        distances[part, :kept] = -keys[lines, order] if metric == "ip" else keys[lines, order]
    return numbers, distances


def _rank_one(
    vectors: Vectors, query: Float32[Array, "1 d"], candidates: Int64[Array, " c"], k: int, metric: Metric
) -> tuple[Int64[Array, "1 k"], Float32[Array, "1 k"]]:
    """`rank` of one query, where what NumPy needs per call is most of the time."""
    tried = candidates.copy()
    tried.sort()
    if tried[0] < 0:
        tried = tried[tried.searchsorted(0) :]
    if metric == "cosine":
        measured = distance_pairs(query, vectors(tried), metric)
    else:  # nothing is copied
        measured = np.empty(len(tried), np.float32)
        for part, block, places in vectors.runs(tried):
            compare(measured[part], query, block, places, metric)
        if metric == "l2":
            np.sqrt(measured, measured)
    order = (-measured if metric == "ip" else measured).argsort(kind="stable")[:k]
    if len(order) == k:
        return tried[order][None], measured[order][None]
    numbers, distances = np.full((1, k), -1, np.int64), np.full((1, k), np.nan, np.float32)
    numbers[0, : len(order)], distances[0, : len(order)] = tried[order], measured[order]
    return numbers, distances


def _rank_few(
    vectors: Vectors, queries: Float32[Array, "m d"], candidates: Int64[Array, "m c"], k: int, metric: Metric
) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
    """`rank` of few queries with k candidates at least, without what many need."""
    tried = np.sort(candidates, axis=1)
    keys = _keys(vectors, queries, tried, metric)
    m, width = tried.shape
    order = keys.argsort(axis=1, kind="stable")[:, :k] + np.arange(0, m * width, width)[:, None]
    distances: Float32[Array, "m k"] = keys.take(order)
    numbers: Int64[Array, "m k"] = tried.take(order)
    return numbers, -distances if metric == "ip" else distances


def _keys(
    vectors: Vectors, queries: Float32[Array, "m d"], numbers: Int64[Array, "m c"], metric: Metric
) -> Float32[Array, "m c"]:
    """Distances to sort by, ascending; NaN for no number, which sorts last."""
    if numbers[:, 0].min() >= 0:  # sorted: no row has a gap
        found = vectors(numbers.ravel()).reshape(*numbers.shape, -1)
        keys = distance_pairs(queries[:, None], found, metric)
    else:
        of_query, place = (numbers >= 0).nonzero()
        keys = np.full(numbers.shape, np.nan, np.float32)
        keys[of_query, place] = distance_pairs(queries[of_query], vectors(numbers[of_query, place]), metric)
    return -keys if metric == "ip" else keys


def _keys_compiled(
    vectors: Vectors, queries: Float32[Array, "m d"], numbers: Int64[Array, "m c"], metric: Metric
) -> Float32[Array, "m c"]:
    """`_keys` without a copy of the vectors, by threads: pays for batches."""
    keys = np.full(numbers.shape, np.nan, np.float32)
    queries, found = np.ascontiguousarray(queries), np.empty(numbers.shape, np.float32)
    for block, places in vectors.pieces(numbers):
        compare(found, queries, block, places, metric)
        there = places >= 0
        keys[there] = found[there]
    return np.sqrt(keys) if metric == "l2" else -keys


def compare(
    found: Float32[Array, "*m c"],
    queries: Float32[Array, "m d"],
    vectors: Float32[Array, "n d"],
    places: Int64[Array, "*m c"],
    metric: Metric,
) -> None:
    """Squared distances (l2) or inner products of each query with the vectors at its places, by FAISS, into `found`."""
    import faiss

    compare = faiss.fvec_L2sqr_by_idx if metric == "l2" else faiss.fvec_inner_products_by_idx
    pointer, (m, d) = faiss.swig_ptr, queries.shape
    compare(pointer(found), pointer(queries), pointer(vectors), pointer(places), d, m, places.shape[-1])


def distance_pairs(
    queries: Float32[Array, "*c d"], vectors: Float32[Array, "*c d"], metric: Metric
) -> Float32[Array, "*c"]:
    """Distance of each query to the vector beside it: Euclidean, 1 − cos, or the inner product."""
    if metric == "l2":
        offsets = vectors - queries
        return np.asarray(np.sqrt(_dots(offsets, offsets)))
    dots = _dots(queries, vectors)
    if metric == "ip":
        return dots
    # |a|²|b|² under one root: exact 1 for a vector with itself more often than two roots multiplied.
    norms = np.sqrt(_dots(queries, queries) * _dots(vectors, vectors))
    return np.asarray(np.maximum(1 - dots / norms, 0))


def _dots(a: Float32[Array, "*c d"], b: Float32[Array, "*c d"]) -> Float32[Array, "*c"]:
    return np.asarray(np.einsum("...d,...d->...", a, b))
