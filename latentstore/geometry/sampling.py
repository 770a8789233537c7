"""Densities over a latent space that new latents are drawn from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64


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

    def draw(self, n: int, generator: np.random.Generator) -> Float32[Array, "n d"]:
        """Draw n latents, float32, shape (n, d), in random order of components."""
        if n < 0:
            raise InputError(f"n is {n}; draw zero or more latents")
        component = generator.choice(len(self.weights), size=n, p=self.weights)
        noise = generator.standard_normal((n, self.means.shape[1]))
        drawn = np.empty((n, self.means.shape[1]), dtype=np.float32)
        for c in np.unique(component):
            mine = component == c
            drawn[mine] = self.means[c] + noise[mine] @ self.factors[c].T
        return drawn

    def log_density(self, latents: Float[Array, "n d"]) -> Float64[Array, " n"]:
        """Natural logarithm of the density at each latent, shape (n,)."""
        from scipy.linalg import solve_triangular
        from scipy.special import logsumexp

        d = self.means.shape[1]
        terms = np.empty((len(self.weights), len(latents)))
        for c, (weight, mean, factor) in enumerate(zip(self.weights, self.means, self.factors, strict=True)):
            white = solve_triangular(factor, (np.asarray(latents, np.float64) - mean).T, lower=True)
            log_det = np.log(np.diag(factor)).sum()
            terms[c] = np.log(weight) - 0.5 * (d * np.log(2 * np.pi) + np.square(white).sum(axis=0)) - log_det
        return np.asarray(logsumexp(terms, axis=0))


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


def fit_mixture(
    latents: Float[Array, "n d"], components: int, *, seed: int, max_iterations: int = 200, tolerance: float = 1e-3
) -> Mixture:
    """Fit a mixture of Gaussians with full covariances by EM, started from k-means.

    Args:
        latents: Shape (n, d).
        components: How many Gaussians.
        seed: For the k-means start.
        max_iterations: EM steps at most.
        tolerance: Stop when the mean log likelihood grows by less; nats.

    Returns:
        The mixture.

    Raises:
        InputError: Fewer latents than components, or components < 1.
        DidNotConverge: `max_iterations` were not enough.
    """
    if not 1 <= components <= len(latents):
        raise InputError(f"{components} components for {len(latents)} latents; choose 1 to the number of latents")
    if components == 1:
        return fit_gaussian(latents)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    # EM in float32 takes half the time; centred and scaled, it loses nothing that matters to the fit.
    centre = np.mean(latents, axis=0, dtype=np.float64)
    scaled = latents - centre
    scale = float(np.sqrt(np.square(scaled).mean())) or 1.0
    scaled = (scaled / scale).astype(np.float32)
    model = GaussianMixture(components, tol=tolerance, reg_covar=1e-6, max_iter=max_iterations, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # raised below as our own error
        model.fit(scaled)
    if not model.converged_:
        bounds = model.lower_bounds_
        raise DidNotConverge(
            f"EM of {components} components did not reach {tolerance:g}; raise max_iterations or use fewer components",
            iterations=model.n_iter_,
            residual=float(bounds[-1] - bounds[-2]) if len(bounds) > 1 else float("inf"),
        )
    weights, means, covariances = (
        np.asarray(each, np.float64) for each in (model.weights_, model.means_, model.covariances_)
    )
    return Mixture(weights / weights.sum(), scale * means + centre, scale * np.linalg.cholesky(covariances))


def _ridge(latents: Float64[Array, "n d"]) -> float:
    """1e-6 of the mean variance (1e-12 when all latents are equal)."""
    return max(1e-6 * float(latents.var(axis=0).mean()), 1e-12)
