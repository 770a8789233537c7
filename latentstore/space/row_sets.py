"""The rows that a predicate leaves, kept for the next search with the same text: a snapshot never changes."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from latentstore.index import Mask, prepared
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.storage import Snapshot

SETS_KEPT = 64
ONCE_FLOATS = 1 << 16  # of a set: larger ones are gathered when a second search asks for them
FLOATS_KEPT = 16_000_000  # of gathered vectors, over all sets: 64 MiB


class RowSet:
    """Live rows that satisfy a predicate.

    Attributes:
        rows: Row numbers, ascending, (r,).
        gathered: Their vectors as a search wants them, once they were gathered.
        asked: Whether a search asked for them.
    """

    def __init__(self, rows: Int64[Array, " r"]) -> None:
        self.rows = rows
        self.gathered: Float32[Array, "r d"] | None = None
        self.asked = False
        self._mask: Mask | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def mask(self, held: Int64[Array, " n"]) -> Mask:
        """Which positions of the index may be returned; matching rows are live, so its mask is implied.

        Args:
            held: Rows of the snapshot's index, ascending.
        """
        if self._mask is None:
            positions = np.searchsorted(held, self.rows).clip(max=len(held) - 1)
            allowed = np.zeros(len(held), bool)
            allowed[positions[held[positions] == self.rows]] = True
            self._mask = Mask(allowed)
        return self._mask


class RowSets:
    """The sets of one snapshot; safe from several threads."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: OrderedDict[str, RowSet] = OrderedDict()
        self._lock = Lock()

    def matching(self, where: str) -> RowSet:
        """The rows of a predicate.

        Raises:
            FilterRefused: It does not parse, or uses what is not allowed.
        """
        with self._lock:
            if where in self._known:
                self._known.move_to_end(where)
                return self._known[where]
        # Here and not above: DuckDB takes a sixth of the time of a whole search from a new process.
        from latentstore.space.filtering import matching_rows

        found = matching_rows(self._snapshot, where)
        with self._lock:
            made = self._known.setdefault(where, RowSet(found))
            if len(self._known) > SETS_KEPT:
                self._known.popitem(last=False)
        return made

    def gathered(self, chosen: RowSet, *, once: bool = False) -> Float32[Array, "r d"] | None:
        """Vectors of a small set, under cosine of length 1; kept while there is room for them.

        Args:
            chosen: Which.
            once: None for a set that was not asked for before, if to gather it takes longer than to look at it.
        """
        vectors = chosen.gathered
        if vectors is None:
            if once and not chosen.asked and len(chosen) * self._snapshot.dim > ONCE_FLOATS:
                chosen.asked = True
                return None
            vectors = chosen.gathered = prepared(self._snapshot.gather(chosen.rows), self._snapshot.metric, ours=True)
            with self._lock:
                held = [one for one in self._known.values() if one.gathered is not None]
                size = sum(len(one) for one in held) * self._snapshot.dim
                for oldest in held[:-1]:
                    if size <= FLOATS_KEPT:
                        break
                    size -= len(oldest) * self._snapshot.dim
                    oldest.gathered = None
        return vectors
