"""Multinomial logistic regression: a linear classifier of latents, fitted to convergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError, ShapeMismatch
from latentstore.geometry.cores import one_core
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Shaped

PENALTY = 1e-5  # per item, on squared weights of unit-variance features: keeps separable classes finite
MAX_STEPS = 500
TOLERANCE = 1e-4  # of the gradient's largest entry, nats per item


@dataclass(frozen=True, eq=False)
class Softmax:
    """p(label j | z) = softmax(W z + b)ⱼ.

    Attributes:
        names: The c labels, ascending, shape (c,).
        weights: W, float64, shape (c, d).
        offsets: b, float64, shape (c,).
    """

    names: Shaped[Array, " c"]
    weights: Float64[Array, "c d"]
    offsets: Float64[Array, " c"]

    def scores(self, latents: Float[Array, "n d"]) -> Float64[Array, "n c"]:
        """Logits, up to a number per row."""
        return np.asarray(np.asarray(latents, np.float64) @ self.weights.T + self.offsets)

    def probabilities(self, latents: Float[Array, "n d"]) -> Float64[Array, "n c"]:
        """Of each label, shape (n, c); rows add up to 1."""
        scores = self.scores(latents)
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(chances / chances.sum(axis=1, keepdims=True))

    def predict(self, latents: Float[Array, "n d"]) -> Shaped[Array, " n"]:
        """The likeliest label of each, shape (n,)."""
        return np.asarray(self.names[self.scores(latents).argmax(axis=1)])


def fit_softmax(latents: Float32[Array, "n d"], labels: Shaped[Array, " n"]) -> Softmax:
    """Fit the classifier.

    Whitening (by PCA of the latents) changes no classifier but the weak ridge penalty's, and lets L-BFGS converge in
    tens of steps.

    Args:
        latents: Shape (n, d).
        labels: Their n labels.

    Returns:
        The classifier, in the latents' own coordinates.

    Raises:
        ShapeMismatch: Not one label per latent.
        InputError: No latents.
        DidNotConverge: The optimum was not reached in 500 steps.
    """
    from scipy.optimize import minimize

    if len(latents) != len(labels):
        raise ShapeMismatch(f"{len(labels)} labels for {len(latents)} latents; pass one each")
    if not len(latents):
        raise InputError("no latents to fit a classifier to; pass at least one")
    names, target = np.unique(labels, return_inverse=True)
    mean, whiten = _whitening(latents)
    white = (latents - mean) @ whiten
    features = np.hstack([white, np.ones((len(white), 1), np.float32)]).T.copy()  # (r + 1, n): sums run along memory
    shape = (len(names), len(features))
    rows = np.arange(len(target))

    def objective(flat: Float64[Array, " p"]) -> tuple[float, Float64[Array, " p"]]:
        weights = flat.reshape(shape)
        scores = weights.astype(np.float32) @ features
        scores -= scores.max(axis=0)
        loss = -scores[target, rows].mean(dtype=np.float64)
        chances = np.exp(scores, out=scores)
        totals = chances.sum(axis=0)
        loss += np.log(totals).mean(dtype=np.float64)
        chances /= totals
        chances[target, rows] -= 1
        gradient = (chances @ features.T).astype(np.float64) / len(rows) + 2 * PENALTY * weights
        return float(loss + PENALTY * np.square(weights).sum()), gradient.ravel()

    start = np.zeros(shape[0] * shape[1])
    options = {"maxiter": MAX_STEPS, "gtol": TOLERANCE, "ftol": 0.0, "maxcor": 20}
    with one_core():
        fitted = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    residual = float(np.abs(fitted.jac).max())
    if not residual <= 10 * TOLERANCE:  # NaN neither; float32 sums may stop the line search just short of the tolerance
        raise DidNotConverge(
            "the linear classifier did not converge; pass finite latents of one scale",
            iterations=int(fitted.nit),
            residual=residual,
        )
    found = fitted.x.reshape(shape)
    weights = found[:, :-1] @ whiten.T.astype(np.float64)
    return Softmax(names, weights, found[:, -1] - weights @ mean.astype(np.float64))


def _whitening(latents: Float32[Array, "n d"]) -> tuple[Float32[Array, " d"], Float32[Array, "d r"]]:
    """Mean, and the map to unit variance in every direction that has any."""
    mean = latents.mean(axis=0, dtype=np.float64)
    centred = latents - mean.astype(np.float32)
    # By their correlations: axes of very different scales would hide the smaller ones behind the rounding of the rest.
    scales = centred.std(axis=0, dtype=np.float64)
    scales[scales <= 1e-30] = 1.0
    centred /= scales.astype(np.float32)
    values, vectors = np.linalg.eigh((centred.T @ centred / len(latents)).astype(np.float64))
    kept = values > 1e-7 * max(float(values[-1]), 1e-30)
    return mean.astype(np.float32), (vectors[:, kept] / np.sqrt(values[kept]) / scales[:, None]).astype(np.float32)
