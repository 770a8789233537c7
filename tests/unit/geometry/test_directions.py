"""Balanced, conditional and unsupervised directions, and how far to trust one: theorems on planted data."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.errors import InputError, ShapeMismatch
from latentstore.geometry import balanced, conditional, leading_directions, leakage, logistic, mean_difference
from latentstore.geometry.attributes import Classes, Logistic, Means

D = 6
SMILE, HAT = np.eye(D)[:2]


def confounded(n=4000, seed=0, noise=0.5):
    """Smiling moves axis 0 by 3, a hat axis 1 by 5; of those who smile 90 % wear a hat, of the others 20 %."""
    rng = np.random.default_rng(seed)
    smile = rng.random(n) < 0.5
    hat = rng.random(n) < np.where(smile, 0.9, 0.2)
    x = noise * rng.normal(size=(n, D)) + 3 * smile[:, None] * SMILE + 5 * hat[:, None] * HAT
    return x, smile, hat


def strata(hat, smile):
    return hat[smile].tolist(), hat[~smile].tolist()


def test_balanced_moves_nothing_of_the_confounder_where_the_mean_difference_does():
    x, smile, hat = confounded(noise=0.0)
    found = balanced(x[smile], x[~smile], strata=strata(hat, smile))
    np.testing.assert_allclose(found.direction, 3 * SMILE, atol=1e-6)
    plain = mean_difference(x[smile], x[~smile])
    assert plain.direction[1] > 3, "control: the plain difference takes the hat along"


def test_balanced_is_the_weighted_mean_of_the_differences_within_strata():
    x, smile, hat = confounded()
    expected, total = np.zeros(D), 0.0
    for value in (False, True):
        p, q = x[smile & (hat == value)], x[~smile & (hat == value)]
        weight = len(p) * len(q) / (len(p) + len(q))
        expected += weight * (p.mean(0) - q.mean(0))
        total += weight
    found = balanced(x[smile], x[~smile], strata=strata(hat, smile))
    np.testing.assert_allclose(found.direction, expected / total, atol=1e-6)


def test_balanced_leaves_out_what_has_no_counterpart_and_refuses_when_nothing_has():
    x, smile, hat = confounded()
    alone = np.vstack([x[smile], np.full((5, D), 1e6)])  # five smiling items in a stratum without any other
    found = balanced(alone, x[~smile], strata=([*hat[smile].tolist(), *["alone"] * 5], hat[~smile].tolist()))
    np.testing.assert_allclose(found.direction, balanced(x[smile], x[~smile], strata=strata(hat, smile)).direction)
    assert found.positives == smile.sum()
    with pytest.raises(InputError, match=r"no group of items .* among its 2 groups; balance fewer columns"):
        balanced(x[:3], x[3:6], strata=(["a"] * 3, ["b"] * 3))
    with pytest.raises(ShapeMismatch, match="2 and 3 strata for 3 positive"):
        balanced(x[:3], x[3:6], strata=(["a"] * 2, ["b"] * 3))


def test_the_auc_of_balanced_compares_within_strata_only():
    rng = np.random.default_rng(1)
    hat = rng.random(6000) < 0.5
    smile = rng.random(6000) < np.where(hat, 0.95, 0.05)
    x = rng.normal(size=(6000, D)) + 8 * hat[:, None] * HAT  # smiling itself leaves no trace
    assert mean_difference(x[smile], x[~smile]).auc > 0.9, "control: the hat tells who smiles"
    assert abs(balanced(x[smile], x[~smile], strata=strata(hat, smile)).auc - 0.5) < 0.1


def test_conditional_is_orthogonal_to_the_others_and_strength_1_still_closes_the_gap():
    x, smile, _hat = confounded()
    others = np.stack([5 * HAT, HAT + 0.1 * np.eye(D)[2], 2 * HAT])  # linearly dependent, too
    found = conditional(x[smile], x[~smile], orthogonal_to=others)
    np.testing.assert_allclose(others @ found.direction.astype(float), 0, atol=1e-6)
    assert abs(others @ mean_difference(x[smile], x[~smile]).direction).max() > 1, "control"
    np.testing.assert_allclose(found.strength(x[smile]).mean(), 1, atol=1e-5)
    np.testing.assert_allclose(found.strength(x[~smile]).mean(), 0, atol=1e-5)
    difference = x[smile].mean(0) - x[~smile].mean(0)
    basis = np.linalg.qr(others[:2].T)[0]
    left = difference - basis @ (basis.T @ difference)
    np.testing.assert_allclose(found.direction, left, atol=1e-6)
    with pytest.raises(InputError, match="lies within the 6 directions"):
        conditional(x[smile], x[~smile], orthogonal_to=np.eye(D))


def test_leakage_is_what_a_move_does_to_the_level_of_another():
    rng = np.random.default_rng(2)
    directions = rng.normal(size=(3, D))
    table = leakage(directions)
    for a in range(3):
        for b in range(3):
            gap = np.linalg.norm(directions[b])
            level = directions[b] / gap
            z = rng.normal(size=D)
            assert table[a, b] == pytest.approx(((z + directions[a]) @ level - z @ level) / gap)
    np.testing.assert_allclose(np.diag(table), 1)
    assert not np.allclose(table, table.T)


# Reliability


def test_stability_is_what_refitting_every_resample_gives():
    x, smile, _ = confounded(n=600, noise=2.0)
    p, q = x[smile], x[~smile]
    for fit, method in ((mean_difference, Means()), (logistic, Logistic())):
        found = fit(p, q, resamples=60, seed=3)
        generator = np.random.default_rng([3, 1])
        rows = [(generator.integers(0, len(side), len(side))) for side in (p, q) for _ in range(60)]
        unit = found.direction / np.linalg.norm(found.direction)
        cosines = []
        for one, other in zip(rows[:60], rows[60:], strict=True):
            again = method.fit(Classes.of(p[one], q[other])).normal
            cosines.append(again @ unit / np.linalg.norm(again))
        # exact for means; of logistic each resample is one Newton step from the whole
        tolerance = 1e-6 if fit is mean_difference else 0.1 * (1 - np.mean(cosines))
        assert found.stability == pytest.approx(np.mean(cosines), abs=tolerance)
        assert found.stability_low == pytest.approx(np.quantile(cosines, 0.05), abs=3 * tolerance)
        assert found.stability_low <= found.stability < 1


def test_stability_falls_where_the_direction_is_chance():
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(200, 50))
    steady = mean_difference(noise[:100] + 2, noise[100:], resamples=50)
    shaky = mean_difference(noise[:100], noise[100:], resamples=50)
    assert steady.stability_low > 0.99
    assert shaky.stability < 0.8
    assert np.isnan(mean_difference(noise[:100], noise[100:]).stability)


@pytest.mark.parametrize("fit", [mean_difference, logistic])
def test_p_values_of_labels_without_meaning_are_uniform_and_of_a_property_smallest(fit):
    rng = np.random.default_rng(6)
    values = []
    for _ in range(60):
        x = rng.normal(size=(60, 4)) * [1, 2, 3, 4]
        values.append(fit(x[:25], x[25:], permutations=39).p_value)
    # a uniform variable's mean over 60: standard deviation √(1/12/60) = .037
    assert abs(np.mean(values) - 0.5) < 4 * 0.037
    assert np.mean(np.array(values) <= 0.25) < 0.25 + 4 * np.sqrt(0.25 * 0.75 / 60)
    moved = rng.normal(size=(60, 4))
    assert fit(moved[:25] + 2, moved[25:], permutations=39).p_value == 1 / 40
    assert np.isnan(fit(moved[:25], moved[25:] + 1).p_value)


def test_the_p_value_of_a_small_case_counts_all_labellings():
    x = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    # of the 20 ways to call three of six positive, 2 part them as far: p is near .1, and never below 1/(1 + n)
    value = mean_difference(x[3:], x[:3], permutations=4000).p_value
    assert value == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / 4000))


def test_permutations_of_balanced_stay_within_strata():
    rng = np.random.default_rng(7)
    hat = rng.random(2000) < 0.5
    smile = rng.random(2000) < np.where(hat, 0.9, 0.1)
    x = rng.normal(size=(2000, D)) + 5 * hat[:, None] * HAT
    assert mean_difference(x[smile], x[~smile], permutations=99).p_value == 0.01, "control: it is the hat"
    assert balanced(x[smile], x[~smile], strata=strata(hat, smile), permutations=99).p_value > 0.02


def test_the_seed_repeats_resamples_and_permutations():
    x, smile, _ = confounded(n=200, noise=3)
    one, same, other = (
        mean_difference(x[smile], x[~smile], resamples=20, permutations=20, seed=seed) for seed in (0, 0, 1)
    )
    assert (one.stability, one.p_value) == (same.stability, same.p_value)
    assert one.stability != other.stability
    with pytest.raises(InputError, match="resamples is -1"):
        mean_difference(x[smile], x[~smile], resamples=-1)
    with pytest.raises(InputError, match="permutations is -1"):
        mean_difference(x[smile], x[~smile], permutations=-1)


# Without labels


def test_principal_directions_are_those_of_an_independent_decomposition():
    rng = np.random.default_rng(8)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    x = (rng.normal(size=(3000, 5)) * [9, 5, 3, 2, 1]) @ turn + 100
    found = leading_directions(x, 3, resamples=20)
    centred = x - x.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    for k, one in enumerate(found):
        unit = one.direction / np.linalg.norm(one.direction)
        assert abs(unit @ axes[k]) == pytest.approx(1, abs=1e-6)
        assert np.linalg.norm(one.direction) == pytest.approx((centred @ axes[k]).std(), rel=1e-5)
        assert one.share == pytest.approx(sizes[k] ** 2 / (sizes**2).sum(), rel=1e-6)
        assert one.mean == pytest.approx(x.mean(0) @ unit, rel=1e-5)
        assert unit[np.abs(unit).argmax()] > 0
        assert one.stability > 0.99
    assert leading_directions(x, 1, resamples=0)[0].direction == pytest.approx(found[0].direction)


def test_directions_of_equal_variance_are_not_stable():
    x = np.random.default_rng(9).normal(size=(5000, 8))
    assert leading_directions(x, 1)[0].stability < 0.9
    x[:, 0] *= 3
    assert leading_directions(x, 1)[0].stability_low > 0.999, "control"


def test_directions_of_other_samples_have_the_unit_of_the_data():
    rng = np.random.default_rng(10)
    data = rng.normal(size=(2000, 3)) * [1, 2, 4]
    pulled = rng.normal(size=(500, 3)) * [5, 1, 1]
    (found,) = leading_directions(data, 1, samples=pulled)
    moment = pulled.T @ pulled / 500
    values, vectors = np.linalg.eigh(moment)
    unit = found.direction / np.linalg.norm(found.direction)
    assert abs(unit @ vectors[:, -1]) == pytest.approx(1, abs=1e-6)
    assert found.share == pytest.approx(values[-1] / values.sum())
    assert np.linalg.norm(found.direction) == pytest.approx((data @ unit).std(), rel=1e-5)


@pytest.mark.parametrize(
    ("data", "count", "message"),
    [
        (np.ones((1, 3)), 1, "at least 2"),
        (np.eye(3), 4, "count is 4 in 3 dimensions"),
        (np.ones((9, 3)), 1, "does not vary"),
        (np.outer(np.arange(9.0), [1, 0, 0]), 2, "does not vary along all of 2"),
        (np.full((9, 3), np.nan), 1, "NaN"),
    ],
)
def test_refusals(data, count, message):
    with pytest.raises(InputError, match=message):
        leading_directions(data, count)
