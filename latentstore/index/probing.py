"""Which inverted lists to look into when only some vectors are allowed, or the vectors are in several parts.

Under a filter the neighbours of a query lie farther out: the k-th allowed vector may be the 10·k-th of all. So the
lists are counted off from the nearest on until k allowed vectors were passed; had nothing been filtered, so many
vectors would have been k′ neighbours, and how many lists hold k′ neighbours was measured (`tuning.Reach`). Lists
without an allowed vector are skipped. This holds for filters that know nothing of the vectors and for those that follow
them: where all allowed vectors are far away, many lists are passed before k are found.

Parts of an index have the same lists, so these are chosen once, for all that they hold together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.index.approximate import ApproximateIndex
    from latentstore.index.mask import Mask
    from latentstore.index.tuning import Operating, Reach
    from latentstore.types import Array

ORDERED_FIRST = 4  # times as many lists as an unfiltered search looks into are put in order first
QUERIES = 1024  # whose lists are ordered at a time: bounds the memory by QUERIES × lists


@cache
def parameters(lists: int) -> Any:
    """FAISS's parameters of a search of so many lists, which take longer to make than a short list to scan.

    Never changed, so for all threads.
    """
    import faiss

    return faiss.SearchParametersIVF(nprobe=lists)


def propose(
    parts: Sequence[tuple[ApproximateIndex, Mask | None]],
    prepared: Float32[Array, "m d"],
    k: int,
    point: Operating,
) -> tuple[Int64[Array, "p m c"], Float32[Array, "p m c"], int]:
    """Candidates among the allowed vectors of each part of an index.

    Args:
        parts: Ivf indexes with the same trained quantisers, none of them empty; what of each is allowed, all when None.
        prepared: Queries as the index wants them, all finite.
        k: Neighbours wanted.
        point: The recall to hold.

    Returns:
        Of each part positions (m, k·factor or all that the largest has), −1 for none, FAISS's scores of them, the worst
        there is for none; and the most lists that one query took.
    """
    import faiss

    pointer, m, most = faiss.swig_ptr, len(prepared), 0
    shape = len(parts), m, min(k * point.factor, max(len(index) for index, _ in parts))
    positions, scores = np.empty(shape, np.int64), np.empty(shape, np.float32)
    for start in range(0, m, QUERIES):
        block = slice(start, start + QUERIES)
        if all(mask is None for _, mask in parts):
            lists = parts[0][0].lists_for(k, point)
            order, distances = _nearest_lists(parts[0][0], prepared[block], lists)
        else:
            order, distances, lists = _chosen(parts, prepared[block], k, point)
        asked = len(order), pointer(prepared[block]), shape[-1], pointer(order), pointer(distances)
        for (index, mask), theirs, their_scores in zip(parts, positions, scores, strict=True):
            index.choose_loop(len(order))
            how = parameters(order.shape[1]) if mask is None else mask.parameters(order.shape[1])
            # The wrapper of this FAISS call refuses parameters, which the call itself takes.
            index.faiss_index.search_preassigned_c(
                *asked, pointer(their_scores[block]), pointer(theirs[block]), False, how
            )
        most = max(most, lists)
    return positions, scores, most


def _chosen(
    parts: Sequence[tuple[ApproximateIndex, Mask | None]], prepared: Float32[Array, "m d"], k: int, point: Operating
) -> tuple[Int64[Array, "m p"], Float32[Array, "m p"], int]:
    """Lists to look into, −1 for none, their distances, and the most that one query needs."""
    inner = parts[0][0].faiss_index
    held = np.add.reduce([index.list_sizes for index, _ in parts])
    allowed = np.add.reduce(
        [index.list_sizes if mask is None else mask.per_list(index.list_of, inner.nlist) for index, mask in parts]
    )
    k = min(k, int(allowed.sum()))
    # To put all lists in order takes longer than to search; where much is allowed the nearest few are enough.
    ordered = min(ORDERED_FIRST * point.effort, inner.nlist)
    order, distances = _nearest_lists(parts[0][0], prepared, ordered)
    wanted = _wanted(order, held, allowed, k, point, parts[0][0].reach)
    farther = np.flatnonzero(wanted == 0)
    if len(farther):
        near = order, distances
        all_order, all_distances = _nearest_lists(parts[0][0], prepared[farther], inner.nlist)
        wanted[farther] = _wanted(all_order, held, allowed, k, point, parts[0][0].reach)
        order = np.full((len(prepared), inner.nlist), -1, np.int64)
        distances = np.zeros((len(prepared), inner.nlist), np.float32)
        order[:, :ordered], distances[:, :ordered] = near
        order[farther], distances[farther] = all_order, all_distances
    most = int(wanted.max())
    order, distances = order[:, :most], np.ascontiguousarray(distances[:, :most])
    skipped = (np.arange(most) >= wanted[:, None]) | (allowed[order] == 0)
    return np.where(skipped, -1, order), distances, most


def _nearest_lists(
    index: ApproximateIndex, prepared: Float32[Array, "m d"], lists: int
) -> tuple[Int64[Array, "m p"], Float32[Array, "m p"]]:
    """The nearest lists of each query, nearest first, and their distances; past FAISS's wrapper, as every search."""
    import faiss

    pointer, m = faiss.swig_ptr, len(prepared)
    order, distances = np.empty((m, lists), np.int64), np.empty((m, lists), np.float32)
    index.quantizer.search_c(m, pointer(prepared), lists, pointer(distances), pointer(order))
    return order, distances


def _wanted(
    order: Int64[Array, "m p"],
    held: Int64[Array, " lists"],
    allowed: Int64[Array, " lists"],
    k: int,
    point: Operating,
    reach: Reach | None,
) -> Int64[Array, " m"]:
    """How many lists each query needs; 0 where that may be more than the p nearest, and there are more.

    Args:
        order: The nearest lists, nearest first.
        held: Vectors in each list.
        allowed: Those of them that are allowed; k in all, at least.
        k: Allowed vectors wanted.
        point: The recall to hold.
        reach: How many lists hold how many neighbours.
    """
    assert reach is not None, "asked only of an ivf"
    queries, inside = np.arange(len(order)), allowed[order]
    passing, everything = np.cumsum(inside, axis=1), order.shape[1] == len(held)
    last = (passing >= k).argmax(axis=1)  # the list in which the k-th allowed vector is passed
    there = inside[queries, last]
    # Of that list only a share had to be passed.
    share = (k - passing[queries, last] + there) / np.maximum(there, 1)
    sizes = held[order]
    passed = np.cumsum(sizes, axis=1)[queries, last] - (1 - share) * sizes[queries, last]
    reached = [reach.lists(math.ceil(one), point.recall) for one in passed.tolist()]
    wanted: Int64[Array, " m"] = np.maximum(last + 1, np.maximum(reached, point.effort))
    if everything:
        return wanted.clip(max=order.shape[1])
    return np.where((passing[:, -1] >= k) & (wanted <= order.shape[1]), wanted, 0)
