"""The index of a snapshot, opened: it proposes candidates from the rows it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from latentstore.index import Mask
from latentstore.space.indexing import current_index, open_parts, span
from latentstore.types import ends_missing

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64

    from latentstore.index import ApproximateIndex, Operating
    from latentstore.space.row_sets import RowSet
    from latentstore.storage import ArtefactRecord, Snapshot
    from latentstore.types import Array

DROPPED = 8  # one in so many of the candidates beyond k may be dead
SLACK = 8  # more candidates of an hnsw than are dead on average: of few, all may be


@dataclass(frozen=True, eq=False)
class OpenIndex:
    """An index with the rows it covers.

    Attributes:
        built: What was built, which stays open when the index grows.
        whole: It and what the index grew by since; its positions are positions in `rows`.
        rows: Row numbers, ascending, int64 (n,).
        alive: Which of `rows` are not deleted, None when all.
        covers: Every row below this number is in the index, or was dead when it was built.
        record: What the manifest says of it.
    """

    built: ApproximateIndex
    whole: ApproximateIndex
    rows: Int64[Array, " n"]
    alive: Mask | None
    covers: int
    record: ArtefactRecord

    @cached_property
    def live(self) -> int:
        """How many live rows it holds."""
        return len(self.rows) if self.alive is None else self.alive.count

    def propose(
        self, queries: Float32[Array, "m d"], k: int, point: Operating, chosen: RowSet | None
    ) -> tuple[Int64[Array, "m c"], int, int]:
        """Candidates for the k nearest of each query, to be ranked exactly.

        Args:
            queries: Shape (m, d).
            k: Neighbours wanted.
            point: How much effort to spend.
            chosen: Which rows may be proposed; all live ones when None.

        Returns:
            Rows (m, c), −1 for none; the effort spent; and about how many vectors one query was compared with.
        """
        if chosen is not None:
            rows, effort = self._among(chosen.mask(self.rows), queries, k, point)
        elif not len(self._dead):
            rows, effort = self._among(None, queries, k, point)
        else:
            rows, effort = (self._live if self.whole.kind == "ivf" else self._reached)(queries, k, point)
        return rows, effort, round(self._per_effort * effort)

    def lost(self, rows: Int64[Array, "m c"]) -> Bool[Array, " m"] | None:
        """Queries for which it knows of no near rows, None where that cannot be: an hnsw may reach hardly any but dead
        ones."""
        if self.whole.kind == "ivf" or not len(self._dead):
            return None
        return np.asarray((rows < 0).all(axis=1))

    def _live(self, queries: Float32[Array, "m d"], k: int, point: Operating) -> tuple[Int64[Array, "m c"], int]:
        """Candidates of an ivf among the live rows.

        Where few are dead, they are left out of what is proposed: to keep FAISS from them takes longer. A query whose
        candidates were dead too often is asked again, among the live.
        """
        spare = (point.factor - 1) * k // DROPPED
        among = self.whole.stricter(point.recall)  # as under a filter
        if len(self._dead) * k * point.factor > spare * len(self.rows) / 2:
            return self._among(self.alive, queries, k, among)
        rows, effort = self._among(None, queries, k, point)
        again = (self._drop_dead(rows) > spare).nonzero()[0]
        if len(again):
            theirs, more = self._among(self.alive, queries[again], k, among)
            width, effort = theirs.shape[1], max(effort, more)
            rows[again] = -1
            if width > rows.shape[1]:
                rows = np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=-1)
            rows[again, :width] = theirs
        return rows, effort

    def _reached(self, queries: Float32[Array, "m d"], k: int, point: Operating) -> tuple[Int64[Array, "m c"], int]:
        """Candidates of an hnsw among the live rows: it would get lost among dead ones, were it kept from them.

        It looks for as many more as may be dead. Where the dead lie so that too few live ones remain, it proposes none:
        see `lost`.
        """
        wanted, live = k * point.factor, max(self.live, 1) / len(self.rows)
        more = math.ceil(2 * wanted * (1 - live) / live) + SLACK
        wider = replace(point, factor=1, effort=math.ceil(point.effort / live))
        rows, effort = self._among(None, queries, min(wanted + more, len(self.rows)), wider)
        self._drop_dead(rows)
        found = np.count_nonzero(rows >= 0, axis=1)
        rows[found < min(wanted, self.live)] = -1
        return rows, effort

    def _drop_dead(self, rows: Int64[Array, "m c"]) -> Int64[Array, " m"]:
        """Leave dead rows out; returns how many of each query they were."""
        dead = self._dead.take(self._dead.searchsorted(rows), mode="clip") == rows
        rows[dead] = -1
        return np.asarray(np.count_nonzero(dead, axis=1))

    @cached_property
    def _dead(self) -> Int64[Array, " n"]:
        """Rows that it holds and that were deleted, ascending."""
        return self.rows[:0] if self.alive is None else self.rows[~self.alive.allowed]

    def _among(
        self, mask: Mask | None, queries: Float32[Array, "m d"], k: int, point: Operating
    ) -> tuple[Int64[Array, "m c"], int]:
        """Candidates among the rows that a mask allows, and the effort."""
        positions, _, effort = self.whole.propose(queries, k, point, mask=mask)
        return self._numbered(positions), effort

    def _numbered(self, positions: Int64[Array, "m c"]) -> Int64[Array, "m c"]:
        """Rows of positions, which are changed; those of a query end with −1 where there are too few."""
        if self._first_row == 0:
            return positions
        missing = positions < 0 if ends_missing(positions) else None
        rows = self.rows[positions] if self._first_row is None else np.add(positions, self._first_row, positions)
        if missing is not None:
            rows[missing] = -1
        return rows

    @cached_property
    def _first_row(self) -> int | None:
        """The first of `rows` that follow each other; None where there are gaps."""
        return span(self.rows)

    @cached_property
    def _per_effort(self) -> float:
        """Vectors that one more list, or place in the beam, is about."""
        return self.whole.mean_list if self.whole.kind == "ivf" else 1.0


def open_index(snapshot: Snapshot, earlier: OpenIndex | None = None) -> OpenIndex | None:
    """Open a snapshot's index; None when it has none.

    Args:
        snapshot: Whose.
        earlier: An index that is open already; what is the same of it is used again.

    Raises:
        ChecksumMismatch: A file is not the one that was written.
    """
    record = current_index(snapshot.manifest)
    if record is None or record.kind == "flat":
        return None
    if earlier is not None and earlier.record == record:
        built, whole, rows = earlier.built, earlier.whole, earlier.rows
    else:
        first = None
        if earlier is not None and earlier.record.files["faiss"] == record.files["faiss"]:
            # It stays as it was when an index grows; its operating points may have been measured again.
            first = earlier.built.measured_as(record.properties), earlier.rows[: len(earlier.built)]
        built, whole, rows = open_parts(snapshot, record, first)
    covers = int(record.properties["next_row"])
    # All live rows below `covers` are in the index: it holds a dead one only if it holds more rows than they are.
    all_live = len(snapshot) - len(snapshot.live_rows(covers)) == len(rows)
    alive = None if all_live else Mask(snapshot.locate(rows)[0] >= 0)
    opened = OpenIndex(built, whole, rows, alive, covers, record)
    _ = opened._dead  # no search waits for it
    return opened
