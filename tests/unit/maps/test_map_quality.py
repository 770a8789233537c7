"""Quality measures against brute force, scikit-learn and theorems."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from latentstore.errors import ConfigInvalid, ShapeMismatch
from latentstore.maps import quality
from latentstore.maps.nearest import nearest
from latentstore.types import Array


@pytest.fixture
def pair() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(120, 5))
    return latents, latents[:, :2] + 0.3 * rng.normal(size=(120, 2))


def _order(points: Array) -> Array:
    """Others of each point, nearest first."""
    far = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(far, -1)
    return far.argsort(axis=1)[:, 1:]


def test_against_brute_force(pair: tuple[Array, Array]) -> None:
    latents, coordinates = pair
    n, k = 120, 7
    order, order_on_map = _order(latents), _order(coordinates)
    rank = np.empty((n, n), int)
    rank_on_map = np.empty((n, n), int)
    np.put_along_axis(rank, order, np.arange(1, n)[None], axis=1)
    np.put_along_axis(rank_on_map, order_on_map, np.arange(1, n)[None], axis=1)
    labels = np.array(list("abc"))[np.random.default_rng(1).integers(0, 3, n)]
    intrusion = extrusion = kept = right = 0
    for i in range(n):
        near, near_on_map = set(order[i, :k]), set(order_on_map[i, :k])
        intrusion += sum(rank[i, j] - k for j in near_on_map - near)
        extrusion += sum(rank_on_map[i, j] - k for j in near - near_on_map)
        kept += len(near & near_on_map)
        votes = [int((labels[order_on_map[i, :k]] == label).sum()) for label in "abc"]
        right += "abc"[votes.index(max(votes))] == labels[i]
    scale = 2 / (n * k * (2 * n - 3 * k - 1))
    measured = quality(latents, coordinates, labels, k=k, sample=None)
    assert measured["trustworthiness"] == pytest.approx(1 - scale * intrusion)
    assert measured["continuity"] == pytest.approx(1 - scale * extrusion)
    assert measured["neighbour_preservation"] == pytest.approx(kept / n / k)
    assert measured["map_knn_accuracy"] == pytest.approx(right / n)
    assert intrusion > 0 < extrusion  # the control: this map is not perfect
    assert measured["trustworthiness"] == pytest.approx(trustworthiness(latents, coordinates, n_neighbors=k))
    assert measured["continuity"] == pytest.approx(trustworthiness(coordinates, latents, n_neighbors=k))


def test_triplets_against_all_of_them(pair: tuple[Array, Array]) -> None:
    latents, coordinates = pair
    far = np.linalg.norm(latents[:, None] - latents[None], axis=2)
    on_map = np.linalg.norm(coordinates[:, None] - coordinates[None], axis=2)
    same = [
        (far[i, j] < far[i, m]) == (on_map[i, j] < on_map[i, m])
        for i in range(60)
        for j in range(120)
        for m in range(j)
        if i not in (j, m)
    ]
    sampled = quality(latents, coordinates, sample=None)["triplet_accuracy"]
    assert sampled == pytest.approx(np.mean(same), abs=4 * 0.5 / np.sqrt(120 * 25))
    assert 0.6 < sampled < 0.95


def test_a_rotation_is_perfect_and_noise_is_chance() -> None:
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(500, 2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    perfect = quality(latents, 3 * latents @ turn + 5, latents[:, 0] > 0)
    assert {*perfect.values()} - {perfect["map_knn_accuracy"], perfect["latent_knn_accuracy"]} == {1.0}
    assert perfect["map_knn_accuracy"] == perfect["latent_knn_accuracy"] > 0.9
    noise = quality(latents, rng.normal(size=(500, 2)), latents[:, 0] > 0)
    assert noise["trustworthiness"] == pytest.approx(0.5, abs=0.03)
    assert noise["triplet_accuracy"] == pytest.approx(0.5, abs=0.02)
    assert noise["neighbour_preservation"] == pytest.approx(10 / 499, abs=0.01)
    assert noise["map_knn_accuracy"] == pytest.approx(0.5, abs=0.1)


def test_a_sample_estimates_the_whole_and_is_seeded(pair: tuple[Array, Array]) -> None:
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(1500, 4))
    coordinates = latents[:, :2]
    whole = quality(latents, coordinates, sample=None)
    part = quality(latents, coordinates, sample=400, seed=1)
    assert part == quality(latents, coordinates, sample=400, seed=1)
    assert part != quality(latents, coordinates, sample=400, seed=2)
    for name, value in whole.items():
        assert part[name] == pytest.approx(value, abs=0.025)


def test_items_without_a_label_neither_ask_nor_vote() -> None:
    line = np.arange(40.0)[:, None] * [1, 0]
    labels = ["left"] * 18 + [None] * 4 + ["right"] * 18
    measured = quality(line, line, labels, k=3, sample=None)
    assert measured["map_knn_accuracy"] == 1.0
    flipped = quality(line, line, ["left", "right"] * 20, k=2, sample=None)
    assert flipped["map_knn_accuracy"] < 0.1  # both neighbours are of the other label
    assert quality(line, line, [None] * 40, k=3)["map_knn_accuracy"] == 0.0


@pytest.mark.parametrize("n", [40, 3000, 9001])
@pytest.mark.parametrize("ties", [False, True])
def test_nearest_against_sorting_everything(n: int, ties: bool) -> None:
    rng = np.random.default_rng(n)
    points = (rng.integers(0, 3, (n, 4)) if ties else rng.normal(size=(n, 4))).astype(np.float32)
    queries = points[:300] if n > 300 else np.vstack([points] * 9)
    indices, distances = nearest(queries, points, 10)
    every = np.linalg.norm(queries[:, None].astype(float) - points[None], axis=2)
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :10], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(every, indices, axis=1), distances, atol=1e-5)
    assert all(len(set(row)) == 10 for row in indices)


@pytest.mark.parametrize(
    ("n_map", "n_labels", "options", "error", "message"),
    [
        (39, 40, {}, ShapeMismatch, r"\(40, 3\) and coordinates \(39, 2\)"),
        (40, 39, {}, ShapeMismatch, "39 labels for 40"),
        (40, 40, {"k": 0}, ConfigInvalid, "k=0"),
        (40, 40, {"k": 20}, ConfigInvalid, "below half of the 40"),
        (40, 40, {"sample": 0}, ConfigInvalid, "sample=0"),
    ],
)
def test_mistakes_are_named(
    n_map: int, n_labels: int, options: dict[str, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        quality(np.zeros((40, 3)), np.zeros((n_map, 2)), ["a"] * n_labels, **options)
