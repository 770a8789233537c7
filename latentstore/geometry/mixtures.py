"""Fitting mixtures of many Gaussians with full covariances in seconds.

With features φ(x) = (1, x, all xᵢxⱼ), the log densities of all components are one matrix product, φ(x) W, and what the
next components are computed from is another, Rᵀ φ(x), R the responsibilities: some ten times faster than a product per
component.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError
from latentstore.geometry.cores import one_core
from latentstore.geometry.sampling import Mixture, fit_gaussian
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Int64

CHUNK = 1 << 24  # numbers of the features of one chunk: 64 MiB
KEPT = 1 << 28  # numbers of features that are kept from one step to the next: 1 GiB
RIDGE = 1e-4  # of the variance of all latents, on every component: none is singular
FEWEST = 2.0  # items, below which a component is dropped


def fit_mixture(
    latents: Float[Array, "n d"],
    components: int,
    *,
    seed: int,
    max_iterations: int = 200,
    tolerance: float = 1e-2,
    prior: float = 2.0,
) -> Mixture:
    """Fit a mixture of Gaussians with full covariances by EM, started from k-means.

    Args:
        latents: Shape (n, d).
        components: How many Gaussians. Those that hardly any item is left to are dropped.
        seed: For the k-means start.
        max_iterations: EM steps at most.
        tolerance: Stop when the mean log likelihood grows by less; nats. Sums are made in float32: 1e-3 is the least.
        prior: How many latents the pooled covariance weighs as in each component's own: what keeps small ones from
            fitting their few latents only. About d suits components of a few times d latents.

    Returns:
        The mixture.

    Raises:
        InputError: Fewer latents than components, so few that none has two, or components < 1.
        DidNotConverge: `max_iterations` were not enough.
    """
    if not 1 <= components <= len(latents):
        raise InputError(f"{components} components for {len(latents)} latents; choose 1 to the number of latents")
    if components == 1:
        return fit_gaussian(latents)
    whole = fit_gaussian(latents)
    centre, factor = whole.means[0], whole.factors[0]
    white = _whitened(np.asarray(latents, np.float64) - centre, factor)
    features = _Features(white)
    with one_core():
        found = _from_sums(features.sums(_start(white, components, seed)), features, prior)
        before, growth = -np.inf, np.inf
        for _ in range(max_iterations):
            sums, likelihood = features.expectation(found)
            growth, before = likelihood - before, likelihood
            if growth < tolerance:
                break
            found = _from_sums(sums, features, prior)
        else:
            raise DidNotConverge(
                f"EM of {components} components did not reach {tolerance:g}; raise max_iterations or use fewer "
                "components",
                iterations=max_iterations,
                residual=float(growth),
            )
    factors = factor @ np.linalg.cholesky(found.covariances)
    # L M is lower triangular as both are, with a positive diagonal: the Cholesky factor of the covariance unwhitened.
    return Mixture(found.weights, found.means @ factor.T + centre, factors)


@dataclass(frozen=True, eq=False)
class _Components:
    weights: Float64[Array, " c"]
    means: Float64[Array, "c d"]
    covariances: Float64[Array, "c d d"]


class _Features:
    """φ of whitened latents, chunk by chunk."""

    def __init__(self, white: Float32[Array, "n d"]) -> None:
        self.white = white
        self.dim = white.shape[1]
        self.upper = np.triu_indices(self.dim)
        self.width = 1 + self.dim + len(self.upper[0])
        step = max(64, CHUNK // self.width)
        self.slices = [slice(i, i + step) for i in range(0, len(white), step)]
        keep = len(white) * self.width <= KEPT
        self._kept = [self._of(white[one]) for one in self.slices] if keep else None

    def _of(self, x: Float32[Array, "m d"]) -> Float32[Array, "m f"]:
        features = np.empty((len(x), self.width), np.float32)
        features[:, 0], features[:, 1 : self.dim + 1] = 1, x
        np.multiply(x[:, self.upper[0]], x[:, self.upper[1]], out=features[:, self.dim + 1 :])
        return features

    def chunk(self, number: int) -> Float32[Array, "m f"]:
        return self._of(self.white[self.slices[number]]) if self._kept is None else self._kept[number]

    def sums(self, labels: Int64[Array, " n"]) -> Float64[Array, "c f"]:
        """Sums of φ over the latents of each label."""
        total = np.zeros((int(labels.max()) + 1, self.width))
        for number, part in enumerate(self.slices):
            mine = np.zeros((len(labels[part]), len(total)), np.float32)
            mine[np.arange(len(mine)), labels[part]] = 1
            total += mine.T @ self.chunk(number)
        return total

    def expectation(self, now: _Components) -> tuple[Float64[Array, "c f"], float]:
        """Sums of φ weighted by responsibility, and the mean log likelihood."""
        weights = self._log_density_weights(now)
        total, likelihood = np.zeros((len(weights), self.width)), 0.0
        for number in range(len(self.slices)):
            features = self.chunk(number)
            scores = features @ weights.T
            highest = scores.max(axis=1, keepdims=True)
            shares = np.exp(scores - highest, out=scores)
            norms = shares.sum(axis=1, keepdims=True)
            likelihood += float((highest + np.log(norms)).sum(dtype=np.float64))
            shares /= norms
            total += shares.T @ features
        return total, likelihood / len(self.white)

    def _log_density_weights(self, now: _Components) -> Float32[Array, "c f"]:
        """W: log wₖ N(x | μₖ, Σₖ) = φ(x) · Wₖ."""
        precisions = np.linalg.inv(now.covariances)
        pulled = np.einsum("cij,cj->ci", precisions, now.means)
        constant = np.log(now.weights) - 0.5 * (
            np.linalg.slogdet(now.covariances)[1]
            + self.dim * np.log(2 * np.pi)
            + np.einsum("ci,ci->c", pulled, now.means)
        )
        diagonal = np.arange(self.dim)
        precisions[:, diagonal, diagonal] *= 0.5
        quadratic = -precisions[:, self.upper[0], self.upper[1]]
        return np.concatenate([constant[:, None], pulled, quadratic], axis=1).astype(np.float32)


def _from_sums(sums: Float64[Array, "c f"], features: _Features, prior: float) -> _Components:
    """The maximum of the expected likelihood, with a little of the pooled covariance in each."""
    sums = sums[sums[:, 0] >= FEWEST]
    if not len(sums):
        raise InputError(f"no component has {FEWEST:.0f} latents; ask for fewer components")
    size, d = sums[:, 0], features.dim
    means = sums[:, 1 : d + 1] / size[:, None]
    scatter = np.zeros((len(sums), d, d))
    rows, columns = features.upper
    scatter[:, rows, columns] = scatter[:, columns, rows] = sums[:, d + 1 :]
    scatter -= size[:, None, None] * means[:, :, None] * means[:, None, :]
    pooled = scatter.sum(axis=0) / size.sum()
    covariances = (scatter + prior * pooled) / (size + prior)[:, None, None] + RIDGE * np.eye(d)
    return _Components(size / size.sum(), means, covariances)


def _start(white: Float32[Array, "n d"], components: int, seed: int) -> Int64[Array, " n"]:
    from sklearn.cluster import MiniBatchKMeans

    wanted = min(components, len(np.unique(white, axis=0)))
    means = MiniBatchKMeans(wanted, random_state=seed, n_init=1, batch_size=4096, max_iter=20)
    return np.asarray(means.fit_predict(white))


def _whitened(centred: Float64[Array, "n d"], factor: Float64[Array, "d d"]) -> Float32[Array, "n d"]:
    from scipy.linalg import solve_triangular

    return np.ascontiguousarray(solve_triangular(factor, centred.T, lower=True).T, np.float32)
