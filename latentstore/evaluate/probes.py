"""How much of the labels a space carries: a vote of neighbours, and a linear classifier. Neither trains the space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import DidNotConverge, InputError, ShapeMismatch
from latentstore.index import exact_search

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64, Shaped

    from latentstore.types import Array, Metric

PENALTY = 1e-5  # per item, on squared weights of unit-variance features: keeps separable classes finite
MAX_STEPS = 500
TOLERANCE = 1e-4  # of the gradient's largest entry, nats per item


def knn_accuracy(
    base: Float32[Array, "n d"],
    base_labels: Shaped[Array, " n"],
    queries: Float32[Array, "m d"],
    query_labels: Shaped[Array, " m"],
    *,
    k: Sequence[int] = (5, 10),
    metric: Metric = "l2",
) -> dict[int, float]:
    """Share of queries whose label wins the vote of their k nearest base latents, searched exactly.

    Args:
        base: Latents that vote, shape (n, d).
        base_labels: Their labels, n of any type that compares.
        queries: Latents that are judged, shape (m, d), none of them in `base`.
        query_labels: Their labels.
        k: How many vote; each gets an answer from one search.
        metric: The space's metric.

    Returns:
        k → accuracy from 0 to 1. A tied vote goes to the label whose nearest voter is nearest.
    """
    _check_labels(base, base_labels, queries, query_labels)
    if not 1 <= min(k) <= max(k) <= len(base):
        raise InputError(f"k is {tuple(k)} with {len(base)} base latents; choose from 1 to {len(base)}")
    names, numbers = np.unique(np.concatenate([base_labels, query_labels]), return_inverse=True)
    positions, _ = exact_search(base, queries, max(k), metric)
    voters, truth = numbers[: len(base)][positions], numbers[len(base) :]
    return {number: float((_vote(voters[:, :number], len(names)) == truth).mean()) for number in k}


def _vote(voters: Int64[Array, "m k"], labels: int) -> Int64[Array, " m"]:
    rows = np.arange(len(voters))[:, None]
    votes = np.zeros((len(voters), labels), np.int64)
    np.add.at(votes, (rows, voters), 1)
    winners = votes[rows, voters] == votes.max(axis=1, keepdims=True)
    return np.asarray(
        voters[rows[:, 0], winners.argmax(axis=1)]
    )  # argmax: the first, so the nearest, voter of a winning label


def linear_probe(
    train: Float32[Array, "n d"],
    train_labels: Shaped[Array, " n"],
    test: Float32[Array, "m d"],
    test_labels: Shaped[Array, " m"],
) -> float:
    """Test accuracy of multinomial logistic regression on whitened latents.

    Whitening (by PCA of the training latents) changes no classifier but the weak ridge penalty's, and lets L-BFGS
    converge in tens of steps.

    Args:
        train: Latents the classifier is fitted on, shape (n, d).
        train_labels: Their n labels.
        test: Latents it is judged on, shape (m, d).
        test_labels: Their m labels.

    Returns:
        Accuracy from 0 to 1.

    Raises:
        DidNotConverge: The optimum was not reached in 500 steps.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    _check_labels(train, train_labels, test, test_labels)
    names, target = np.unique(train_labels, return_inverse=True)
    mean, whiten = _whitening(train)
    features = _with_one((train - mean) @ whiten).T.copy()  # (r + 1, n): sums over classes then run along memory
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
    with threadpool_limits(1, user_api="blas"):  # products this thin run slower on more threads, 10× on a busy machine
        fitted = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    residual = float(np.abs(fitted.jac).max())
    if residual > 10 * TOLERANCE:  # float32 sums may stop the line search just short of the tolerance
        raise DidNotConverge(
            "the linear probe did not converge; pass finite latents of one scale",
            iterations=int(fitted.nit),
            residual=residual,
        )
    guesses = _with_one((test - mean) @ whiten) @ fitted.x.reshape(shape).T
    return float((names[guesses.argmax(axis=1)] == test_labels).mean())


def _whitening(train: Float32[Array, "n d"]) -> tuple[Float32[Array, " d"], Float32[Array, "d r"]]:
    """Mean, and the map to unit variance in every direction that has any."""
    mean = train.mean(axis=0, dtype=np.float64)
    centred = train - mean.astype(np.float32)
    values, vectors = np.linalg.eigh((centred.T @ centred / len(train)).astype(np.float64))
    kept = values > 1e-7 * max(float(values[-1]), 1e-30)
    return mean.astype(np.float32), (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)


def _with_one(features: Float32[Array, "n r"]) -> Float32[Array, "n s"]:
    return np.hstack([features, np.ones((len(features), 1), np.float32)])


def _check_labels(base: Array, base_labels: Array, queries: Array, query_labels: Array) -> None:
    for vectors, labels, what in ((base, base_labels, "training"), (queries, query_labels, "test")):
        if len(vectors) != len(labels) or not len(labels):
            raise ShapeMismatch(f"{len(labels)} labels for {len(vectors)} {what} latents; pass one each, at least one")
