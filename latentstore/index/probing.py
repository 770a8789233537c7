"""Which inverted lists to look into when only some vectors are allowed, or the vectors are in two parts.

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

LOOKS = 4  # times as many lists as an unfiltered search takes are looked at first
QUERIES = 1024  # whose lists are ordered at a time: bounds the memory by QUERIES × lists


@cache
def all_of(lists: int) -> Any:
    """Search parameters, which take longer to make than a short list to scan; never changed, so for all threads."""
    import faiss

    return faiss.SearchParametersIVF(nprobe=lists)


def propose(
    parts: Sequence[tuple[ApproximateIndex, Mask | None]],
    prepared: Float32[Array, "m d"],
    k: int,
    point: Operating,
) -> tuple[list[tuple[Int64[Array, "m _"], Float32[Array, "m _"]]], int]:
    """Candidates among the allowed vectors, as `ApproximateIndex.propose`, of each part.

    Args:
        parts: Ivf indexes with the same trained quantisers; what of each is allowed, all when None.
        prepared: Queries as the index wants them.
        k: Neighbours wanted.
        point: The recall to hold.
    """
    m, most = len(prepared), 0
    widths = [min(k * point.factor, len(index)) for index, _ in parts]
    found = [(np.empty((m, width), np.int64), np.empty((m, width), np.float32)) for width in widths]
    for start in range(0, m, QUERIES):
        block = slice(start, start + QUERIES)
        if all(mask is None for _, mask in parts):
            lists = parts[0][0].lists(k, point)
            distances, order = parts[0][0].faiss_index.quantizer.search(prepared[block], lists)
        else:
            order, distances, lists = choose_lists(parts, prepared[block], k, point)
        for (index, mask), (positions, scores) in zip(parts, found, strict=True):
            _search(index, prepared[block], order, distances, mask, positions[block], scores[block])
        most = max(most, lists)
    return found, most


def choose_lists(
    parts: Sequence[tuple[ApproximateIndex, Mask | None]], prepared: Float32[Array, "m d"], k: int, point: Operating
) -> tuple[Int64[Array, "m p"], Float32[Array, "m p"], int]:
    """Lists to look into, −1 for none, their distances, and the most that one query needs."""
    inner, reach = parts[0][0].faiss_index, parts[0][0].reach
    assert reach is not None, "asked only of an ivf"
    held = np.add.reduce([index.list_sizes for index, _ in parts])
    allowed = np.add.reduce(
        [index.list_sizes if mask is None else mask.per_list(index.list_of, inner.nlist) for index, mask in parts]
    )
    k = min(k, int(allowed.sum()))
    # To put all lists in order takes longer than to search; where much is allowed the nearest few are enough.
    for looked in dict.fromkeys((min(LOOKS * point.effort, inner.nlist), inner.nlist)):
        distances, order = inner.quantizer.search(prepared, looked)
        inside = allowed[order]
        wanted = _wanted(inside, held[order], k, point, reach, everything=looked == inner.nlist)
        if wanted is not None:
            break
    assert wanted is not None, "all lists hold all that is allowed"
    most = int(wanted.max())
    skipped = (np.arange(most) >= wanted[:, None]) | (inside[:, :most] == 0)
    return np.where(skipped, -1, order[:, :most]), np.ascontiguousarray(distances[:, :most]), most


def _wanted(
    inside: Int64[Array, "m p"], sizes: Int64[Array, "m p"], k: int, point: Operating, reach: Reach, *, everything: bool
) -> Int64[Array, " m"] | None:
    """How many of the p nearest lists each query needs; None if it may need more than these.

    Args:
        inside: Allowed vectors in each of them, the nearest first.
        sizes: All vectors in each of them.
        k: Allowed vectors wanted.
        point: The recall to hold.
        reach: How many lists hold how many neighbours.
        everything: Whether there are no more lists.
    """
    queries, passing, looked = np.arange(len(inside)), np.cumsum(inside, axis=1), inside.shape[1]
    if not everything and (passing[:, -1] < k).any():
        return None
    last = (passing >= k).argmax(axis=1)  # the list in which the k-th allowed vector is passed
    there = inside[queries, last]
    # Of that list only a share had to be passed.
    share = (k - passing[queries, last] + there) / np.maximum(there, 1)
    passed = np.cumsum(sizes, axis=1)[queries, last] - (1 - share) * sizes[queries, last]
    reached = [reach.lists(math.ceil(one), point.recall) for one in passed.tolist()]
    wanted = np.maximum(last + 1, np.maximum(reached, point.effort))
    return wanted.clip(max=looked) if everything or wanted.max() <= looked else None


def _search(
    index: ApproximateIndex,
    prepared: Float32[Array, "m d"],
    order: Int64[Array, "m p"],
    distances: Float32[Array, "m p"],
    mask: Mask | None,
    found: Int64[Array, "m c"],
    scores: Float32[Array, "m c"],
) -> None:
    """Into `found` and `scores`."""
    import faiss

    pointer = faiss.swig_ptr
    parameters = all_of(order.shape[1]) if mask is None else mask.of_lists(order.shape[1])
    # The wrapper of this FAISS call refuses parameters, which the call itself takes.
    index.faiss_index.search_preassigned_c(
        len(prepared), pointer(prepared), found.shape[1], pointer(order), pointer(distances), pointer(scores),
        pointer(found), False, parameters,
    )  # fmt: skip
