"""Which inverted lists to look into when only some vectors are allowed, or the lists are there several times.

Under a filter the neighbours of a query lie farther out: the k-th allowed vector may be the 10·k-th of all. So the
lists are counted off from the nearest on until k allowed vectors were passed; had nothing been filtered, so many
vectors would have been k′ neighbours, and how many lists hold k′ neighbours was measured (`reach.Reach`). Lists
without an allowed vector are skipped. This holds for filters that know nothing of the vectors and for those that follow
them: where all allowed vectors are far away, many lists are passed before k are found.

Of several layers (`stacking`) the lists are chosen once, for all that they hold together.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.types import ends_missing

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.index.approximate import ApproximateIndex
    from latentstore.index.mask import Mask
    from latentstore.index.reach import Reach
    from latentstore.index.tuning import Operating
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
    index: ApproximateIndex, mask: Mask | None, prepared: Float32[Array, "m d"], k: int, point: Operating
) -> tuple[Int64[Array, "m c"], Float32[Array, "m c"], int]:
    """Candidates among the allowed vectors of an ivf.

    Args:
        index: An ivf.
        mask: What is allowed, all when None.
        prepared: Queries as the index wants them, all finite.
        k: Neighbours wanted.
        point: The recall to hold.

    Returns:
        Positions (m, k·factor), −1 for none; FAISS's scores of them; and the most lists that one query took.
    """
    import faiss

    pointer, m, width, most = faiss.swig_ptr, len(prepared), min(k * point.factor, len(index)), 0
    positions, scores = np.empty((m, width), np.int64), np.empty((m, width), np.float32)
    for start in range(0, m, QUERIES):
        block = slice(start, start + QUERIES)
        if mask is None:
            lists = index.lists_for(k, point)
            order, distances = _layered(index, *_nearest_lists(index, prepared[block], lists))
            how = parameters(order.shape[1])
        else:
            order, distances, lists = _chosen(index, mask, prepared[block], k, point)
            how = mask.parameters(order.shape[1])
        index.choose_loop(len(order))
        asked = len(order), pointer(prepared[block]), width, pointer(order), pointer(distances)
        # The wrapper of this FAISS call refuses parameters, which the call itself takes.
        index.faiss_index.search_preassigned_c(*asked, pointer(scores[block]), pointer(positions[block]), False, how)
        most = max(most, lists)
    return positions, scores, most


def _layered(
    index: ApproximateIndex, order: Int64[Array, "m p"], distances: Float32[Array, "m p"]
) -> tuple[Int64[Array, "m l"], Float32[Array, "m l"]]:
    """The lists of all layers, nearest first, and their distances."""
    if not index.layers:
        return order, distances
    m, shape = len(order), (*order.shape, len(index.layers))
    lists, theirs = np.empty(shape, np.int64), np.empty(shape, np.float32)
    np.add(order[..., None], index.first_lists, lists)
    if ends_missing(order):  # of vectors whose distance from the query is beyond float32
        lists[order < 0] = -1
    theirs[:] = distances[..., None]
    return lists.reshape(m, -1), theirs.reshape(m, -1)


def _chosen(
    index: ApproximateIndex, mask: Mask, prepared: Float32[Array, "m d"], k: int, point: Operating
) -> tuple[Int64[Array, "m p"], Float32[Array, "m p"], int]:
    """Lists to look into, −1 for none, their distances, and the most of those trained that one query needs."""
    allowed_here = mask.per_list(index.list_of, len(index.list_sizes))
    held, allowed = (one.reshape(-1, index.lists).sum(axis=0) for one in (index.list_sizes, allowed_here))
    k = min(k, int(allowed.sum()))
    # To put all lists in order takes longer than to search; where much is allowed the nearest few are enough.
    ordered = min(ORDERED_FIRST * point.effort, index.lists)
    order, distances = _nearest_lists(index, prepared, ordered)
    wanted = _wanted(order, held, allowed, k, point, index.reach)
    farther = np.flatnonzero(wanted == 0)
    if len(farther):
        near = order, distances
        all_order, all_distances = _nearest_lists(index, prepared[farther], index.lists)
        wanted[farther] = _wanted(all_order, held, allowed, k, point, index.reach)
        order = np.full((len(prepared), index.lists), -1, np.int64)
        distances = np.zeros((len(prepared), index.lists), np.float32)
        order[:, :ordered], distances[:, :ordered] = near
        order[farther], distances[farther] = all_order, all_distances
    most = int(wanted.max())
    skipped = np.arange(most).repeat(len(index.layers) or 1) >= wanted[:, None]
    order, distances = _layered(index, order[:, :most], np.ascontiguousarray(distances[:, :most]))
    return np.where(skipped | (allowed_here[order] == 0), -1, order), distances, most


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
