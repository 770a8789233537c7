"""Tiered merging: O(log n) segments however the rows were written, each row rewritten O(log n) times.

A segment of n live rows is of tier ⌊log₈ n⌋. Segments in row order are kept such that tiers never rise from old to
new and fewer than eight adjacent ones share a tier, so there are at most 7·(1 + log₈ n) of them. A smaller segment
before a larger one joins it; eight of a tier become one of the next. Each merge lifts the rows it takes by a tier, or
is paid for by the larger segment's arrival or by deletions (the scheme of log-structured merge trees: O'Neil et al.,
"The log-structured merge-tree", Acta Informatica 33, 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from latentstore.storage import arrow, files
from latentstore.storage.layout import SpaceLayout
from latentstore.storage.manifest import SegmentRecord
from latentstore.storage.parquet_writer import ROW_GROUP
from latentstore.storage.segments import Segment
from latentstore.storage.snapshot import Snapshot
from latentstore.storage.writing import Scratch, SegmentWriter, write_positions
from latentstore.types import Array

FACTOR = 8  # segments of a tier that become one of the next
DEAD_SHARE = 0.3  # a segment with more dead rows than this is rewritten
_CHUNK = 4 * ROW_GROUP  # rows held in memory while merging


def tier(live: int) -> int:
    """⌊log₈ live⌋, exact."""
    return (max(live, 1).bit_length() - 1) // (FACTOR.bit_length() - 1)


def plan(records: Sequence[SegmentRecord]) -> list[tuple[int, int]]:
    """Which runs of segments to rewrite as one: (start, stop) indices, ascending."""
    runs: list[tuple[int, int, int]] = []  # start, stop, live rows
    for index, record in enumerate(records):
        runs.append((index, index + 1, record.live))
        while True:
            if len(runs) > 1 and tier(runs[-2][2]) < tier(runs[-1][2]):
                count = 2
            elif len(runs) >= FACTOR and len({tier(live) for _, _, live in runs[-FACTOR:]}) == 1:
                count = FACTOR
            else:
                break
            joined = runs[-count:]
            runs[-count:] = [(joined[0][0], joined[-1][1], sum(live for _, _, live in joined))]
    return [(start, stop) for start, stop, _ in runs if stop - start > 1 or _decayed(records[start])]


def _decayed(record: SegmentRecord) -> bool:
    return record.dead >= DEAD_SHARE * record.count


@dataclass(frozen=True)
class _Merged:
    inputs: tuple[Segment, ...]
    record: SegmentRecord | None  # None when no row was alive


class Merges:
    """The merges that go along with one commit: written once, applied again after each lost race.

    Args:
        scratch: Where new files are made.
        everything: Rewrite all segments as one instead of by tiers.
    """

    def __init__(self, scratch: Scratch, *, everything: bool = False) -> None:
        self._scratch = scratch
        self._everything = everything
        self._done: list[_Merged] | None = None

    def apply(self, snapshot: Snapshot) -> Snapshot:
        """The same rows in fewer segments.

        What another writer changed meanwhile is honoured: rows it deleted are dead in the merged segment too, and a
        merge whose inputs are gone is left out.
        """
        if self._done is None:
            runs = plan(snapshot.manifest.segments)
            if self._everything:
                records = snapshot.manifest.segments
                gain = len(records) > 1 or any(one.dead or one.altered for one in records)
                runs = [(0, len(records))] if gain else []
            with files.storing(snapshot.layout.segments):
                self._done = [self._merge(snapshot, snapshot.segments[start:stop]) for start, stop in runs]
        segments = list(snapshot.segments)
        for merged in self._done:
            segments = self._substitute(snapshot.layout, segments, merged, snapshot)
        return snapshot if segments == list(snapshot.segments) else snapshot.with_segments(segments)

    def _merge(self, snapshot: Snapshot, inputs: Sequence[Segment]) -> _Merged:
        if not any(segment.record.live for segment in inputs):
            return _Merged(tuple(inputs), None)
        first = inputs[0].first_row
        types = snapshot.column_types
        stored = [(name, kind) for name, kind in types.items() if not pa.types.is_null(kind)]
        with SegmentWriter(self._scratch, snapshot.dim, pa.schema(stored)) as writer:
            waiting: list[tuple[Segment, Array]] = []
            held = 0
            for segment in inputs:
                live = segment.live_positions()
                start = 0
                while start < len(live):
                    taken = live[start : start + _CHUNK - held]
                    waiting.append((segment, taken))
                    start, held = start + len(taken), held + len(taken)
                    if held == _CHUNK:
                        _copy(writer, waiting, first, types, [name for name, _ in stored])
                        waiting, held = [], 0
            if waiting:
                _copy(writer, waiting, first, types, [name for name, _ in stored])
            record = writer.finish()
        return _Merged(tuple(inputs), replace(record, first_row=first))

    def _substitute(
        self, layout: SpaceLayout, segments: list[Segment], merged: _Merged, snapshot: Snapshot
    ) -> list[Segment]:
        """Put a merged segment in the place of its inputs, if they are all still there."""
        low, high = merged.inputs[0].first_row, merged.inputs[-1].record.end_row
        places = [i for i, one in enumerate(segments) if one.first_row < high and one.record.end_row > low]
        if not places:
            return segments
        before, after = segments[: places[0]], segments[places[-1] + 1 :]
        now = {segments[place].record.uuid: segments[place] for place in places}
        inputs = {segment.record.uuid: segment for segment in merged.inputs}
        for uuid, one in now.items():
            old = inputs.get(uuid)
            if old is None or replace(old.record, deletes=None, dead=0) != replace(one.record, deletes=None, dead=0):
                return segments  # another writer merged them first, or changed their metadata
            if len(np.setdiff1d(old.dead_positions, one.dead_positions)):
                return segments  # another writer restored rows that we dropped
        if merged.record is None:
            return [*before, *after]
        gone = [np.empty(0, np.int64)]  # rows that died since; a segment that lost all has left the manifest
        for uuid, old in inputs.items():
            gone.append(old.rows if uuid not in now else old.rows[now[uuid].dead_positions])
        segment = Segment(layout, merged.record, snapshot.dim, snapshot.version)
        positions = segment.position_of(np.concatenate(gone))
        positions = np.unique(positions[positions >= 0])
        if len(positions) == merged.record.count:
            return [*before, *after]
        if len(positions):
            deletes = write_positions(self._scratch, positions)
            record = replace(merged.record, deletes=deletes, dead=len(positions))
            segment = Segment(layout, record, snapshot.dim, snapshot.version)
        return [*before, segment, *after]


def _copy(
    writer: SegmentWriter,
    parts: Sequence[tuple[Segment, Array]],
    first_row: int,
    types: dict[str, pa.DataType],
    names: list[str],
) -> None:
    """Write the rows of several segments as one batch."""
    tables = [segment.columns(positions, names, types) for segment, positions in parts]
    writer.write(
        pa.concat_arrays([segment.ids.take(arrow.numbers(positions)) for segment, positions in parts]),
        np.concatenate([segment.row_hashes[positions] for segment, positions in parts]),
        np.concatenate([segment.rows[positions] for segment, positions in parts]) - first_row,
        np.concatenate([segment.vectors[positions] for segment, positions in parts]),
        pa.concat_tables(tables) if names else tables[0].select([]),
    )
