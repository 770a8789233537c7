"""Changes of rows: pure functions from a snapshot to the manifest of the next version.

Each can be run again on a newer snapshot after a lost race; ids are then looked up again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from latentstore.errors import AlreadyExists, CommitConflict, InputError, SpaceMismatch, UnknownItem
from latentstore.storage import evolution
from latentstore.storage.columns import merge_columns
from latentstore.storage.manifest import Manifest, SegmentRecord
from latentstore.storage.snapshot import Snapshot
from latentstore.storage.staging import StagedSegment
from latentstore.storage.writing import Scratch, write_positions
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64

OnExisting = Literal["refuse", "replace"]
KEEP: Any = object()  # "as it is", where None means none


@dataclass(frozen=True)
class Append:
    """What one append does: see `SpaceFiles.append`.

    Attributes:
        free_in: A version that has none of the ids, where that was looked up.
        made_for: The encoder of the space that the rows were made for; KEEP where nobody can say.
    """

    staged: Sequence[StagedSegment]
    on_existing: OnExisting = "refuse"
    delete_ids: Sequence[str] = field(default_factory=tuple)
    replace_all: bool = False
    based_on: int | None = None
    encoder: Any = KEEP
    source: Any = KEEP
    update: tuple[Sequence[str], Any] | None = None
    free_in: int | None = None
    made_for: Any = KEEP

    def _idle(self, manifest: Manifest) -> bool:
        """Whether nothing would change."""
        rows = any(len(one) for one in self.staged) or len(self.delete_ids) or (self.replace_all and manifest.live)
        rows = rows or (self.update is not None and len(self.update[0]))
        encoder = self.encoder is not KEEP and self.encoder != manifest.encoder
        source = self.source is not KEEP and self.source != manifest.source
        return not (rows or encoder or source)

    def apply(self, snapshot: Snapshot, scratch: Scratch) -> Manifest:
        """The manifest after the append.

        Raises:
            AlreadyExists: Ids are taken and `on_existing` refuses.
            UnknownItem: An id of `delete_ids` or `update` is not there.
            SpaceMismatch: Vectors of another encoder or width.
            CommitConflict: Rows changed since `based_on`.
            InputError: Metadata columns that do not fit; an id in two staged segments.
        """
        base = snapshot.manifest
        if self._idle(base):
            return base
        if self.made_for is not KEEP and self.made_for != base.encoder:
            raise SpaceMismatch(
                f"space {base.space!r} holds latents of {base.encoder or 'no encoder'} now, these rows were made for "
                f"{self.made_for or 'no encoder'}; refresh() the space and encode them again"
            )
        changes_encoder = self.encoder is not KEEP and self.encoder != base.encoder
        if (self.replace_all or changes_encoder) and self.based_on is not None and base.rows_version > self.based_on:
            raise CommitConflict(
                f"rows of space {base.space!r} changed in version {base.rows_version}, after version {self.based_on} "
                "that this replaces; run it again on the newest version"
            )
        if changes_encoder and not self.replace_all and base.live:
            raise SpaceMismatch(
                f"space {base.space!r} holds {base.live} latents of encoder {base.encoder!r}; replace all rows to "
                f"change it to {self.encoder!r}, or create another space"
            )
        if self.update is not None:
            ids, values = self.update
            base = evolution.updated(snapshot, existing_rows(snapshot, ids), values, scratch)
            snapshot = Snapshot.open(snapshot.layout, base, snapshot)
        encoder = base.encoder if self.encoder is KEEP else self.encoder
        staged = [one for one in self.staged if len(one)]
        base = self._start(base, encoder, staged)
        version = base.version + 1
        records: Iterable[SegmentRecord] = ()
        _refuse_repeated(staged)
        if not self.replace_all:
            dead = self._dead_rows(snapshot, staged)
            records = mark_dead(snapshot, dead, scratch)
        next_row, columns, added = base.next_row, base.columns, []
        for one in staged:
            assert one.record is not None
            lacks = {name: value for name, value in base.defaults.items() if name not in dict(one.columns)}
            added.append(replace(one.record, first_row=next_row, defaults=lacks))
            next_row += one.record.span
            columns = merge_columns(columns, one.columns)
        return replace(
            base,
            columns=columns,
            next_row=next_row,
            rows_version=version if staged or len(self.delete_ids) or self.replace_all else base.rows_version,
            segments=(*records, *added),
            encoder=encoder,
            source=base.source if self.source is KEEP else self.source,
        )

    def _start(self, base: Manifest, encoder: str | None, staged: Sequence[StagedSegment]) -> Manifest:
        if self.replace_all:
            dim = staged[0].dim if staged else base.dim
            base = replace(
                base,
                dim=dim,
                columns=(),
                defaults={},
                segments=(),
                index=(),
                concepts=(),
                maps=(),
                revived_version=base.version + 1,
            )
        for one in staged:
            if one.dim != base.dim:
                raise SpaceMismatch(f"staged vectors have width {one.dim}, space {base.space!r} has {base.dim}")
            if one.encoder is not None and one.encoder != encoder:
                raise SpaceMismatch(
                    f"staged vectors come from encoder {one.encoder!r}, space {base.space!r} has {encoder!r}"
                )
        return base

    def _dead_rows(self, snapshot: Snapshot, staged: Sequence[StagedSegment]) -> Int64[Array, " k"]:
        dead = [existing_rows(snapshot, self.delete_ids)] if len(self.delete_ids) else []
        for one in staged if snapshot.version != self.free_in else ():
            segment = one.segment
            assert segment is not None
            rows = snapshot.find_hashed(segment.ids, segment.row_hashes)
            if (rows >= 0).any():
                if self.on_existing == "refuse":
                    refuse_taken(segment.ids.to_pylist(), snapshot)
                dead.append(rows[rows >= 0])
        return np.unique(np.concatenate(dead)) if dead else np.empty(0, np.int64)


def refuse_taken(ids: Sequence[str], snapshot: Snapshot) -> None:
    """Raise `AlreadyExists` naming some of the ids that are taken, if any is."""
    taken = [ids[i] for i in np.flatnonzero(snapshot.find(ids) >= 0).tolist()]
    if not taken:
        return
    more = f" and {len(taken) - 3} more" if len(taken) > 3 else ""
    shown = ", ".join(map(repr, taken[:3]))
    raise AlreadyExists(
        f"{shown}{more} already exist in space {snapshot.manifest.space!r}; upsert replaces existing ids"
    )


def _refuse_repeated(staged: Sequence[StagedSegment]) -> None:
    if len(staged) < 2:
        return
    hashes = np.concatenate([one.segment.hashes for one in staged if one.segment is not None])
    ordered = np.sort(hashes)  # ten times as fast as np.unique, which hashes once more
    if (ordered[1:] != ordered[:-1]).all():
        return
    seen: set[str] = set()
    for one in staged:
        ids = one.ids()
        for repeated in seen.intersection(ids):
            raise InputError(f"id {repeated!r} occurs in two staged segments; stage each id once")
        seen.update(ids)


def existing_rows(snapshot: Snapshot, ids: Sequence[str]) -> Int64[Array, " m"]:
    """Rows of ids; raise `UnknownItem` naming some that are not there."""
    rows = snapshot.find(ids)
    if (rows < 0).any():
        missing = [ids[i] for i in np.flatnonzero(rows < 0).tolist()]
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UnknownItem(
            f"no item {', '.join(map(repr, missing[:3]))}{more} in version {snapshot.version} of space "
            f"{snapshot.manifest.space!r}; check the ids"
        )
    return rows


def check_live(snapshot: Snapshot, rows: Int64[Array, " k"]) -> None:
    """Raise `UnknownItem` naming a row that is dead or absent, if any is."""
    numbers, _ = snapshot.locate(rows)
    if (numbers < 0).any():
        row = int(np.asarray(rows)[numbers < 0][0])
        raise UnknownItem(f"row {row} is not in version {snapshot.version}; it was deleted or never existed")


def mark_dead(snapshot: Snapshot, rows: Int64[Array, " k"], scratch: Scratch) -> tuple[SegmentRecord, ...]:
    """Segments after rows died; a segment without a live row is dropped.

    Raises:
        UnknownItem: A row is dead already, or absent.
    """
    check_live(snapshot, rows)
    numbers, positions = snapshot.locate(rows)
    records = []
    for number, segment in enumerate(snapshot.segments):
        died = positions[numbers == number]
        if not len(died):
            records.append(segment.record)
            continue
        dead = np.union1d(segment.dead_positions, died)
        if len(dead) < segment.record.count:
            records.append(replace(segment.record, deletes=write_positions(scratch, dead), dead=len(dead)))
    return tuple(records)


def without(snapshot: Snapshot, rows: Int64[Array, " k"], scratch: Scratch) -> Manifest:
    """The manifest after rows died.

    Raises:
        UnknownItem: A row is dead already, or absent.
    """
    base = snapshot.manifest
    if not len(rows):
        return base
    return replace(base, segments=mark_dead(snapshot, rows, scratch), rows_version=base.version + 1)


def restored(newest: Manifest, old: Manifest) -> Manifest:
    """The contents of an old version as the next one; row numbers go on from the newest.

    An index that was good for the old version is good for this one, and says so.
    """
    good = [replace(one, version=newest.version + 1) for one in old.index if one.version >= old.revived_version]
    return replace(
        old,
        index=tuple(good),
        version=newest.version,
        next_row=newest.next_row,
        rows_version=newest.version + 1,
        metadata_version=newest.version + 1,
        revived_version=newest.version + 1,
    )
