"""What changed between two versions, from row numbers alone: no vector and no metadata is read.

A row number names one row for ever, and a replaced item gets a new one. So rows in only one of the versions are all
that matters, and segments that both versions name with the same dead rows hold none. Ids are read of those rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore.storage.segments import Segment
from latentstore.storage.snapshot import Snapshot
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64

SCHEMA = pa.schema({"change": pa.string(), "id": pa.string(), "old_row": pa.int64(), "new_row": pa.int64()})


@dataclass(frozen=True)
class Diff:
    """The difference of two versions of a space.

    Attributes:
        old: The version compared from.
        new: The version compared to.
        added: Items that only the new version has.
        deleted: Items that only the old version has.
        changed: Items of both that were written again in between, with the same content or another.
        columns_added: Metadata columns that only the new version has.
        columns_dropped: Metadata columns that only the old version has.
        table: One row per item: change ("added", "deleted", "changed"), id, old_row, new_row; null where there is none.
            Added ones first, in row order.
    """

    old: int
    new: int
    added: int
    deleted: int
    changed: int
    columns_added: tuple[str, ...]
    columns_dropped: tuple[str, ...]
    table: pa.Table = field(repr=False, compare=False)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(len(self.table) or self.columns_added or self.columns_dropped)

    def ids(self, change: str) -> list[str]:
        """Ids of one kind of change: "added", "deleted" or "changed"."""
        import pyarrow.compute as pc  # here: a quarter of the time a reader takes to start

        found: list[str] = self.table.filter(pc.equal(self.table["change"], change))["id"].to_pylist()
        return found


def compare(old: Snapshot, new: Snapshot) -> Diff:
    """Find what was added, deleted and changed from one version to another (in either direction of time)."""
    import pyarrow.compute as pc  # here: a quarter of the time a reader takes to start

    was, now = _own_rows(old, new), _own_rows(new, old)
    # A merge moves rows to another segment and leaves their numbers: compare those, not the segments.
    gone, came = np.setdiff1d(was, now, assume_unique=True), np.setdiff1d(now, was, assume_unique=True)
    gone_ids, came_ids = pa.array(old.ids(gone), pa.string()), pa.array(new.ids(came), pa.string())
    before = pc.index_in(came_ids, value_set=gone_ids)  # where an item that came was before, null if it was not
    after = pc.index_in(gone_ids, value_set=came_ids)
    fresh, again = pc.is_null(before), pc.is_valid(before)
    numbers_gone, numbers_came = pa.array(gone), pa.array(came)
    added = _part("added", came_ids.filter(fresh), None, numbers_came.filter(fresh))
    lost = pc.is_null(after)
    deleted = _part("deleted", gone_ids.filter(lost), numbers_gone.filter(lost), None)
    old_rows = numbers_gone.take(before.drop_null())
    changed = _part("changed", came_ids.filter(again), old_rows, numbers_came.filter(again))
    return Diff(
        old.version,
        new.version,
        len(added),
        len(deleted),
        len(changed),
        tuple(name for name in new.column_types if name not in old.column_types),
        tuple(name for name in old.column_types if name not in new.column_types),
        pa.concat_tables([added, deleted, changed]),
    )


def _own_rows(of: Snapshot, other: Snapshot) -> Int64[Array, " n"]:
    """Live rows of the segments that the other version does not hold just so, ascending."""
    shared = {_key(segment) for segment in other.segments}
    return _rows([segment for segment in of.segments if _key(segment) not in shared])


def _key(segment: Segment) -> tuple[str, int, str]:
    record = segment.record
    return record.uuid, record.first_row, record.deletes.sha256 if record.deletes else ""


def _rows(segments: Sequence[Segment]) -> Int64[Array, " n"]:
    parts = [segment.rows if segment.alive is None else segment.rows[segment.alive] for segment in segments]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _part(change: str, ids: pa.Array, old: pa.Array | None, new: pa.Array | None) -> pa.Table:
    nothing = pa.nulls(len(ids), pa.int64())
    columns = [
        pa.array([change] * len(ids), pa.string()),
        ids,
        nothing if old is None else old,
        nothing if new is None else new,
    ]
    return pa.table(columns, schema=SCHEMA)
