"""Attribute vectors on planted data, beside data without the property."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.errors import DidNotConverge, InputError, ShapeMismatch
from latentstore.geometry import auc, logistic, mean_difference
from latentstore.geometry.attributes import logistic_normal

D = 12
TRUE = np.zeros(D)
TRUE[3] = 1.0


def planted(gap, n=2000, seed=0):
    """Unit noise, strongly correlated between coordinates 3 and 4, positives moved along coordinate 3."""
    rng = np.random.default_rng(seed)
    mix = np.eye(D)
    mix[4, 3] = 0.9
    noise = rng.normal(size=(2 * n, D)) @ mix.T + 5
    return (noise[:n] + gap * TRUE).astype(np.float32), noise[n:].astype(np.float32)


def test_mean_difference_is_the_difference_of_the_means():
    positive, negative = planted(2.0)
    found = mean_difference(positive, negative)
    exact = positive.mean(0, dtype=float) - negative.mean(0, dtype=float)
    np.testing.assert_allclose(found.direction, exact, atol=1e-6)
    assert (found.positives, found.negatives, found.method) == (2000, 2000, "mean_difference")


@pytest.mark.parametrize("fit", [mean_difference, logistic])
def test_strength_1_takes_the_negative_mean_to_the_level_of_the_positive(fit):
    positive, negative = planted(2.0)
    found = fit(positive, negative)
    unit = found.direction / np.linalg.norm(found.direction)
    moved = negative + found.direction
    np.testing.assert_allclose((moved @ unit).mean(), (positive @ unit).mean(), rtol=1e-5)
    np.testing.assert_allclose(found.strength(positive).mean(), 1, atol=1e-5)
    np.testing.assert_allclose(found.strength(negative).mean(), 0, atol=1e-5)
    assert found.strength(positive[0]).shape == ()


@pytest.mark.parametrize("fit", [mean_difference, logistic])
def test_held_out_scores_see_the_planted_property_and_nothing_in_noise(fit):
    found = fit(*planted(2.0))
    chance = fit(*planted(0.0))
    assert found.auc > 0.9
    assert found.accuracy > 0.8
    # 400 + 400 held-out pairs: standard deviation of the AUC under chance is √(801 / (12 · 400 · 400)) = .0204
    assert abs(chance.auc - 0.5) < 4 * 0.0204
    assert abs(chance.accuracy - 0.5) < 4 * 0.5 / np.sqrt(800)


def test_in_few_samples_of_many_dimensions_only_held_out_scores_are_honest():
    rng = np.random.default_rng(3)
    positive, negative = rng.normal(size=(2, 40, 400))
    found = logistic(positive, negative)
    fitted = auc(found.strength(positive), found.strength(negative))
    assert fitted == 1.0
    assert found.auc < 0.8


def test_logistic_finds_the_cause_where_the_mean_difference_follows_the_correlation():
    rng = np.random.default_rng(4)
    n = 20_000
    shared = rng.normal(size=(2, n))
    shared[0] += 1.0
    x = np.stack([shared + 0.1 * rng.normal(size=(2, n)), rng.normal(size=(2, n)) * 3], axis=-1)
    x[..., 1] += 2 * x[..., 0]  # coordinate 1 follows coordinate 0 under heavy noise
    cosines = []
    for fit in (mean_difference, lambda p, q: logistic(p, q, l2=1e-6)):
        direction = fit(x[0], x[1]).direction
        cosines.append(direction[0] / np.linalg.norm(direction))
    assert cosines[0] < 0.5 < 0.99 < cosines[1]


def test_logistic_gradient_is_zero_at_the_solution():
    positive, negative = planted(1.0, n=300)
    w = logistic_normal(positive, negative, l2=1e-2, tolerance=1e-8, max_iterations=1000)
    x = np.concatenate([positive, negative]).astype(float)
    x -= (positive.mean(0, dtype=float) + negative.mean(0, dtype=float)) / 2
    x /= np.sqrt((x**2).mean())
    y = np.repeat([1.0, -1.0], 300)

    def loss(w, b):
        margin = y * (x @ w + b)
        return np.log1p(np.exp(-margin)).mean() + 0.005 * w @ w

    b = min(np.linspace(-3, 3, 60_001), key=lambda b: loss(w, b))  # an independent line search for the offset
    for direction in np.eye(D):
        slope = (loss(w + 1e-4 * direction, b) - loss(w - 1e-4 * direction, b)) / 2e-4
        assert abs(slope) < 1e-5
        assert loss(w, b) < loss(w + 0.05 * direction, b), "control: the loss grows away from the solution"


def test_logistic_does_not_depend_on_class_sizes_or_on_units():
    positive, negative = planted(2.0)
    found = logistic(positive, negative)
    doubled = logistic(np.concatenate([positive] * 3), negative)
    scaled = logistic(1000 * positive, 1000 * negative)
    np.testing.assert_allclose(doubled.direction, found.direction, atol=1e-3)
    np.testing.assert_allclose(scaled.direction / 1000, found.direction, atol=1e-3)


def test_the_seed_chooses_only_what_is_held_out():
    data = planted(1.0)
    one, same, other = (mean_difference(*data, seed=seed) for seed in (0, 0, 1))
    assert one.auc == same.auc != other.auc
    np.testing.assert_array_equal(one.direction, other.direction)


def test_a_single_example_cannot_be_held_out():
    found = mean_difference(np.array([[1.0, 0]]), np.array([[0.0, 0], [0, 1]]))
    assert np.isnan(found.auc)
    assert np.isnan(found.accuracy)
    np.testing.assert_array_equal(found.direction, [1, -0.5])


def test_refusals():
    positive, negative = planted(1.0, n=20)
    with pytest.raises(InputError, match=r"0 items are positive and 20 are negative; \"label = 'x'\" matches none"):
        mean_difference(positive[:0], negative, clauses=("label = 'x'", "true"))
    with pytest.raises(InputError, match="'negative' matches none"):
        logistic(positive, negative[:0])
    with pytest.raises(InputError, match="the same mean latent"):
        mean_difference(positive, positive)
    with pytest.raises(InputError, match="l2 is 0"):
        logistic(positive, negative, l2=0)
    with pytest.raises(ShapeMismatch):
        mean_difference(positive, negative[:, :3])
    with pytest.raises(DidNotConverge, match="raise max_iterations") as error:
        logistic(positive, negative, max_iterations=1)
    assert error.value.iterations == 1
    assert error.value.residual > 1e-6
