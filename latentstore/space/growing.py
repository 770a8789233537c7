"""Adding rows to an ivf index without training it again: when asked, and by itself when they slow searches down.

Parts of an index are merged like segments: a new one takes along those before it that are not larger than twice what it
has so far, so that n rows have O(log n) parts and each row is written O(log n) times, however the rows came. All become
one when the first, which readers map instead of reading it, is no longer the greater half.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import CommitConflict, LatentStoreError, NotSupported
from latentstore.index import ApproximateIndex
from latentstore.space.indexing import (
    NAME,
    TRAINED,
    coverage,
    current_index,
    open_part,
    span,
    write_part,
)
from latentstore.storage import ArtefactRecord

if TYPE_CHECKING:
    from latentstore.storage import Manifest, Snapshot, SpaceFiles

GROWTH = 0.1  # of an index since its recall was measured, after which it is measured again
TAIL_FLOATS = 1 << 20  # of rows beside the index: a search compares them in the time it spends in the index


def kept_up(files: SpaceFiles, written: Manifest) -> Manifest:
    """After rows were committed: extend the index if those it does not cover are many; the newest version.

    What goes wrong must not look as if the rows were not there. The next writer repeats what lost a race; anything else
    is a warning.
    """
    record = current_index(written)
    if record is None or record.kind != "ivf":
        return written
    if (written.next_row - int(record.properties["next_row"])) * written.dim <= TAIL_FLOATS:
        return written
    try:
        return extend_index(files, files.snapshot(written.version)) or written
    except CommitConflict:
        return written
    except (LatentStoreError, OSError) as error:
        warnings.warn(
            f"the rows of version {written.version} are stored, but could not be added to the index: {error}; "
            "searches compare them one by one until extend_index() succeeds",
            stacklevel=4,
        )
        return written


def extend_index(files: SpaceFiles, snapshot: Snapshot) -> Manifest | None:
    """Add the rows that the index does not cover, without training again; None when it covers all.

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
    known = kept = len(sizes)
    taken = 0
    while kept > 1 and sizes[kept - 1] <= 2 * (len(rows) + taken):
        kept -= 1
        taken += sizes[kept]
    if sizes[0] <= sum(sizes[1:]) + len(rows):
        kept = 0
    new = _trained(snapshot, record).part(snapshot.vectors(rows))
    if kept < known:
        opened = [open_part(snapshot, record, number, mapped=False) for number in range(kept, known)]
        opened[0][0].join([*(part for part, _ in opened[1:]), new])
        new, rows = opened[0][0], np.concatenate([*(theirs for _, theirs in opened), rows])
    parts = {
        role: file for role, file in record.files.items() if role == TRAINED or int(role.partition(".")[2] or 0) < kept
    }
    parts |= write_part(files, kept, new, rows)
    properties = record.properties | coverage(snapshot)
    properties |= {"parts": [*sizes[:kept], len(rows)], "spans": [*record.properties["spans"][:kept], span(rows)]}
    extended = ArtefactRecord(NAME, record.kind, snapshot.version, parts, properties)
    if sum(properties["parts"]) > (1 + GROWTH) * properties["measured_rows"]:
        extended = _measured(snapshot, extended)
    return files.put_artefacts(snapshot.version, index=[extended], instead_of=snapshot.manifest.index)


def _trained(snapshot: Snapshot, record: ArtefactRecord) -> ApproximateIndex:
    """The index without its vectors. One that an earlier release built has no such file: then it is read whole."""
    if TRAINED not in record.files:
        return open_part(snapshot, record, 0, mapped=True)[0]
    return ApproximateIndex.open(snapshot.checked(record.files[TRAINED]), record.properties, mapped=False)


def _measured(snapshot: Snapshot, record: ArtefactRecord) -> ArtefactRecord:
    """What the index gives now: among more neighbours its codes tell fewer apart."""
    opened = [open_part(snapshot, record, number, mapped=False) for number in range(len(record.properties["parts"]))]
    index, rows = opened[0][0], np.concatenate([theirs for _, theirs in opened])
    index.join([part for part, _ in opened[1:]])
    live = snapshot.locate(rows)[0] >= 0
    if live.all():
        measured = index.measured_again(snapshot.vectors(rows))
    else:
        vectors = np.full((len(rows), snapshot.dim), np.nan, np.float32)
        vectors[live] = snapshot.vectors(rows[live])
        measured = index.measured_again(vectors, live=live)
    return replace(record, properties=record.properties | measured.properties() | {"measured_rows": len(rows)})
