"""Mixtures: recovered parameters, and draws against the density they come from."""

from __future__ import annotations

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
