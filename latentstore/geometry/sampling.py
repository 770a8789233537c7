"""Densities over a latent space that new latents are drawn from; `mixtures` fits those of several components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError
from latentstore.types import Array, is_finite

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Int64

MOST = 1000  # times the noise: float32, which latents are, ends somewhere


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of c Gaussians with full covariances; c = 1 is a Gaussian.

    Attributes:
        weights: Shares, sum 1, float64, shape (c,).
        means: Shape (c, d), float64.
        factors: Lower Cholesky factors L of the covariances L Lᵀ, shape (c, d, d), float64.
    """

    weights: Float64[Array, " c"]
    means: Float64[Array, "c d"]
    factors: Float64[Array, "c d d"]

    @classmethod
    def union(cls, parts: Sequence[Mixture], sizes: Float[Array, " p"]) -> Mixture:
        """The mixture of mixtures, each weighing as its size, shape (p,), says."""
        shares = np.asarray(sizes, np.float64) / np.sum(sizes)
        return cls(
            np.concatenate([share * part.weights for share, part in zip(shares, parts, strict=True)]),
            np.concatenate([part.means for part in parts]),
            np.concatenate([part.factors for part in parts]),
        )

    def __len__(self) -> int:
        """How many components."""
        return len(self.weights)

    def draw(self, n: int, generator: np.random.Generator, *, truncation: float = 1.0) -> Float32[Array, "n d"]:
        """Draw n latents, float32, shape (n, d), in random order of components.

        Args:
            n: How many.
            generator: For everything random; for the same one, truncations share components and directions.
            truncation: What the way from a component's mean is multiplied by: 1 draws from the mixture, .5 halves each
                way (a quarter of the covariance), 0 gives means only.

        Raises:
            InputError: n < 0, or a truncation that is no number from 0 to 1,000.
        """
        if n < 0:
            raise InputError(f"n is {n}; draw zero or more latents")
        check_truncation(truncation)
        component = generator.choice(len(self.weights), size=n, p=self.weights)
        noise = truncation * generator.standard_normal((n, self.means.shape[1]))
        drawn = np.empty((n, self.means.shape[1]), dtype=np.float32)
        for c in np.unique(component):
            mine = component == c
            drawn[mine] = self.means[c] + noise[mine] @ self.factors[c].T
        return drawn

    def log_density(self, latents: Float[Array, "n d"]) -> Float64[Array, " n"]:
        """Natural logarithm of the density at each latent, shape (n,)."""
        from scipy.special import logsumexp

        return np.asarray(logsumexp(self._log_parts(latents), axis=0))

    def trace(self, latents: Float[Array, "n d"], generator: np.random.Generator) -> Int64[Array, " n"]:
        """Draw for each latent (n, d) the component that it came from, by the odds of that; shape (n,)."""
        parts = self._log_parts(latents)
        shares = np.exp(parts - parts.max(axis=0))
        levels = np.cumsum(shares, axis=0)
        below = levels < levels[-1] * generator.random(len(latents))
        return np.asarray(np.minimum(below.sum(axis=0), len(parts) - 1))

    def _log_parts(self, latents: Float[Array, "n d"]) -> Float64[Array, "c n"]:
        """log wₖ N(x | μₖ, Σₖ)."""
        from scipy.linalg import solve_triangular

        d = self.means.shape[1]
        terms = np.empty((len(self.weights), len(latents)))
        for c, (weight, mean, factor) in enumerate(zip(self.weights, self.means, self.factors, strict=True)):
            white = solve_triangular(factor, (np.asarray(latents, np.float64) - mean).T, lower=True)
            log_det = np.log(np.diag(factor)).sum()
            terms[c] = np.log(weight) - 0.5 * (d * np.log(2 * np.pi) + np.square(white).sum(axis=0)) - log_det
        return terms


def fit_gaussian(latents: Float[Array, "n d"]) -> Mixture:
    """Fit one Gaussian by maximum likelihood.

    Args:
        latents: Shape (n, d), n ≥ 2.

    Returns:
        A mixture of one component. Where the sample covariance is singular (n ≤ d, or a dimension without variance)
        a ridge of 1e-6 of the mean variance makes it a density.

    Raises:
        InputError: Fewer than two latents.
    """
    if len(latents) < 2:
        raise InputError(f"{len(latents)} latents; a Gaussian needs at least 2")
    wide = np.asarray(latents, dtype=np.float64)
    mean = wide.mean(axis=0)
    centred = wide - mean
    covariance = centred.T @ centred / len(wide)
    covariance[np.diag_indices_from(covariance)] += _ridge(wide)
    return Mixture(np.ones(1), mean[None], np.linalg.cholesky(covariance)[None])


def check_truncation(truncation: float) -> None:
    """Refuse what no noise is scaled by."""
    if not (is_finite(truncation) and 0 <= truncation <= MOST):
        raise InputError(
            f"truncation is {truncation}; choose 1 for all variety, or less, down to 0, for more typical ones (at most "
            f"{MOST})"
        )


def _ridge(latents: Float64[Array, "n d"]) -> float:
    """1e-6 of the mean variance (1e-12 when all latents are equal)."""
    return max(1e-6 * float(latents.var(axis=0).mean()), 1e-12)
