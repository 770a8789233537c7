"""Theorems about straight lines, great circles, and mixes that stay Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.linalg import norm

from latentstore.errors import InputError, NotFinite, ShapeMismatch
from latentstore.geometry import gaussian, lerp, mix_gaussian, slerp

RNG = np.random.default_rng(1)
T = np.linspace(0, 1, 21)


def angles(path):
    unit = path / norm(path, axis=-1, keepdims=True)
    return np.arccos(np.clip(np.sum(unit[1:] * unit[:-1], axis=-1), -1, 1))


@pytest.mark.parametrize("walk", [lerp, slerp, gaussian])
def test_ends_are_the_anchors(walk):
    a, b = RNG.normal(size=(2, 32)).astype(np.float32)
    path = walk(a, b, T)
    assert path.shape == (21, 32)
    assert path.dtype == np.float32
    np.testing.assert_allclose(path[0], a, rtol=1e-6)
    np.testing.assert_allclose(path[-1], b, rtol=1e-6)


def test_lerp_is_affine_and_ends_are_exact():
    a, b = RNG.normal(size=(2, 5))
    path = lerp(a, b, T)
    assert (path[0] == a).all()
    assert (path[-1] == b).all()
    np.testing.assert_allclose(np.diff(path, axis=0), np.tile((b - a) / 20, (20, 1)), atol=1e-15)
    np.testing.assert_allclose(lerp(a, b, 2.0)[0], 2 * b - a)


def test_slerp_turns_at_constant_speed_in_the_plane_of_its_ends():
    a, b = RNG.normal(size=(2, 16))
    b *= 3
    path = slerp(a, b, T)
    total = np.arccos(a @ b / norm(a) / norm(b))
    np.testing.assert_allclose(angles(path), total / 20, rtol=1e-7)
    np.testing.assert_allclose(norm(path, axis=1), (1 - T) * norm(a) + T * norm(b), rtol=1e-12)
    assert np.linalg.matrix_rank(np.vstack([a, b, path]), tol=1e-9) == 2
    assert np.ptp(angles(lerp(a, b, T))) > 0.01, "control: a straight line does not turn evenly"


def test_slerp_of_parallel_latents_is_the_straight_line():
    a = RNG.normal(size=8)
    for b in (a, 2 * a, a + 1e-12 * RNG.normal(size=8)):
        np.testing.assert_allclose(slerp(a, b, T), lerp(a, b, T), rtol=1e-9)


def test_slerp_just_short_of_antipodal_still_turns_evenly():
    a, b = np.array([1.0, 0, 0]), np.array([-1.0, 1e-4, 0])
    np.testing.assert_allclose(angles(slerp(a, b, T)), (np.pi - 1e-4) / 20, rtol=1e-6)


def test_antipodal_ends_are_refused():
    a = RNG.normal(size=64).astype(np.float32)
    for b in (-a, -3 * a):
        with pytest.raises(InputError, match="not unique; use lerp"):
            slerp(a, b, T)


def test_a_batch_is_its_single_calls():
    a, b = RNG.normal(size=(2, 4, 6))
    for walk in (lerp, slerp, gaussian):
        batch = walk(a, b, T)
        assert batch.shape == (4, 21, 6)
        for i in range(4):
            np.testing.assert_array_equal(batch[i], walk(a[i], b[i], T))


def test_refusals():
    a, b = RNG.normal(size=(2, 4))
    with pytest.raises(ShapeMismatch, match=r"\(4,\) and end \(3,\)"):
        lerp(a, b[:3], T)
    with pytest.raises(ShapeMismatch, match="t has shape"):
        lerp(a, b, T[None])
    with pytest.raises(NotFinite, match="t contains"):
        slerp(a, b, [0, np.nan])
    with pytest.raises(NotFinite, match="zero vector"):
        slerp(a, 0 * b, T)
    with pytest.raises(InputError, match="negative length"):
        slerp(a, a / 10, 2.0)


def test_gaussian_keeps_the_distribution_of_its_ends():
    a, b = np.eye(2)
    path = gaussian(a, b, T)
    np.testing.assert_allclose(
        norm(path, axis=1), 1, rtol=1e-12
    )  # var(ca·a + cb·b) = (ca² + cb²) Σ for independent ends
    assert norm(lerp(a, b, 0.5)) == pytest.approx(np.sqrt(0.5)), "control: the line's middle has half the variance"
    assert (path[[0, -1]] == [a, b]).all()
    root = RNG.normal(size=(3, 3))
    starts, ends = RNG.normal(size=(2, 200_000, 3)) @ root.T
    middle = gaussian(starts, ends, 0.3)[:, 0]
    np.testing.assert_allclose(np.cov(middle.T), root @ root.T, atol=0.03 * np.abs(root @ root.T).max())


def test_gaussian_of_two_is_the_mix_of_two_and_any_mix_has_length_one():
    anchors = np.linalg.qr(RNG.normal(size=(7, 4)))[0].T  # orthonormal rows: |mix| is √Σw² exactly
    np.testing.assert_allclose(
        mix_gaussian(anchors[:2], np.stack([1 - T, T], axis=1)), gaussian(anchors[0], anchors[1], T), atol=1e-12
    )
    weights = RNG.dirichlet(np.ones(4), size=(5, 6))
    mixed = mix_gaussian(anchors, weights)
    assert mixed.shape == (5, 6, 7)
    np.testing.assert_allclose(norm(mixed, axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(mix_gaussian(anchors, 3 * weights), mixed, rtol=1e-12)
    with pytest.raises(NotFinite, match="all zero"):
        mix_gaussian(anchors, np.zeros(4))
    with pytest.raises(ShapeMismatch, match=r"\(4, 7\) and weights \(3,\)"):
        mix_gaussian(anchors, np.ones(3))
