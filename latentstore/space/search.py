"""k-nearest search over one snapshot: index where there is one, exact for the rest, never a deleted row."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError
from latentstore.index import Plan, blocks, plan_search, rank, scan
from latentstore.space.indexing import IndexPart, open_index
from latentstore.types import Neighbours

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64

    from latentstore.index.exact import Block
    from latentstore.space.vector_space import VectorSpace
    from latentstore.storage import Snapshot
    from latentstore.types import Array

MAX_K = 100_000
GATHER = 16_384  # matching rows gathered at a time
FILTERS_KEPT = 64  # row sets of filters used before; a snapshot never changes, so they stay right


class Searcher:
    """Searches one snapshot; safe from several threads."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._filters: OrderedDict[str, Int64[Array, " r"]] = OrderedDict()
        self._lock = Lock()

    @cached_property
    def part(self) -> IndexPart | None:
        """The snapshot's index, opened on first use; None when it has none."""
        return open_index(self.snapshot)

    @cached_property
    def unindexed(self) -> int:
        """Live rows that the index does not cover."""
        if self.part is None:
            return len(self.snapshot)
        inside = len(self.part.rows) if self.part.alive is None else int(self.part.alive.sum())
        return len(self.snapshot) - inside

    def matching(self, where: str) -> Int64[Array, " r"]:
        """Live rows that satisfy a predicate, ascending; kept for the next search with the same text."""
        with self._lock:
            if where in self._filters:
                self._filters.move_to_end(where)
                return self._filters[where]
        snapshot = self.snapshot
        # Here and not above: DuckDB takes a sixth of the time of a whole search from a new process.
        from latentstore.filters import SegmentFile, parse_where, select_rows

        predicate = parse_where(where, snapshot.column_types)
        files = [
            SegmentFile(segment.checked_path, segment.first_row, gaps=segment.record.count < segment.record.span)
            for segment in snapshot.segments
        ]
        found = select_rows(predicate, files)
        rows = found[snapshot.locate(found)[0] >= 0]
        with self._lock:
            self._filters[where] = rows
            if len(self._filters) > FILTERS_KEPT:
                self._filters.popitem(last=False)
        return rows

    def search(
        self, queries: Float32[Array, "m d"], k: int, *, where: str | None = None, recall: float | None = None
    ) -> tuple[Int64[Array, "m k"], Float32[Array, "m k"], Plan]:
        """The k nearest live rows of each query.

        Args:
            queries: Checked, shape (m, d).
            k: ≥ 1.
            where: Only rows that satisfy this predicate.
            recall: Wanted recall@k in (0, 1]; None is what the index was tuned to.

        Returns:
            Rows (m, k), −1 where fewer match; distances (m, k), NaN there; how it was answered.
        """
        matching = None if where is None else self.matching(where)
        live = len(self.snapshot)
        count = live if matching is None else len(matching)
        plan = plan_search(live=live, matching=count, indexed=live - self.unindexed, recall=recall)
        metric = self.snapshot.metric
        point = self.part.index.operating(recall) if plan.strategy == "index" and self.part else None
        if point is None and plan.strategy == "index":
            plan = Plan("exact", f"no setting of the index reaches recall {recall}")
        if self.part is None or point is None:
            candidates = scan(self._blocks(0, matching), queries, k, metric)
            return *rank(self.snapshot.vectors, queries, candidates, k, metric), plan
        positions = self.part.index.propose(queries, k, point, allowed=self._allowed(matching))
        indexed = np.where(positions >= 0, self.part.rows[positions], -1)
        rest = scan(self._blocks(self.part.covers, matching), queries, k, metric)
        rows, distances = rank(self.snapshot.vectors, queries, np.concatenate([indexed, rest], axis=1), k, metric)
        # An index proposes what its lists hold; where that is fewer than k though more rows match, look at them all.
        short = np.flatnonzero((rows >= 0).sum(axis=1) < min(k, count))
        if len(short):
            candidates = scan(self._blocks(0, matching), queries[short], k, metric)
            rows[short], distances[short] = rank(self.snapshot.vectors, queries[short], candidates, k, metric)
        return rows, distances, plan

    def _allowed(self, matching: Int64[Array, " r"] | None) -> Bool[Array, " n"] | None:
        """Which positions of the index may be returned; None when all."""
        assert self.part is not None, "asked only where there is an index"
        if matching is None:
            return self.part.alive
        # Matching rows are live, so the alive mask is implied.
        positions = np.searchsorted(self.part.rows, matching).clip(max=len(self.part.rows) - 1)
        allowed = np.zeros(len(self.part.rows), bool)
        allowed[positions[self.part.rows[positions] == matching]] = True
        return allowed

    def _blocks(self, first: int, matching: Int64[Array, " r"] | None) -> Iterator[Block]:
        """Live (and matching) vectors with row numbers from `first` on."""
        if matching is not None:
            rows = matching[np.searchsorted(matching, first) :]
            for start in range(0, len(rows), GATHER):
                part = rows[start : start + GATHER]
                yield self.snapshot.vectors(part), part
            return
        for segment in self.snapshot.segments:
            if segment.rows[-1] < first:
                continue
            start = int(np.searchsorted(segment.rows, first))
            alive = None if segment.alive is None else segment.alive[start:]
            yield from blocks(segment.vectors[start:], segment.rows[start:], alive)


def search(
    space: VectorSpace,
    queries: Float32[Array, "m d"],
    single: bool,
    k: int,
    *,
    where: str | None,
    columns: Sequence[str] | None,
    recall: float | None,
) -> Neighbours:
    """The k nearest items of a query or a batch; see `VectorSpace.search`."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= MAX_K:
        raise InputError(f"k is {k!r}; choose a whole number from 1 to {MAX_K}")
    if recall is not None and not 0 < recall <= 1:
        raise InputError(f"recall is {recall}; choose a number in (0, 1]")
    space.check_columns(columns or ())
    found, distances, _ = space.searcher.search(queries, int(k), where=where, recall=recall)
    ids = np.full(found.shape, None, object)
    there = found >= 0
    ids[there] = space.snapshot.ids(found[there])
    hits = Neighbours(ids, found, distances, int(k), space.metric, space.version)
    if single:
        kept = int(there[0].sum())
        hits = replace(hits, ids=ids[0, :kept], rows=found[0, :kept], distances=distances[0, :kept])
    return replace(hits, columns=space.snapshot.columns(found[there], list(columns))) if columns else hits
