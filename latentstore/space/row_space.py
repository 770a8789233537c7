"""The rows of one snapshot: what a space is, adding, changing, deleting and reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Self

from latentstore.errors import ConfigInvalid, suggest
from latentstore.space import rows
from latentstore.space.search import Searcher

if TYPE_CHECKING:
    import pyarrow as pa
    from jaxtyping import Int64

    from latentstore.storage import Manifest, Snapshot, SpaceFiles
    from latentstore.types import Array, Metric


class RowSpace:
    """Rows with ids, vectors and metadata.

    Reads see one snapshot until `refresh()` or a write through this object moves it on; a space opened with `at`
    stays where it is and refuses writes.

    Attributes:
        files: The space's files (storage room).
        at: The version or tag it was opened at; None follows its own writes.
    """

    def __init__(self, files: SpaceFiles, *, at: int | str | None = None) -> None:
        self.files = files
        self.at = at
        self._view = self._viewed(files.snapshot(None if at is None else files.resolve(at)), None)

    def _viewed(self, snapshot: Snapshot, previous: Searcher | None) -> Searcher:
        """What reads of a snapshot need; replaced as a whole, so that no read sees two versions."""
        return Searcher(snapshot, previous)

    # What it is

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that reads see."""
        return self._view.snapshot

    @property
    def name(self) -> str:
        """Name of the space."""
        return self.snapshot.manifest.space

    @property
    def version(self) -> int:
        """Version of the snapshot."""
        return self.snapshot.version

    @property
    def dim(self) -> int:
        """Width d of the latents."""
        return self.snapshot.dim

    @property
    def metric(self) -> Metric:
        """l2, cosine or ip."""
        return self.snapshot.metric

    @property
    def fingerprint(self) -> str | None:
        """The encoder's fingerprint; None for ready vectors."""
        return self.snapshot.encoder

    @property
    def identity(self) -> tuple[str, int]:
        """What latents must share to mix: the encoder (or, without one, the space itself) and the width."""
        return (self.fingerprint or str(self.files.folder.resolve()), self.dim)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the metadata columns."""
        return tuple(self.snapshot.column_types)

    def __len__(self) -> int:
        return len(self.snapshot)

    def __repr__(self) -> str:
        size = f"{len(self)} items, d={self.dim}, {self.metric}"
        return f"{type(self).__name__}({self.name!r}, version {self.version}, {size})"

    def refresh(self) -> Self:
        """Move on to the newest version (a no-op for a space opened with `at`); returns itself."""
        if self.at is None and self.files.newest_version() != self.version:
            self._view = self._viewed(self.files.snapshot(), self._view)
        return self

    def opened_at(self, version: int | str) -> Self:
        """The space at a version or tag, to read; what both have in common, as an index, is not opened again.

        Raises:
            UnknownVersion: No such version or tag (any more).
        """
        other = copy(self)
        other.at = version
        other._view = other._viewed(self.files.snapshot(self.files.resolve(version)), self._view)
        return other

    def _written(self, manifest: Manifest | None) -> int:
        """After a write: move to the version it made."""
        self.refresh()
        return manifest.version if manifest else self.version

    def _added(self, manifest: Manifest) -> int:
        """After rows were added; returns the version to read."""
        return self._written(manifest)

    # Rows

    def add(
        self,
        ids: Any,
        vectors: Any = None,
        metadata: Any = None,
        *,
        encoder: str | None = None,
        id_column: str = "id",
        vector_column: str = "vector",
    ) -> int:
        """Append new rows, all or none, in one commit.

        Args:
            ids: n new ids, non-empty strings, with `vectors`. Or, alone, what holds ids, vectors and metadata as
                columns: an Arrow table or stream, a pandas or polars data frame (anything with `__arrow_c_stream__`),
                or the path of a Parquet file, of a folder of them, or a glob. It is read batch by batch and may be
                larger than memory.
            vectors: Shape (n, d).
            metadata: n rows of further columns; columns that the space has not are new, and null in earlier rows.
            encoder: Fingerprint of the encoder that made the vectors, checked against the space's. A source may name
                it itself, as `iterate` does.
            id_column, vector_column: Which columns of a source are the id and the vector.

        Returns:
            The version that has them, durable.

        Raises:
            AlreadyExists: An id is taken; `upsert` replaces.
            ShapeMismatch, NotFinite, InputError: Vectors, ids or metadata that do not fit.
            SpaceMismatch: Another encoder.
        """
        source = rows.Given(ids, vectors, metadata, encoder, id_column, vector_column)
        return self._added(rows.write(self, source, replace=False))

    def upsert(
        self,
        ids: Any,
        vectors: Any = None,
        metadata: Any = None,
        *,
        encoder: str | None = None,
        id_column: str = "id",
        vector_column: str = "vector",
    ) -> int:
        """Append rows, replacing those whose id exists; otherwise as `add`."""
        source = rows.Given(ids, vectors, metadata, encoder, id_column, vector_column)
        return self._added(rows.write(self, source, replace=True))

    def update(self, ids: str | Sequence[str] | None = None, values: Any = None, *, where: str | None = None) -> int:
        """Change metadata, in one commit; vectors, row numbers and so index and maps stay as they are.

        Args:
            ids: Which items. Either these or `where`.
            values: A table of one row per id, or a mapping from column to one value for all (a list as that value:
                `pyarrow.scalar([…])`) or to one per id. Columns not named stay as they are.
            where: A predicate instead of ids, asked of the newest version.

        Returns:
            The version with the new values.

        Raises:
            UnknownItem: An id is not there; nothing is changed.
            InputError: An unknown column, or a value that does not fit its type.
        """
        return self._written(rows.update(self, ids, values, where))

    def delete(self, ids: str | Sequence[str] | None = None, *, where: str | None = None) -> int:
        """Delete rows by id or by predicate, which is asked of the newest version; returns the version without them.

        Raises:
            UnknownItem: An id is not there; nothing is deleted.
        """
        return self._written(rows.delete(self, ids, where))

    def add_column(self, name: str, type: pa.DataType | str | None = None, default: Any = None) -> int:  # noqa: A002
        """Add a metadata column; only the manifest is written.

        Args:
            name: Not taken.
            type: An Arrow type or its name: "int64", "double", "string", "bool", "timestamp[us]"; by default the
                default's.
            default: What the rows have that are there, and those added later without the column; None for null.

        Raises:
            AlreadyExists: The name is taken.
            InputError: A type no column can have, or a default that does not fit it.
        """
        rows.check_writable(self)
        return self._written(self.files.add_column(name, type, default))

    def rename_column(self, name: str, new: str) -> int:
        """Rename a metadata column; only the manifest is written. Concepts fitted to it keep the old name."""
        rows.check_writable(self)
        return self._written(self.files.rename_column(name, new))

    def drop_column(self, name: str) -> int:
        """Drop a metadata column; only the manifest is written, and older versions still have it."""
        rows.check_writable(self)
        return self._written(self.files.drop_column(name))

    def get(self, ids: str | Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of ids, in that order: id, metadata columns (all unless named), vector.

        Raises:
            UnknownItem: An id is not there.
        """
        return rows.get(self, ids, columns)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All live rows: id, metadata columns (all unless named), vector."""
        return rows.get(self, self.snapshot.ids(self.snapshot.live_rows()).tolist(), columns)

    def iterate(
        self, columns: Sequence[str] | None = None, *, where: str | None = None, batch_rows: int = 65_536
    ) -> Iterator[pa.RecordBatch]:
        """Live rows in row order, in bounded memory; the snapshot stays the same however long it takes.

        Args:
            columns: Which of id, row, vector and the metadata; None for id, all metadata and vector.
            where: Only rows that satisfy this predicate.
            batch_rows: Most rows of a batch, ≥ 1.

        Returns:
            Batches whose schema names the encoder, so that `add` of them into another space is refused.
        """
        return rows.iterate(self, columns, where, batch_rows)

    def rows_of(self, ids: Sequence[str]) -> Int64[Array, " n"]:
        """Row numbers of ids; UnknownItem names those that are not there."""
        return rows.rows_of(self, ids)

    def matching(self, where: str) -> Int64[Array, " r"]:
        """Row numbers of the live rows that satisfy a predicate, ascending."""
        return self._view.matching(where)

    def check_columns(self, names: Sequence[str]) -> None:
        """Refuse names that are not metadata columns, or are given twice."""
        for name in names:
            if list(names).count(name) > 1:
                raise ConfigInvalid(f"column {name!r} is named twice; name it once")
            if name not in self.columns:
                raise ConfigInvalid(f"space {self.name!r} has no column {name!r}; {suggest(name, self.columns)}")
