"""Distances against direct formulas, and where a Gram matrix would lose them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from latentstore.errors import ConfigInvalid, NotFinite, ShapeMismatch
from latentstore.geometry import normalise, pairwise_distances, pairwise_similarities

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(40, 7)), RNG.normal(size=(30, 7)) + 3


@pytest.mark.parametrize(("metric", "oracle"), [("l2", "euclidean"), ("cosine", "cosine")])
def test_distances_equal_the_definition(metric, oracle):
    np.testing.assert_allclose(pairwise_distances(A, B, metric), cdist(A, B, oracle), rtol=1e-12)


def test_similarities_equal_the_definition():
    np.testing.assert_allclose(pairwise_similarities(A, B, "ip"), A @ B.T, rtol=1e-12)
    np.testing.assert_allclose(pairwise_similarities(A, B, "cosine"), 1 - cdist(A, B, "cosine"), rtol=1e-12, atol=1e-15)


def test_tiny_distances_far_from_the_origin_keep_their_digits():
    base = RNG.normal(size=(5, 64)) + 1e4
    step = np.zeros_like(base)
    step[:, 0] = 1e-5
    distances = np.diag(pairwise_distances(base, base + step))
    np.testing.assert_allclose(distances, 1e-5, rtol=1e-6)
    gram = np.sum(base**2, 1) + np.sum((base + step) ** 2, 1) - 2 * np.sum(base * (base + step), 1)
    assert not np.allclose(np.sqrt(np.abs(gram)), 1e-5, rtol=0.1), "control: the textbook formula loses them"


def test_small_angles_keep_their_digits():
    u = np.array([[1.0, 0.0]])
    v = np.array([[1.0, 1e-9]])
    np.testing.assert_allclose(pairwise_distances(u, v, "cosine"), 5e-19, rtol=1e-6)
    assert pairwise_similarities(u, v, "cosine")[0, 0] == 1.0  # control: 1 − cos would be 0


def test_equal_vectors_are_at_zero():
    assert (np.diag(pairwise_distances(A, A.copy())) == 0).all()
    assert (np.diag(pairwise_distances(A, A.copy(), "cosine")) == 0).all()


def test_empty_sides():
    assert pairwise_distances(A[:0], B).shape == (0, 30)
    assert pairwise_distances(A, B[:0]).shape == (40, 0)


def test_normalise_gives_unit_vectors_at_any_scale():
    for scale in (1e-200, 1.0, 1e200):
        np.testing.assert_allclose(np.linalg.norm(normalise(A * scale), axis=1), 1, rtol=1e-12)
    assert normalise(A.astype(np.float32)).dtype == np.float32


def test_refusals_name_the_remedy():
    with pytest.raises(NotFinite, match="row 1 is the zero vector"):
        normalise(np.array([[1.0, 0], [0, 0]]))
    with pytest.raises(ConfigInvalid, match="pairwise_similarities"):
        pairwise_distances(A, B, "ip")
    with pytest.raises(ConfigInvalid, match="pairwise_distances"):
        pairwise_similarities(A, B, "l2")
    with pytest.raises(ShapeMismatch, match=r"\(40, 7\) and \(30, 6\)"):
        pairwise_distances(A, B[:, :6])
