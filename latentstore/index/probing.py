"""Which inverted lists to look into when only some vectors are allowed.

Under a filter the neighbours of a query lie farther out: the k-th allowed vector may be the 10·k-th of all. So the
lists are counted off from the nearest on until k allowed vectors were passed; had nothing been filtered, so many
vectors would have been k′ neighbours, and how many lists hold k′ neighbours was measured (`tuning.Reach`). Lists
without an allowed vector are skipped. This holds for filters that know nothing of the vectors and for those that follow
them: where all allowed vectors are far away, many lists are passed before k are found.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.index.approximate import ApproximateIndex
    from latentstore.index.mask import Mask
    from latentstore.index.tuning import Operating
    from latentstore.types import Array

QUERIES = 1024  # whose lists are ordered at a time: bounds the memory by QUERIES × lists


def propose(
    index: ApproximateIndex, prepared: Float32[Array, "m d"], k: int, width: int, point: Operating, mask: Mask
) -> tuple[Int64[Array, "m c"], Float32[Array, "m c"], int]:
    """Candidates among the allowed vectors, as `ApproximateIndex.propose`.

    Args:
        index: An ivf.
        prepared: Queries as the index wants them.
        k: Neighbours wanted.
        width: Candidates wanted.
        point: The recall to hold.
        mask: What is allowed.
    """
    positions, most = np.empty((len(prepared), width), np.int64), 0
    scores = np.empty((len(prepared), width), np.float32)
    for start in range(0, len(prepared), QUERIES):
        part = slice(start, start + QUERIES)
        order, distances, lists = choose_lists(index, prepared[part], k, point, mask)
        _search(index, prepared[part], order, distances, mask, positions[part], scores[part])
        most = max(most, lists)
    return positions, scores, most


def choose_lists(
    index: ApproximateIndex, prepared: Float32[Array, "m d"], k: int, point: Operating, mask: Mask
) -> tuple[Int64[Array, "m p"], Float32[Array, "m p"], int]:
    """Lists to look into, −1 for none, their distances, and the most that one query needs."""
    assert index.reach is not None, "asked only of an ivf"
    inner = index.faiss_index
    allowed = mask.per_list(index.list_of, inner.nlist)
    distances, order = inner.quantizer.search(prepared, inner.nlist)
    k, queries = min(k, mask.count), np.arange(len(prepared))
    inside, sizes = allowed[order], index.list_sizes[order]
    last = (np.cumsum(inside, axis=1) >= k).argmax(axis=1)  # the list in which the k-th allowed vector is passed
    before = np.cumsum(inside, axis=1)[queries, last] - inside[queries, last]
    passed = np.cumsum(sizes, axis=1)[queries, last]
    # Of that list only a share had to be passed.
    share = (k - before) / np.maximum(inside[queries, last], 1)
    passed = passed - (1 - share) * sizes[queries, last]
    reached = [index.reach.lists(math.ceil(one), point.recall) for one in passed.tolist()]
    wanted = np.maximum(last + 1, np.maximum(reached, point.effort))
    most = min(int(wanted.max()), inner.nlist)
    order, distances = order[:, :most], distances[:, :most]
    skipped = (np.arange(most) >= wanted[:, None]) | (allowed[order] == 0)
    return np.where(skipped, -1, order), np.ascontiguousarray(distances), most


def _search(
    index: ApproximateIndex,
    prepared: Float32[Array, "m d"],
    order: Int64[Array, "m p"],
    distances: Float32[Array, "m p"],
    mask: Mask,
    found: Int64[Array, "m c"],
    scores: Float32[Array, "m c"],
) -> None:
    """Into `found` and `scores`."""
    import faiss

    pointer = faiss.swig_ptr
    # The wrapper of this FAISS call refuses parameters, which the call itself takes.
    index.faiss_index.search_preassigned_c(
        len(prepared), pointer(prepared), found.shape[1], pointer(order), pointer(distances), pointer(scores),
        pointer(found), False, faiss.SearchParametersIVF(nprobe=order.shape[1], sel=mask.selector),
    )  # fmt: skip
