"""Building the index of a snapshot; writing and reading its parts.

An index is one artefact of several parts: what was built, and what was added since with the same trained quantisers
(`growing`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import CommitConflict, ConfigInvalid, StorageError
from latentstore.index import ApproximateIndex, choose_kind
from latentstore.storage import ArtefactRecord
from latentstore.storage.files import discard
from latentstore.types import check_seed

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.storage import Manifest, Snapshot, SpaceFiles
    from latentstore.types import Array

NAME = "index"
FEWEST = 64  # rows, below which there is nothing to train codes on, and nothing to gain
DEAD_SHARE = 0.3  # of the rows of an index, which are skipped but read: from here on it pays to leave them out
TRAINED = "trained"  # the role of the file that holds the index without its vectors


def build_index(
    files: SpaceFiles,
    snapshot: Snapshot,
    kind: str = "auto",
    *,
    target_recall: float = 0.98,
    seed: int = 0,
    instead_of: Sequence[ArtefactRecord] | None = None,
) -> Manifest:
    """Build an index over the live rows of a snapshot and publish it as a new version.

    Args:
        files: The space's files.
        snapshot: What is indexed.
        kind: "auto" (by size), "flat" (none: exact scans), "ivf" or "hnsw".
        target_recall: Wanted recall@10, in (0, 1).
        seed: Chooses training sample and tuning queries.
        instead_of: The index that this one is to follow; whatever index there is by default.

    Raises:
        ConfigInvalid: Unknown kind, or a recall outside (0, 1).
        CommitConflict: Another index than `instead_of` is there by now.
    """
    if not 0 < target_recall < 1:
        raise ConfigInvalid(
            f"target_recall is {target_recall}; choose a number between 0 and 1, or kind='flat' for 1.0"
        )
    check_seed(seed)
    chosen = choose_kind(kind, len(snapshot), snapshot.dim)
    rows = snapshot.live_rows()
    properties = {"kind": chosen, "wanted": kind, **coverage(snapshot)}
    if chosen == "flat" or len(rows) < FEWEST:
        record = ArtefactRecord(NAME, "flat", snapshot.version, {}, properties)
        return files.put_artefacts(snapshot.version, index=[record], instead_of=instead_of)
    built = ApproximateIndex.build(
        snapshot.vectors(rows), snapshot.metric, chosen, target_recall=target_recall, seed=seed
    )
    properties |= built.properties() | {
        "parts": [len(rows)],
        "spans": [span(rows)],
        "built_rows": len(rows),
        "measured_rows": len(rows),
    }
    written = write_part(files, 0, built, rows)
    if chosen == "ivf":
        written |= write_trained(files, built.emptied())
    record = ArtefactRecord(NAME, chosen, snapshot.version, written, properties)
    try:
        return files.put_artefacts(snapshot.version, index=[record], instead_of=instead_of)
    except CommitConflict:
        discard(files.layout.file(file.name) for file in written.values())
        raise


def current_index(manifest: Manifest) -> ArtefactRecord | None:
    """The index that speaks of a version's rows; None when there is none, or dead rows came back since."""
    record = next((r for r in manifest.index if r.name == NAME), None)
    return record if record and record.version >= manifest.revived_version else None


def coverage(snapshot: Snapshot) -> dict[str, Any]:
    """What an artefact's properties say of the rows it was computed from."""
    return {"next_row": snapshot.manifest.next_row, "rows": len(snapshot)}


def write_part(files: SpaceFiles, number: int, index: ApproximateIndex, rows: Int64[Array, " n"]) -> dict[str, Any]:
    """Files of one part, by role: "faiss" and "rows" of what was built, then "faiss.1", "rows.1", …

    Rows without a gap, as they are when nothing was deleted, need no file: its first row stands in the properties.
    """
    suffix = f".{number}" if number else ""
    written = {f"faiss{suffix}": files.write("index", ".faiss", index.to_bytes().data)}
    if span(rows) is None:
        table = io.BytesIO()
        np.save(table, rows, allow_pickle=False)
        written[f"rows{suffix}"] = files.write("index", ".rows.npy", table.getbuffer())
    return written


def write_trained(files: SpaceFiles, empty: ApproximateIndex) -> dict[str, Any]:
    """The file of an index without its vectors, by role."""
    return {TRAINED: files.write("index", ".trained.faiss", empty.to_bytes().data)}


def span(rows: Int64[Array, " n"]) -> int | None:
    """The first of rows that follow each other; None where there are gaps."""
    return int(rows[0]) if rows[-1] - rows[0] + 1 == len(rows) else None


def open_part(
    snapshot: Snapshot, record: ArtefactRecord, number: int, *, mapped: bool
) -> tuple[ApproximateIndex, Int64[Array, " n"]]:
    """One part of an index and its row numbers, its checksum verified before FAISS parses it.

    Raises:
        ChecksumMismatch: The file is not the one that was written.
    """
    suffix, first = f".{number}" if number else "", record.properties["spans"][number]
    path = snapshot.checked(record.files[f"faiss{suffix}"])
    index = ApproximateIndex.open(path, record.properties, mapped=mapped)
    if first is not None:
        return index, np.arange(first, first + len(index), dtype=np.int64)
    rows = np.load(io.BytesIO(snapshot.read(record.files[f"rows{suffix}"])), allow_pickle=False)
    if len(rows) != len(index):
        raise StorageError(f"the index holds {len(index)} vectors for {len(rows)} rows; build the index again")
    return index, rows


def open_parts(
    snapshot: Snapshot, record: ArtefactRecord, first: tuple[ApproximateIndex, Int64[Array, " n"]] | None = None
) -> tuple[ApproximateIndex, ApproximateIndex, Int64[Array, " n"]]:
    """What was built, all parts as one index, and the row numbers of all.

    Args:
        snapshot: Whose.
        record: The index.
        first: The first part and its rows, where it is open already; it is not changed.

    Raises:
        ChecksumMismatch: A file is not the one that was written.
    """
    built, rows = first or open_part(snapshot, record, 0, mapped=True)
    if len(record.properties["parts"]) == 1:
        return built, built, rows
    grown = [open_part(snapshot, record, number, mapped=False) for number in range(1, len(record.properties["parts"]))]
    [(beside, _), *others] = grown
    beside.join([part for part, _ in others])
    whole = open_trained(snapshot, record).stacked([built, beside])
    return built, whole, np.concatenate([rows, *(theirs for _, theirs in grown)])


def open_trained(snapshot: Snapshot, record: ArtefactRecord) -> ApproximateIndex:
    """The index without its vectors. One that an earlier release built has no such file: then it is read whole."""
    if TRAINED not in record.files:
        return open_part(snapshot, record, 0, mapped=False)[0].emptied()
    return ApproximateIndex.open(snapshot.checked(record.files[TRAINED]), record.properties, mapped=False)
