"""Computing index, concepts and maps anew where their files are damaged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from latentstore.errors import LatentStoreError
from latentstore.space.attributes import fit_again
from latentstore.storage import ArtefactRecord, Mended

if TYPE_CHECKING:
    from pathlib import Path

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.storage import ArtefactKind


def rebuild(space: EmbeddingSpace, damaged: Iterable[Path]) -> list[Mended]:
    """Drop the newest version's artefacts that name damaged files, then compute each again from the newest rows.

    What cannot be computed any more (a filter names a column that is gone) stays dropped, and the report says so.
    """
    lost, mended = set(damaged), []
    snapshot = space.snapshot
    kinds: tuple[ArtefactKind, ...] = ("index", "concepts", "maps")
    for kind in kinds:
        for record in snapshot.manifest.artefacts(kind):
            broken = sorted(lost & {space.files.layout.file(file.name) for file in record.files.values()})
            if not broken:
                continue
            _drop(space, kind, record)
            try:
                version = _again(space, kind, record)
                what = f"{kind} {record.name!r} computed anew from the rows, as version {version}"
            except (LatentStoreError, KeyError) as error:
                what = f"{kind} {record.name!r} dropped; it could not be computed anew: {error}"
            mended += [Mended(path, what) for path in broken]
    return mended


def _drop(space: EmbeddingSpace, kind: ArtefactKind, record: ArtefactRecord) -> None:
    """First of all: what computes the others may ask the index."""
    if kind == "index":
        space.files.put_artefacts(space.version, index=[], operation="repair")
    else:
        space.files.put_artefacts(space.version, remove=[(kind, record.name)], operation="repair")
    space.refresh()


def _again(space: EmbeddingSpace, kind: ArtefactKind, record: ArtefactRecord) -> int:
    told = record.properties
    if kind == "index":
        return space.build_index(told.get("wanted", record.kind), target_recall=told.get("target_recall", 0.98))
    if kind == "maps":
        options = {"column": told.get("column"), **told.get("options", {})}
        return space.fit_map(told["method"], dim=told["dim"], seed=told["seed"], name=record.name, **options)
    if record.kind == "centroids":
        return space.fit_centroids(told["column"])
    if record.kind == "mixture":
        return space.fit_mixture(column=told["column"])
    if record.kind == "flow":
        return space.fit_flow(column=told["column"], seed=told["seed"], **told["options"])
    return fit_again(space, record)
