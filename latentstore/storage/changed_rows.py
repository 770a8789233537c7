"""Changes of rows that are there: delete, update, columns, compaction; each one new version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from latentstore.errors import InputError
from latentstore.storage import evolution, files
from latentstore.storage import rows as changes
from latentstore.storage.care import CaredVersions
from latentstore.storage.hashing import check_ids
from latentstore.storage.manifest import Manifest
from latentstore.storage.snapshot import Snapshot
from latentstore.storage.tiers import Merges
from latentstore.storage.writing import Scratch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64

    # Rows, or what chooses them: it is asked of the newest snapshot, and again after a lost race.
    Rows: TypeAlias = Int64[Array, " m"] | Callable[[Snapshot], Int64[Array, " m"]]


class ChangedRows(CaredVersions):
    """The versions of a space, and changes of the rows they hold."""

    def delete(self, ids: Sequence[str] = (), *, rows: Rows | None = None) -> Manifest:
        """Delete items, by id or by absolute row.

        Args:
            ids: Each once.
            rows: Absolute rows (m,), each once, or what chooses them from a snapshot.

        Raises:
            UnknownItem: An id or a row is not there.
        """
        listed = check_ids(ids)

        def change(base: Snapshot, scratch: Scratch) -> Manifest:
            dead = changes.existing_rows(base, listed)
            return changes.without(base, np.union1d(dead, _chosen(base, rows)), scratch)

        with Scratch(self.layout) as scratch:
            return self._commit_rows(change, "delete", scratch)

    def update(self, ids: Sequence[str] = (), values: Any = None, *, rows: Rows | None = None) -> Manifest:
        """Change metadata of items, by id or by absolute row; their rows, vectors and row numbers stay.

        A lost race is repeated on the newest version, so that updates of different columns of one row both hold.

        Args:
            ids: Each once. Either these or `rows`.
            values: New values, one row per id or row in their order, or one for all: see `evolution.fit_values`.
            rows: Absolute rows (m,), each once, or what chooses them from a snapshot.

        Raises:
            UnknownItem: An id or a row is not there.
            InputError: An unknown column, or a value that does not fit it.
        """
        listed = check_ids(ids)
        if listed and rows is not None:
            raise InputError("update needs either ids or rows, not both")

        def change(base: Snapshot, scratch: Scratch) -> Manifest:
            chosen = changes.existing_rows(base, listed) if rows is None else _chosen(base, rows)
            changes.check_live(base, chosen)
            return evolution.updated(base, chosen, values, scratch)

        with Scratch(self.layout) as scratch:
            return self._commit_rows(change, "update", scratch)

    def add_column(self, name: str, kind: pa.DataType | str | None = None, default: Any = None) -> Manifest:
        """Add a metadata column; no file is written but the manifest: see `evolution.with_column`."""
        return self.commit(
            lambda base: evolution.with_column(base.manifest, name, kind, default), operation=f"add column {name}"
        )

    def rename_column(self, name: str, new: str) -> Manifest:
        """Rename a metadata column; no file is written but the manifest: see `evolution.with_renamed`."""
        return self.commit(
            lambda base: evolution.with_renamed(base.manifest, name, new), operation=f"rename column {name}"
        )

    def drop_column(self, name: str) -> Manifest:
        """Drop a metadata column; no file is written but the manifest: see `evolution.without_column`."""
        return self.commit(lambda base: evolution.without_column(base.manifest, name), operation=f"drop column {name}")

    def _commit_rows(
        self,
        change: Callable[[Snapshot, Scratch], Manifest],
        operation: str,
        scratch: Scratch,
        *,
        compact: bool = False,
    ) -> Manifest:
        """Commit a change of rows, and merge segments in the same commit."""
        merges = Merges(scratch, everything=compact)

        def merged(base: Snapshot) -> Manifest:
            with files.storing(self.folder):
                wanted = merges.apply(base)
                changed = change(wanted, scratch)
                return base.manifest if changed is wanted.manifest and not compact else changed

        return self.commit(merged, operation=operation, scratch=scratch)

    def compact(self) -> Manifest:
        """Rewrite all live rows as one segment; row numbers stay. Commits nothing when there is nothing to gain."""
        with Scratch(self.layout) as scratch:
            return self._commit_rows(lambda base, _: base.manifest, "compact", scratch, compact=True)


def _chosen(base: Snapshot, rows: Rows | None) -> Int64[Array, " m"]:
    found = np.empty(0, np.int64) if rows is None else rows(base) if callable(rows) else rows
    if len(np.unique(found)) < len(found):
        raise InputError("a row occurs twice in one call; pass each row once")
    return found
