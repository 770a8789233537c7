"""Intrinsic dimension against the law it assumes, against clouds of known dimension, and against noise."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.errors import InputError, ShapeMismatch
from latentstore.geometry import levina_bickel, two_nn
from latentstore.maps.nearest import nearest
from latentstore.types import Array


def _poisson(dimension: float, n: int, k: int, seed: int) -> Array:
    """Neighbour distances under the very model: volumes r^D of a Poisson process are sums of exponentials."""
    volumes = np.cumsum(np.random.default_rng(seed).exponential(size=(n, k)), axis=1)
    return np.asarray(volumes ** (1 / dimension))


def _distances(points: Array, k: int = 20) -> Array:
    return nearest(points.astype(np.float32), points.astype(np.float32), k + 1)[1][:, 1:]


@pytest.mark.parametrize("dimension", [1.0, 2.5, 8.0, 20.0])
def test_under_the_model_both_are_right_within_their_error(dimension: float) -> None:
    found = [[f(_poisson(dimension, 4000, 10, seed)) for seed in range(12)] for f in (two_nn, levina_bickel)]
    for estimates in found:
        values, errors = (np.array([getattr(e, name) for e in estimates]) for name in ("value", "error"))
        assert abs(values.mean() - dimension) < 4 * errors.mean() / np.sqrt(12)
        assert 0.5 < values.std(ddof=1) / errors.mean() < 2  # the stated error is the true scatter
    # The likelihood sees nine ratios a point where two_nn sees one: it must be the sharper by about their root.
    assert np.mean([e.error for e in found[1]]) < 0.5 * np.mean([e.error for e in found[0]])


@pytest.mark.parametrize(("dimension", "tolerance"), [(1, 0.06), (2, 0.1), (5, 0.6)])
def test_a_flat_cloud_in_32_dimensions(dimension: int, tolerance: float) -> None:
    rng = np.random.default_rng(dimension)
    basis, _ = np.linalg.qr(rng.normal(size=(32, 32)))
    flat = rng.uniform(size=(3000, dimension)) @ basis[:dimension]
    for estimate in (two_nn, levina_bickel):
        assert estimate(_distances(flat)).value == pytest.approx(dimension, abs=tolerance)
    # The control: the same cloud made thick in all 32 directions is no longer flat.
    thick = flat + rng.normal(scale=0.2, size=flat.shape)
    for estimate in (two_nn, levina_bickel):
        assert estimate(_distances(thick)).value > dimension + 5


def test_a_rolled_sheet_has_two_dimensions_and_scale_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    t = 1.5 * np.pi * (1 + 2 * rng.uniform(size=4000))
    roll = np.stack([t * np.cos(t), 21 * rng.uniform(size=4000), t * np.sin(t)], axis=1)
    distances = _distances(roll, 8)
    for estimate in (two_nn, levina_bickel):
        assert estimate(distances).value == pytest.approx(2, abs=0.12)
        assert estimate(7 * distances).value == pytest.approx(estimate(distances).value)


def test_twins_are_left_out() -> None:
    distances = _poisson(3, 500, 5, 0)
    twins = np.vstack([distances, np.hstack([np.zeros((50, 1)), distances[:50, 1:]])])
    for estimate in (two_nn, levina_bickel):
        assert estimate(twins) == estimate(distances)


@pytest.mark.parametrize(
    ("distances", "error", "message"),
    [
        (np.ones(5), ShapeMismatch, r"\(5,\)"),
        (np.ones((20, 1)), ShapeMismatch, "≥ 2"),
        (np.full((20, 3), np.nan), InputError, "ascending"),
        (np.ones((20, 3)) * [3, 2, 1], InputError, "ascending"),
        (np.zeros((20, 3)), InputError, "0 of 20"),
        (np.ones((20, 3)), InputError, "lattice"),
    ],
)
def test_mistakes_are_named(distances: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        two_nn(distances)


def test_the_likelihood_names_its_mistakes() -> None:
    with pytest.raises(ShapeMismatch, match="≥ 3"):
        levina_bickel(np.ones((20, 2)))
    with pytest.raises(InputError, match="lattice"):
        levina_bickel(np.ones((20, 3)))
