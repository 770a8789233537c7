"""PCA and UMAP: theorems, reproducibility, placing, and quality on real images."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from latentstore.datasets import open_dataset
from latentstore.errors import ConfigInvalid, NotFinite, ShapeMismatch
from latentstore.maps import METHODS, project, quality
from latentstore.maps import umap as room
from latentstore.maps.nearest import nearest
from latentstore.types import Array


def _clusters(n: int = 900, d: int = 8, seed: int = 0) -> tuple[Array, Array]:
    """Nine well-parted Gaussian clusters, and which each latent is of."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 9
    centres = np.random.default_rng(99).normal(scale=6, size=(9, d))
    return (centres[labels] + rng.normal(size=(n, d))).astype(np.float32), labels


def test_pca_is_the_svd() -> None:
    latents = np.random.default_rng(0).normal(size=(200, 7)) @ np.diag([5, 4, 3, 2, 1, 1, 1]) + 10
    left, values, _ = np.linalg.svd(latents - latents.mean(axis=0), full_matrices=False)
    projection = project("pca", latents, dim=3)
    expected = left[:, :3] * values[:3]
    signs = np.sign((expected * projection.coordinates).sum(axis=0))
    np.testing.assert_allclose(projection.coordinates, expected * signs, atol=1e-4)
    ratio = values**2 / (values**2).sum()
    np.testing.assert_allclose(projection.parameters["explained_variance_ratio"], ratio[:3], atol=1e-5)
    assert (projection.state["components"].max(axis=1) == np.abs(projection.state["components"]).max(axis=1)).all()


def test_pca_places_exactly_what_the_components_say() -> None:
    latents, _ = _clusters()
    projection = project("pca", latents[:500])
    new = projection.place(latents[500:])
    np.testing.assert_array_equal(projection.place(latents[:500]), projection.coordinates)
    expected = (latents[500:] - latents[:500].mean(axis=0)) @ projection.state["components"].T
    np.testing.assert_allclose(new, expected, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dim", [2, 3])
def test_every_method_is_seeded_and_can_be_rebuilt_from_arrays_and_json(method: str, dim: int) -> None:
    latents, _ = _clusters(300)
    few = {"epochs": 50} if method == "umap" else {}
    first, again = (project(method, latents, dim=dim, seed=3, **few) for _ in range(2))
    assert first.coordinates.shape == (300, dim)
    assert first.coordinates.dtype == np.float32
    assert first.coordinates.tobytes() == again.coordinates.tobytes()
    rebuilt = type(first)(method, first.coordinates, {**first.state}, {**first.parameters})
    np.testing.assert_array_equal(rebuilt.place(latents[:9] + 0.1), first.place(latents[:9] + 0.1))
    if method == "umap":
        assert not np.array_equal(first.coordinates, project(method, latents, dim=dim, seed=4, **few).coordinates)


def test_memberships_sum_to_log2_k_and_the_nearest_is_certain() -> None:
    latents, _ = _clusters()
    _, distances = nearest(latents, latents, 15)
    memberships = room._memberships(distances)
    np.testing.assert_allclose(memberships[:, 1:].sum(axis=1), np.log2(15), rtol=1e-3)
    np.testing.assert_allclose(memberships[:, 1], 1)


def test_umap_keeps_clusters_and_places_new_items_in_theirs() -> None:
    latents, labels = _clusters()
    projection = project("umap", latents, seed=0)
    measured = quality(latents, projection.coordinates, labels, sample=None)
    assert measured["map_knn_accuracy"] > 0.99
    assert measured["trustworthiness"] > 0.9
    new, new_labels = _clusters(90, seed=7)
    placed = projection.place(new)
    around, _ = nearest(placed, projection.coordinates, 10)
    assert (labels[around] == new_labels[:, None]).mean() > 0.99
    # The control: the neighbours of places drawn at random are of any cluster.
    drawn = np.random.default_rng(0).permutation(placed)
    around, _ = nearest(drawn, projection.coordinates, 10)
    assert (labels[around] == new_labels[:, None]).mean() < 0.4


def test_a_fitted_item_stays_where_it_is() -> None:
    latents, _ = _clusters(300)
    projection = project("umap", latents, epochs=50)
    np.testing.assert_allclose(projection.place(latents), projection.coordinates, atol=1e-5)
    assert projection.place(latents[:0]).shape == (0, 2)


def test_given_neighbours_replace_the_search_with_or_without_the_item_itself() -> None:
    latents, _ = _clusters(400)
    expected = project("umap", latents, epochs=20).coordinates
    indices, distances = nearest(latents, latents, 20)
    for first in (0, 1):
        given = project("umap", latents, epochs=20, neighbours=(indices[:, first:], distances[:, first:]))
        np.testing.assert_array_equal(given.coordinates, expected)
    wrong = project("umap", latents, epochs=20, neighbours=(indices[::-1], distances[::-1]))
    assert not np.allclose(wrong.coordinates, expected)


def test_a_start_keeps_the_map_recognisable() -> None:
    latents, _ = _clusters()
    # New items of a kind never seen turn the principal components, from which a map fitted afresh begins.
    latents[800:] += 20 * np.eye(8, dtype=np.float32)[7]
    first = project("umap", latents[:800], seed=0, epochs=150)
    grown = project("umap", latents, seed=1, epochs=150, start=first.place(latents))
    afresh = project("umap", latents, seed=1, epochs=150)

    def jump(coordinates: Array) -> float:
        return float(np.median(np.linalg.norm(coordinates[:800] - first.coordinates, axis=1)))

    assert 3 * jump(grown.coordinates) < jump(afresh.coordinates)
    assert jump(grown.coordinates) < 0.15 * np.ptp(first.coordinates)


def test_equal_latents_and_two_dimensions_do_not_break_it() -> None:
    assert np.isfinite(project("umap", np.ones((50, 4)), epochs=20).coordinates).all()
    assert np.isfinite(project("umap", np.random.default_rng(0).normal(size=(40, 1)), epochs=20).coordinates).all()
    assert np.isfinite(project("umap", np.random.default_rng(0).normal(size=(4, 2)), epochs=20).coordinates).all()
    assert np.isfinite(project("pca", np.ones((50, 4))).coordinates).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("umpa", np.ones((9, 3))), ConfigInvalid, "did you mean 'umap'"),
        (("pca", np.ones((9, 1))), ShapeMismatch, "width 1"),
        (("pca", np.ones(9)), ShapeMismatch, r"shape \(9,\)"),
        (("pca", np.ones((2, 3))), ShapeMismatch, "at least 3"),
        (("pca", np.full((9, 3), np.nan)), NotFinite, "row 0"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, Array], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        project(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dim": 4}, ConfigInvalid, "2 or 3, not 4"),
        ({"neighbors": 3}, ConfigInvalid, "did you mean 'neighbours'"),
        ({"k": 1}, ConfigInvalid, "k=1"),
        ({"epochs": 0}, ConfigInvalid, "epochs=0"),
        ({"min_dist": -1}, ConfigInvalid, "min_dist=-1"),
        ({"neighbours": (np.zeros((30, 20), int), np.zeros((30, 20)))}, ShapeMismatch, "besides the latent itself"),
        ({"neighbours": (np.full((30, 20), 30), np.zeros((30, 20)))}, ShapeMismatch, "outside the 30"),
        ({"neighbours": (np.zeros((30, 20), int), np.zeros((29, 20)))}, ShapeMismatch, r"each \(30, ≥ 15\)"),
        ({"start": np.zeros((29, 2))}, ShapeMismatch, r"\(30, 2\)"),
    ],
)
def test_mistaken_options_are_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        project("umap", _clusters(30)[0], **options)


@pytest.mark.parametrize("method", METHODS)
def test_placing_latents_of_another_width_is_refused(method: str) -> None:
    projection = project(method, _clusters(60)[0], **({"epochs": 5} if method == "umap" else {}))
    with pytest.raises(ShapeMismatch, match=r"\(5, 3\); this space needs \(8,\)"):
        projection.place(np.ones((5, 3)))


def test_fashion_mnist_maps_reach_the_reference_quality() -> None:
    dataset = open_dataset("fashion_mnist", split="test")
    chosen = np.arange(0, 10_000, 3)
    pixels = dataset.read(chosen).reshape(len(chosen), -1).astype(np.float32) / 255
    centred = pixels - pixels.mean(axis=0)
    latents = centred @ np.linalg.eigh(centred.T @ centred)[1][:, :-33:-1]
    labels = dataset.metadata["label"].take(chosen).to_pylist()
    linear = quality(latents, project("pca", latents).coordinates, labels)
    mapped = quality(latents, project("umap", latents).coordinates, labels)
    assert mapped["trustworthiness"] > 0.97 > linear["trustworthiness"]
    assert mapped["map_knn_accuracy"] > 0.70 > linear["map_knn_accuracy"]
    assert mapped["neighbour_preservation"] > 3 * linear["neighbour_preservation"]


def test_placing_needs_no_compiler() -> None:
    """A query must not wait for numba: what is stored is enough."""
    code = (
        "import sys, numpy as np; from latentstore.maps import Projection;"
        "x = np.random.default_rng(0).normal(size=(99, 5)).astype('f4'); c = x[:, :2].copy();"
        "Projection('umap', c, {'latents': x, 'coordinates': c}, {'d': 5, 'k': 15}).place(np.zeros((1, 5)));"
        "sys.exit(any(m in sys.modules for m in ('numba', 'torch', 'sklearn', 'faiss')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
