"""Optimal transport of latents: the map between two Gaussians, the match of two sets, the mean of point clouds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError, NotFinite, ShapeMismatch
from latentstore.geometry.image_transport import pot
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int64

MOST_PIVOTS = 10_000_000  # of the network simplex
MOST_MATCHED = 5_000  # of either set: exact matching takes some 8 s and 200 MB of costs there, and grows with the cube


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A normal distribution.

    Attributes:
        mean: Shape (d,), float64.
        covariance: Symmetric, positive definite, shape (d, d), float64.
        shrinkage: Which share of the covariance is that of a ball of the same mean variance, and not the sample's.
    """

    mean: Float64[Array, " d"]
    covariance: Float64[Array, "d d"]
    shrinkage: float = 0.0

    @classmethod
    def fit(cls, latents: Float[Array, "n d"]) -> Gaussian:
        """Mean and covariance of latents (n, d), the covariance shrunk towards a ball so far as their number asks for.

        Raises:
            InputError: Fewer than two latents.

        Source: O. Ledoit, M. Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004.
        """
        from sklearn.covariance import ledoit_wolf

        if len(latents) < 2:
            raise InputError(f"{len(latents)} latents; a Gaussian needs at least 2")
        wide = np.asarray(latents, np.float64)
        covariance, shrinkage = ledoit_wolf(wide)
        floor = max(1e-9 * float(np.trace(covariance)) / len(covariance), 1e-12)
        return cls(wide.mean(axis=0), covariance + floor * np.eye(len(covariance)), float(shrinkage))


@dataclass(frozen=True, eq=False)
class GaussianTransport:
    """The optimal transport map from one Gaussian to another: T(x) = b + A (x − a).

    A = Σ₁^(−½) (Σ₁^½ Σ₂ Σ₁^½)^½ Σ₁^(−½) is the only symmetric positive map with A Σ₁ A = Σ₂; of all maps that push the
    first Gaussian to the second, T moves the least.

    Attributes:
        source, target: The Gaussians.
    """

    source: Gaussian
    target: Gaussian

    @cached_property
    def matrix(self) -> Float64[Array, "d d"]:
        """A, shape (d, d)."""
        root, inverse = _root(self.source.covariance), _root(self.source.covariance, -0.5)
        return np.asarray(inverse @ _root(root @ self.target.covariance @ root) @ inverse)

    def __call__(self, latents: Float[Array, "n d"], amount: float = 1.0) -> Float64[Array, "n d"]:
        """Move latents (n, d) a fraction of the way to T(x): 0 not at all, 1 wholly (McCann's interpolation)."""
        x = np.asarray(latents, np.float64)
        return np.asarray(x + amount * (self.target.mean + (x - self.source.mean) @ self.matrix - x))

    @property
    def cost(self) -> float:
        """The squared Bures–Wasserstein distance: the mean of |T(x) − x|² over the source."""
        return bures_wasserstein(self.source, self.target)


def bures_wasserstein(a: Gaussian, b: Gaussian) -> float:
    """Squared 2-Wasserstein distance of two Gaussians: |a − b|² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½).

    Between Gaussians fitted to features, this is the Fréchet distance. By symmetric eigen-decompositions: unlike a
    general matrix square root, those give no imaginary parts and do not fail on singular covariances.

    Raises:
        ShapeMismatch: Of different widths.

    Source: D. C. Dowson, B. V. Landau, The Fréchet distance between multivariate normal distributions, 1982.
    """
    if a.mean.shape != b.mean.shape:
        raise ShapeMismatch(f"Gaussians in {len(a.mean)} and {len(b.mean)} dimensions; compare within one space")
    root = _root(a.covariance)
    cross = np.linalg.eigvalsh(root @ b.covariance @ root)
    spread = np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return float(np.square(a.mean - b.mean).sum() + max(float(spread), 0.0))


def _root(matrix: Float64[Array, "d d"], power: float = 0.5) -> Float64[Array, "d d"]:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, 1e-300 if power < 0 else 0) ** power) @ vectors.T)


def match(source: Float[Array, "n d"], target: Float[Array, "n d"]) -> Int64[Array, " n"]:
    """The one-to-one match of two sets with the least sum of squared distances, exactly.

    Args:
        source: Shape (n, d).
        target: As many, shape (n, d).

    Returns:
        Position in `target` of the match of each of `source`, shape (n,).

    Raises:
        ShapeMismatch: The sets differ in number or width.
        InputError: More than 5,000, or none.
        DidNotConverge: The network simplex.
    """
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise ShapeMismatch(f"sets have shapes {a.shape} and {b.shape}; match equally many latents of one space")
    if not 1 <= len(a) <= MOST_MATCHED:
        raise InputError(f"{len(a)} latents to match; choose 1 to {MOST_MATCHED}")
    return np.asarray(_plan(a, b)[0].argmax(axis=1))


@dataclass(frozen=True, eq=False)
class CloudBarycenter:
    """The weighted mean of point clouds under optimal transport.

    Attributes:
        points: Shape (m, d), float64; each weighs 1/m.
        cost: Σ wᵢ W₂²(points, cloudᵢ): how far, squared, the clouds are from their mean.
        iterations: Until no point moved.
    """

    points: Float64[Array, "m d"]
    cost: float
    iterations: int


def cloud_barycenter(
    clouds: Sequence[Float[Array, "n d"]],
    weights: Float[Array, " k"],
    *,
    points: int | None = None,
    seed: int = 0,
    tolerance: float = 1e-6,
    max_iterations: int = 200,
) -> CloudBarycenter:
    """The free-support Wasserstein barycenter of point clouds, whose points weigh alike within each cloud.

    Args:
        clouds: k ≥ 1 clouds of any sizes, shapes (nᵢ, d).
        weights: Not negative, not all 0, shape (k,); only their ratios count.
        points: How many the barycenter has: as many as the largest cloud when None.
        seed: Chooses the points of the heaviest cloud that it begins with. The result is a stationary point, not
            always the best one.
        tolerance: Stop when the points move by less, root mean square, as a share of the clouds' spread.
        max_iterations: At most.

    Raises:
        ShapeMismatch, NotFinite, InputError: Clouds or weights that are none.
        DidNotConverge: `max_iterations` were not enough.

    Source: M. Cuturi, A. Doucet, Fast computation of Wasserstein barycenters, ICML 2014, algorithm 2 with steps of
    length 1: each point moves to the mean of where its mass goes. POT solves each match.
    """
    given, shares = [np.asarray(one, np.float64) for one in clouds], np.asarray(weights, np.float64)
    if not given or shares.shape != (len(given),) or any(one.ndim != 2 or not len(one) for one in given):
        raise ShapeMismatch(
            f"clouds have shapes {[one.shape for one in given]}, weights {shares.shape}; pass (n, d) each, and (k,)"
        )
    if len({one.shape[1] for one in given}) > 1:
        raise ShapeMismatch(
            f"clouds have {sorted({one.shape[1] for one in given})} dimensions; pass one kind of points"
        )
    if not (np.isfinite(shares).all() and all(np.isfinite(one).all() for one in given)):
        raise NotFinite("clouds or weights contain NaN or infinity; pass finite numbers")
    size = max(len(one) for one in given) if points is None else points
    if (shares < 0).any() or not shares.any() or size < 1:
        raise InputError(f"weights are {shares.tolist()} and points {size}; none below 0, one above, at least 1 point")
    shares = shares / shares.sum()
    heaviest = given[int(shares.argmax())]
    start = heaviest[np.random.default_rng(seed).choice(len(heaviest), size, replace=size > len(heaviest))]
    spread = float(np.sqrt(np.mean([one.var(axis=0).sum() for one in given]))) or 1.0
    found, residual = start, float("inf")
    for iterations in range(1, max_iterations + 1):
        before = found
        found = np.zeros_like(before)
        for share, one in zip(shares, given, strict=True):
            found += share * size * (_plan(before, one)[0] @ one)
        residual = float(np.sqrt(np.square(found - before).sum() / size)) / spread
        if residual <= tolerance:
            cost = sum(share * _plan(found, one)[1] for share, one in zip(shares, given, strict=True))
            return CloudBarycenter(found, float(cost), iterations)
    raise DidNotConverge(
        f"the barycenter of {len(given)} clouds still moves; raise tolerance or max_iterations",
        iterations=max_iterations,
        residual=residual,
    )


def _plan(a: Float64[Array, "n d"], b: Float64[Array, "m d"]) -> tuple[Float64[Array, "n m"], float]:
    """How much of each point of one set goes to each of another, all of a set weighing alike, and what that costs.

    Raises:
        DidNotConverge: The network simplex.
    """
    plan, log = pot().lp.emd([], [], _squared(a, b), numItermax=MOST_PIVOTS, log=True)
    if log["warning"] is not None:
        raise DidNotConverge(
            f"no match of {len(a)} and {len(b)} points was found ({log['warning']}); match fewer",
            iterations=MOST_PIVOTS,
            residual=float("inf"),
        )
    return np.asarray(plan), float(log["cost"])


def _squared(a: Float64[Array, "n d"], b: Float64[Array, "m d"]) -> Float64[Array, "n m"]:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(a, b, "sqeuclidean"))
