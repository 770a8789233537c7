"""Which vectors of an index may be proposed, in the form FAISS wants; made once per filter and snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64


class Mask:
    """A subset of n vectors.

    Attributes:
        allowed: Which, shape (n,).
        count: How many.
        selector: The same for FAISS. It keeps a bare pointer to the bits, so they live here.
    """

    def __init__(self, allowed: Bool[Array, " n"]) -> None:
        import faiss

        self.allowed = allowed
        self.count = int(np.count_nonzero(allowed))
        self._bits = np.packbits(allowed, bitorder="little")
        self.selector: Any = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(self._bits))
        self._per_list: Int64[Array, " lists"] | None = None
        self._parameters: dict[int, Any] = {}

    def per_list(self, list_of: Int64[Array, " n"], lists: int) -> Int64[Array, " lists"]:
        """How many of them are in each inverted list of the one index whose vectors these are."""
        if self._per_list is None:
            self._per_list = np.bincount(list_of[self.allowed], minlength=lists)
        return self._per_list

    def parameters(self, lists: int) -> Any:
        """FAISS's parameters of a search among them in so many inverted lists; kept, as they take long to make."""
        import faiss

        known = self._parameters.get(lists)
        if known is None:
            known = self._parameters[lists] = faiss.SearchParametersIVF(nprobe=lists, sel=self.selector)
        return known
