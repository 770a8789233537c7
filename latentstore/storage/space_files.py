"""One space's folder: every change of it, each one new version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from latentstore.errors import ConfigInvalid
from latentstore.storage import artefacts, bulk, files, staged_rows, staging
from latentstore.storage import rows as changes
from latentstore.storage.changed_rows import ChangedRows
from latentstore.storage.hashing import check_ids
from latentstore.storage.manifest import ArtefactKind, ArtefactRecord, FileRecord, Json, Manifest
from latentstore.storage.rows import KEEP, Append, OnExisting
from latentstore.storage.sources import Source, open_source
from latentstore.storage.staging import StagedSegment
from latentstore.storage.writing import Scratch


class Staged(TypedDict, total=False):
    """How rows are staged.

    Attributes:
        key: Keep them findable under this name until they are appended or cleared.
        encoder: Fingerprint the vectors come from; `append` refuses them in a space of another.
        dim: Given when they are to replace all rows, columns and width included.
        properties: JSON kept with a key.
    """

    key: str | None
    encoder: str | None
    dim: int | None
    properties: Mapping[str, Json] | None


class SpaceFiles(ChangedRows):
    """The files of one embedding space.

    Args:
        folder: The space's folder.
        mode: "r" never writes.

    Raises:
        UnknownSpace: The folder holds no space.
    """

    # Rows

    def stage(self, ids: Sequence[str], vectors: Any, metadata: Any = None, **how: Unpack[Staged]) -> StagedSegment:
        """Write rows durably without making them visible; `append` does that.

        Args:
            ids: Non-empty, each once; n of them.
            vectors: Shape (n, d).
            metadata: A table of n rows, or what `pyarrow.table` reads, or None.
            how: See `Staged`.

        Raises:
            InputError: Ids, vectors or metadata that do not fit; see the message.
        """
        return self.stage_parts(ids, [(vectors, metadata)], **how)

    def stage_parts(self, ids: Sequence[str], parts: Iterable[tuple[Any, Any]], **how: Unpack[Staged]) -> StagedSegment:
        """`stage`, of rows that come bit by bit: each part is written when it is there.

        Args:
            ids: Of all rows, n of them.
            parts: Vectors (m, d) and metadata of m rows, in the order of `ids`; one at least, of the same columns.
            how: See `Staged`.

        Raises:
            InputError: As `stage`; nothing of what was written stays.
        """
        self._writable()
        key = how.get("key")
        with Scratch(self.layout) as scratch:
            staged = replace(
                staged_rows.stage(self.snapshot(), scratch, check_ids(ids), parts, how.get("dim")),
                encoder=how.get("encoder"),
                key=key,
                properties=dict(how.get("properties") or {}),
            )
            with files.storing(self.layout.segments):
                files.sync_folder(self.layout.segments)
                if key is not None and staged.record is not None:
                    staging.keep(staged)
        return staged

    def append(
        self,
        staged: Sequence[StagedSegment],
        *,
        on_existing: OnExisting = "refuse",
        delete_ids: Sequence[str] = (),
        replace_all: bool = False,
        based_on: int | None = None,
        encoder: str | None = KEEP,
        source: dict[str, Json] | None = KEEP,
        update: tuple[Sequence[str], Any] | None = None,
        operation: str = "add",
    ) -> Manifest:
        """Commit staged segments, the replacement, update and deletion of rows that exist as one version.

        Args:
            staged: From `stage`. Their staging keys are cleared when they are committed.
            on_existing: "refuse" ids that are taken, or "replace" their rows.
            delete_ids: Ids to delete as well.
            replace_all: Drop every earlier row, the metadata columns and index, concepts and maps.
            based_on: The version that `replace_all` or a change of `encoder` is based on, the newest by default.
            encoder: A new fingerprint; needs `replace_all` unless the space is empty.
            source: Which dataset the items came from.
            update: Ids whose metadata changes as well, and their new values: see `update`.
            operation: What the log says.

        Returns:
            The new version's manifest; the newest one when there was nothing to do.

        Raises:
            AlreadyExists: Ids are taken and `on_existing` refuses.
            UnknownItem: An id of `delete_ids` is not there.
            SpaceMismatch: Vectors of another encoder or width.
            CommitConflict: Rows changed since `based_on`.
        """
        self._writable()
        if on_existing not in ("refuse", "replace"):
            raise ConfigInvalid(f"on_existing is {on_existing!r}; use 'refuse' or 'replace'")
        based_on = self.newest_version() if based_on is None else based_on
        with files.storing(self.layout.segments):
            for one in staged:
                one.renew()
        request = Append(staged, on_existing, check_ids(delete_ids), replace_all, based_on, encoder, source, update)
        with Scratch(self.layout) as scratch:
            manifest = self._commit_rows(request.apply, operation, scratch)
        for one in staged:
            staging.forget(one)
        return manifest

    def add(
        self,
        ids: Sequence[str],
        vectors: Any,
        metadata: Any = None,
        *,
        on_existing: OnExisting = "refuse",
        made_for: str | None = KEEP,
    ) -> Manifest:
        """`stage` and `append` in one; nothing of it stays when it fails.

        Args:
            ids, vectors, metadata: As `stage`.
            on_existing: As `append`.
            made_for: The encoder that the space had when the vectors were made; by default the one it has now.

        Raises:
            AlreadyExists: Ids are taken and `on_existing` refuses.
            SpaceMismatch: The space has another encoder by now.
            InputError: Ids, vectors or metadata that do not fit; see the message.
        """
        self._writable()
        ids = check_ids(ids)
        base, free_in = self.snapshot(), None
        if on_existing == "refuse":  # before anything is written
            changes.refuse_taken(ids, base)
            free_in = base.version
        with Scratch(self.layout) as scratch:
            staged = staged_rows.stage_side_by_side(base, scratch, ids, vectors, metadata)
            operation = "add" if on_existing == "refuse" else "upsert"
            made_for = base.encoder if made_for is KEEP else made_for
            request = Append(staged, on_existing, free_in=free_in, made_for=made_for)
            return self._commit_rows(request.apply, operation, scratch)

    def upsert(self, ids: Sequence[str], vectors: Any, metadata: Any = None) -> Manifest:
        """Add items, replacing those whose ids exist: the old row dies, a new one is appended."""
        return self.add(ids, vectors, metadata, on_existing="replace")

    def add_source(
        self,
        source: Any,
        *,
        on_existing: OnExisting = "refuse",
        id_column: str = "id",
        vector_column: str = "vector",
        operation: str | None = None,
        made_for: str | None = KEEP,
    ) -> Manifest:
        """Add all rows of a source in one version, in bounded memory; nothing of it stays when it fails.

        Args:
            source: As `sources.open_source`, or what that returned.
            on_existing: "refuse" ids that are taken, or "replace" their rows.
            id_column, vector_column: Which of its columns are ids and vectors; the others are metadata.
            operation: What the log says; "add" or "upsert" by default.
            made_for: As `add`.

        Raises:
            AlreadyExists: Ids are taken and `on_existing` refuses.
            SpaceMismatch: The source names another encoder, or the space has another by now.
            InputError: Rows that do not fit; the message names file and row.
        """
        self._writable()
        opened = source if isinstance(source, Source) else open_source(source, id_column, vector_column)
        refuse = on_existing == "refuse"
        with Scratch(self.layout) as scratch:
            base = self.snapshot()
            staged = bulk.stage(base, scratch, opened, refuse_taken=refuse)
            request = Append(staged, on_existing, made_for=base.encoder if made_for is KEEP else made_for)
            return self._commit_rows(request.apply, operation or ("add" if refuse else "upsert"), scratch)

    # Staging

    def staged(self, key: str) -> list[StagedSegment]:
        """What is staged under a key, whole and not yet committed, oldest first; damaged segments are dropped."""
        found = staging.whole(self.layout, key, drop_damaged=self.mode == "rw")
        return staging.uncommitted(found, self._log) if found else []

    def staging_keys(self) -> list[str]:
        """Keys under which something is staged."""
        return staging.keys(self.layout)

    def clear_staging(self, key: str) -> None:
        """Forget what is staged under a key and remove its files."""
        self._writable()
        for one in self.staged(key):
            files.discard(one.paths())
        staging.clear(self.layout, key)

    # Derived artefacts

    def new_file(self, kind: ArtefactKind, suffix: str) -> Path:
        """A fresh path for a file of an artefact; write it, then `record` it."""
        self._writable()
        return self.layout.new(kind, suffix)

    def record(self, path: Path) -> FileRecord:
        """Make a file written at `new_file` durable and describe it."""
        return artefacts.record(self.layout, path)

    def write(self, kind: ArtefactKind, suffix: str, content: Any) -> FileRecord:
        """Write a buffer as a new file of an artefact, durably."""
        self._writable()
        return artefacts.write(self.layout, kind, suffix, content)

    def put_artefacts(
        self,
        version: int,
        *,
        index: Sequence[ArtefactRecord] | None = None,
        concepts: Sequence[ArtefactRecord] = (),
        maps: Sequence[ArtefactRecord] = (),
        remove: Sequence[tuple[ArtefactKind, str]] = (),
        allow_stale: bool = False,
        instead_of: Sequence[ArtefactRecord] | None = None,
        operation: str = "artefacts",
    ) -> Manifest:
        """Commit artefacts computed from `version`.

        Args:
            version: Whose rows they were computed from.
            index: The whole list of index parts, or None to leave it. An index covers row ranges, so rows added or
                deleted meanwhile do not matter.
            concepts, maps: Replace those of the same name, the others stay.
            remove: (kind, name) of artefacts to drop.
            allow_stale: Commit concepts and maps even if rows changed since; their record names `version`.
            instead_of: The parts that `index` was made from; a conflict if others are there by now.
            operation: What the log says.

        Raises:
            CommitConflict: Rows changed since `version`, in a way that matters to what is put.
        """
        put = artefacts.Put(version, index, tuple(concepts), tuple(maps), tuple(remove), allow_stale, instead_of)
        return self.commit(lambda base: put.apply(base.manifest), operation=operation)
