"""LEACE: its theorem, beside latents that were left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.errors import InputError, ShapeMismatch
from latentstore.evaluate import linear_probe
from latentstore.geometry import EraserFitter, indicators


def labelled(n=3000, d=8, c=4, seed=0):
    """Correlated noise around a mean per label."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, c, n)
    mix = rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mix + 3 * rng.normal(size=(c, d))[label] + 10, label


def means(x, label):
    return np.stack([x[label == one].mean(0) for one in np.unique(label)])


def test_class_means_are_equal_afterwards_and_were_not_before():
    x, label = labelled()
    eraser = EraserFitter(8, 4).update(x, indicators(label)).fit()
    assert eraser.rank == 3
    after = means(eraser.apply(x).astype(float), label)
    assert np.ptp(means(x, label), axis=0).max() > 1, "control"
    np.testing.assert_allclose(after, np.broadcast_to(x.mean(0), after.shape), atol=1e-5)


def test_a_linear_probe_finds_nothing_afterwards():
    x, label = labelled(n=4000)
    fit, test = slice(0, 3000), slice(3000, None)
    eraser = EraserFitter(8, 4).update(x[fit], indicators(label[fit])).fit()
    before = linear_probe(x[fit].astype(np.float32), label[fit], x[test].astype(np.float32), label[test])
    after = linear_probe(eraser.apply(x[fit]), label[fit], eraser.apply(x[test]), label[test])
    assert before > 0.6
    # the best constant guess: 1000 items of 4 about equal labels, standard error √(.25 · .75 / 1000) = .014
    assert abs(after - 0.25) < 4 * 0.014


def test_no_affine_map_that_erases_moves_the_latents_less():
    """Every other solution is r(x) + N (x − μ) with N Σ_xz = 0: the distance is least at N = 0, and grows elsewhere."""
    x, label = labelled(n=500, d=4, c=2)
    z = indicators(label)
    eraser = EraserFitter(4, 2).update(x, z).fit()
    erased = x - (x - x.mean(0)) @ eraser.right.T @ eraser.left.T
    least = np.square(erased - x).sum(1).mean()
    assert least == pytest.approx(eraser.lost * x.var(axis=0).sum())
    cross = (x - x.mean(0)).T @ (z - z.mean(0))
    free = np.linalg.svd(cross)[0][:, 1:]  # directions n with nᵀ Σ_xz = 0
    rng = np.random.default_rng(1)
    for _ in range(50):
        other = rng.normal(size=(4, 3)) @ free.T
        for size in (1e-3, 1e-1, 1.0):
            moved = erased + size * (x - x.mean(0)) @ other.T
            assert np.abs((moved - moved.mean(0)).T @ (z - z.mean(0))).max() < 1e-8 * np.abs(cross).max() * (1 + size)
            assert np.square(moved - x).sum(1).mean() > least
    # nor does the orthogonal projection, which erases as well
    line = cross[:, :1] / np.linalg.norm(cross[:, 0])
    projected = x - (x - x.mean(0)) @ line @ line.T
    assert np.square(projected - x).sum(1).mean() > least


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(2, 5))
def test_erasing_is_done_once_and_in_any_batches(seed, parts, classes):
    x, label = labelled(n=200, d=5, c=classes, seed=seed)
    z = indicators(label)
    whole = EraserFitter(5, z.shape[1]).update(x, z).fit()
    fitter = EraserFitter(5, z.shape[1])
    for a, b in zip(np.array_split(x, parts), np.array_split(z, parts), strict=True):
        fitter.update(a, b)
    once = whole.apply(x)
    np.testing.assert_allclose(fitter.fit().apply(x), once, atol=1e-4)
    np.testing.assert_allclose(whole.apply(once), once, atol=1e-4)  # a projection
    np.testing.assert_allclose(whole.apply(x[3]), once[3], atol=1e-6)


def test_numbers_are_erased_too_and_flat_directions_do_no_harm():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, 5))
    x[:, 4] = 7  # no variance
    x[:, 3] = x[:, 0] + x[:, 1]
    year = 2000 + x[:, 0] + 0.1 * rng.normal(size=2000)
    eraser = EraserFitter(5, 1).update(x, year[:, None]).fit()
    erased = eraser.apply(x)
    assert abs(np.corrcoef(x[:, 0], year)[0, 1]) > 0.9, "control"
    covariance = (erased - erased.mean(0)).T @ (year - year.mean()) / 2000
    np.testing.assert_allclose(covariance, 0, atol=1e-5)
    np.testing.assert_allclose(erased[:, 4], 7, atol=1e-5)
    assert eraser.rank == 1


def test_a_concept_that_is_not_there_changes_nothing():
    x = np.concatenate([np.eye(3), -np.eye(3)])
    same = EraserFitter(3, 1).update(x, np.ones((6, 1))).fit()
    assert same.rank == 0
    assert same.lost == 0
    np.testing.assert_array_equal(same.apply(x), x.astype(np.float32))


def test_refusals():
    with pytest.raises(InputError, match="1 latents"):
        EraserFitter(2, 1).update(np.ones((1, 2)), np.ones((1, 1))).fit()
    with pytest.raises(InputError, match="all latents are equal"):
        EraserFitter(2, 1).update(np.ones((5, 2)), np.arange(5.0)[:, None]).fit()
    with pytest.raises(ShapeMismatch, match=r"pass \(n, 2\) and \(n, 1\)"):
        EraserFitter(2, 1).update(np.ones((5, 3)), np.ones((5, 1)))
    eraser = EraserFitter(2, 1).update(np.eye(2), np.eye(2)[:, :1]).fit()
    with pytest.raises(ShapeMismatch, match="for d=2"):
        eraser.apply(np.ones((1, 3)))
