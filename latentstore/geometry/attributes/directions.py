"""Directions that need no labels, and what directions do to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, NotFinite
from latentstore.geometry.attributes.reliability import LOW
from latentstore.geometry.cores import one_core
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64

GROUPS = 256  # that samples are resampled in: as many second moments are kept, not one per sample
FEWEST_GROUPS = 32  # in many dimensions, where a second moment is large:
MOMENT_FLOATS = 1 << 25  # all of them take 256 MB at most


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction found without labels.

    Moving a latent by s · `direction` moves it by s standard deviations of the data along it.

    Attributes:
        direction: Float32, shape (d,); its largest entry is positive.
        mean: Level of the data's mean, measured along the unit direction.
        share: Of the samples' mean square (about their mean, or about 0) that lies along it, in [0, 1].
        stability: Mean absolute cosine to the direction of the same rank in bootstrap resamples; NaN without any.
        stability_low: What 95 % of the resamples are above.
    """

    direction: Float32[Array, " d"]
    mean: float
    share: float
    stability: float
    stability_low: float


def leading_directions(
    latents: Float[Array, "n d"],
    count: int,
    *,
    samples: Float[Array, "m d"] | None = None,
    resamples: int = 100,
    seed: int = 0,
) -> list[Direction]:
    """The `count` directions along which samples vary most, each orthogonal to those before.

    Args:
        latents: The data, shape (n, d): their spread along a direction is its unit.
        count: How many, at most d.
        samples: Vectors whose second moment E[v vᵀ] about 0 is taken apart, shape (m, d): random pullbacks Jᵀu of a
            decoder give its most sensitive directions, the top singular vectors of E[JᵀJ]. None: the latents about
            their mean, whose directions are the principal components.
        resamples: Bootstrap resamples of what is taken apart, in at most 256 random groups, for the stability.
        seed: Of the resamples.

    Returns:
        Directions, the strongest first.

    Raises:
        InputError: A count that d has not, or data that does not vary along a direction.
        NotFinite: NaN or infinity.
    """
    data = np.asarray(latents, np.float64)
    given = data if samples is None else np.asarray(samples, np.float64)
    if not 1 <= count <= data.shape[1]:
        raise InputError(f"count is {count} in {data.shape[1]} dimensions; choose 1 to {data.shape[1]} directions")
    if resamples < 0:
        raise InputError(f"resamples is {resamples}; choose 0 (no stability) or some hundred")
    if len(given) < 2 or len(data) < 2:
        raise InputError(f"{len(data)} latents do not vary; directions need at least 2")
    if not (np.isfinite(given).all() and np.isfinite(data).all()):
        raise NotFinite("latents contain NaN or infinity; drop those items")
    with one_core():
        moments = _Moments.of(given, np.random.default_rng([seed, 0]), centred=samples is None)
        values, units = moments.leading(np.ones(len(moments.counts)))
        if values.sum() <= 0:
            raise InputError("the data does not vary along any direction; give other latents or samples")
        units = units[:, :count]
        units *= np.sign(units[np.abs(units).argmax(axis=0), np.arange(count)])
        along = data @ units
    spreads, means = along.std(axis=0), along.mean(axis=0)
    if not (spreads > 1e-9 * max(float(spreads.max()), 1e-300)).all():
        raise InputError(f"the data does not vary along all of {count} directions; ask for fewer")
    cosines = np.full((max(resamples, 1), count), np.nan)
    generator = np.random.default_rng([seed, 1])
    for number in range(resamples):
        groups = len(moments.counts)
        _, again = moments.leading(np.bincount(generator.integers(0, groups, groups), minlength=groups))
        cosines[number] = np.abs((units * again[:, :count]).sum(axis=0))
    return [
        Direction(
            direction=(spreads[k] * units[:, k]).astype(np.float32),
            mean=float(means[k]),
            share=float(values[k] / values.sum()),
            stability=float(cosines[:, k].mean()),
            stability_low=float(np.quantile(cosines[:, k], LOW)) if resamples else float("nan"),
        )
        for k in range(count)
    ]


def leakage(directions: Float[Array, "n d"]) -> Float64[Array, "n n"]:
    """What moving by strength 1 along attribute a does to the level of attribute b, in units of b's own gap.

    Args:
        directions: Attribute vectors, each as long as its gap, shape (n, d).

    Returns:
        Entry (a, b) is a·b / |b|², float64, shape (n, n): 1 on the diagonal, 0 where a leaves b alone, 1 where it
        raises b as much as b itself does.
    """
    wide = np.asarray(directions, np.float64)
    return np.asarray(wide @ wide.T / np.square(wide).sum(axis=1))


@dataclass(frozen=True, eq=False)
class _Moments:
    """Counts (g,), sums (g, d) and second moments (g, d, d) of samples in random groups of about equal size."""

    counts: Float64[Array, " g"]
    sums: Float64[Array, "g d"]
    squares: Float64[Array, "g d d"]
    centred: bool

    @classmethod
    def of(cls, samples: Float64[Array, "m d"], generator: np.random.Generator, *, centred: bool) -> _Moments:
        about = samples - samples.mean(axis=0) if centred else samples  # near 0, where squares lose no digits
        most = min(GROUPS, max(FEWEST_GROUPS, MOMENT_FLOATS // about.shape[1] ** 2))
        groups = np.array_split(generator.permutation(len(about)), min(most, len(about)))
        squares = np.empty((len(groups), about.shape[1], about.shape[1]))
        for square, rows in zip(squares, groups, strict=True):
            np.matmul(about[rows].T, about[rows], out=square)
        counts = np.array([len(rows) for rows in groups], np.float64)
        return cls(counts, np.array([about[rows].sum(axis=0) for rows in groups]), squares, centred)

    def leading(self, often: Float64[Array, " g"]) -> tuple[Float64[Array, " d"], Float64[Array, "d d"]]:
        """Eigenvalues, descending, and eigenvectors, with each group counted so many times."""
        total = often @ self.counts
        moment = np.tensordot(often, self.squares, 1) / total
        if self.centred:
            mean = often @ self.sums / total
            moment = moment - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(moment)
        return np.maximum(values[::-1], 0), np.array(vectors[:, ::-1])
