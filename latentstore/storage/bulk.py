"""A source of any size as staged segments: checked and written batch by batch, to be committed as one version."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from latentstore.errors import AlreadyExists, InputError, SpaceMismatch
from latentstore.storage import files
from latentstore.storage.columns import fit_columns
from latentstore.storage.hashing import hash_ids
from latentstore.storage.snapshot import Snapshot
from latentstore.storage.sources import Part, Source
from latentstore.storage.staging import StagedSegment
from latentstore.storage.writing import Scratch, SegmentWriter
from latentstore.types import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import UInt64

SEGMENT_ROWS = 1 << 24  # of one segment: its ids, some 60 bytes each, wait in memory until it is finished


@dataclass
class _Written:
    """What has been written, for telling where an id came from.

    Attributes:
        hashes: Of all ids, per part.
        origins: Of each part: its first row in all, what it is called, its first row there.
    """

    hashes: list[Array] = field(default_factory=list)
    origins: list[tuple[int, str, int]] = field(default_factory=list)
    rows: int = 0

    def note(self, part: Part, hashes: UInt64[Array, " n"]) -> None:
        self.hashes.append(hashes)
        self.origins.append((self.rows, part.origin, part.first))
        self.rows += len(hashes)

    def place(self, row: int) -> str:
        """What messages call a row."""
        start, origin, first = next(one for one in reversed(self.origins) if one[0] <= row)
        return f"{origin} row {first + row - start}"


def stage(snapshot: Snapshot, scratch: Scratch, source: Source, *, refuse_taken: bool) -> list[StagedSegment]:
    """Write a source as segments, durable but for their folder.

    Args:
        snapshot: Whose width, metric, encoder and columns the rows must fit.
        scratch: Where the files are made, and removed again when the source turns out to be bad.
        source: Read to its end.
        refuse_taken: Stop at an id that the snapshot has.

    Raises:
        SpaceMismatch: The source names another encoder.
        AlreadyExists: An id is taken.
        InputError: Rows that do not fit; the message names the file and the row.
    """
    source.check_columns()
    for encoder in source.encoders:
        if encoder != snapshot.encoder:
            raise SpaceMismatch(
                f"these latents come from encoder {encoder}, space {snapshot.manifest.space!r} holds latents of "
                f"{snapshot.encoder or 'no encoder'}; embed them with that encoder, or create another space"
            )
    columns = _columns(snapshot, source)
    stored = pa.schema([(name, kind) for name, kind in columns.items() if not pa.types.is_null(kind)])
    written, staged = _Written(), []
    parts = iter(source.parts)
    part = next(parts, None)
    with files.storing(scratch.layout.segments):
        while part is not None:
            with SegmentWriter(scratch, snapshot.dim, stored) as writer:
                rows = 0
                while part is not None and rows < SEGMENT_ROWS:
                    if len(part.table):
                        _write(writer, rows, part, snapshot, source, columns, stored, written, refuse_taken)
                        rows += len(part.table)
                    part = next(parts, None)
                record = writer.finish() if rows else None
            kinds = tuple((name, str(kind)) for name, kind in columns.items())
            staged.append(StagedSegment(scratch.layout, record, snapshot.dim, kinds))
    _refuse_repeated(written, staged)
    return staged


def _write(
    writer: SegmentWriter,
    start: int,
    part: Part,
    snapshot: Snapshot,
    source: Source,
    columns: dict[str, pa.DataType],
    stored: pa.Schema,
    written: _Written,
    refuse_taken: bool,
) -> None:
    ids = source.ids(part)
    hashes = hash_ids(ids.cast(pa.large_binary()).to_pylist())
    if refuse_taken:
        taken = np.flatnonzero(snapshot.find_hashed(ids, hashes) >= 0)
        if len(taken):
            at = int(taken[0])
            raise AlreadyExists(
                f"{part.origin} row {part.first + at}: {ids[at].as_py()!r} already exists in space "
                f"{snapshot.manifest.space!r}; upsert replaces existing ids"
            )
    vectors = source.vectors(part, snapshot.dim, snapshot.metric)
    with _named(part):
        fitted = fit_columns(source.metadata(part), len(ids), columns)
    lacking = [pa.nulls(len(ids), one.type) for one in stored if one.name not in fitted.column_names]
    names = [one.name for one in stored if one.name not in fitted.column_names]
    table = pa.table([*fitted.columns, *lacking], names=[*fitted.column_names, *names]) if names else fitted
    rows = np.arange(start, start + len(ids), dtype=np.int64)
    writer.write(ids, hashes, rows, vectors, table.select(stored.names))
    written.note(part, hashes)


@contextmanager
def _named(part: Part) -> Iterator[None]:
    """Say in an error where the rows are."""
    try:
        yield
    except InputError as error:
        rows = f" rows {part.first} to {part.first + len(part.table) - 1}" if len(part.table) else ""
        raise type(error)(f"{part.origin}{rows}: {error}") from error


def _columns(snapshot: Snapshot, source: Source) -> dict[str, pa.DataType]:
    """The metadata columns of the rows to come, over all files, in the types they will be stored as."""
    found: dict[str, pa.DataType] = {}
    for origin, schema in source.schemas.items():
        empty = pa.schema(source.metadata_of(schema)).empty_table()
        with _named(Part(origin, 0, empty)):
            known = snapshot.column_types | found
            fitted = fit_columns(empty, 0, known)
        for one in fitted.schema:
            if pa.types.is_null(found.get(one.name, pa.null())):
                found[one.name] = one.type
    return found


def _refuse_repeated(written: _Written, staged: list[StagedSegment]) -> None:
    """Refuse an id that occurs twice, saying where."""
    if not written.hashes:
        return
    hashes = np.concatenate(written.hashes)
    ordered = np.sort(hashes)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return
    segments = [one.segment for one in staged if one.segment is not None]
    starts = np.cumsum([0, *(segment.record.count for segment in segments)])
    seen: dict[str, int] = {}
    for row in np.flatnonzero(np.isin(hashes, repeated)).tolist():
        number = int(np.searchsorted(starts, row, side="right")) - 1
        one = segments[number].ids[row - int(starts[number])].as_py()
        if one in seen:
            raise InputError(
                f"{written.place(row)}: id {one!r} was in {written.place(seen[one])} already; pass each id once"
            )
        seen[one] = row
