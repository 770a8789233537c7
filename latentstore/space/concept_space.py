"""What a space knows of its items' properties: centroids, attribute vectors, kinds inside a class, erasure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from latentstore.space import attributes, concepts, counterfactual, erasure, rows, subclusters
from latentstore.space.attributes import PERMUTATIONS, RESAMPLES
from latentstore.space.settling import AMOUNT, settle
from latentstore.space.vector_space import VectorSpace
from latentstore.types import check_vectors

if TYPE_CHECKING:
    import pyarrow as pa
    from jaxtyping import Float32

    from latentstore.geometry import Eraser
    from latentstore.space.attributes import Clause
    from latentstore.space.concepts import Concepts
    from latentstore.space.counterfactual import Counterfactual, LatentClassifier
    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.space.subclusters import Subclusters
    from latentstore.space.view import View
    from latentstore.types import Array


class ConceptSpace(VectorSpace):
    """The part of `EmbeddingSpace` that is about properties of items."""

    _view: View

    @property
    def _whole(self) -> EmbeddingSpace:
        return cast("EmbeddingSpace", self)

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
        """One row per attribute vector: name, method, clauses, counts, how far to trust it, version, vector.

        `auc` and `accuracy` were measured on held-out items; `stability` is the mean cosine to directions fitted to
        bootstrap resamples, `stability_low` what 95 % of them are above; `p_value` the chance that permuted labels part
        the classes as far; `share` what a direction found without labels explains. What does not apply, or was not
        measured by an older release, is null.
        """
        return self._view.concepts.attributes

    def leakage(self) -> pa.Table:
        """What attributes do to each other: attribute, other, effect; one row per ordered pair.

        `effect` is how far moving by strength 1 along `attribute` raises the level of `other`, in units of the gap of
        `other`: 0 leaves it alone, 1 moves it as far as `other` itself would.
        """
        return attributes.leakage(self._whole)

    def fit_centroids(self, column: str = "label") -> int:
        """Compute and publish the centroids of a column's values; returns the version."""
        rows.check_writable(self)
        return self._written(concepts.fit_centroids(self._whole, column))

    def fit_attribute(
        self,
        name: str,
        *,
        positive: Clause,
        negative: Clause,
        method: str = "mean_difference",
        balance: Sequence[str] = (),
        orthogonal_to: Sequence[str] = (),
        seed: int = 0,
        resamples: int = RESAMPLES,
        permutations: int = PERMUTATIONS,
    ) -> int:
        """Fit and publish an attribute vector from two groups of items; returns the version.

        Args:
            name: How expressions call it.
            positive: Items that have the attribute: a `where` clause, or a list of ids.
            negative: Items that have it not, likewise.
            method: "mean_difference"; "balanced": the same with other columns held equal; "conditional": the same at
                right angles to other attributes; or "logistic".
            balance: Of "balanced": metadata columns in which only equal items are compared.
            orthogonal_to: Of "conditional": attributes that moving along this one leaves alone.
            seed: Chooses what is held out for the AUC, resamples and permutations.
            resamples: How many the stability is measured with; 0 for none.
            permutations: How many the p-value is measured with; 0 for none.
        """
        rows.check_writable(self)
        return self._written(
            attributes.fit_attribute(
                self._whole, name, positive=positive, negative=negative, method=method, balance=balance,
                orthogonal_to=orthogonal_to, seed=seed, resamples=resamples, permutations=permutations,
            )
        )  # fmt: skip

    def fit_directions(
        self,
        method: str = "principal",
        *,
        count: int = 5,
        name: str | None = None,
        where: str | None = None,
        seed: int = 0,
        resamples: int = RESAMPLES,
    ) -> int:
        """Find directions without labels and publish them as attributes; returns the version.

        Strength 1 is one standard deviation of the items along the direction.

        Args:
            method: "principal": along which the items vary most; "sensitive": to which the decoder listens most, the
                top singular vectors of its mean metric E[JᵀJ].
            count: How many.
            name: They are called `<name>1`, `<name>2`, …; by default pc1, … or sensitive1, …
            where: Only of items that satisfy this.
            seed: Of random directions and resamples.
            resamples: How many the stability is measured with.
        """
        rows.check_writable(self)
        return self._written(
            attributes.fit_directions(
                self._whole, method, count=count, name=name, where=where, seed=seed, resamples=resamples
            )
        )

    def subclusters(self, where: str, count: int | None = None, *, seed: int = 0) -> Subclusters:
        """Find kinds of items inside a class: flip-flops among sandals.

        K-means (of unit latents in a cosine space); without a count, of 2 to 8 clusters as many as have the largest
        mean silhouette. An attribute between two of them is fitted with `fit_attribute(name, positive=found[0].ids,
        negative=found[1].ids)`.

        Args:
            where: The class, for example "label = 'Sandal'".
            count: How many clusters.
            seed: Of the starts.

        Raises:
            FilterRefused: A predicate that is none.
            InputError: Too few different items.
            DidNotConverge: K-means did not come to rest.
        """
        return subclusters.subclusters(self._whole, where, count, seed=seed)

    def settle(self, latents: Any, amount: float = AMOUNT) -> Float32[Array, "n d"]:
        """Move latents (n, d) part of the way to the mean of their ten nearest items: back to the data.

        An edit adds the same direction to every item, wherever it is; that leads most of them a little off the data.
        Half a step back keeps what the edit did and what is the item's own, and looks real.

        Args:
            latents: Shape (n, d).
            amount: 0 leaves them, 1 takes them all the way, and makes items with the same neighbours alike.
        """
        checked = check_vectors(latents, self.dim, self.metric, what="latents").reshape(-1, self.dim)
        return settle(self._whole, checked, amount)

    def erase(self, by: str, *, where: str | None = None) -> Eraser:
        """Fit what takes a concept out of latents: no linear classifier finds any of it afterwards (LEACE).

        `.apply(latents)` gives erased latents. They are of another space, for the encoder did not make them:
        `LatentStore.create_erased_space` makes one that can be searched.

        Args:
            by: A metadata column, erased label by label (floats as numbers), or a predicate.
            where: Fit to the items that satisfy this only, for example "split = 'train'".

        Raises:
            FilterRefused: `by` is neither a column nor a predicate.
            InputError: It is the same for all items, or has more values than the space has dimensions.
        """
        return erasure.fit_eraser(self._whole, by, where=where)

    def counterfactual(
        self, query: Any, *, label: str, column: str = "label", confidence: float = 0.9
    ) -> Counterfactual:
        """The smallest move that makes an item be taken for another label, and the nearest real item of it.

        It is asked of a multinomial logistic regression of the latents, fitted to a sample of them on first use: its
        answer changes smoothly, so that the nearest latent of another answer is one and is found exactly, the minimum
        of the move's Euclidean length, a convex problem solved to 1e-8. What moves this classifier need not change what
        is decoded: `latentstore evaluate` measures how often it does. A higher confidence moves farther.

        Args:
            query: An expression, a latent or a vector (d,).
            label: What it is to be taken for.
            column: The metadata column of labels.
            confidence: Probability that the regression shall give the label, between 0 and 1.

        Raises:
            UnknownLabel: The regression knows no such label.
            ConfigInvalid: No such column.
            DidNotConverge: Nowhere is the regression that sure of the label.
        """
        return counterfactual.counterfactual(self._whole, query, label=label, column=column, confidence=confidence)

    def latent_classifier(self, column: str = "label") -> LatentClassifier:
        """The regression that `counterfactual` asks, fitted on first use."""
        return self._view.latent_classifier(column)
