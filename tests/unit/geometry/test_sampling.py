"""Mixtures: recovered parameters, and draws against the density they come from."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from latentstore.errors import DidNotConverge, InputError
from latentstore.geometry import Mixture, fit_gaussian, fit_mixture

RNG = np.random.default_rng(6)
COVARIANCE = np.array([[2.0, 1.2, 0], [1.2, 1.0, 0], [0, 0, 0.3]])
X = RNG.multivariate_normal([1, 2, 3], COVARIANCE, size=40_000)
TWO = np.concatenate([X[:20_000] + 10, X[20_000:] - 10])


def test_gaussian_is_the_sample_mean_and_covariance():
    found = fit_gaussian(X)
    np.testing.assert_allclose(found.means[0], X.mean(0))
    np.testing.assert_allclose(found.factors[0] @ found.factors[0].T, np.cov(X.T, bias=True), atol=1e-5)


def test_draws_have_the_moments_of_the_mixture():
    mixture = fit_gaussian(X)
    drawn = mixture.draw(100_000, np.random.default_rng(0))
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(0), [1, 2, 3], atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), COVARIANCE, atol=0.05)
    np.testing.assert_array_equal(drawn, mixture.draw(100_000, np.random.default_rng(0)))
    assert not np.array_equal(drawn, mixture.draw(100_000, np.random.default_rng(1)))


def test_mixture_finds_planted_clusters():
    found = fit_mixture(TWO, 2, seed=0)
    order = np.argsort(found.means[:, 0])
    np.testing.assert_allclose(found.means[order], [[-9, -8, -7], [11, 12, 13]], atol=0.05)
    np.testing.assert_allclose(found.weights, 0.5, atol=0.01)
    for factor in found.factors:
        np.testing.assert_allclose(factor @ factor.T, COVARIANCE, atol=0.08)
    drawn = found.draw(10_000, np.random.default_rng(0))
    assert 0.45 < (drawn[:, 0] > 0).mean() < 0.55
    assert (np.abs(drawn[:, 0]) < 3).mean() < 0.001, "control: one Gaussian would fill the gap"
    assert (np.abs(fit_gaussian(TWO).draw(10_000, np.random.default_rng(0))[:, 0]) < 3).mean() > 0.1


def test_truncation_scales_the_way_from_a_component_s_mean():
    mixture = fit_mixture(TWO[::10], 2, seed=0)
    whole, half, none = (mixture.draw(4_000, np.random.default_rng(0), truncation=t) for t in (1, 0.5, 0))
    np.testing.assert_allclose(half, (whole + none) / 2, atol=1e-4)
    assert len(np.unique(none, axis=0)) == 2
    upper = half[:, 0] > 0
    np.testing.assert_allclose(np.cov(half[upper].T), COVARIANCE / 4, atol=0.06)
    for truncation in (np.nan, -1, 1001, 4e83):
        with pytest.raises(InputError, match=rf"truncation is {re.escape(str(truncation))}; .*at most 1000"):
            mixture.draw(1, np.random.default_rng(0), truncation=truncation)
    assert np.isfinite(mixture.draw(10, np.random.default_rng(0), truncation=1000)).all()


def test_many_components_beat_few_on_latents_they_were_not_fitted_to():
    angle = RNG.uniform(0, 2 * np.pi, 6_000)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.03 * RNG.standard_normal((6_000, 2))
    few, many = (fit_mixture(ring[:3_000], c, seed=0, prior=2.0) for c in (2, 24))
    assert len(many) == 24
    assert many.log_density(ring[3_000:]).mean() > few.log_density(ring[3_000:]).mean() + 0.8
    radius = np.linalg.norm(many.draw(2_000, np.random.default_rng(0)), axis=1)
    assert 0.02 < radius.std() < 0.06
    assert np.linalg.norm(few.draw(2_000, np.random.default_rng(0)), axis=1).std() > 0.1, "control"


def test_a_prior_keeps_small_components_from_collapsing():
    few = RNG.standard_normal((60, 6))
    loose, tight = (fit_mixture(few, 8, seed=0, prior=prior) for prior in (6.0, 1e-9))
    unseen = RNG.standard_normal((500, 6))
    assert loose.log_density(unseen).mean() > tight.log_density(unseen).mean() + 5


def test_equal_latents_leave_fewer_components():
    found = fit_mixture(np.repeat([[0.0, 0], [5, 5]], 100, axis=0), 6, seed=0)
    assert len(found) == 2
    np.testing.assert_allclose(found.weights, 0.5)


def test_a_union_is_as_dense_as_its_parts_are_heavy():
    parts = [fit_gaussian(X[:1000]), fit_gaussian(X[:1000] + 30)]
    both = Mixture.union(parts, np.array([3, 1]))
    np.testing.assert_allclose(both.weights, [0.75, 0.25])
    exact = np.log(0.75) + parts[0].log_density(X[:20])
    np.testing.assert_allclose(both.log_density(X[:20]), exact, rtol=1e-9)


def test_a_latent_is_traced_to_the_component_it_came_from():
    mixture = Mixture(np.array([0.3, 0.7]), np.array([[-4.0], [4.0]]), np.ones((2, 1, 1)))
    traced = mixture.trace(np.repeat([[-5.0], [5.0], [0.0]], 4_000, axis=0), np.random.default_rng(0))
    assert not traced[:4_000].any()
    assert traced[4_000:8_000].all()
    assert traced[8_000:].mean() == pytest.approx(0.7, abs=0.03)  # halfway, only the weights tell


def test_the_fit_moves_and_scales_with_the_data():
    found, moved = (fit_mixture(data[::10], 2, seed=0) for data in (TWO, 1e-3 * TWO + 100))
    order, order_moved = (np.argsort(each.means[:, 0]) for each in (found, moved))
    np.testing.assert_allclose(moved.means[order_moved], 1e-3 * found.means[order] + 100, atol=1e-5)
    np.testing.assert_allclose(moved.factors[order_moved], 1e-3 * found.factors[order], atol=1e-5)


def test_log_density_equals_scipy():
    mixture = Mixture(
        np.array([0.3, 0.7]), np.array([[1.0, 2, 3], [0, 0, 0]]), np.array([np.linalg.cholesky(COVARIANCE), np.eye(3)])
    )
    exact = np.log(
        0.3 * multivariate_normal([1, 2, 3], COVARIANCE).pdf(X[:50]) + 0.7 * multivariate_normal([0, 0, 0]).pdf(X[:50])
    )
    np.testing.assert_allclose(mixture.log_density(X[:50]), exact, rtol=1e-9)


def test_singular_data_still_gives_a_density():
    flat = X.copy()
    flat[:, 2] = 5
    drawn = fit_gaussian(flat).draw(100, np.random.default_rng(0))
    np.testing.assert_allclose(drawn[:, 2], 5, atol=0.01)
    assert np.isfinite(fit_gaussian(X[:3]).log_density(X)).all()


def test_refusals():
    with pytest.raises(InputError, match="at least 2"):
        fit_gaussian(X[:1])
    with pytest.raises(InputError, match="5 components for 3"):
        fit_mixture(X[:3], 5, seed=0)
    with pytest.raises(InputError, match="n is -1"):
        fit_gaussian(X).draw(-1, np.random.default_rng(0))
    with pytest.raises(DidNotConverge, match="raise max_iterations"):
        fit_mixture(X[:500], 3, seed=0, max_iterations=2, tolerance=1e-12)
