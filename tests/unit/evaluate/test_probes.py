"""Votes and linear probes against brute force, scikit-learn and invariances."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from latentstore.errors import InputError, ShapeMismatch
from latentstore.evaluate import knn_accuracy, linear_probe

NAMES = np.array(["boot", "bag", "coat"], dtype=object)


def blobs(n: int, d: int, *, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    centres = np.random.default_rng(99).normal(size=(3, d))
    return (centres[labels] + spread * rng.normal(size=(n, d))).astype(np.float32), NAMES[labels]


def votes_by_hand(base: np.ndarray, labels: np.ndarray, query: np.ndarray, k: int) -> str:
    order = np.argsort(((base - query) ** 2).sum(axis=1), kind="stable")[:k]
    counts = Counter(labels[order])
    most = max(counts.values())
    return next(labels[i] for i in order if counts[labels[i]] == most)


@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_votes_are_those_of_a_loop(k: int) -> None:
    base, base_labels = blobs(300, 5, spread=1.0, seed=1)
    queries, query_labels = blobs(100, 5, spread=1.0, seed=2)
    by_hand = np.mean([votes_by_hand(base, base_labels, q, k) == t for q, t in zip(queries, query_labels, strict=True)])
    assert knn_accuracy(base, base_labels, queries, query_labels, k=(k, 9))[k] == pytest.approx(by_hand)
    assert 0.5 < by_hand < 1  # neither trivial nor hopeless, so that a wrong vote would show


def test_a_tie_goes_to_the_nearer_label() -> None:
    base = np.array([[1.0], [2.0], [3.0], [4.0]], np.float32)
    query = np.zeros((1, 1), np.float32)
    labels = np.array(["b", "a", "a", "b"])
    assert knn_accuracy(base, labels, query, np.array(["b"]), k=[4])[4] == 1
    assert knn_accuracy(base, labels, query, np.array(["a"]), k=[3])[3] == 1  # control: no tie, the majority wins


def test_votes_follow_the_metric() -> None:
    base = np.array([[10.0, 0.1], [0.2, 1.0]], np.float32)
    query, labels = np.array([[1.0, 0.0]], np.float32), np.array(["along", "near"])
    assert knn_accuracy(base, labels, query, np.array(["along"]), k=[1], metric="cosine")[1] == 1
    assert knn_accuracy(base, labels, query, np.array(["near"]), k=[1], metric="l2")[1] == 1


def test_probe_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    train, train_labels = blobs(600, 6, spread=1.2, seed=3)
    test, test_labels = blobs(400, 6, spread=1.2, seed=4)
    oracle = LogisticRegression(C=1e4, max_iter=1000).fit(train, train_labels.astype(str))
    assert linear_probe(train, train_labels, test, test_labels) == pytest.approx(
        oracle.score(test, test_labels.astype(str)), abs=0.006
    )


def test_probe_does_not_see_invertible_linear_maps() -> None:
    """A linear classifier of x is one of Ax + b: the accuracy must not depend on how the space is written down."""
    train, train_labels = blobs(600, 6, spread=1.2, seed=5)
    test, test_labels = blobs(400, 6, spread=1.2, seed=6)
    rng = np.random.default_rng(7)
    a, b = (rng.normal(size=(6, 6)) * [1, 10, 100, 1, 0.1, 1]).astype(np.float32), rng.normal(size=6).astype(np.float32)
    plain = linear_probe(train, train_labels, test, test_labels)
    mapped = linear_probe(train @ a + b, train_labels, test @ a + b, test_labels)
    assert mapped == pytest.approx(plain, abs=0.006)
    folded = linear_probe(np.abs(train), train_labels, np.abs(test), test_labels)
    assert abs(folded - plain) > 0.02  # control: a map that is not linear does change it


def test_probe_finds_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(8)
    train, test = rng.normal(size=(2000, 4)).astype(np.float32), rng.normal(size=(1000, 4)).astype(np.float32)
    labels = NAMES[rng.integers(0, 3, 3000)]
    assert linear_probe(train, labels[:2000], test, labels[2000:]) == pytest.approx(1 / 3, abs=0.06)


def test_probe_takes_constant_and_repeated_dimensions() -> None:
    train, labels = blobs(300, 3, spread=0.1, seed=9)
    wide = np.hstack([train, train, np.ones((300, 2), np.float32)])
    assert linear_probe(wide, labels, wide, labels) == 1


def test_mistakes_are_named() -> None:
    x = np.zeros((4, 2), np.float32)
    with pytest.raises(ShapeMismatch, match="3 labels for 4 training latents"):
        linear_probe(x, np.zeros(3), x, np.zeros(4))
    with pytest.raises(ShapeMismatch, match="0 labels for 0 test latents"):
        knn_accuracy(x, np.zeros(4), x[:0], np.zeros(0))
    with pytest.raises(InputError, match=r"k is \(5, 10\) with 4 base latents"):
        knn_accuracy(x, np.zeros(4), x, np.zeros(4))
