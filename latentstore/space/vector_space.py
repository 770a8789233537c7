"""A vector database over one snapshot: rows, search and versions, whatever the vectors mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from latentstore.errors import ConfigInvalid, suggest
from latentstore.space import indexing, rows, search
from latentstore.space.search import Searcher
from latentstore.space.status import Status, status
from latentstore.types import check_vectors

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    import pyarrow as pa
    from jaxtyping import Float32, Int64

    from latentstore.exchange import Exported
    from latentstore.exchange.outgoing import Pictures
    from latentstore.storage import Diff, Manifest, Snapshot, SpaceFiles
    from latentstore.types import Array, Metric, Neighbours


class VectorSpace:
    """Vectors of one width under one metric, with ids and metadata: write, read, search, compare versions.

    Reads see one snapshot until `refresh()` or a write through this object moves it on; a space opened with `at`
    stays where it is and refuses writes.

    Attributes:
        files: The space's files (storage room).
        at: The version or tag it was opened at; None follows its own writes.
    """

    def __init__(self, files: SpaceFiles, *, at: int | str | None = None) -> None:
        self.files = files
        self.at = at
        self._view = self._viewed(files.snapshot(None if at is None else files.resolve(at)))

    def _viewed(self, snapshot: Snapshot) -> Searcher:
        """What reads of a snapshot need; replaced as a whole, so that no read sees two versions."""
        return Searcher(snapshot)

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
            self._view = self._viewed(self.files.snapshot())
        return self

    def _written(self, manifest: Manifest | None) -> int:
        """After a write: move to the version it made."""
        self.refresh()
        return manifest.version if manifest else self.version

    # Rows

    def add(
        self, ids: Sequence[str], vectors: Any, metadata: pa.Table | None = None, *, encoder: str | None = None
    ) -> int:
        """Append new rows, all or none.

        Args:
            ids: n new ids, non-empty strings.
            vectors: Shape (n, d).
            metadata: n rows of further columns.
            encoder: Fingerprint of the encoder that made the vectors, checked against the space's.

        Returns:
            The version that has them, durable.

        Raises:
            AlreadyExists: An id is taken; `upsert` replaces.
            ShapeMismatch, NotFinite, InputError: Vectors, ids or metadata that do not fit.
            SpaceMismatch: Another encoder.
        """
        return self._written(rows.write(self, ids, vectors, metadata, replace=False, encoder=encoder))

    def upsert(
        self, ids: Sequence[str], vectors: Any, metadata: pa.Table | None = None, *, encoder: str | None = None
    ) -> int:
        """Append rows, replacing those whose id exists; otherwise as `add`."""
        return self._written(rows.write(self, ids, vectors, metadata, replace=True, encoder=encoder))

    def delete(self, ids: str | Sequence[str] | None = None, *, where: str | None = None) -> int:
        """Delete rows by id or by predicate; returns the version without them.

        Raises:
            UnknownItem: An id is not there; nothing is deleted.
        """
        return self._written(rows.delete(self, ids, where))

    def get(self, ids: str | Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of ids, in that order: id, metadata columns (all unless named), vector.

        Raises:
            UnknownItem: An id is not there.
        """
        return rows.get(self, ids, columns)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All live rows: id, metadata columns (all unless named), vector."""
        return rows.get(self, self.snapshot.ids(self.snapshot.live_rows()).tolist(), columns)

    def rows_of(self, ids: Sequence[str]) -> Int64[Array, " n"]:
        """Row numbers of ids; UnknownItem names those that are not there."""
        return rows.rows_of(self, ids)

    def matching(self, where: str) -> Int64[Array, " r"]:
        """Row numbers of the live rows that satisfy a predicate, ascending."""
        return self._view.matching(where)

    def check_columns(self, names: Sequence[str]) -> None:
        """Refuse names that are not metadata columns."""
        for name in names:
            if name not in self.columns:
                raise ConfigInvalid(f"space {self.name!r} has no column {name!r}; {suggest(name, self.columns)}")

    # Search

    @property
    def searcher(self) -> Searcher:
        """Search by row numbers and arrays."""
        return self._view

    def search(
        self,
        query: Any,
        k: int = 10,
        *,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        recall: float | None = None,
    ) -> Neighbours:
        """Find the k nearest items.

        Args:
            query: A vector (d,): one query; an array (m, d): a batch. A space that can decode also takes an expression
                ("'test/17' + 1.5 * formal"), a `Latent`, or a list of them. A stored item is its own nearest neighbour.
            k: How many, 1 to 100,000.
            where: Only items that satisfy this SQL predicate over the metadata columns.
            columns: Metadata columns to return with the hits.
            recall: Wanted recall@k in (0, 1]; 1.0 is exact; None is what the index was tuned to.

        Returns:
            Neighbours of this snapshot's live rows; fewer than k only where fewer match.

        Raises:
            InputError: k or recall out of range, and whatever is wrong with the query or the predicate.
        """
        return search.search(self, *self._queries(query), k, where=where, columns=columns, recall=recall)

    def _queries(self, query: Any) -> tuple[Float32[Array, "m d"], bool]:
        """Vectors (m, d) of a query, and whether it was a single one."""
        checked = check_vectors(query, self.dim, self.metric, what="query vectors")
        return checked.reshape(-1, self.dim), checked.ndim == 1

    def build_index(self, kind: str = "auto", *, target_recall: float = 0.98, seed: int = 0) -> int:
        """Build and publish a search index; see `latentstore.space.indexing.build_index`. Returns the version."""
        rows.check_writable(self)
        return self._written(
            indexing.build_index(self.files, self.snapshot, kind, target_recall=target_recall, seed=seed)
        )

    # Versions

    def status(self) -> Status:
        """Rows, index, staleness and what to run."""
        return status(self)

    def versions(self) -> list[Manifest]:
        """Manifests of the versions that still exist, ascending."""
        return self.files.versions()

    def tag(self, name: str, version: int | None = None, **options: Any) -> int:
        """Point a tag at a version (None: this snapshot's); returns it."""
        return self.files.tag(name, self.version if version is None else version, **options)

    def compact(self) -> int:
        """Merge segments and drop dead rows; returns the version."""
        rows.check_writable(self)
        return self._written(self.files.compact())

    def diff(self, old: int | str, new: int | str | None = None) -> Diff:
        """What was added, deleted and changed from a version or tag to another (None: this snapshot's).

        Raises:
            UnknownVersion: No such version or tag (any more).
        """
        return self.files.diff(old, self.version if new is None else new)

    def restore(self, version: int | str) -> int:
        """Make the contents of an old version or tag the newest; returns the new version. Nothing is lost by it.

        Raises:
            UnknownVersion: No such version or tag (any more).
        """
        rows.check_writable(self)
        return self._written(self.files.restore(version))

    # Exchange

    def export(
        self,
        path: str | FilePath,
        format: str | None = None,  # noqa: A002 (what users call it)
        *,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        overwrite: bool = False,
    ) -> Exported:
        """Write the snapshot's live rows to a file or folder that appears whole.

        Args:
            path: Where.
            format: "parquet" (one file; the default for a name in .parquet), "numpy", "faiss", "delta" (needs the extra
                `delta`) or "projector" (TensorBoard): folders.
            where: Only rows that satisfy this predicate.
            columns: Metadata columns, all unless named.
            overwrite: Replace what is there.

        Raises:
            AlreadyExists: Something is there.
            ConfigInvalid: Unknown format or column.
        """
        from latentstore.exchange import Outgoing, export

        chosen = self.columns if columns is None else tuple(columns)
        self.check_columns(chosen)
        wanted = self.snapshot.live_rows() if where is None else self.matching(where)
        pictures = self._pictures(wanted) if format == "projector" else None
        return export(Outgoing(self.snapshot, wanted, chosen, pictures), path, format, overwrite=overwrite)

    def import_rows(
        self,
        path: str | FilePath,
        format: str | None = None,  # noqa: A002 (what users call it)
        *,
        replace: bool = False,
        id_column: str = "id",
        vector_column: str = "vector",
    ) -> int:
        """Append the rows of a file or folder that may be larger than memory, all or none; returns the version.

        Args:
            path: What `export` wrote, or a Parquet file or Delta table of others.
            format: "parquet", "numpy", "faiss" or "delta"; None looks at the file.
            replace: Replace rows whose id exists; else they are refused.
            id_column: The file's column of ids, text.
            vector_column: The file's column of vectors.

        Raises:
            AlreadyExists: An id is taken.
            SpaceMismatch: The file holds latents of another encoder.
            InputError: A file that does not fit; nothing of it is visible.
        """
        from latentstore.exchange import import_rows, open_source

        rows.check_writable(self)
        source = open_source(path, format, id_column=id_column, vector_column=vector_column)
        encoder = source.about.get("encoder")
        return self._written(import_rows(self.files, source, replace=replace, encoder=encoder))

    def _pictures(self, wanted: Int64[Array, " n"]) -> Pictures | None:
        """What gives the items of rows as pictures, None when nothing does."""
        from latentstore.exchange.pictures import of_dataset

        return of_dataset(self.snapshot, wanted)
