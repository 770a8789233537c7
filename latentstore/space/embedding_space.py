"""The facade over one snapshot of an embedding space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from latentstore.errors import ConfigInvalid, NotSupported, suggest
from latentstore.space import concepts, density, indexing, maps, paths, rows, search
from latentstore.space.latent import Latent, as_latent
from latentstore.space.status import Status, status
from latentstore.space.view import View
from latentstore.types import check_vectors

if TYPE_CHECKING:
    import pyarrow as pa
    from jaxtyping import Float32, Float64, Int64

    from latentstore.encoders import Encoder
    from latentstore.expression import Expression
    from latentstore.geometry import Mixture, RealismScale
    from latentstore.space.concepts import Concepts
    from latentstore.space.density import Samples
    from latentstore.space.paths import Path
    from latentstore.space.search import Searcher
    from latentstore.storage import Manifest, Snapshot, SpaceFiles
    from latentstore.types import Array, Metric, Neighbours


class EmbeddingSpace:
    """Latents of one encoder, with metadata: search, edit, decode, explain.

    Reads see one snapshot until `refresh()` or a write through this object moves it on; a space opened with `at`
    stays where it is and refuses writes.

    Attributes:
        files: The space's files (storage room).
        at: The version or tag it was opened at; None follows its own writes.
    """

    def __init__(
        self, files: SpaceFiles, *, at: int | str | None = None, load_encoder: Callable[[str], Encoder]
    ) -> None:
        self.files = files
        self.at = at
        self._load_encoder = load_encoder
        self._view = View(self, files.snapshot(None if at is None else files.resolve(at)))

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

    @property
    def encoder(self) -> Encoder | None:
        """The encoder, loaded on first use; None for ready vectors."""
        return self._load_encoder(self.fingerprint) if self.fingerprint else None

    def __len__(self) -> int:
        return len(self.snapshot)

    def __repr__(self) -> str:
        return f"EmbeddingSpace({self.name!r}, version {self.version}, {len(self)} items, d={self.dim}, {self.metric})"

    def refresh(self) -> EmbeddingSpace:
        """Move on to the newest version (a no-op for a space opened with `at`); returns itself."""
        if self.at is None and self.files.newest_version() != self.version:
            self._view = View(self, self.files.snapshot())
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
        return self._view.searcher.matching(where)

    def check_columns(self, names: Sequence[str]) -> None:
        """Refuse names that are not metadata columns."""
        for name in names:
            if name not in self.columns:
                raise ConfigInvalid(f"space {self.name!r} has no column {name!r}; {suggest(name, self.columns)}")

    # Search

    @property
    def searcher(self) -> Searcher:
        """Search by row numbers and arrays."""
        return self._view.searcher

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
            query: An expression ("'test/17' + 1.5 * formal"), a `Latent`, a vector (d,): one query. An array (m, d)
                or a list of expressions or latents: a batch. A stored item is its own nearest neighbour.
            k: How many, 1 to 100,000.
            where: Only items that satisfy this SQL predicate over the metadata columns.
            columns: Metadata columns to return with the hits.
            recall: Wanted recall@k in (0, 1]; 1.0 is exact; None is what the index was tuned to.

        Returns:
            Neighbours of this snapshot's live rows; fewer than k only where fewer match.

        Raises:
            InputError: k or recall out of range, and whatever is wrong with the query or the predicate.
        """
        return search.search(self, query, k, where=where, columns=columns, recall=recall)

    def build_index(self, kind: str = "auto", *, target_recall: float = 0.98, seed: int = 0) -> int:
        """Build and publish a search index; see `latentstore.space.indexing.build_index`. Returns the version."""
        rows.check_writable(self)
        return self._written(
            indexing.build_index(self.files, self.snapshot, kind, target_recall=target_recall, seed=seed)
        )

    # Points

    def latent(self, given: str | Latent | Expression | Array | Sequence[float]) -> Latent:
        """A point: from an expression of the latent algebra, or from a vector (d,)."""
        return as_latent(self, given)

    def encode(self, items: Array) -> Float32[Array, "n d"]:
        """Latents (n, d) of items: uint8, or float32 in [0, 1], shape (n, h, w, c).

        Raises:
            NotSupported: The space holds ready vectors.
            ShapeMismatch: Another size or channel count than the encoder's.
        """
        return self._coder("encode").encode(items)

    def decode(self, latents: Any) -> Float32[Array, "n ..."]:
        """Items of latents (n, d): float32 in [0, 1], shape (n, h, w, c); one latent (d,) gives one item.

        Raises:
            NotSupported: The space has no decoder.
        """
        checked = check_vectors(latents, self.dim, what="latents")
        items = self._coder("decode").decode(checked.reshape(-1, self.dim))
        return items[0] if checked.ndim == 1 else items

    def _coder(self, verb: str) -> Encoder:
        encoder = self.encoder
        if encoder is None:
            raise NotSupported(
                f"space {self.name!r} cannot {verb}: it holds ready vectors, no encoder came with them; "
                "embed a dataset with an encoder to get one"
            )
        return encoder

    def realism(self, latents: Any) -> Float64[Array, " n"]:
        """How near latents (n, d) are to real data: share of real items at least as far out, in [0, 1]."""
        return density.realism(
            self, check_vectors(latents, self.dim, self.metric, what="latents").reshape(-1, self.dim)
        )

    @property
    def realism_scale(self) -> RealismScale:
        """The data's own spread, measured on first use."""
        return self._view.realism_scale

    def interpolate(self, start: Any, end: Any, *, steps: int = 9, method: str = "lerp") -> Path:
        """A path from one latent to another; see `latentstore.space.paths.interpolate`."""
        return paths.interpolate(self, start, end, steps=steps, method=method)

    def sample(
        self, n: int, *, method: str | None = None, label: str | None = None, column: str = "label", seed: int = 0
    ) -> Samples:
        """New latents from where the data lies; see `latentstore.space.density.sample`."""
        return density.sample(self, n, method=method, label=label, column=column, seed=seed)

    def mixture(self, column: str, label: str | None) -> Mixture:
        """The density that `sample` draws from, fitted on first use."""
        return self._view.mixture(column, label)

    # Concepts

    @property
    def concepts(self) -> Concepts:
        """Centroids and attribute vectors by name."""
        return self._view.concepts

    @property
    def centroids(self) -> pa.Table:
        """One row per label: column, label, count, spread, version, vector."""
        return self._view.concepts.centroids

    @property
    def attributes(self) -> pa.Table:
        """One row per attribute vector: name, method, clauses, counts, held-out AUC, version, vector."""
        return self._view.concepts.attributes

    def fit_centroids(self, column: str = "label") -> int:
        """Compute and publish the centroids of a column's values; returns the version."""
        rows.check_writable(self)
        return self._written(concepts.fit_centroids(self, column))

    def fit_attribute(
        self, name: str, *, positive: str, negative: str, method: str = "mean_difference", seed: int = 0
    ) -> int:
        """Fit and publish an attribute vector from two `where` clauses; returns the version.

        Args:
            name: How expressions call it.
            positive: Items that have the attribute.
            negative: Items that have it not.
            method: "mean_difference" or "logistic".
            seed: Chooses what is held out for the AUC.
        """
        rows.check_writable(self)
        return self._written(
            concepts.fit_attribute(self, name, positive=positive, negative=negative, method=method, seed=seed)
        )

    # Maps

    def fit_map(self, method: str = "umap", *, dim: int = 2, seed: int = 0, name: str | None = None) -> int:
        """Project all items with "pca" or "umap" and publish the map; returns the version."""
        rows.check_writable(self)
        return self._written(maps.fit_map(self, method, dim=dim, seed=seed, name=name))

    def map(self, name: str = "umap") -> pa.Table:
        """Coordinates of the live items: id, x, y (and z)."""
        return maps.read_map(self, name)

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
