"""Attribute vectors from items that have a property and items that have it not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError
from latentstore.geometry.attributes.classes import Classes
from latentstore.geometry.attributes.logistic import Logistic
from latentstore.geometry.attributes.means import Means
from latentstore.geometry.attributes.reliability import Method, p_value, stability
from latentstore.geometry.cores import one_core
from latentstore.geometry.scores import auc as area_under_curve
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64

CLAUSES = ("positive", "negative")


@dataclass(frozen=True, eq=False)
class AttributeVector:
    """A fitted attribute.

    Moving a latent by s · `direction` raises it by s gaps, where one gap is the distance between the class means
    along the direction: strength 1 takes the negative mean to the level of the positive mean.

    Attributes:
        direction: Float32, shape (d,).
        midpoint: Level halfway between the class means, measured along the unit direction; units of the space.
        auc: Area under the ROC curve of the projections of held-out items, by a direction fitted without them;
            of "balanced" the mean over strata. NaN when a class has a single item, so that nothing can be held out.
        accuracy: Share of the held-out items on the right side of the midpoint fitted without them; NaN as for `auc`.
        positives: Items with the property that the direction is fitted to.
        negatives: Items without it.
        method: "mean_difference", "balanced", "conditional" or "logistic".
        seed: Chose what is held out.
        stability: Mean cosine to the directions of bootstrap resamples; NaN when there were none.
        stability_low: What 95 % of the resamples are above.
        p_value: The chance that permuted labels part the classes as far; NaN when none were permuted.
    """

    direction: Float32[Array, " d"]
    midpoint: float
    auc: float
    accuracy: float
    positives: int
    negatives: int
    method: str
    seed: int
    stability: float = float("nan")
    stability_low: float = float("nan")
    p_value: float = float("nan")

    def strength(self, latents: Float[Array, "*n d"]) -> Float64[Array, "*n"]:
        """How much of the property latents have: 0 at the level of the negative mean, 1 at that of the positive."""
        direction = self.direction.astype(np.float64)
        gap = float(np.linalg.norm(direction))
        return np.asarray(0.5 + (latents @ (direction / gap) - self.midpoint) / gap)


def mean_difference(
    positive: Float[Array, "p d"],
    negative: Float[Array, "q d"],
    *,
    seed: int = 0,
    resamples: int = 0,
    permutations: int = 0,
    clauses: tuple[str, str] = CLAUSES,
) -> AttributeVector:
    """Fit an attribute as the difference of the class means.

    Args:
        positive: Latents with the property, shape (p, d).
        negative: Latents without it, shape (q, d).
        seed: Chooses the 20 % of each class that the AUC is measured on (the direction returned uses all), resamples
            and permutations.
        resamples: Bootstrap resamples that the stability is measured with.
        permutations: Of the labels, for the p-value.
        clauses: How the user chose the classes, for messages.

    Returns:
        The attribute; its direction is mean⁺ − mean⁻.

    Raises:
        InputError: A class is empty, or the class means coincide.
        ShapeMismatch: The classes differ in width.
    """
    classes = Classes.of(positive, negative, clauses=clauses)
    return _fit(Means(), "mean_difference", classes, seed, resamples, permutations)


def balanced(
    positive: Float[Array, "p d"],
    negative: Float[Array, "q d"],
    *,
    strata: tuple[Sequence[object], Sequence[object]],
    seed: int = 0,
    resamples: int = 0,
    permutations: int = 0,
    clauses: tuple[str, str] = CLAUSES,
) -> AttributeVector:
    """Fit an attribute as the mean difference between items that are equal in everything named.

    Where a property comes together with another (the smiling ones are mostly women), the mean difference has both. Here
    items are compared only within strata, so what the strata are made of moves nothing.

    Args:
        positive: Latents with the property, shape (p, d).
        negative: Latents without it, shape (q, d).
        strata: The stratum of each positive and of each negative item; strata without both are left out.
        seed: As of `mean_difference`.
        resamples: Bootstrap resamples that the stability is measured with.
        permutations: Of the labels within each stratum, for the p-value.
        clauses: How the user chose the classes, for messages.

    Returns:
        The attribute; its direction is Σₛ wₛ (mean⁺ₛ − mean⁻ₛ), weights as at `Classes`.

    Raises:
        InputError: A class is empty, no stratum has both, or the means coincide.
        ShapeMismatch: The classes differ in width, or not one stratum per item.
    """
    classes = Classes.of(positive, negative, strata=strata, clauses=clauses)
    return _fit(Means(), "balanced", classes, seed, resamples, permutations)


def conditional(
    positive: Float[Array, "p d"],
    negative: Float[Array, "q d"],
    *,
    orthogonal_to: Float[Array, "m d"],
    seed: int = 0,
    resamples: int = 0,
    permutations: int = 0,
    clauses: tuple[str, str] = CLAUSES,
) -> AttributeVector:
    """Fit an attribute as the mean difference without what lies along other attributes.

    Moving along it leaves the level of each of them as it is.

    Args:
        positive: Latents with the property, shape (p, d).
        negative: Latents without it, shape (q, d).
        orthogonal_to: Directions of the others, shape (m, d).
        seed: As of `mean_difference`.
        resamples: Bootstrap resamples that the stability is measured with.
        permutations: Of the labels, for the p-value: what is parted beside the others.
        clauses: How the user chose the classes, for messages.

    Returns:
        The attribute, at right angles to the others; strength 1 takes the negative mean to the level of the positive.

    Raises:
        InputError: A class is empty, or nothing of the difference is left.
        ShapeMismatch: The classes differ in width.
    """
    classes = Classes.of(positive, negative, clauses=clauses)
    return _fit(Means(orthogonal_to), "conditional", classes, seed, resamples, permutations)


def logistic(
    positive: Float[Array, "p d"],
    negative: Float[Array, "q d"],
    *,
    seed: int = 0,
    l2: float = 1e-2,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    resamples: int = 0,
    permutations: int = 0,
    clauses: tuple[str, str] = CLAUSES,
) -> AttributeVector:
    """Fit an attribute as the normal of a logistic regression's boundary.

    Both classes weigh one half whatever their counts. Minimised, on latents centred and divided by their root mean
    square per coordinate: ½ mean⁺ log(1 + e⁻ᶠ) + ½ mean⁻ log(1 + eᶠ) + l2/2 |w|², with f = w·x + b. A large `l2`
    turns w towards the mean difference, a small one towards the widest margin.

    Args:
        positive: Latents with the property, shape (p, d).
        negative: Latents without it, shape (q, d).
        seed: As of `mean_difference`.
        l2: Weight of the penalty, > 0.
        tolerance: Largest component of the gradient at the solution.
        max_iterations: L-BFGS iterations at most.
        resamples: Bootstrap resamples that the stability is measured with, by one Newton step each.
        permutations: Of the labels, for the p-value of the score statistic.
        clauses: How the user chose the classes, for messages.

    Returns:
        The attribute; its direction is the unit normal times the gap of the class means along it.

    Raises:
        InputError: A class is empty, l2 ≤ 0, or the class means coincide along the normal.
        ShapeMismatch: The classes differ in width.
        DidNotConverge: The gradient is above `tolerance` after `max_iterations`.
    """
    method = Logistic(l2, tolerance, max_iterations)
    classes = Classes.of(positive, negative, clauses=clauses)
    return _fit(method, "logistic", classes, seed, resamples, permutations)


def _fit(method: Method, name: str, classes: Classes, seed: int, resamples: int, permutations: int) -> AttributeVector:
    """Fit on everything, and measure on a seeded split of each class."""
    with one_core():
        fitted = method.fit(classes)
        unit, midpoint, gap = classes.scaled(fitted.normal)
        kept, held = classes.split(np.random.default_rng(seed))
        score = accuracy = float("nan")
        if kept is not None and all(any(map(len, side)) for side in held):
            with suppress(InputError, DidNotConverge):  # of few items a part may not be parted though all of them are
                score, accuracy = _scores(method, kept, held)
        steady = stability(fitted, classes, unit, resamples=resamples, seed=seed)
        chance = p_value(method, classes, permutations=permutations, seed=seed)
    return AttributeVector(
        direction=(gap * unit).astype(np.float32),
        midpoint=midpoint,
        auc=score,
        accuracy=accuracy,
        positives=len(classes.positive),
        negatives=len(classes.negative),
        method=name,
        seed=seed,
        stability=steady[0],
        stability_low=steady[1],
        p_value=chance,
    )


def _scores(method: Method, kept: Classes, held: tuple[list[Array], list[Array]]) -> tuple[float, float]:
    """AUC (mean over the strata that held out items of both classes) and accuracy of what was held out."""
    unit, midpoint, _ = kept.scaled(method.fit(kept).normal)
    above, below = ([latents @ unit for latents in side] for side in held)
    right = sum(int((one > midpoint).sum()) for one in above) + sum(int((one <= midpoint).sum()) for one in below)
    pairs = [(one, other) for one, other in zip(above, below, strict=True) if len(one) and len(other)]
    if not pairs:
        return float("nan"), right / sum(map(len, above + below))
    weights = np.array([len(one) * len(other) / (len(one) + len(other)) for one, other in pairs])
    scores = np.array([area_under_curve(one, other) for one, other in pairs])
    return float(weights @ scores / weights.sum()), right / sum(map(len, above + below))
