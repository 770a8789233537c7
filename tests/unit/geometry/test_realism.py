"""Realism against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from latentstore.errors import InputError, NotFinite
from latentstore.geometry import RealismScale, kth_distances

RNG = np.random.default_rng(5)
X = RNG.normal(size=(700, 6)).astype(np.float32)


@pytest.mark.parametrize(("metric", "oracle"), [("l2", "euclidean"), ("cosine", "cosine")])
def test_kth_distances_equal_a_sort(metric, oracle):
    queries = RNG.normal(size=(300, 6))
    full = np.sort(cdist(queries, X.astype(float), oracle), axis=1)
    for k in (1, 5, 700):
        np.testing.assert_allclose(kth_distances(queries, X, k=k, metric=metric), full[:, k - 1], rtol=1e-9)


def test_a_real_item_is_not_its_own_neighbour():
    full = np.sort(cdist(X.astype(float), X.astype(float)), axis=1)
    scale = RealismScale.fit(X, k=3, sample=10_000)
    np.testing.assert_allclose(scale.distances, np.sort(full[:, 3]), rtol=1e-9)


def test_score_is_the_share_of_real_items_at_least_as_far_out():
    scale = RealismScale.from_distances([4.0, 1, 2, 2], k=1)
    np.testing.assert_array_equal(
        scale.score([0, 1, 1.5, 2, 3, 4, 5, np.nan]), [1, 1, 0.75, 0.75, 0.25, 0.25, 0, np.nan]
    )


def test_score_falls_monotonically_and_real_items_are_uniform_on_it():
    scale = RealismScale.fit(X, k=5, sample=350, seed=1)
    scores = scale.score(np.linspace(0, 20, 500))
    assert (np.diff(scores) <= 0).all()
    assert (scores[0], scores[-1]) == (1.0, 0.0)
    fresh = RNG.normal(size=(700, 6))
    real = scale.score(kth_distances(fresh, X, k=5))
    assert abs(real.mean() - 0.5) < 0.06  # uniform: standard deviation of the mean .011, of the scale .016
    far = scale.score(kth_distances(4 * fresh, X, k=5))
    assert far.mean() < 0.1, "control: points off the data score low"


def test_the_seed_chooses_the_sample():
    one, same, other = (RealismScale.fit(X, sample=50, seed=seed).distances for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_refusals():
    with pytest.raises(InputError, match="k is 10 with 10"):
        RealismScale.fit(X[:10])
    with pytest.raises(InputError, match="k is 0"):
        kth_distances(X, X, k=0)
    with pytest.raises(InputError, match="sample is 0"):
        RealismScale.fit(X, sample=0)
    with pytest.raises(NotFinite):
        RealismScale.from_distances([1, np.inf], k=1)
    with pytest.raises(InputError, match="no distances"):
        RealismScale.from_distances([], k=1)
