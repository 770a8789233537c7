"""Building, extending, saving and opening the index of a snapshot.

An index is one artefact of several parts: what was built, and what was added since with the same trained quantisers.
Parts are merged like segments: a new one takes along those before it that are not larger than twice what it has so far,
so that n rows have O(log n) parts and each row is written O(log n) times, however the rows came.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ConfigInvalid, NotSupported, StorageError
from latentstore.index import ApproximateIndex, Mask, choose_kind
from latentstore.storage import ArtefactRecord
from latentstore.types import ends_missing

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.storage import Manifest, Snapshot, SpaceFiles
    from latentstore.types import Array

NAME = "index"
GROWTH = 0.1  # of an index since its recall was measured, after which it is measured again


@dataclass(frozen=True)
class IndexPart:
    """An index with the rows it covers.

    Attributes:
        index: The structure; its positions are positions in `rows`.
        rows: Row numbers, ascending, int64 (n,).
        covers: Every row below this number is in the index, or was dead when it was built.
        alive: Which of `rows` are not deleted, None when all.
        record: What the manifest says of it.
    """

    index: ApproximateIndex
    rows: Int64[Array, " n"]
    covers: int
    alive: Mask | None
    record: ArtefactRecord

    @cached_property
    def first_row(self) -> int | None:
        """The first of `rows` that follow each other; None where there are gaps."""
        return _span(self.rows) if len(self.rows) else None

    def rows_at(self, positions: Int64[Array, "m c"]) -> Int64[Array, "m c"]:
        """Row numbers of positions in the index; those of a query end with −1 where there are too few."""
        rows = self.rows[positions] if self.first_row is None else positions + self.first_row
        if ends_missing(positions):
            rows[positions < 0] = -1
        return rows


def build_index(
    files: SpaceFiles, snapshot: Snapshot, kind: str = "auto", *, target_recall: float = 0.98, seed: int = 0
) -> Manifest:
    """Build an index over the live rows of a snapshot and publish it as a new version.

    Args:
        files: The space's files.
        snapshot: What is indexed.
        kind: "auto" (by size), "flat" (none: exact scans), "ivf" or "hnsw".
        target_recall: Wanted recall@10, in (0, 1).
        seed: Chooses training sample and tuning queries.

    Raises:
        ConfigInvalid: Unknown kind, or a recall outside (0, 1).
    """
    if not 0 < target_recall < 1:
        raise ConfigInvalid(
            f"target_recall is {target_recall}; choose a number between 0 and 1, or kind='flat' for 1.0"
        )
    chosen = choose_kind(kind, len(snapshot), snapshot.dim)
    rows = snapshot.live_rows()
    properties = {"kind": chosen, "wanted": kind, **_coverage(snapshot)}
    if chosen == "flat" or len(rows) < 2:
        record = ArtefactRecord(NAME, "flat", snapshot.version, {}, properties)
        return files.put_artefacts(snapshot.version, index=[record])
    built = ApproximateIndex.build(
        snapshot.vectors(rows), snapshot.metric, chosen, target_recall=target_recall, seed=seed
    )
    properties |= built.properties() | {
        "parts": [len(rows)],
        "spans": [_span(rows)],
        "built_rows": len(rows),
        "measured_rows": len(rows),
    }
    record = ArtefactRecord(NAME, chosen, snapshot.version, _write(files, 0, built, rows), properties)
    return files.put_artefacts(snapshot.version, index=[record])


def extend_index(files: SpaceFiles, snapshot: Snapshot) -> Manifest | None:
    """Add the rows that the index does not cover, without training again; None when it covers all.

    Raises:
        NotSupported: There is no index that can grow: only an ivf can.
    """
    record = current_index(snapshot)
    if record is None or record.kind != "ivf":
        raise NotSupported(
            f"space {snapshot.manifest.space!r} has {'no index' if record is None else f'a {record.kind} index'}, "
            "which cannot be extended; run build_index()"
        )
    rows = snapshot.live_rows()
    rows = rows[rows >= int(record.properties["next_row"])]
    if not len(rows):
        return None
    known = len(record.properties["parts"])
    kept, taken = known, 0
    while kept > 1 and record.properties["parts"][kept - 1] <= 2 * (len(rows) + taken):
        kept -= 1
        taken += record.properties["parts"][kept]
    opened = [_open_part(snapshot, record, number, mapped=False) for number in (0, *range(kept, known))]
    new = opened[0][0].part(snapshot.vectors(rows))
    if kept < known:
        merged = opened[1][0]
        merged.join([*(part for part, _ in opened[2:]), new])
        new, rows = merged, np.concatenate([*(theirs for _, theirs in opened[1:]), rows])
    parts = {role: file for role, file in record.files.items() if int(role.partition(".")[2] or 0) < kept}
    parts |= _write(files, kept, new, rows)
    sizes, spans = record.properties["parts"][:kept], record.properties["spans"][:kept]
    properties = (
        record.properties | _coverage(snapshot) | {"parts": [*sizes, len(rows)], "spans": [*spans, _span(rows)]}
    )
    extended = ArtefactRecord(NAME, record.kind, snapshot.version, parts, properties)
    if sum(properties["parts"]) > (1 + GROWTH) * properties["measured_rows"]:
        extended = _measured(snapshot, extended)
    return files.put_artefacts(snapshot.version, index=[extended])


def _measured(snapshot: Snapshot, record: ArtefactRecord) -> ArtefactRecord:
    """What the index gives now: among more neighbours its codes tell fewer apart."""
    index, rows = _open(snapshot, record)
    live = snapshot.locate(rows)[0] >= 0
    vectors = np.full((len(rows), snapshot.dim), np.nan, np.float32)
    vectors[live] = snapshot.vectors(rows[live])
    measured = index.measured(vectors, live=live).properties()
    return replace(record, properties=record.properties | measured | {"measured_rows": len(rows)})


def current_index(snapshot: Snapshot) -> ArtefactRecord | None:
    """The index that speaks of this snapshot's rows; None when there is none, or dead rows came back since."""
    record = next((r for r in snapshot.manifest.index if r.name == NAME), None)
    return record if record and record.version >= snapshot.manifest.revived_version else None


def open_index(snapshot: Snapshot, earlier: IndexPart | None = None) -> IndexPart | None:
    """Open a snapshot's index, its checksum verified before FAISS parses it; None when there is none.

    Args:
        snapshot: Whose.
        earlier: An index that is open already; used again if it is this one.

    Raises:
        ChecksumMismatch: The file is not the one that was written.
    """
    record = current_index(snapshot)
    if record is None or record.kind == "flat":
        return None
    same = earlier is not None and earlier.record == record
    index, rows = (earlier.index, earlier.rows) if earlier is not None and same else _open(snapshot, record)
    covers = int(record.properties["next_row"])
    return IndexPart(index, rows, covers, _alive(snapshot, rows, covers), record)


def _open(snapshot: Snapshot, record: ArtefactRecord) -> tuple[ApproximateIndex, Int64[Array, " n"]]:
    count = len(record.properties["parts"])
    opened = [_open_part(snapshot, record, number, mapped=count == 1) for number in range(count)]
    if count == 1:
        return opened[0]
    index = opened[0][0]
    index.join([part for part, _ in opened[1:]])
    return index, np.concatenate([theirs for _, theirs in opened])


def _alive(snapshot: Snapshot, rows: Int64[Array, " n"], covers: int) -> Mask | None:
    """All live rows below `covers` are in the index: it holds a dead one only if it holds more rows than they are."""
    beyond = sum(
        int((s.rows[s.live_positions()] >= covers).sum()) for s in snapshot.segments if s.record.end_row > covers
    )
    return None if len(snapshot) - beyond == len(rows) else Mask(snapshot.locate(rows)[0] >= 0)


def _coverage(snapshot: Snapshot) -> dict[str, Any]:
    return {"next_row": snapshot.manifest.next_row, "rows": len(snapshot)}


def _write(files: SpaceFiles, number: int, index: ApproximateIndex, rows: Int64[Array, " n"]) -> dict[str, Any]:
    """Files of one part, by role: "faiss" and "rows" of what was built, then "faiss.1", "rows.1", …

    Rows without a gap, as they are when nothing was deleted, need no file: its first row stands in the properties.
    """
    suffix = f".{number}" if number else ""
    written = {f"faiss{suffix}": files.write("index", ".faiss", index.to_bytes().data)}
    if _span(rows) is None:
        table = io.BytesIO()
        np.save(table, rows, allow_pickle=False)
        written[f"rows{suffix}"] = files.write("index", ".rows.npy", table.getbuffer())
    return written


def _span(rows: Int64[Array, " n"]) -> int | None:
    """The first of rows that follow each other; None where there are gaps."""
    return int(rows[0]) if rows[-1] - rows[0] + 1 == len(rows) else None


def _open_part(
    snapshot: Snapshot, record: ArtefactRecord, number: int, *, mapped: bool
) -> tuple[ApproximateIndex, Int64[Array, " n"]]:
    suffix, first = f".{number}" if number else "", record.properties["spans"][number]
    path = snapshot.checked(record.files[f"faiss{suffix}"])
    index = ApproximateIndex.open(path, record.properties, mapped=mapped)
    if first is not None:
        return index, np.arange(first, first + len(index), dtype=np.int64)
    rows = np.load(io.BytesIO(snapshot.read(record.files[f"rows{suffix}"])), allow_pickle=False)
    if len(rows) != len(index):
        raise StorageError(f"the index holds {len(index)} vectors for {len(rows)} rows; build the index again")
    return index, rows
