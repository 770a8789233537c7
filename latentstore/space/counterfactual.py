"""What would have to change for an item to be taken for another label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore import geometry
from latentstore.errors import InputError, UnknownLabel, suggest
from latentstore.space.latent import Latent, as_latent

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64, Shaped

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

FITTED, TESTED = 20_000, 5_000  # items that the classifier is fitted to, and others that it is tested on


@dataclass(frozen=True, eq=False)
class LatentClassifier:
    """Says from a latent which value of a column its item has.

    Multinomial logistic regression: its answers change smoothly and nowhere else than where labels meet, so that the
    nearest latent of another answer is one, and is found exactly; a vote of neighbours changes in steps.

    Attributes:
        column: Which.
        model: The regression.
        means: Mean latent of each label that it was fitted to, shape (c, d).
        accuracy: On items that it was not fitted to, NaN when there were none.
        rows: Row numbers of the items of each label that may be proposed as the nearest real one.
    """

    column: str
    model: geometry.Softmax
    means: Float64[Array, "c d"]
    accuracy: float
    rows: tuple[Int64[Array, " r"], ...]


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """The nearest latent that a classifier calls by another label.

    Attributes:
        start: The latent that was asked about.
        latent: Where it would have to be.
        column, label: What it is called there.
        before: What it is called now.
        confidence: Of the label, at `latent`.
        before_confidence: Of `before`, at `start`.
        length: Euclidean length of the move.
        relative: The same in units of the distance between the mean latents of the two labels.
        realism: Share of real items at least as far out as `latent`.
        nearest: Id of the real item of that label nearest to it.
        distance: How far that is, by the space's metric (ip: the similarity).
        accuracy: Of the classifier, on items it was not fitted to.
        iterations, residual: Of the solver.
    """

    start: Latent
    latent: Latent
    column: str
    label: str
    before: str
    confidence: float
    before_confidence: float
    length: float
    relative: float
    realism: float
    nearest: str
    distance: float
    accuracy: float
    iterations: int
    residual: float

    def decode(self) -> Float32[Array, ...]:
        """The item that the decoder draws there."""
        return self.latent.decode()


def fit_classifier(space: EmbeddingSpace, column: str) -> LatentClassifier:
    """Fit the classifier of a column to a fixed sample of the items.

    Raises:
        ConfigInvalid: No such column.
        InputError: Fewer than two values.
        DidNotConverge: The regression did not.
    """
    space.check_columns([column])
    snapshot = space.snapshot
    rows = snapshot.live_rows()
    values = snapshot.columns(rows, [column])[column].to_pylist()
    known = np.array([one is not None and one == one for one in values], bool)
    rows = rows[known]
    labels: Shaped[Array, " r"] = np.array([str(one) for one in values if one is not None and one == one], dtype=str)
    if len(np.unique(labels)) < 2:
        raise InputError(f"column {column!r} has fewer than two values; a counterfactual needs another one")
    order = np.random.default_rng(0).permutation(len(rows))
    fitted = np.sort(order[: min(FITTED, max(len(rows) * 4 // 5, 2))])
    tested = np.sort(order[len(fitted) : len(fitted) + TESTED])
    latents = snapshot.vectors(rows[fitted])
    model = geometry.fit_softmax(latents, labels[fitted])
    means = np.stack([latents[labels[fitted] == name].mean(axis=0, dtype=np.float64) for name in model.names])
    right = model.predict(snapshot.vectors(rows[tested])) == labels[tested]
    return LatentClassifier(
        column, model, means, float(right.mean()) if len(tested) else float("nan"),
        tuple(rows[labels == name] for name in model.names),
    )  # fmt: skip


def counterfactual(
    space: EmbeddingSpace, query: Any, *, label: str, column: str = "label", confidence: float = 0.9
) -> Counterfactual:
    """Solve for it; see `EmbeddingSpace.counterfactual`."""
    start = as_latent(space, query)
    classifier = space.latent_classifier(column)
    names = [str(name) for name in classifier.model.names]
    if label not in names:
        raise UnknownLabel(f"the classifier of {column!r} knows no label {label!r}; {suggest(label, names)}")
    target = names.index(label)
    chances = classifier.model.probabilities(start.vector[None])[0]
    before = int(chances.argmax())
    move = geometry.smallest_move(classifier.model, start.vector, target, confidence)
    latent = as_latent(space, move.end.astype(np.float32)) if move.length else start
    gap = float(np.linalg.norm(classifier.means[target] - classifier.means[before]))
    nearest, distance = _nearest(space, latent, classifier.rows[target])
    return Counterfactual(
        start=start,
        latent=latent,
        column=column,
        label=label,
        before=names[before],
        confidence=move.confidence,
        before_confidence=float(chances[before]),
        length=move.length,
        relative=0.0 if not move.length else move.length / gap if gap else float("nan"),
        realism=latent.realism(),
        nearest=nearest,
        distance=distance,
        accuracy=classifier.accuracy,
        iterations=move.iterations,
        residual=move.residual,
    )


def _nearest(space: EmbeddingSpace, latent: Latent, rows: Int64[Array, " r"]) -> tuple[str, float]:
    from latentstore.index import exact_search

    positions, distances = exact_search(space.snapshot.vectors(rows), latent.vector[None], 1, space.metric)
    return str(space.snapshot.ids(rows[positions[0]])[0]), float(distances[0, 0])
