"""The way back from a map: exact where a plane is exact, chosen by leaving out, and the mean where nothing is told."""

from __future__ import annotations

import numpy as np
import pytest

from latentstore.errors import NotFinite, ShapeMismatch
from latentstore.maps import Inverse, fit_inverse, from_stored, project
from latentstore.types import Array


def _sheet(n: int = 800, seed: int = 0, noise: float = 0.0) -> tuple[Array, Array]:
    """Coordinates in the unit square, and latents that bend over them smoothly in six dimensions."""
    rng = np.random.default_rng(seed)
    y = rng.uniform(size=(n, 2)).astype(np.float32)
    return y, _bent(y) + rng.normal(scale=noise, size=(n, 6)).astype(np.float32)


def _bent(y: Array) -> Array:
    a, b = 2 * np.pi * y.T
    return np.stack([np.sin(a), np.cos(a), np.sin(b), np.cos(b), a * b / 9, a - b], axis=1).astype(np.float32)


@pytest.mark.parametrize("dim", [2, 3])
def test_without_a_ridge_a_plane_comes_back_exactly_also_outside(dim: int) -> None:
    rng = np.random.default_rng(0)
    coordinates = rng.normal(size=(300, dim)).astype(np.float32)
    slopes, offset = rng.normal(size=(dim, 5)), rng.normal(size=5)
    latents = (coordinates @ slopes + offset).astype(np.float32)
    points = rng.normal(size=(50, dim)) * 1.5
    np.testing.assert_allclose(
        Inverse(coordinates, latents, k=15, ridge=0.0).at(points), points @ slopes + offset, atol=1e-3
    )
    # The control: a mean is no plane.
    mean = Inverse(coordinates, latents, k=15, ridge=np.inf).at(points)
    assert np.abs(mean - (points @ slopes + offset)).max() > 0.1


def test_against_least_squares_solved_point_by_point() -> None:
    coordinates, latents = _sheet(noise=0.3)
    points = np.random.default_rng(1).uniform(size=(20, 2)).astype(np.float32)
    inverse = Inverse(coordinates, latents, k=12, ridge=0.7)
    for point, found in zip(points, inverse.at(points), strict=True):
        apart = coordinates.astype(float) - point
        r = np.linalg.norm(apart, axis=1)
        near = np.argsort(r)[:12]
        w = (1 - (r[near] / (1.05 * r[near].max())) ** 3) ** 3
        w /= w.sum()
        spread = (w * r[near] ** 2).sum() / 2
        # Rows of a ridge on the slopes alone stand below those of the data.
        rows = np.vstack(
            [np.column_stack([np.ones(12), apart[near]]) * np.sqrt(w)[:, None], np.sqrt(0.7 * spread) * np.eye(3)[1:]]
        )
        answers = np.vstack([latents[near] * np.sqrt(w)[:, None], np.zeros((2, 6))])
        np.testing.assert_allclose(found, np.linalg.lstsq(rows, answers, rcond=None)[0][0], atol=1e-5)


def test_the_choice_is_the_best_of_items_left_out() -> None:
    coordinates, latents = _sheet(400, noise=0.1)
    inverse, stored = fit_inverse(coordinates, latents)

    def left_out(k: int, ridge: float) -> float:
        errors = [
            (
                (
                    Inverse(np.delete(coordinates, i, 0), np.delete(latents, i, 0), k, ridge).at(
                        coordinates[i : i + 1]
                    )[0]
                    - z
                )
                ** 2
            ).sum()
            for i, z in enumerate(latents)
        ]
        return float(np.mean(errors))

    chosen = left_out(inverse.k, inverse.ridge)
    assert chosen < min(left_out(5, np.inf), left_out(80, np.inf), left_out(5, 0.03))
    variance = ((latents - latents.mean(axis=0)) ** 2).sum(axis=1).mean()
    assert stored["explained"] == pytest.approx(1 - chosen / variance, abs=1e-6)
    assert stored["explained"] > 0.97
    shuffled = np.random.default_rng(0).permutation(latents)
    assert fit_inverse(coordinates, shuffled)[1]["explained"] < 0.02  # the control: the map tells nothing


def test_it_beats_the_nearest_item_and_draws_between_items() -> None:
    coordinates, latents = _sheet(noise=0.1)
    inverse, _ = fit_inverse(coordinates, latents)
    points = np.random.default_rng(5).uniform(0.05, 0.95, size=(300, 2)).astype(np.float32)
    ours = ((inverse.at(points) - _bent(points)) ** 2).mean()
    nearest = ((Inverse(coordinates, latents, 1, np.inf).at(points) - _bent(points)) ** 2).mean()
    assert ours < nearest / 3


def test_far_outside_and_at_equal_places_it_stays_finite() -> None:
    coordinates, latents = _sheet(100)
    inverse, _ = fit_inverse(coordinates, latents)
    far = inverse.at([[1e6, -1e6], [50, 50]])
    assert np.isfinite(far).all()
    assert np.abs(far).max() < 3 * np.abs(latents).max()
    same = Inverse(np.zeros((30, 2), np.float32), latents[:30], 10, 0.3)
    assert np.isfinite(same.at([[0, 0], [1, 1]])).all()
    assert inverse.at(np.empty((0, 2))).shape == (0, 6)


def test_what_is_stored_makes_the_same_and_older_maps_take_what_is_documented() -> None:
    coordinates, latents = _sheet(200)
    inverse, stored = fit_inverse(coordinates, latents)
    again = from_stored(coordinates, latents, stored)
    np.testing.assert_array_equal(again.at(coordinates[:9]), inverse.at(coordinates[:9]))
    assert from_stored(coordinates, latents, {"k": 7, "ridge": None}).ridge == np.inf
    older = from_stored(coordinates, latents, None)
    assert (older.k, older.ridge) == (20, 1.0)


def test_a_map_of_a_curved_space_leads_back_to_it() -> None:
    rng = np.random.default_rng(0)
    latents = _bent(rng.uniform(size=(1500, 2)).astype(np.float32))
    projection = project("tsne", latents[:1400], perplexity=20)
    inverse, stored = fit_inverse(projection.coordinates, latents[:1400])
    assert stored["explained"] > 0.98
    back = inverse.at(projection.place(latents[1400:]))
    error = ((back - latents[1400:]) ** 2).sum(axis=1).mean()
    assert error < 0.03 * ((latents - latents.mean(axis=0)) ** 2).sum(axis=1).mean()


def test_mistakes_are_named() -> None:
    inverse = Inverse(*_sheet(50))
    with pytest.raises(ShapeMismatch, match=r"points have shape \(2,\); pass \(m, 2\)"):
        inverse.at(np.zeros(2))
    with pytest.raises(ShapeMismatch, match=r"\(4, 3\)"):
        inverse.at(np.zeros((4, 3)))
    with pytest.raises(NotFinite, match="row 1"):
        inverse.at([[0, 0], [np.nan, 0]])
    with pytest.raises(ShapeMismatch, match="50 coordinates for 49"):
        fit_inverse(inverse.coordinates, inverse.latents[1:])
