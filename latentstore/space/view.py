"""What has been opened and computed of one snapshot, so that the next query finds it ready."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from latentstore.space import counterfactual, density, generators, on_map, transport, walks
from latentstore.space.concepts import Concepts
from latentstore.space.maps import read_projection
from latentstore.space.search import Searcher

if TYPE_CHECKING:
    from latentstore.encoders import Flow, GeodesicSolver
    from latentstore.geometry import GaussianTransport, Mixture, NeighbourGraph, RealismScale
    from latentstore.maps import Inverse, Projection
    from latentstore.space.counterfactual import LatentClassifier
    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.space.generators import Mixtures
    from latentstore.storage import Snapshot

MIXTURES_KEPT = 4
TRANSPORTS_KEPT = 64
MAPS_KEPT = 4
CLASSIFIERS_KEPT = 4


class View(Searcher):
    """Everything derived from one snapshot; thrown away as a whole when the space moves to a newer one."""

    def __init__(self, space: EmbeddingSpace, snapshot: Snapshot, previous: Searcher | None) -> None:
        super().__init__(snapshot, previous)
        self.concepts = Concepts(snapshot)
        self._space = space
        self.mixtures = lru_cache(MIXTURES_KEPT)(self._mixtures)
        self.transport = lru_cache(TRANSPORTS_KEPT)(self._transport)
        self.projection = lru_cache(MAPS_KEPT)(self._projection)
        self.inverse = lru_cache(MAPS_KEPT)(self._inverse)
        self.latent_classifier = lru_cache(CLASSIFIERS_KEPT)(self._latent_classifier)

    @cached_property
    def realism_scale(self) -> RealismScale:
        """The data's own spread."""
        return density.realism_scale(self._space)

    @cached_property
    def geodesic_solver(self) -> GeodesicSolver:
        """What finds shortest paths under the decoder's metric."""
        return walks.make_solver(self._space)

    @cached_property
    def neighbour_graph(self) -> NeighbourGraph:
        """Items joined to their nearest."""
        return walks.join_neighbours(self._space)

    @cached_property
    def novelty_scale(self) -> RealismScale:
        """How far items lie from the nearest other one."""
        return density.novelty_scale(self._space)

    @cached_property
    def flow(self) -> Flow:
        """The stored flow."""
        return generators.read_flow(self._space)

    @cached_property
    def whole_mixture(self) -> Mixture:
        """Of all latents."""
        return generators.open_whole(self._space).whole

    def _mixtures(self, column: str) -> Mixtures:
        return generators.open_mixtures(self._space, column)

    def _transport(self, column: str, source: str, target: str) -> GaussianTransport:
        return transport.fit_transport(self._space, column, source, target)

    def _projection(self, name: str) -> Projection:
        return read_projection(self._space, name)[0]

    def _inverse(self, name: str) -> Inverse:
        return on_map.open_inverse(self._space, name)

    def _latent_classifier(self, column: str) -> LatentClassifier:
        return counterfactual.fit_classifier(self._space, column)
