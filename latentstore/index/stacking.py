"""IVF indexes that share their trained quantisers searched as one, with the vectors of each where they lie.

FAISS can stack inverted lists: those of the second index are numbered on from those of the first, so that of L trained
lists number l of layer j is l + j·L. A search that is told all of them finds in one call what one index of all vectors
would find. A call for each takes longer, as it makes the tables of distances and a heap of its own (over 800,000 and
300,000 vectors of 128 dimensions 260 µs beside 220); to join them takes a copy of the first, which stays in use by
those who search an earlier snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def stack(empty: Any, layers: Sequence[Any]) -> None:
    """Let an index have the lists of others, to be searched in lists chosen by the caller (`search_preassigned`).

    Args:
        empty: An IVF index without vectors, which becomes the stack.
        layers: Others with the same quantisers, which have to be kept as long as the stack is. Vectors of all but the
            first, which stays as it is, are numbered on.
    """
    import faiss

    lists, total = faiss.InvertedListsPtrVector(), 0
    for one in layers:
        lists.push_back(one.invlists)
        if total:
            _shift(one.invlists, total)
        total += one.ntotal
    stacked = faiss.VStackInvertedLists(len(layers), lists.data())
    empty.nlist *= len(layers)
    empty.replace_invlists(stacked, True)
    stacked.this.disown()
    empty.ntotal = total
    if empty.by_residual:  # codes tell how a vector differs from the centroid of its list, which is asked by number
        flat = faiss.downcast_index(empty.quantizer)
        centroids = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(-1, flat.d)
        flat.add(np.tile(centroids, (len(layers) - 1, 1)))


def _shift(lists: Any, base: int) -> None:
    """Number the vectors of lists on from `base`."""
    import faiss

    for number in range(lists.nlist):
        if size := lists.list_size(number):
            faiss.rev_swig_ptr(lists.get_ids(number), size)[:] += base
