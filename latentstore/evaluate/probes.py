"""How much of the labels a space carries: a vote of neighbours, and a linear classifier. Neither trains the space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError, ShapeMismatch
from latentstore.geometry import fit_softmax
from latentstore.index import exact_search

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, Shaped

    from latentstore.types import Array, Metric


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
    """Test accuracy of multinomial logistic regression (`latentstore.geometry.fit_softmax`).

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
    _check_labels(train, train_labels, test, test_labels)
    return float((fit_softmax(train, train_labels).predict(test) == test_labels).mean())


def _check_labels(base: Array, base_labels: Array, queries: Array, query_labels: Array) -> None:
    for vectors, labels, what in ((base, base_labels, "training"), (queries, query_labels, "test")):
        if len(vectors) != len(labels) or not len(labels):
            raise ShapeMismatch(f"{len(labels)} labels for {len(vectors)} {what} latents; pass one each, at least one")
