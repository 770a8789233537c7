"""k-nearest search over one snapshot: index where there is one, exact for the rest, never a deleted row."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from latentstore.index import (
    GATHER_FLOATS,
    TUNING_K,
    Operating,
    Plan,
    blocks,
    plan_search,
    prepared,
    rank,
    scan,
    scan_block,
    scan_once,
)
from latentstore.space.opened import OpenIndex, open_index
from latentstore.space.row_sets import RowSet, RowSets
from latentstore.types import Explanation, Stopwatch, ends_missing

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.index.exact import Block
    from latentstore.storage import Snapshot
    from latentstore.types import Array

PLANS_KEPT = 256
TAIL_FLOATS_KEPT = 1 << 21  # of rows beside the index, gathered once: 8 MiB
GATHER = 16_384  # matching rows gathered at a time, where they are too many to be kept


class Searcher:
    """Searches one snapshot; safe from several threads.

    Args:
        snapshot: What is searched.
        previous: Of an earlier snapshot of the space, whose index is used again if it is still the same.
    """

    def __init__(self, snapshot: Snapshot, previous: Searcher | None = None) -> None:
        self.snapshot = snapshot
        self._sets = RowSets(snapshot)
        self._planned = lru_cache(PLANS_KEPT)(self._plan)
        # Known before it is opened here: a search after every append must not read the whole index every time.
        self._earlier: OpenIndex | None = None
        if previous is not None:
            self._earlier = previous.__dict__.get("index", previous._earlier)

    @cached_property
    def index(self) -> OpenIndex | None:
        """The snapshot's index, opened on first use unless an earlier snapshot had it open; None when it has none."""
        opened = open_index(self.snapshot, self._earlier)
        self._earlier = None
        return opened

    @cached_property
    def _live(self) -> int:
        """Live rows, counted over all segments once."""
        return len(self.snapshot)

    @cached_property
    def unindexed(self) -> int:
        """Live rows that the index does not cover."""
        return self._live - (self.index.live if self.index else 0)

    @cached_property
    def _tail(self) -> Block:
        """The rows that the index does not cover, as a scan wants them, in one piece: one call for each of many small
        segments takes longer than all they compare."""
        assert self.index is not None
        rows = self.snapshot.live_rows(self.index.covers)
        return prepared(self.snapshot.gather(rows), self.snapshot.metric, ours=True), rows

    def matching(self, where: str) -> Int64[Array, " r"]:
        """Live rows that satisfy a predicate, ascending; kept for the next search with the same text."""
        return self._sets.matching(where).rows

    def search(
        self, queries: Float32[Array, "m d"], k: int, *, where: str | None = None, recall: float | None = None
    ) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"], Explanation]:
        """The k nearest live rows of each query.

        Args:
            queries: Checked, shape (m, d).
            k: ≥ 1.
            where: Only rows that satisfy this predicate.
            recall: Wanted recall@k in (0, 1]; None is what the index was tuned to.

        Returns:
            Rows (m, k), −1 where fewer match; distances (m, k), NaN there; how it was answered.
        """
        watch = Stopwatch()
        chosen = None if where is None else self._sets.matching(where)
        matching = None if chosen is None else len(chosen)
        watch.lap("filter")
        index = self.index
        watch.lap("open")
        plan, point = self._planned(matching, recall)
        live = self._live
        explanation = Explanation(
            plan.strategy, plan.reason, live, live if matching is None else matching, self.unindexed, watch
        )
        watch.lap("plan")
        if plan.strategy == "index" and index and point:
            rows, distances = self._by_index(queries, k, index, point, chosen, explanation)
        else:
            rows, distances = self._exactly(queries, k, chosen, explanation)
        return rows, distances, explanation

    def euclidean(self, queries: Float32[Array, "m d"], k: int) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
        """Rows and Euclidean distances of the k nearest, whatever the space's metric, by comparing all vectors."""
        if not len(self.snapshot):
            return _nothing(queries, k)
        return rank(self.snapshot.gather, queries, scan(self._blocks(0, None), queries, k, "l2"), k, "l2")

    def _plan(self, matching: int | None, recall: float | None) -> tuple[Plan, Operating | None]:
        index, live = self.index, self._live
        point = index.whole.operating(recall, filtered=matching is not None) if index else None
        plan = plan_search(
            live=live,
            matching=matching,
            indexed=live - self.unindexed,
            dim=self.snapshot.dim,
            kind=index.whole.kind if index else None,
            reachable=point is not None,
            recall=recall,
        )
        return plan, point

    def _exactly(
        self,
        queries: Float32[Array, "m d"],
        k: int,
        chosen: RowSet | None,
        explanation: Explanation,
    ) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
        metric = self.snapshot.metric
        if chosen is not None and 0 < len(chosen) * self.snapshot.dim <= GATHER_FLOATS:
            vectors = self._sets.gathered(chosen, once=len(queries) == 1)
            explanation.watch.lap("gather")
            if vectors is None:
                found = scan_once(self.snapshot.gather, queries, chosen.rows, k, metric)
            else:
                found = scan([(vectors, chosen.rows)], queries, k, metric, unit=True)
        else:
            found = scan(self._blocks(0, chosen), queries, k, metric)
        explanation.watch.lap("scan")
        explanation.compared += explanation.matching
        explanation.ranked += found.shape[1]
        ranked = rank(self.snapshot.gather, queries, found, k, metric) if len(self.snapshot) else _nothing(queries, k)
        explanation.watch.lap("rank")
        return ranked

    def _by_index(
        self,
        queries: Float32[Array, "m d"],
        k: int,
        index: OpenIndex,
        point: Operating,
        chosen: RowSet | None,
        explanation: Explanation,
    ) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
        snapshot = self.snapshot
        # An operating point was measured for so many: of one neighbour's few candidates codes may miss it.
        candidates, effort, compared = index.propose(queries, max(k, TUNING_K), point, chosen)
        lost = index.lost(candidates) if chosen is None else None
        explanation.watch.lap("index")
        explanation.index, explanation.effort = index.whole.factory, effort
        explanation.compared += compared
        if self.unindexed:
            few = chosen is None and self.unindexed * snapshot.dim <= TAIL_FLOATS_KEPT
            if few and len(queries) == 1:
                rest = scan_block(self._tail[0], queries, self._tail[1], k, snapshot.metric)
            else:
                beside = [self._tail] if few else self._blocks(index.covers, chosen)
                rest = scan(beside, queries, k, snapshot.metric, unit=few)
            candidates = np.concatenate([candidates, rest], axis=1)
            explanation.compared += self.unindexed
            explanation.watch.lap("scan")
        rows, distances = rank(snapshot.gather, queries, candidates, k, snapshot.metric)
        explanation.ranked += candidates.shape[1]
        explanation.watch.lap("rank")
        # An index proposes what its lists hold; where that is fewer than k though more rows match, look at them all.
        if ends_missing(rows) or (lost is not None and lost.any()):
            few = (rows >= 0).sum(axis=1) < min(k, explanation.matching)
            short = np.flatnonzero(few if lost is None else few | lost)
            if len(short):
                rows[short], distances[short] = self._exactly(queries[short], k, chosen, explanation)
        return rows, distances

    def _blocks(self, first: int, chosen: RowSet | None) -> Iterator[Block]:
        """Live (and matching) vectors with row numbers from `first` on."""
        if chosen is not None:
            rows = chosen.rows[np.searchsorted(chosen.rows, first) :]
            for start in range(0, len(rows), GATHER):
                part = rows[start : start + GATHER]
                yield self.snapshot.gather(part), part
            return
        for segment in self.snapshot.segments:
            if segment.record.end_row <= first:
                continue
            start = int(np.searchsorted(segment.rows, first))
            alive = None if segment.alive is None else segment.alive[start:]
            yield from blocks(segment.vectors[start:], segment.rows[start:], alive)


def _nothing(queries: Float32[Array, "m d"], k: int) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"]]:
    return np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.nan, np.float32)
