"""Building, saving and opening the index of a snapshot."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import ConfigInvalid, StorageError
from latentstore.index import ApproximateIndex, choose_kind
from latentstore.storage import ArtefactRecord

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64

    from latentstore.storage import Manifest, Snapshot, SpaceFiles
    from latentstore.types import Array

NAME = "index"


@dataclass(frozen=True)
class IndexPart:
    """An index with the rows it covers.

    Attributes:
        index: The structure; its positions are positions in `rows`.
        rows: Row numbers, ascending, int64 (n,).
        covers: Every row below this number is in the index, or was dead when it was built.
        alive: Which of `rows` are not deleted, None when all.
    """

    index: ApproximateIndex
    rows: Int64[Array, " n"]
    covers: int
    alive: Bool[Array, " n"] | None


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
    properties = {"kind": chosen, "next_row": snapshot.manifest.next_row, "rows": len(rows), "wanted": kind}
    if chosen == "flat" or len(rows) < 2:
        record = ArtefactRecord(NAME, "flat", snapshot.version, {}, properties)
        return files.put_artefacts(snapshot.version, index=[record])
    built = ApproximateIndex.build(
        snapshot.vectors(rows), snapshot.metric, chosen, target_recall=target_recall, seed=seed
    )
    table = io.BytesIO()
    np.save(table, rows, allow_pickle=False)
    written = {
        "faiss": files.write("index", ".faiss", built.to_bytes().data),
        "rows": files.write("index", ".rows.npy", table.getbuffer()),
    }
    record = ArtefactRecord(NAME, chosen, snapshot.version, written, properties | built.properties())
    return files.put_artefacts(snapshot.version, index=[record])


def current_index(snapshot: Snapshot) -> ArtefactRecord | None:
    """The index that speaks of this snapshot's rows; None when there is none, or dead rows came back since."""
    record = next((r for r in snapshot.manifest.index if r.name == NAME), None)
    return record if record and record.version >= snapshot.manifest.revived_version else None


def open_index(snapshot: Snapshot) -> IndexPart | None:
    """Open a snapshot's index, its checksum verified before FAISS parses it; None when there is none.

    Raises:
        ChecksumMismatch: The file is not the one that was written.
    """
    record = current_index(snapshot)
    if record is None or record.kind == "flat":
        return None
    rows = np.load(io.BytesIO(snapshot.read(record.files["rows"])), allow_pickle=False)
    index = ApproximateIndex.from_bytes(snapshot.read(record.files["faiss"]), record.properties)
    if len(rows) != len(index):
        raise StorageError(f"the index holds {len(index)} vectors for {len(rows)} rows; build the index again")
    alive = snapshot.locate(rows)[0] >= 0
    return IndexPart(index, rows, int(record.properties["next_row"]), None if alive.all() else alive)
