"""Predicates over the rows of a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentstore.filters import SegmentFile, parse_where, select_rows

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.storage import Snapshot
    from latentstore.types import Array


def segment_files(snapshot: Snapshot) -> list[SegmentFile]:
    """The segments as SQL reads them: files, what changed beside them, names and defaults of columns."""
    return [
        SegmentFile(
            one.checked_path,
            one.first_row,
            gaps=one.record.count < one.record.span,
            rows=one.record.count,
            patch=one.patch_path,
            names=one.record.names,
            defaults=one.record.defaults,
        )
        for one in snapshot.segments
    ]


def matching_rows(snapshot: Snapshot, where: str) -> Int64[Array, " r"]:
    """Live rows that satisfy a predicate, ascending.

    Raises:
        FilterRefused: The predicate does not parse, or names what is not there.
    """
    found = select_rows(parse_where(where, snapshot.column_types), segment_files(snapshot))
    if any(segment.record.dead for segment in snapshot.segments):
        found = found[snapshot.locate(found)[0] >= 0]
    return found
