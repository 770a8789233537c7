"""Exact k-nearest search: looks at all vectors it is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from latentstore.index.ranking import InArray, compare, rank

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64

    from latentstore.index.ranking import Vectors
    from latentstore.types import Array, Metric

    Block: TypeAlias = tuple[Float32[Array, "c d"], Int64[Array, " c"]]

CHUNK = 65_536  # vectors compared at a time: bounds the copies made by masks and by normalising
SPARE = 16  # extra candidates: what BLAS rounds can swap near ties
# From so many queries on FAISS is told to multiply matrices (BLAS); by itself it begins at 128,000 numbers, 1,000
# queries of 128, and takes eight times as long below.
BLAS_QUERIES = 16
ROUNDING = 2.0**-23  # of a float32
COMPARED = 1 << 20  # distances at a time, where all vectors are compared one by one
CACHED_FLOATS = 100_000  # gathered at a time: 400 kB are in the second cache when they are compared


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
    return rank(InArray(vectors), queries, candidates, k, metric)


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
    queries = np.ascontiguousarray(queries)
    numbers = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)  # smaller is nearer
    for vectors, theirs in found_in:
        block = np.ascontiguousarray(vectors) if unit else prepared(vectors, metric)
        score, found = _nearest(queries, block, k, kind)
        score = score if metric == "l2" else -score
        numbers = np.concatenate([numbers, np.where(found >= 0, theirs[found], -1)], axis=1)
        scores = np.concatenate([scores, np.where(found >= 0, score, np.inf)], axis=1)
        if numbers.shape[1] > keep:
            best = np.argpartition(scores, keep - 1, axis=1)[:, :keep]
            numbers, scores = np.take_along_axis(numbers, best, 1), np.take_along_axis(scores, best, 1)
    return numbers


def _nearest(
    queries: Float32[Array, "m d"], block: Float32[Array, "n d"], k: int, kind: int
) -> tuple[Float32[Array, "m c"], Int64[Array, "m c"]]:
    """The k + SPARE nearest in a block, −1 for none, and FAISS's scores of them.

    Of one query, and of many, FAISS takes squared distances for |x|² + |q|² − 2xq, which is off by an error that grows
    with the squares, not with the distance: of vectors that lie close together and far from zero nothing is left. So
    those kept are compared anew, and all of them where one that was not kept may be nearer than the k-th.
    """
    import faiss

    (n, d), keep = block.shape, min(k + SPARE, len(block))
    if kind == faiss.METRIC_L2 and keep == n:
        return _compared(queries, block, n)
    # For all threads. What another sets meanwhile costs time, but changes nothing: no score is trusted that it decides.
    faiss.cvar.distance_compute_blas_threshold = BLAS_QUERIES * d
    score, found = faiss.knn(queries, block, keep, metric=kind)
    if kind != faiss.METRIC_L2:
        return score, found
    last = score[:, -1].copy()
    compare(score, queries, block, found, "l2")
    near, squares = np.partition(score, k - 1, axis=1)[:, k - 1], np.einsum("md,md->m", queries, queries)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 nothing is sure
        unsure = (~(last - near >= _error(squares, near, d))).nonzero()[0]
    step = max(1, COMPARED // n)
    for start in range(0, len(unsure), step):
        few = unsure[start : start + step]
        score[few], found[few] = _compared(queries[few], block, keep)
    return score, found


def _error(squares: Any, near: Any, d: int) -> Any:
    """By how much a squared distance may be off: twice what was measured at most, for sums of d products.

    Args:
        squares: |q|².
        near: Squared distance of the farthest vector that counts: none of those is longer than |q| and its root.
        d: Width.
    """
    return (16 + d / 4) * ROUNDING * (squares + (squares**0.5 + near**0.5) ** 2)


def _compared(
    queries: Float32[Array, "m d"], block: Float32[Array, "n d"], keep: int
) -> tuple[Float32[Array, "m c"], Int64[Array, "m c"]]:
    """The nearest of few queries by the squares of differences, of all vectors; what is infinitely far is not found."""
    m, n = len(queries), len(block)
    score, found = np.empty((m, n), np.float32), np.arange(n)[None].repeat(m, axis=0)
    compare(score, queries, block, found, "l2")
    if keep < n:
        found = score.argpartition(keep - 1, axis=1)[:, :keep]
        score = np.take_along_axis(score, found, 1)
    found[np.isinf(score)] = -1
    return score, found


def scan_once(
    vectors: Vectors, query: Float32[Array, "1 d"], numbers: Int64[Array, " n"], k: int, metric: Metric
) -> Int64[Array, "1 c"]:
    """`scan` for one query of vectors that are not worth gathering: read where they lie, or in bits that stay cached.

    Args:
        vectors: What the numbers name.
        query: Shape (1, d).
        numbers: Ascending.
        k: Neighbours wanted.
        metric: l2, cosine or ip.
    """
    scores = np.empty(len(numbers), np.float32)  # smaller is nearer
    if metric == "cosine":
        asked, step = -to_unit(query)[0], max(1, CACHED_FLOATS // query.shape[1])
        for start in range(0, len(numbers), step):
            part = vectors(numbers[start : start + step])
            squares = np.einsum("nd,nd->n", part, part)
            np.divide(part @ asked, np.sqrt(squares, squares), scores[start : start + step])
    else:
        for run, block, places in vectors.runs(numbers):
            compare(scores[run], query if metric == "l2" else -query, block, places, metric)
    return _least(scores, numbers, k + SPARE)


def scan_block(
    vectors: Float32[Array, "n d"], query: Float32[Array, "1 d"], numbers: Int64[Array, " n"], k: int, metric: Metric
) -> Int64[Array, "1 c"]:
    """`scan` for one query of one block of few vectors, under cosine of length 1: then FAISS's wrapper is most of it.

    Args:
        vectors: Shape (n, d).
        query: Shape (1, d).
        numbers: Theirs, ascending.
        k: Neighbours wanted.
        metric: l2, cosine or ip.
    """
    import faiss

    nearest = faiss.knn_L2sqr if metric == "l2" else faiss.knn_inner_product
    pointer, (n, d), keep = faiss.swig_ptr, vectors.shape, min(k + SPARE, len(numbers))
    scores, found = np.empty((1, keep), np.float32), np.empty((1, keep), np.int64)
    nearest(pointer(query), pointer(vectors), d, 1, n, keep, pointer(scores), pointer(found))
    if metric == "l2":
        near, last = max(scores.item(min(k, keep) - 1), 0.0), scores.item(-1)
        square = float(np.einsum("md,md->", query, query))
        sure = found.item(-1) >= 0 if keep == n else last - near >= 2 * _error(square, near, d)
        if not sure:
            _, found = _compared(query, vectors, keep)
    candidates: Int64[Array, "1 c"] = numbers[found]
    if found.min() < 0:  # what is infinitely far is not found
        candidates[found < 0] = -1
    return candidates


def _least(scores: Float32[Array, " n"], numbers: Int64[Array, " n"], keep: int) -> Int64[Array, "1 c"]:
    """The numbers of the smallest scores; of equal ones the first."""
    if keep >= len(numbers):
        return numbers[None]
    farthest = np.partition(scores, keep - 1)[keep - 1]
    near = (scores <= farthest).nonzero()[0]
    if len(near) > keep:
        near = np.concatenate([(scores < farthest).nonzero()[0], (scores == farthest).nonzero()[0]])[:keep]
    found: Int64[Array, " c"] = numbers[near]
    return found[None]


def prepared(vectors: Float32[Array, "n d"], metric: Metric, *, ours: bool = False) -> Float32[Array, "n d"]:
    """Vectors as an index of this metric wants them: contiguous, under cosine of length 1; `ours` may be changed."""
    return to_unit(vectors, vectors if ours else None) if metric == "cosine" else np.ascontiguousarray(vectors)


def to_unit(vectors: Float32[Array, "n d"], out: Float32[Array, "n d"] | None = None) -> Float32[Array, "n d"]:
    """Scale checked, non-zero vectors to length 1, in float32."""
    return np.asarray(np.divide(vectors, np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None], out=out))
