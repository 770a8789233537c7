"""Joining two IVF indexes that share their trained quantisers: the vectors of one are appended to the other."""

from __future__ import annotations

from typing import Any

import numpy as np


def join(index: Any, part: Any) -> None:
    """Append the vectors of `part`, numbered on from those of `index`; `part` is left empty.

    Packed 4-bit codes (`fs`) lie in blocks of 32 vectors. Where a list's length is a multiple of the block's *bytes*,
    FAISS 1.15 takes it for whole blocks and writes the new codes, at the wrong place, beyond the end of its memory
    (`BlockInvertedLists::add_entries`); of 25 two-dimensional codes (416 bytes) that is one list in 416. Those lists
    are appended here, code by code.
    """
    import faiss

    base, mine = int(index.ntotal), faiss.downcast_InvertedLists(index.invlists)
    if isinstance(mine, faiss.BlockInvertedLists):
        theirs = faiss.downcast_InvertedLists(part.invlists)
        for number in range(index.nlist):
            size = mine.list_size(number)
            if size and size % mine.block_size == 0 and theirs.list_size(number):
                _append(mine, theirs, number, base)
                part.ntotal -= theirs.list_size(number)
                index.ntotal += theirs.list_size(number)
                theirs.resize(number, 0)
    index.merge_from(part, base)


def _append(mine: Any, theirs: Any, number: int, base: int) -> None:
    """Append one list of packed codes to another."""
    import faiss

    size, more = mine.list_size(number), theirs.list_size(number)
    mine.resize(number, size + more)
    faiss.rev_swig_ptr(mine.get_ids(number), size + more)[size:] = (
        faiss.rev_swig_ptr(theirs.get_ids(number), more) + base
    )
    code = np.empty(mine.packer.code_size, np.uint8)
    for place in range(more):
        theirs.packer.unpack_1_c(theirs.get_codes(number), place, faiss.swig_ptr(code))
        mine.packer.pack_1_c(faiss.swig_ptr(code), size + place, mine.get_codes(number))
