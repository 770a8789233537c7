"""Whether an attribute vector would be the same on other items, and whether chance could have made it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from latentstore.errors import InputError
from latentstore.geometry.attributes.classes import Classes
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64

LOW = 0.05  # the quantile that 95 % of the resamples are above
NUMBERS = 4_000_000  # held at a time: resamples are counted in blocks of this many entries


class Fitted(Protocol):
    """A direction fitted to two classes."""

    @property
    def normal(self) -> Float64[Array, " d"]:
        """The direction, of any length."""
        ...

    def resampled(self, counts: tuple[Float32[Array, "b p"], Float32[Array, "b q"]]) -> Float64[Array, "b d"]:
        """The directions of b resamples, given how often each item is in each."""
        ...


class Method(Protocol):
    """A way to fit a direction to two classes."""

    def fit(self, classes: Classes) -> Fitted:
        """Fit it."""
        ...

    def measure(self, classes: Classes) -> Float64[Array, "d r"]:
        """The map in whose image the length of mean⁺ − mean⁻ says how far the classes are apart."""
        ...


def stability(
    fitted: Fitted, classes: Classes, unit: Float64[Array, " d"], *, resamples: int, seed: int
) -> tuple[float, float]:
    """Mean cosine between a direction and those fitted to bootstrap resamples of each class, and its 5 % quantile.

    Args:
        fitted: The fit.
        classes: To what it was fitted.
        unit: The direction, of length 1.
        resamples: How many; with 0 both are NaN.
        seed: Of the resamples.

    Returns:
        Mean, and the bound that 95 % of the resamples are above, each in [−1, 1]; 1 is a direction that every
        resample agrees on.

    Source: B. Efron and R. Tibshirani, An introduction to the bootstrap, 1993.
    """
    if resamples < 0:
        raise InputError(f"resamples is {resamples}; choose 0 (no stability) or some hundred")
    if not resamples:
        return float("nan"), float("nan")
    generator = np.random.default_rng([seed, 1])
    sizes = (len(classes.positive), len(classes.negative))
    cosines = []
    strata, width = len(classes.counts), classes.positive.shape[1]
    for block in _blocks(resamples, max(*sizes, strata * width)):
        counts = [
            np.stack([np.bincount(generator.integers(0, n, n), minlength=n) for _ in range(block)]).astype(np.float32)
            for n in sizes
        ]
        found = fitted.resampled((counts[0], counts[1]))
        lengths = np.linalg.norm(found, axis=1)
        cosines.append(found @ unit / np.where(lengths > 0, lengths, 1))
    every = np.concatenate(cosines)
    return float(every.mean()), float(np.quantile(every, LOW))


def p_value(method: Method, classes: Classes, *, permutations: int, seed: int) -> float:
    """The chance that labels without meaning part the classes as far.

    Labels are permuted (within strata); the separation is |A (mean⁺ − mean⁻)|, A the method's own measure.

    Args:
        method: Says how separation is measured.
        classes: The latents as they are labelled.
        permutations: How many, n; with 0 the answer is NaN.
        seed: Of the permutations.

    Returns:
        (1 + #{separation of permuted labels ≥ that of the labels}) / (1 + n): never below 1 / (1 + n).

    Source: B. Phipson and G. Smyth, Permutation p-values should never be zero, 2010.
    """
    if permutations < 0:
        raise InputError(f"permutations is {permutations}; choose 0 (no p-value) or some hundred")
    if not permutations:
        return float("nan")
    generator = np.random.default_rng([seed, 2])
    measure = method.measure(classes)
    high, low = classes.means
    separation = float(np.linalg.norm((high - low) @ measure))
    strata = []
    for pair in zip(classes.parts(0), classes.parts(1), strict=True):
        joined = np.concatenate(pair).astype(np.float64)
        strata.append(((joined - joined.mean(axis=0)) @ measure).astype(np.float32))
    as_far = 0
    for block in _blocks(permutations, max(map(len, strata))):
        apart = np.zeros((block, measure.shape[1]))
        for weight, latents, (p, q) in zip(classes.weights, strata, classes.counts.tolist(), strict=True):
            chosen = np.zeros((block, p + q), np.float32)
            chosen[:, :p] = 1
            chosen = generator.permuted(chosen, axis=1)
            # centred latents add up to 0, so the negatives' sum is minus the positives'
            apart += weight * (1 / p + 1 / q) * (chosen @ latents)
        as_far += int((np.linalg.norm(apart, axis=1) >= separation * (1 - 1e-6)).sum())
    return (1 + as_far) / (1 + permutations)


def _blocks(count: int, size: int) -> Iterator[int]:
    step = max(1, NUMBERS // size)
    for first in range(0, count, step):
        yield min(step, count - first)
