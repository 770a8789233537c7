"""How a space stands: what is indexed, what is stale, what to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latentstore.index import choose_kind
from latentstore.space.indexing import DEAD_SHARE, current_index

if TYPE_CHECKING:
    from latentstore.space.vector_space import VectorSpace
    from latentstore.storage import ArtefactRecord

EXTEND_SHARE = 0.01  # unindexed rows are scanned exactly: a hundredth costs about what the index itself does
REBUILD_GROWTH = 2  # times the rows lists were trained and counted for: a search takes 1.4 times too long


@dataclass(frozen=True)
class Artefact:
    """A derived artefact beside the rows it was computed from.

    Attributes:
        room: "index", "concepts" or "maps".
        name: For example "centroids/label".
        version: The version it was computed from.
        added: Rows that came since.
        deleted: Rows that went since.
        outdated: Metadata changed since, which concepts are computed from.
        quality: Of a map, measured when it was fitted (`latentstore.maps.quality`); empty for all else and older maps.
    """

    room: str
    name: str
    version: int
    added: int
    deleted: int
    outdated: bool = False
    quality: dict[str, float] = field(default_factory=dict)

    @property
    def stale(self) -> bool:
        """Whether rows, or what it was computed from of them, changed since."""
        return bool(self.added or self.deleted or self.outdated)


@dataclass(frozen=True)
class Status:
    """State of a space at one version.

    Attributes:
        space: Its name.
        version: The version described.
        rows: Live rows.
        dead: Deleted rows not yet compacted away.
        segments: Files the rows are in.
        dim: Width d.
        metric: l2, cosine or ip.
        encoder: Fingerprint, None for ready vectors.
        tags: Version by tag.
        index: Kind of index, "none" before one was built.
        unindexed: Live rows that every search compares exactly.
        artefacts: Index, concepts and maps with their staleness.
        advice: What to run, and why; empty when nothing pays.
    """

    space: str
    version: int
    rows: int
    dead: int
    segments: int
    dim: int
    metric: str
    encoder: str | None
    tags: dict[str, int]
    index: str
    unindexed: int
    artefacts: tuple[Artefact, ...]
    advice: tuple[str, ...]


def status(space: VectorSpace) -> Status:
    """Take stock of a space's snapshot."""
    manifest = space.snapshot.manifest
    artefacts = tuple(
        _artefact(space, room, record)
        for room, records in (("index", manifest.index), ("concepts", manifest.concepts), ("maps", manifest.maps))
        for record in records
    )
    index = current_index(space.snapshot.manifest)
    kind = index.kind if index else "none"
    unindexed = _unindexed(space, artefacts) if kind not in ("none", "flat") else len(space)
    return Status(
        space=space.name,
        version=space.version,
        rows=len(space),
        dead=sum(segment.dead for segment in manifest.segments),
        segments=len(manifest.segments),
        dim=space.dim,
        metric=space.metric,
        encoder=space.fingerprint,
        tags=space.files.tags(),
        index=kind,
        unindexed=unindexed,
        artefacts=artefacts,
        advice=tuple(_advice(space, kind, unindexed, artefacts)),
    )


def _artefact(space: VectorSpace, room: str, record: ArtefactRecord) -> Artefact:
    """Rows are numbered upwards and never reused: those from `next_row` on were added, what is missing was deleted."""
    then_next, then_rows = int(record.properties["next_row"]), int(record.properties["rows"])
    quality = dict(record.properties.get("quality", {})) if room == "maps" else {}
    if record.version < space.snapshot.manifest.revived_version:
        return Artefact(room, record.name, record.version, len(space), then_rows, quality=quality)
    added = len(space.snapshot.live_rows(then_next))
    outdated = room == "concepts" and record.version < space.snapshot.manifest.metadata_version
    return Artefact(room, record.name, record.version, added, then_rows - (len(space) - added), outdated, quality)


def _unindexed(space: VectorSpace, artefacts: tuple[Artefact, ...]) -> int:
    return next((a.added for a in artefacts if a.room == "index"), len(space))


def _advice(space: VectorSpace, kind: str, unindexed: int, artefacts: tuple[Artefact, ...]) -> list[str]:
    advice = []
    record = current_index(space.snapshot.manifest)
    scans = record is None or (record.kind == "flat" and record.properties.get("wanted") != "flat")
    if scans and choose_kind("auto", len(space), space.dim) != "flat":
        advice.append("no index: every search compares all rows; run build_index()")
    if record is not None and kind == "ivf":
        held, built = sum(record.properties["parts"]), record.properties["built_rows"]
        reached = any(point["recall"] >= record.properties["target_recall"] for point in record.properties["curve"])
        dead = held + unindexed - len(space)
        if not reached:
            advice.append("the index does not reach its target recall, so searches are exact; run build_index()")
        elif len(space) > REBUILD_GROWTH * built or dead > DEAD_SHARE * held:
            advice.append(
                f"the index was built over {built} rows, now there are {len(space)} and {dead} dead ones in it: "
                "run build_index()"
            )
        elif unindexed > EXTEND_SHARE * len(space):
            advice.append(f"{unindexed} of {len(space)} rows are not indexed; run extend_index()")
    elif kind == "hnsw" and unindexed > EXTEND_SHARE * len(space):
        advice.append(f"{unindexed} of {len(space)} rows are not indexed; run build_index()")
    for a in artefacts:
        if a.room != "index" and (a.added or a.deleted):
            advice.append(f"{a.name} misses {a.added} added and keeps {a.deleted} deleted rows; fit it again")
        elif a.outdated:
            advice.append(f"metadata changed since {a.name} was fitted in version {a.version}; fit it again")
    return advice
