"""What a space makes that is not in it: samples, means, items moved to another class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from latentstore.space import density, generators, rows, sampling, transport
from latentstore.space.vector_space import VectorSpace
from latentstore.space.view import View
from latentstore.types import check_vectors

if TYPE_CHECKING:
    from jaxtyping import Float64

    from latentstore.encoders import Flow
    from latentstore.geometry import GaussianTransport, Mixture, RealismScale
    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.space.sampling import Samples
    from latentstore.space.transport import Barycenter, Displacement, SetBarycenter, Transported
    from latentstore.types import Array


class Generating(VectorSpace):
    """The part of an `EmbeddingSpace` that generates and transports."""

    _view: View

    @property
    def _embedding(self) -> EmbeddingSpace:
        return cast("EmbeddingSpace", self)

    def sample(
        self,
        n: int,
        *,
        method: str | None = None,
        label: str | None = None,
        column: str = "label",
        truncation: float = 1.0,
        seed: int = 0,
    ) -> Samples:
        """New latents from where the data lies; see `latentstore.space.sampling.sample`."""
        return sampling.sample(
            self._embedding, n, method=method, label=label, column=column, truncation=truncation, seed=seed
        )

    def novelty(self, latents: Any) -> Float64[Array, " n"]:
        """Share of items that have another one nearer than each latent (n, d) has an item, in [0, 1]; 0 is a copy."""
        checked = check_vectors(latents, self.dim, self.metric, what="latents").reshape(-1, self.dim)
        return density.novelty(self._embedding, checked)

    @property
    def novelty_scale(self) -> RealismScale:
        """How far items lie from the nearest other one, measured on first use."""
        return self._view.novelty_scale

    def mixture(self, column: str = "label", label: str | None = None) -> Mixture:
        """The mixture of Gaussians that `sample` draws from, of a label or of all; stored, or fitted on first use."""
        return self._view.whole_mixture if label is None else self._view.mixtures(column).of(label)

    @property
    def flow(self) -> Flow:
        """The stored flow; `NotSupported` before `fit_flow`."""
        return self._view.flow

    def fit_mixture(self, *, column: str | None = "label") -> int:
        """Fit and publish a mixture of Gaussians per label, so that no sample waits for it; returns the version.

        Args:
            column: Whose values are the labels; None groups latents by where they lie, and knows no labels.

        Raises:
            ConfigInvalid: No such column.
            InputError: Too few items, or too many labels.
            DidNotConverge: EM.
        """
        rows.check_writable(self)
        return self._written(generators.fit_mixture(self._embedding, column))

    def fit_flow(
        self,
        *,
        column: str | None = "label",
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
        **options: Any,
    ) -> int:
        """Train and publish a flow, by latent flow matching; returns the version.

        Args:
            column: Whose values samples can be asked for; None for a flow without labels.
            seed: The same rows, options and seed give the same flow on the same machine.
            progress: Told the fraction that is done.
            **options: `steps`, `batch_size`, `learning_rate`, `hidden`, `blocks`: see `encoders.FlowOptions`.

        Raises:
            ConfigInvalid: No such column or option.
            InputError: Fewer items than dimensions, or too many labels.
            DidNotConverge: The loss became NaN.
        """
        rows.check_writable(self)
        return self._written(generators.fit_flow(self._embedding, column, seed=seed, progress=progress, **options))

    def barycenter(self, weights: Mapping[Any, float], *, method: str = "wasserstein") -> Barycenter:
        """The weighted mean of items or of any latents.

        Args:
            weights: {expression or latent: weight}; only the weights' ratios count.
            method: "wasserstein": of pictures, whose ink is moved as little as possible (no latents are needed; items
                give their own pictures where the dataset is at hand, and what is decoded else); "euclidean": of
                latents, the straight mean; "spherical": of their directions, on the sphere.

        Raises:
            InputError: Weights that are none; directions that cancel.
            NotSupported: wasserstein in a space without pictures.
            DidNotConverge: The solver.
        """
        return transport.barycenter(self._embedding, weights, method)

    def set_barycenter(
        self, weights: Mapping[str, float], *, n: int = 200, points: int | None = None, seed: int = 0
    ) -> SetBarycenter:
        """The weighted mean of sets of items: a set that lies between them, point for point (free support).

        Args:
            weights: {`where` predicate: weight}; only the weights' ratios count.
            n: Items of each set, at most: 200 are matched in some .1 s a step.
            points: How many the mean has; as many as the largest set when None.
            seed: Chooses the items, and those that the solver begins with.

        Raises:
            FilterRefused: A predicate that is none.
            InputError: Weights that are none; a predicate that nothing matches; n out of range.
            DidNotConverge: The solver.
        """
        return transport.set_barycenter(self._embedding, weights, n, points, seed)

    def transport(
        self, query: Any, *, from_label: str, to_label: str, column: str = "label", amount: float = 1.0
    ) -> Transported:
        """Move items of one class to another by the optimal transport map between the classes' Gaussians.

        Each keeps its place among its own: the map takes the first class's mean to the second's, and its spread to the
        second's spread, moving latents as little as that allows (Bures–Wasserstein).

        Args:
            query: As of `search`: an expression, a latent, a list of them, or vectors (n, d) or (d,).
            from_label: The class they are of.
            to_label: The class they become.
            column: Whose values the labels are.
            amount: Which part of the way.

        Raises:
            UnknownLabel: No item has a label.
            InputError: Fewer than two items of a class.
        """
        return transport.transport(self._embedding, query, from_label, to_label, column, amount)

    def class_transport(self, from_label: str, to_label: str, column: str = "label") -> GaussianTransport:
        """The map that `transport` moves by, fitted on first use."""
        return self._view.transport(column, from_label, to_label)

    def displace(self, source: str, target: str, *, n: int | None = None, seed: int = 0) -> Displacement:
        """Match the items of two `where` predicates one to one, so that they move the least: exact optimal transport.

        Args:
            source, target: The predicates.
            n: How many of each, at most 5,000; 500 by default, and never more than the smaller set has.
            seed: Chooses them.

        Raises:
            FilterRefused: A predicate that is none.
            InputError: A predicate that nothing matches, or n out of range.
        """
        return transport.displace(self._embedding, source, target, n, seed)
