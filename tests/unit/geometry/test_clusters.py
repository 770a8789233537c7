"""Parts of a class, on planted parts."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.errors import InputError
from latentstore.geometry import cluster


def planted(sizes, apart=12.0, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(size=(len(truth), 5)) + apart * np.eye(5)[truth], truth


def test_planted_parts_are_found_and_counted():
    x, truth = planted([100, 300, 200])
    order = np.random.default_rng(1).permutation(600)
    found = cluster(x[order])
    assert np.bincount(found.members).tolist() == [300, 200, 100]
    renamed = {1: 0, 2: 1, 0: 2}  # largest first
    assert found.members.tolist() == [renamed[t] for t in truth[order]]
    assert max(found.tried, key=found.tried.get) == 3
    assert found.tried[3] == found.silhouette > 0.7
    np.testing.assert_allclose(found.centres[0], x[truth == 1].mean(0), atol=1e-6)
    np.testing.assert_allclose(found.spreads[0], np.sqrt(x[truth == 1].var(axis=0).sum()), rtol=1e-6)


def test_one_cloud_has_a_small_silhouette():
    x, _ = planted([500])
    assert cluster(x).silhouette < 0.2


def test_the_medoid_minimises_the_sum_of_squared_distances():
    x, _ = planted([40, 60])
    found = cluster(x, 2)
    inside = np.flatnonzero(found.members == 0)
    total = [np.square(x[inside] - x[i]).sum() for i in inside]
    near = found.nearest(x, 0, 3)
    assert near[0] == inside[int(np.argmin(total))]
    assert len(near) == 3


def test_the_seed_repeats_and_refusals():
    x, _ = planted([40, 60], apart=3.0)
    assert cluster(x, 4, seed=1).members.tolist() == cluster(x, 4, seed=1).members.tolist()
    with pytest.raises(InputError, match="count is 1"):
        cluster(x, 1)
    with pytest.raises(InputError, match="2 different latents do not fall into 2"):
        cluster(np.repeat(np.eye(2), 9, axis=0))
