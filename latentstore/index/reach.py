"""How many inverted lists hold how many neighbours of a query, measured."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.index.exact import prepared

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.index.approximate import ApproximateIndex
    from latentstore.types import Array

NEIGHBOURS = (10, 30, 100, 300, 1000)  # for which it is measured
LEVELS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # shares of the neighbours


@dataclass(frozen=True)
class Reach:
    """How many of the nearest lists hold the k′ nearest neighbours of a query, measured.

    Attributes:
        table: By k′ of `NEIGHBOURS` (those below n): lists that hold each share of `LEVELS` of the outer half.
    """

    table: tuple[tuple[int, tuple[int, ...]], ...]

    def lists(self, neighbours: int, level: float) -> int:
        """Lists for so many neighbours at a recall: those of the next number measured, beyond the last in proportion.

        Between two numbers nothing is known: a query's own cluster may end, and what follows lie in many others.
        """
        column = min(bisect_left(LEVELS, level), len(LEVELS) - 1)
        for known, lists in self.table:
            if neighbours <= known:
                return lists[column]
        return math.ceil(lists[column] * neighbours / known)

    def to_json(self) -> list[Any]:
        """For the manifest."""
        return [[known, list(lists)] for known, lists in self.table]

    @classmethod
    def from_json(cls, given: list[Any]) -> Reach:
        """Back from the manifest."""
        return cls(tuple((int(known), tuple(int(one) for one in lists)) for known, lists in given))


def measured_reach(index: ApproximateIndex, queries: Float32[Array, "m d"], truth: Int64[Array, "m t"]) -> Reach:
    """At which place in a query's order of lists its neighbours are found."""
    _, order = index.quantizer.search(prepared(queries, index.metric), index.lists)
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(index.lists)[None], axis=1)
    found = np.take_along_axis(place, index.list_of[truth] % index.lists, axis=1) + 1
    table = []
    for known in NEIGHBOURS:
        upto = min(known, truth.shape[1])
        outer = found[:, upto // 2 : upto]
        table.append((upto, tuple(int(np.ceil(q)) for q in np.quantile(outer, LEVELS))))
        if upto < known:
            break
    return Reach(tuple(table))
