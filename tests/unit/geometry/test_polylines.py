"""Walking corners evenly, and what heat flow does to a sine."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.errors import InputError, ShapeMismatch
from latentstore.geometry import polyline_length, resample, smooth


def test_frames_are_equally_far_apart_along_the_line():
    corners = np.array([[0.0, 0], [3, 0], [3, 1]])
    assert polyline_length(corners) == 4
    np.testing.assert_allclose(resample(corners, 5), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]], atol=1e-12)
    uneven = np.array([[0.0], [0.1], [0.1], [0.15], [7], [10]])
    steps = np.diff(resample(uneven, 11)[:, 0])
    np.testing.assert_allclose(steps, 1, rtol=1e-12)
    assert np.diff(uneven[:, 0]).max() / np.diff(uneven[:, 0]).mean() > 3, "control: the corners are not even"


def test_steps_are_never_longer_than_their_share_of_the_length():
    corners = np.random.default_rng(0).normal(size=(12, 5))
    frames = resample(corners, 40)
    assert (np.linalg.norm(np.diff(frames, axis=0), axis=1) <= polyline_length(corners) / 39 + 1e-12).all()
    assert (frames[[0, -1]] == corners[[0, -1]]).all()


def test_a_point_stays_where_it_is():
    for points in ([[1.0, 2]], [[1.0, 2]] * 3):
        assert (resample(np.array(points), 4) == [1, 2]).all()


def test_heat_flow_damps_each_wave_as_its_equation_says():
    t, width = np.linspace(0, 1, 500), 0.08
    for wave in (1, 3, 6):  # so flat that length along the curve is t itself
        curve = np.stack([t, 1e-4 * np.sin(wave * np.pi * t)], axis=1)
        smoothed = smooth(curve, width)
        expected = 1e-4 * np.exp(-((wave * np.pi * width) ** 2) / 2) * np.sin(wave * np.pi * smoothed[:, 0])
        np.testing.assert_allclose(smoothed[:, 1], expected, atol=2e-7)
        assert (smoothed[[0, -1]] == curve[[0, -1]]).all()


def test_smoothing_goes_from_the_corners_to_the_chord():
    corners = np.random.default_rng(1).normal(size=(9, 4))
    assert (smooth(corners, 0) == corners).all()
    lengths = [polyline_length(smooth(corners, width)) for width in (0.01, 0.05, 0.1, 0.3)]
    assert polyline_length(corners) > lengths[0] > lengths[1] > lengths[2] > lengths[3]
    chord = smooth(corners, 5)
    np.testing.assert_allclose(chord, np.linspace(corners[0], corners[-1], len(chord)), atol=1e-12)


def test_refusals():
    with pytest.raises(ShapeMismatch, match=r"\(3,\)"):
        resample(np.zeros(3), 4)
    with pytest.raises(InputError, match="steps is 1"):
        resample(np.zeros((3, 2)), 1)
    with pytest.raises(InputError, match="smoothing is -1"):
        smooth(np.zeros((3, 2)), -1)
