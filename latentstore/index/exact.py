"""Exact k-nearest search, and the exact ranking of candidates that every search ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64

    from latentstore.types import Array, Metric

    Block: TypeAlias = tuple[Float32[Array, "c d"], Int64[Array, " c"]]
    Gather: TypeAlias = Callable[[Int64[Array, " c"]], Float32[Array, "c d"]]

CHUNK = 65_536  # vectors compared at a time: bounds the copies made by masks and by normalising
SPARE = 16  # extra candidates: faiss computes l2 of batches as |x|² + |q|² − 2xq, whose rounding can swap near ties
GATHER_FLOATS = 1 << 24  # 64 MiB of gathered candidates at a time


def exact_search(
    vectors: Float32[Array, "n d"],
    queries: Float32[Array, "m d"],
    k: int,
    metric: Metric,
    *,
    allowed: Bool[Array, " n"] | None = None,
) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
    """Find the k nearest vectors of each query by looking at all of them.

    Args:
        vectors: What is searched, shape (n, d); may be memory-mapped, is read in chunks.
        queries: Shape (m, d).
        k: Neighbours per query, ≥ 1.
        metric: l2, cosine or ip.
        allowed: Which vectors may be returned, shape (n,); all when None.

    Returns:
        Positions (m, k), −1 where fewer than k are allowed, and distances (m, k) as `Neighbours` has them:
        Euclidean, 1 − cos, or the inner product (descending); NaN where missing.
    """
    candidates = scan(blocks(vectors, np.arange(len(vectors)), allowed), queries, k, metric)
    return rank(lambda positions: vectors[positions], queries, candidates, k, metric)


def blocks(
    vectors: Float32[Array, "n d"], numbers: Int64[Array, " n"], allowed: Bool[Array, " n"] | None
) -> Iterator[Block]:
    """Cut vectors into chunks of those allowed, each with its numbers; a chunk that is allowed whole is a view."""
    for start in range(0, len(vectors), CHUNK):
        part = slice(start, start + CHUNK)
        if allowed is None or allowed[part].all():
            yield vectors[part], numbers[part]
        elif allowed[part].any():
            yield vectors[part][allowed[part]], numbers[part][allowed[part]]


def scan(
    found_in: Iterable[Block], queries: Float32[Array, "m d"], k: int, metric: Metric, *, unit: bool = False
) -> Int64[Array, "m c"]:
    """Candidates for the k nearest over all blocks: the numbers of k + SPARE vectors, −1 for none, unordered.

    Args:
        found_in: Vectors with their numbers.
        queries: Shape (m, d).
        k: Neighbours wanted.
        metric: l2, cosine or ip.
        unit: Under cosine: the vectors have length 1 already.
    """
    import faiss

    kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
    if metric == "cosine":
        queries = to_unit(queries)
    keep = k + SPARE
    numbers = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)  # smaller is nearer
    for vectors, theirs in found_in:
        block = np.ascontiguousarray(vectors) if unit else prepared(vectors, metric)
        score, found = faiss.knn(queries, block, min(keep, len(block)), metric=kind)
        score = score if metric == "l2" else -score
        numbers = np.concatenate([numbers, np.where(found >= 0, theirs[found], -1)], axis=1)
        scores = np.concatenate([scores, np.where(found >= 0, score, np.inf)], axis=1)
        if numbers.shape[1] > keep:
            best = np.argpartition(scores, keep - 1, axis=1)[:, :keep]
            numbers, scores = np.take_along_axis(numbers, best, 1), np.take_along_axis(scores, best, 1)
    return numbers


def rank(
    gather: Gather, queries: Float32[Array, "m d"], candidates: Int64[Array, "m c"], k: int, metric: Metric
) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
    """Order candidates by their exact distance and keep the k nearest; ties go to the smaller number.

    Args:
        gather: Gives the vectors (c, d) of c numbers.
        queries: Shape (m, d).
        candidates: Numbers `gather` knows, −1 for none, each at most once in a row.
        k: How many to keep; fewer candidates are padded with −1 and NaN.
        metric: l2, cosine or ip.

    Returns:
        Numbers (m, k) and distances (m, k), as `exact_search`.
    """
    m, width = candidates.shape
    numbers = np.full((m, k), -1, np.int64)
    distances = np.full((m, k), np.nan, np.float32)
    step = max(1, GATHER_FLOATS // max(1, width * queries.shape[1]))
    for start in range(0, m if width else 0, step):
        part = slice(start, min(start + step, m))
        tried = np.sort(candidates[part], axis=1)  # by number, so that the stable sort below settles ties
        of_query, place = (tried >= 0).nonzero()
        measured = distance_pairs(queries[part][of_query], gather(tried[of_query, place]), metric)
        keys = np.full(tried.shape, np.nan, np.float32)  # NaN sorts last
        keys[of_query, place] = -measured if metric == "ip" else measured
        order = keys.argsort(axis=1, kind="stable")[:, :k]
        lines, kept = np.arange(len(tried))[:, None], order.shape[1]
        numbers[part, :kept] = tried[lines, order]
        distances[part, :kept] = -keys[lines, order] if metric == "ip" else keys[lines, order]
    return numbers, distances


def prepared(vectors: Float32[Array, "n d"], metric: Metric) -> Float32[Array, "n d"]:
    """Vectors as an index of this metric wants them: contiguous, under cosine of length 1."""
    return to_unit(vectors) if metric == "cosine" else np.ascontiguousarray(vectors)


def to_unit(vectors: Float32[Array, "n d"]) -> Float32[Array, "n d"]:
    """Scale checked, non-zero vectors to length 1, in float32."""
    return np.asarray(vectors / np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None])


def distance_pairs(
    queries: Float32[Array, "c d"], vectors: Float32[Array, "c d"], metric: Metric
) -> Float32[Array, " c"]:
    """Distance of each query to the vector beside it: Euclidean, 1 − cos, or the inner product."""
    if metric == "l2":
        offsets = vectors - queries
        return np.asarray(np.sqrt(np.einsum("cd,cd->c", offsets, offsets)))
    dots: Float32[Array, " c"] = np.einsum("cd,cd->c", queries, vectors)
    if metric == "ip":
        return dots
    # |a|²|b|² under one root: exact 1 for a vector with itself more often than two roots multiplied.
    norms = np.sqrt(np.einsum("cd,cd->c", queries, queries) * np.einsum("cd,cd->c", vectors, vectors))
    return np.asarray((1 - dots / norms).clip(0))
