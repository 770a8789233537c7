"""Attribute vectors: the direction along which items gain a property."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError, NotFinite, ShapeMismatch
from latentstore.geometry.scores import auc as area_under_curve
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64

_HELD_OUT = 0.2  # share of each class that the AUC and the accuracy are measured on


@dataclass(frozen=True, eq=False)
class AttributeVector:
    """A fitted attribute.

    Moving a latent by s · `direction` raises it by s gaps, where one gap is the distance between the class means
    along the direction: strength 1 takes the negative mean to the level of the positive mean.

    Attributes:
        direction: Float32, shape (d,).
        midpoint: Level halfway between the class means, measured along the unit direction; units of the space.
        auc: Area under the ROC curve of the projections of held-out items, by a direction fitted without them;
            NaN when a class has a single item, so that nothing can be held out.
        accuracy: Share of the held-out items on the right side of the midpoint fitted without them; NaN as for `auc`.
        positives: Items with the property.
        negatives: Items without it.
        method: "mean_difference" or "logistic".
        seed: Chose what is held out.
    """

    direction: Float32[Array, " d"]
    midpoint: float
    auc: float
    accuracy: float
    positives: int
    negatives: int
    method: str
    seed: int

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
    clauses: tuple[str, str] = ("positive", "negative"),
) -> AttributeVector:
    """Fit an attribute as the difference of the class means.

    Args:
        positive: Latents with the property, shape (p, d).
        negative: Latents without it, shape (q, d).
        seed: Chooses the 20 % of each class that the AUC is measured on; the direction returned uses all.
        clauses: How the user chose the classes, for messages.

    Returns:
        The attribute; its direction is mean⁺ − mean⁻.

    Raises:
        InputError: A class is empty, or the class means coincide.
        ShapeMismatch: The classes differ in width.
    """
    return _fit(lambda p, q: _mean(p) - _mean(q), "mean_difference", positive, negative, seed, clauses)


def logistic(
    positive: Float[Array, "p d"],
    negative: Float[Array, "q d"],
    *,
    seed: int = 0,
    l2: float = 1e-2,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    clauses: tuple[str, str] = ("positive", "negative"),
) -> AttributeVector:
    """Fit an attribute as the normal of a logistic regression's boundary.

    Both classes weigh one half whatever their counts. Minimised, on latents centred and divided by their root mean
    square per coordinate: ½ mean⁺ log(1 + e⁻ᶠ) + ½ mean⁻ log(1 + eᶠ) + l2/2 |w|², with f = w·x + b. A large `l2`
    turns w towards the mean difference, a small one towards the widest margin.

    Args:
        positive: Latents with the property, shape (p, d).
        negative: Latents without it, shape (q, d).
        seed: Chooses the 20 % of each class that the AUC is measured on; the direction returned uses all.
        l2: Weight of the penalty, > 0.
        tolerance: Largest component of the gradient at the solution.
        max_iterations: L-BFGS iterations at most.
        clauses: How the user chose the classes, for messages.

    Returns:
        The attribute; its direction is the unit normal times the gap of the class means along it.

    Raises:
        InputError: A class is empty, l2 ≤ 0, or the class means coincide along the normal.
        ShapeMismatch: The classes differ in width.
        DidNotConverge: The gradient is above `tolerance` after `max_iterations`.
    """
    if not l2 > 0:
        raise InputError(f"l2 is {l2}; it must be positive, or separable classes have no solution")
    normal = partial(logistic_normal, l2=l2, tolerance=tolerance, max_iterations=max_iterations)
    return _fit(normal, "logistic", positive, negative, seed, clauses)


def logistic_normal(
    positive: Float[Array, "p d"], negative: Float[Array, "q d"], *, l2: float, tolerance: float, max_iterations: int
) -> Float64[Array, " d"]:
    """Weights w of the regression described at `logistic`, in its scaled coordinates; shape (d,)."""
    from scipy.optimize import minimize

    centre = (_mean(positive) + _mean(negative)) / 2
    x = np.concatenate([positive, negative]).astype(np.float64)
    x -= centre
    x /= np.sqrt(np.square(x).mean()) or 1.0
    p, q = len(positive), len(negative)
    y = np.repeat([1.0, -1.0], [p, q])
    share = np.repeat([0.5 / p, 0.5 / q], [p, q])

    def loss(parameters: Float64[Array, " d_1"]) -> tuple[float, Float64[Array, " d_1"]]:
        w, b = parameters[:-1], parameters[-1]
        margin = y * (x @ w + b)
        slope = -y * share * np.exp(-np.logaddexp(0, margin))  # σ(−margin), without overflow
        gradient = np.append(x.T @ slope + l2 * w, slope.sum())
        return float(share @ np.logaddexp(0, -margin) + l2 / 2 * (w @ w)), gradient

    options = {"maxiter": max_iterations, "maxfun": 4 * max_iterations, "gtol": tolerance, "ftol": 0.0, "maxcor": 20}
    solution = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options=options)
    residual = float(np.abs(solution.jac).max())
    if residual > tolerance:
        raise DidNotConverge(
            f"logistic regression did not reach a gradient of {tolerance:g}; raise max_iterations or l2",
            iterations=int(solution.nit),
            residual=residual,
        )
    return np.asarray(solution.x[:-1])


def _fit(
    normal: Callable[[Array, Array], Array],
    method: str,
    positive: Float[Array, "p d"],
    negative: Float[Array, "q d"],
    seed: int,
    clauses: tuple[str, str],
) -> AttributeVector:
    """Measure on a seeded split of each class, then fit on everything."""
    for latents, clause in ((positive, clauses[0]), (negative, clauses[1])):
        if len(latents) == 0:
            raise InputError(
                f"an attribute needs both classes, but {len(positive)} items are positive and {len(negative)} "
                f"are negative; {clause!r} matches none: change that clause"
            )
    if np.ndim(positive) != 2 or np.ndim(negative) != 2 or positive.shape[1] != negative.shape[1]:
        raise ShapeMismatch(f"classes have shapes {np.shape(positive)} and {np.shape(negative)}; pass (p, d), (q, d)")
    generator = np.random.default_rng(seed)
    (fit_p, held_p), (fit_q, held_q) = (_split(latents, generator) for latents in (positive, negative))
    score = accuracy = float("nan")
    if len(held_p) and len(held_q):
        unit, midpoint, _ = _scaled(normal(fit_p, fit_q), fit_p, fit_q, clauses)
        above, below = held_p @ unit, held_q @ unit
        score = area_under_curve(above, below)
        right = np.count_nonzero(above > midpoint) + np.count_nonzero(below <= midpoint)
        accuracy = right / (len(held_p) + len(held_q))
    unit, midpoint, gap = _scaled(normal(positive, negative), positive, negative, clauses)
    return AttributeVector(
        direction=(gap * unit).astype(np.float32),
        midpoint=midpoint,
        auc=score,
        accuracy=accuracy,
        positives=len(positive),
        negatives=len(negative),
        method=method,
        seed=seed,
    )


def _scaled(
    normal: Float64[Array, " d"], positive: Array, negative: Array, clauses: tuple[str, str]
) -> tuple[Float64[Array, " d"], float, float]:
    """Unit normal, midpoint of the class means along it, gap between them (> 0)."""
    length = float(np.linalg.norm(normal))
    unit = normal / length if length else normal
    high, low = float(_mean(positive) @ unit), float(_mean(negative) @ unit)
    if not np.isfinite(high - low):
        raise NotFinite("latents contain NaN or infinity; drop those items")
    if high - low <= 1e-9 * max(abs(high), abs(low)):
        raise InputError(
            f"{clauses[0]!r} and {clauses[1]!r} have the same mean latent, so there is no direction between them; "
            "choose clauses that match different items"
        )
    return unit, (high + low) / 2, high - low


def _split(latents: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """A random fifth (at least one item, unless there is only one) apart from the rest."""
    n = len(latents)
    held = max(1, round(_HELD_OUT * n)) if n > 1 else 0
    order = generator.permutation(n)
    return latents[np.sort(order[held:])], latents[np.sort(order[:held])]


def _mean(latents: Float[Array, "n d"]) -> Float64[Array, " d"]:
    return np.asarray(latents.mean(axis=0, dtype=np.float64))
