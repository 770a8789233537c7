"""Adding rows to an ivf index without training it again: when asked, and by itself when they slow searches down.

Parts of an index are merged like segments: a new one takes along those before it that are not larger than twice what it
has so far, so that n rows have O(log n) parts and each row is written O(log n) times, however the rows came. When the
first, which readers keep open when an index grows, is no longer the greater half, the index is built anew: its lists
would hold more than twice what they were made for, and a search reads whole lists.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import CommitConflict, NotSupported
from latentstore.index import ApproximateIndex, Held, blocks
from latentstore.space.indexing import (
    DEAD_SHARE,
    NAME,
    TRAINED,
    build_index,
    coverage,
    current_index,
    open_part,
    open_parts,
    open_trained,
    span,
    write_part,
    write_trained,
)
from latentstore.storage import ArtefactRecord
from latentstore.storage.files import discard

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.storage import Manifest, Snapshot, SpaceFiles
    from latentstore.types import Array

GROWTH = 0.1  # of an index since its recall was measured, after which it is measured again
# What may lie beside the index, which a search compares: a tenth of its time among a million rows. Of wide vectors at
# least so many rows, that not every second append of a hundred extends the index.
TAIL_FLOATS, TAIL_ROWS = 1 << 17, 300
ADDED = 1 << 16  # rows added at a time


def kept_up(files: SpaceFiles, written: Manifest) -> Manifest:
    """After rows were committed: extend the index if those it does not cover are many; the newest version.

    Whatever goes wrong must not look as if the rows were not there. The next writer repeats what lost a race; anything
    else is a warning.
    """
    record = current_index(written)
    if record is None or record.kind != "ivf":
        return written
    beside = written.next_row - int(record.properties["next_row"])
    if beside <= TAIL_ROWS or beside * written.dim <= TAIL_FLOATS:
        return written
    try:
        return extend_index(files, files.snapshot(written.version)) or written
    except CommitConflict:
        return written
    except Exception as error:  # FAISS's own, and MemoryError, too
        warnings.warn(
            f"the rows of version {written.version} are stored, but could not be added to the index: {error}; "
            "searches compare them one by one until extend_index() succeeds",
            stacklevel=4,
        )
        return written


def extend_index(files: SpaceFiles, snapshot: Snapshot) -> Manifest | None:
    """Add the rows that the index does not cover; None when it covers all.

    Nothing is trained again until the rows to be merged are all there are: then the index is built anew, which n rows
    see O(log n) times.

    Raises:
        NotSupported: There is no index that can grow: only an ivf can.
        CommitConflict: Another index was published meanwhile.
    """
    record = current_index(snapshot.manifest)
    if record is None or record.kind != "ivf":
        raise NotSupported(
            f"space {snapshot.manifest.space!r} has {'no index' if record is None else f'a {record.kind} index'}, "
            "which cannot be extended; run build_index()"
        )
    rows = snapshot.live_rows(int(record.properties["next_row"]))
    if not len(rows):
        return None
    sizes = record.properties["parts"]
    kept = _kept(sizes, len(rows))
    if not kept:
        told, there = record.properties, snapshot.manifest.index
        return build_index(files, snapshot, told["wanted"], target_recall=told["target_recall"], instead_of=there)
    trained = open_trained(snapshot, record)
    new, rows = _joined(snapshot, record, trained, kept, rows)
    written = write_part(files, kept, new, rows)
    if TRAINED not in record.files:
        written |= write_trained(files, trained)
    parts = {
        role: file for role, file in record.files.items() if role == TRAINED or int(role.partition(".")[2] or 0) < kept
    } | written
    properties = record.properties | coverage(snapshot)
    properties |= {"parts": [*sizes[:kept], len(rows)], "spans": [*record.properties["spans"][:kept], span(rows)]}
    extended = ArtefactRecord(NAME, record.kind, snapshot.version, parts, properties)
    if sum(properties["parts"]) > (1 + GROWTH) * properties["measured_rows"]:
        extended = _measured(snapshot, extended)
    try:
        return files.put_artefacts(snapshot.version, index=[extended], instead_of=snapshot.manifest.index)
    except CommitConflict:
        discard(files.layout.file(file.name) for file in written.values())
        raise


def _kept(sizes: Sequence[int], new: int) -> int:
    """How many of the parts stay as they are."""
    if sizes[0] <= sum(sizes[1:]) + new:
        return 0
    kept, taken = len(sizes), new
    while kept > 1 and sizes[kept - 1] <= 2 * taken:
        kept -= 1
        taken += sizes[kept]
    return kept


def _joined(
    snapshot: Snapshot, record: ArtefactRecord, trained: ApproximateIndex, kept: int, rows: Int64[Array, " n"]
) -> tuple[ApproximateIndex, Int64[Array, " m"]]:
    """New rows, and those of the parts from `kept` on, as one part."""
    taken = range(kept, len(record.properties["parts"]))
    opened = [open_part(snapshot, record, number, mapped=False) for number in taken]
    theirs = np.concatenate([np.empty(0, np.int64), *(rows for _, rows in opened)])
    live = snapshot.locate(theirs)[0] >= 0
    if np.count_nonzero(live) < (1 - DEAD_SHARE) * len(theirs):
        opened, rows = [], np.concatenate([theirs[live], rows])
    new = trained.part(snapshot.vectors(rows[start : start + ADDED]) for start in range(0, len(rows), ADDED))
    if not opened:
        return new, rows
    first = opened[0][0]
    first.join([*(part for part, _ in opened[1:]), new])
    return first, np.concatenate([theirs, rows])


def _measured(snapshot: Snapshot, record: ArtefactRecord) -> ArtefactRecord:
    """What the index gives now: among more neighbours its codes tell fewer apart."""
    _, index, rows = open_parts(snapshot, record)
    alive = snapshot.locate(rows)[0] >= 0
    if np.count_nonzero(alive) < 2:
        return record
    measured = index.measured_again(Held(_Stored(snapshot, rows), lambda: _blocks(snapshot, rows), alive))
    return replace(record, properties=record.properties | measured.properties() | {"measured_rows": len(rows)})


class _Stored:
    """The vectors of a snapshot by their positions in an index, of which only live ones are asked for."""

    def __init__(self, snapshot: Snapshot, rows: Int64[Array, " n"]) -> None:
        self._gather, self._rows = snapshot.gather, rows

    def __call__(self, numbers: Int64[Array, " c"], /) -> Float32[Array, "c d"]:
        return self._gather(self._rows[numbers])

    def runs(self, numbers: Int64[Array, " c"], /) -> Sequence[tuple[slice, Array, Array]]:
        return self._gather.runs(self._rows[numbers])

    def pieces(self, numbers: Int64[Array, "m c"], /) -> Iterable[tuple[Array, Array]]:
        return self._gather.pieces(np.where(numbers < 0, -1, self._rows[numbers]))


def _blocks(snapshot: Snapshot, rows: Int64[Array, " n"]) -> Iterator[tuple[Array, Array]]:
    """Live vectors with their positions among `rows`."""
    for segment in snapshot.segments:
        positions = rows.searchsorted(segment.rows).clip(max=len(rows) - 1)
        held = rows[positions] == segment.rows
        yield from blocks(segment.vectors, positions, held if segment.alive is None else held & segment.alive)
