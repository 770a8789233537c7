"""Centroids against a loop over the labels."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.errors import InputError, ShapeMismatch
from latentstore.geometry import centroids

RNG = np.random.default_rng(2)
X = RNG.normal(size=(500, 9)).astype(np.float32) + 100


@pytest.mark.parametrize("values", [["b", "a", None, "c"], [3, 1, None, 2], [2.5, float("nan"), 1.0], [True, False]])
def test_means_counts_and_spreads(values):
    labels = [values[i] for i in RNG.integers(len(values), size=500)]
    found = centroids(X, labels)
    present = sorted({v for v in labels if v is not None and v == v})
    assert list(found.labels) == present
    for label, mean, count, spread in zip(found.labels, found.vectors, found.counts, found.spreads, strict=True):
        mine = X[[v == label for v in labels]].astype(np.float64)
        assert count == len(mine)
        np.testing.assert_allclose(mean, mine.mean(0), rtol=1e-6)
        np.testing.assert_allclose(spread, np.sqrt(((mine - mine.mean(0)) ** 2).sum(1).mean()), rtol=1e-9)
    assert found.counts.sum() == sum(v is not None and v == v for v in labels)


def test_numpy_labels_and_one_member():
    found = centroids(X[:3], np.array([7, 7, 9], dtype=np.int8))
    assert list(found.labels) == [7, 9]
    assert found.spreads[1] == 0
    np.testing.assert_array_equal(found.vectors[1], X[2])


def test_refusals():
    with pytest.raises(ShapeMismatch, match="3 labels for 500"):
        centroids(X, ["a"] * 3)
    with pytest.raises(InputError, match="all 500 labels are null"):
        centroids(X, [None] * 500)
    with pytest.raises(InputError, match="convert them to strings"):
        centroids(X[:2], ["a", 1])
