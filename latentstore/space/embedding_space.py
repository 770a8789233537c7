"""The facade over one snapshot of an embedding space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from latentstore.errors import NotSupported
from latentstore.space import density, grids, maps, on_map, paths, rows
from latentstore.space.concept_space import ConceptSpace
from latentstore.space.generating import Generating
from latentstore.space.latent import Latent, as_latent, as_queries
from latentstore.space.view import View
from latentstore.types import check_vectors

if TYPE_CHECKING:
    import pyarrow as pa
    from jaxtyping import Float32, Float64, Int64

    from latentstore.encoders import Encoder, GeodesicSolver
    from latentstore.exchange.outgoing import Pictures
    from latentstore.expression import Expression
    from latentstore.geometry import NeighbourGraph, RealismScale
    from latentstore.maps import Inverse, Projection
    from latentstore.space.grids import Grid
    from latentstore.space.paths import Path
    from latentstore.space.search import Searcher
    from latentstore.storage import Snapshot, SpaceFiles
    from latentstore.types import Array


class EmbeddingSpace(ConceptSpace, Generating):
    """Latents of one encoder, with metadata: all that `VectorSpace` does, and edit, decode, generate, explain.

    Attributes:
        files, at: As `VectorSpace`.
    """

    def __init__(
        self, files: SpaceFiles, *, at: int | str | None = None, load_encoder: Callable[[str], Encoder]
    ) -> None:
        self._load_encoder = load_encoder
        super().__init__(files, at=at)

    def _viewed(self, snapshot: Snapshot, previous: Searcher | None) -> View:
        return View(self, snapshot, previous)

    def _queries(self, query: Any) -> tuple[Float32[Array, "m d"], bool]:
        return as_queries(self, query)

    @property
    def encoder(self) -> Encoder | None:
        """The encoder, loaded on first use; None for ready vectors."""
        return self._load_encoder(self.fingerprint) if self.fingerprint else None

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

    def interpolate(self, *anchors: Any, steps: int = 9, method: str = "lerp", smoothing: float = 0.0) -> Path:
        """A path through latents in order; see `latentstore.space.paths.interpolate`."""
        return paths.interpolate(self, *anchors, steps=steps, method=method, smoothing=smoothing)

    def interpolate_grid(
        self, *anchors: Any, rows: int = 7, columns: int | None = None, method: str = "lerp", smoothing: float = 0.0
    ) -> Grid:
        """All mixes of three or four latents; see `latentstore.space.grids.interpolate_grid`."""
        return grids.interpolate_grid(self, *anchors, rows=rows, columns=columns, method=method, smoothing=smoothing)

    @property
    def geodesic_solver(self) -> GeodesicSolver:
        """Finds shortest paths under the decoder's metric; measured on first use."""
        return self._view.geodesic_solver

    @property
    def neighbour_graph(self) -> NeighbourGraph:
        """A sample of the items, joined to their nearest; made on first use."""
        return self._view.neighbour_graph

    # Maps

    def fit_map(
        self,
        method: str = "umap",
        *,
        dim: int = 2,
        seed: int = 0,
        name: str | None = None,
        column: str | None = None,
        afresh: bool = False,
        progress: Callable[[float], None] | None = None,
        **options: Any,
    ) -> int:
        """Project all items and publish the map, its quality and its way back; returns the version.

        A map that is fitted again begins where it was, new items placed on it first, and is laid on it: a point does
        not jump without cause.

        Args:
            method: "pca", "umap" or "tsne".
            dim: 2 or 3.
            seed: The same rows, options, seed and earlier map give the same map on the same machine.
            name: How it is called; the method's name by default.
            column: Metadata column for the accuracies of the quality; "label" by default, where there is one.
            afresh: Forget the earlier map of this name.
            progress: Told the fraction that is done; t-SNE only, the others have no way to say.
            **options: The method's own, for example `perplexity=50`; see `latentstore.maps.project`.
        """
        rows.check_writable(self)
        fitted = maps.fit_map(
            self, method, dim=dim, seed=seed, name=name, column=column, afresh=afresh, progress=progress, **options
        )
        return self._written(fitted)

    def map(self, name: str = "umap") -> pa.Table:
        """Coordinates of the live items: id, x, y (and z)."""
        return maps.read_map(self, name)

    def map_quality(self, name: str = "umap") -> dict[str, float]:
        """What was measured of a map when it was fitted: see `latentstore.maps.quality`; empty for older maps.

        `inverse_explained` is the share of the latents' variance that a place on the map tells, of items left out.
        """
        return maps.stored_quality(maps.map_record(self, name))

    def place(self, latents: Any, map: str = "umap") -> Float32[Array, "... dim"]:  # noqa: A002 (the word for it)
        """Place latents on a stored map; nothing is fitted again and nothing compiled.

        Args:
            latents: What `search` takes: (m, d), one (d,), an expression, or a list of them.
            map: Its name.

        Returns:
            Coordinates, float32 (m, dim); (dim,) of a single latent. An item of the map is where it is.

        Raises:
            NotFound: No such map.
            ShapeMismatch, NotFinite: Latents that do not fit.
        """
        return on_map.place(self, latents, map)

    def from_map(self, points: Any, map: str = "umap", *, method: str = "local") -> Float32[Array, "... d"]:  # noqa: A002
        """Latents of points anywhere on a map, which `decode` draws.

        Args:
            points: Map coordinates, (m, dim) or one (dim,).
            map: Its name.
            method: "local": regression on the nearest items of the map (`latentstore.maps.Inverse`), about 0.1 ms a
                point; "umap": umap-learn's own inverse of a UMAP, slow and compiled on first use.

        Returns:
            Latents, float32 (m, d); (d,) of a single point.

        Raises:
            NotFound: No such map.
            NotSupported: "umap" on another kind of map.
            ConfigInvalid: Unknown method.
            ShapeMismatch, NotFinite: Points that do not fit.
        """
        return on_map.from_map(self, points, map, method)

    def projection(self, name: str = "umap") -> Projection:
        """A stored map as it was fitted, opened on first use."""
        return self._view.projection(name)

    def inverse(self, name: str = "umap") -> Inverse:
        """The way back from a map to latents, opened on first use."""
        return self._view.inverse(name)

    def _pictures(self, wanted: Int64[Array, " n"]) -> Pictures | None:
        """The dataset's own items where it is still there, else what the decoder makes of the latents."""
        known = super()._pictures(wanted)
        if known is not None or self.fingerprint is None:
            return known
        return lambda some: self.decode(self.snapshot.vectors(some))
