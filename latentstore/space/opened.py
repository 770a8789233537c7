"""The index of a snapshot, opened: at most two parts, each proposing candidates from the rows it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from latentstore.index import ApproximateIndex, Mask, prepared, propose_parts
from latentstore.space.indexing import current_index, open_part, span
from latentstore.types import ends_missing

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64

    from latentstore.index import Operating
    from latentstore.space.row_sets import RowSet
    from latentstore.storage import ArtefactRecord, Snapshot
    from latentstore.types import Array

DROPPED = 8  # one in so many of the candidates beyond k may be dead
SLACK = 8  # more candidates of an hnsw than are dead on average: of few, all may be


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of an index.

    Attributes:
        index: The structure; its positions are positions in `rows`.
        rows: Row numbers, ascending, int64 (n,).
        alive: Which of `rows` are not deleted, None when all.
    """

    index: ApproximateIndex
    rows: Int64[Array, " n"]
    alive: Mask | None = None

    @cached_property
    def first_row(self) -> int | None:
        """The first of `rows` that follow each other; None where there are gaps."""
        return span(self.rows) if len(self.rows) else None

    def number(self, positions: Int64[Array, "m c"]) -> None:
        """Positions in the index become row numbers; those of a query end with −1 where there are too few."""
        if self.first_row == 0:
            return
        missing = positions < 0 if ends_missing(positions) else None
        if self.first_row is None:
            positions[:] = self.rows[positions]
        else:
            np.add(positions, self.first_row, positions)
        if missing is not None:
            positions[missing] = -1


@dataclass(frozen=True, eq=False)
class OpenIndex:
    """An index with the rows it covers.

    Attributes:
        parts: What was built, and what it grew by since.
        covers: Every row below this number is in the index, or was dead when it was built.
        record: What the manifest says of it.
    """

    parts: tuple[Part, ...]
    covers: int
    record: ArtefactRecord

    @property
    def built(self) -> ApproximateIndex:
        """What was built: kind, codes and operating points are those of all parts."""
        return self.parts[0].index

    @cached_property
    def alive(self) -> int:
        """How many live rows it holds."""
        return sum(len(one.rows) if one.alive is None else one.alive.count for one in self.parts)

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
            masks = [chosen.mask(number, one) for number, one in enumerate(self.parts)]
            rows, effort = self._among(masks, queries, k, point)
        elif not len(self._dead):
            rows, effort = self._among([None] * len(self.parts), queries, k, point)
        else:
            rows, effort = (self._live if self.built.kind == "ivf" else self._reached)(queries, k, point)
        return rows, effort, round(self._per_effort * effort)

    def lost(self, rows: Int64[Array, "m c"]) -> Bool[Array, " m"] | None:
        """Queries for which it knows of no near rows, None where that cannot be: an hnsw may reach hardly any but dead
        ones."""
        if self.built.kind == "ivf" or not len(self._dead):
            return None
        return np.asarray((rows < 0).all(axis=1))

    def _live(self, queries: Float32[Array, "m d"], k: int, point: Operating) -> tuple[Int64[Array, "m c"], int]:
        """Candidates of an ivf among the live rows.

        Where few are dead, they are left out of what is proposed: to keep FAISS from them takes longer. A query whose
        candidates were dead too often is asked again, among the live.
        """
        masks, spare = [one.alive for one in self.parts], (point.factor - 1) * k // DROPPED
        if len(self._dead) * k * point.factor > spare * self._total / 2:
            return self._among(masks, queries, k, point)
        rows, effort = self._among([None] * len(masks), queries, k, point)
        again = (self._drop_dead(rows) > spare).nonzero()[0]
        if len(again):
            rows[again], more = self._among(masks, queries[again], k, point)
            effort = max(effort, more)
        return rows, effort

    def _reached(self, queries: Float32[Array, "m d"], k: int, point: Operating) -> tuple[Int64[Array, "m c"], int]:
        """Candidates of an hnsw among the live rows: it would get lost among dead ones, were it kept from them.

        It looks for as many more as may be dead. Where the dead lie so that too few live ones remain, it proposes none:
        see `lost`.
        """
        wanted, live = k * point.factor, max(self.alive, 1) / self._total
        more = math.ceil(2 * wanted * (1 - live) / live) + SLACK
        wider = replace(point, factor=1, effort=math.ceil(point.effort / live))
        rows, effort = self._among([None] * len(self.parts), queries, min(wanted + more, self._total), wider)
        self._drop_dead(rows)
        found = np.count_nonzero(rows >= 0, axis=1)
        rows[found < min(wanted, self.alive)] = -1
        return rows, effort

    def _drop_dead(self, rows: Int64[Array, "m c"]) -> Int64[Array, " m"]:
        """Leave dead rows out; returns how many of each query they were."""
        dead = self._dead.take(self._dead.searchsorted(rows), mode="clip") == rows
        rows[dead] = -1
        return np.asarray(np.count_nonzero(dead, axis=1))

    @cached_property
    def _total(self) -> int:
        return sum(len(one.rows) for one in self.parts)

    @cached_property
    def _dead(self) -> Int64[Array, " n"]:
        """Rows that it holds and that were deleted, ascending."""
        return np.concatenate(
            [one.rows[:0] if one.alive is None else one.rows[~one.alive.allowed] for one in self.parts]
        )

    def _among(
        self, masks: Sequence[Mask | None], queries: Float32[Array, "m d"], k: int, point: Operating
    ) -> tuple[Int64[Array, "m c"], int]:
        """Candidates among those of each part that its mask allows, and the effort."""
        if len(self.parts) == 1:
            rows, _, effort = self.built.propose(queries, k, point, mask=masks[0])
            self.parts[0].number(rows)
            return rows, effort
        assert self.built.kind == "ivf", "no other kind grows"
        inner = [(one.index, mask) for one, mask in zip(self.parts, masks, strict=True)]
        proposed, scores, effort = propose_parts(inner, prepared(queries, self.built.metric), k, point)
        for one, theirs in zip(self.parts, proposed, strict=True):
            one.number(theirs)
        return self._best(proposed, scores), effort

    @cached_property
    def _per_effort(self) -> float:
        """Vectors that one more list, or place in the beam, is about."""
        return sum(one.index.mean_list for one in self.parts) if self.built.kind == "ivf" else 1.0

    def _best(self, rows: Int64[Array, "p m c"], scores: Float32[Array, "p m c"]) -> Int64[Array, "m c"]:
        """As many of what parts with the same codes propose as one part would."""
        _, m, width = rows.shape
        if self.built.metric == "ip":
            np.negative(scores, scores)
        if m == 1:  # FAISS gives the best first, and a stable sort merges what is sorted
            return rows.reshape(1, -1).take(scores.ravel().argsort(kind="stable")[:width], axis=1)
        rows, scores = (one.swapaxes(0, 1).reshape(m, -1) for one in (rows, scores))
        return np.take_along_axis(rows, scores.argpartition(width - 1, axis=1)[:, :width], 1)


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
        parts = list(earlier.parts)
    else:
        parts = [_built(snapshot, record, earlier)]
        if len(record.properties["parts"]) > 1:
            parts.append(_grown(snapshot, record))
    covers = int(record.properties["next_row"])
    live = len(snapshot) - len(snapshot.live_rows(covers))
    # All live rows below `covers` are in the index: it holds a dead one only if it holds more rows than they are.
    whole = live == sum(len(one.rows) for one in parts)
    opened = OpenIndex(tuple(_with_alive(snapshot, one, whole) for one in parts), covers, record)
    _ = opened._dead  # no search waits for it
    return opened


def _with_alive(snapshot: Snapshot, part: Part, whole: bool) -> Part:
    if whole:
        return part if part.alive is None else Part(part.index, part.rows)
    return Part(part.index, part.rows, Mask(snapshot.locate(part.rows)[0] >= 0))


def _built(snapshot: Snapshot, record: ArtefactRecord, earlier: OpenIndex | None) -> Part:
    """The first part, which stays as it was when an index grows; its operating points may have been measured again."""
    if earlier is None or earlier.record.files["faiss"] != record.files["faiss"]:
        return Part(*open_part(snapshot, record, 0, mapped=True))
    known = earlier.parts[0]
    same = all(earlier.record.properties[key] == record.properties[key] for key in ("curve", "reach"))
    return known if same else replace(known, index=known.index.measured_as(record.properties))


def _grown(snapshot: Snapshot, record: ArtefactRecord) -> Part:
    """The other parts as one."""
    opened = [open_part(snapshot, record, number, mapped=False) for number in range(1, len(record.properties["parts"]))]
    index = opened[0][0]
    index.join([part for part, _ in opened[1:]])
    return Part(index, np.concatenate([rows for _, rows in opened]))
