"""PCA, UMAP and t-SNE: theorems, reproducibility, placing, and quality on real images."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from latentstore.datasets import open_dataset
from latentstore.errors import ConfigInvalid, NotFinite, NotSupported, ShapeMismatch
from latentstore.maps import METHODS, Projection, project, quality
from latentstore.maps.layout import aligned
from latentstore.maps.nearest import nearest
from latentstore.maps.placing import probabilities
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


QUICK: dict[str, dict[str, Any]] = {"pca": {}, "umap": {"epochs": 50}, "tsne": {"iterations": 50, "perplexity": 10}}
NONLINEAR = ("umap", "tsne")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dim", [2, 3])
def test_every_method_is_seeded_and_can_be_rebuilt_from_arrays_and_json(method: str, dim: int) -> None:
    latents, _ = _clusters(300)
    few = QUICK[method]
    first, again = (project(method, latents, dim=dim, seed=3, **few) for _ in range(2))
    assert first.coordinates.shape == (300, dim)
    assert first.coordinates.dtype == np.float32
    assert first.coordinates.tobytes() == again.coordinates.tobytes()
    rebuilt = type(first)(method, first.coordinates, {**first.state}, {**first.parameters})
    np.testing.assert_array_equal(rebuilt.place(latents[:9] + 0.1), first.place(latents[:9] + 0.1))
    if method != "pca":
        assert not np.array_equal(first.coordinates, project(method, latents, dim=dim, seed=4, **few).coordinates)


def test_probabilities_have_the_perplexity_and_fall_with_the_distance() -> None:
    latents, _ = _clusters()
    _, distances = nearest(latents, latents, 30)
    p = probabilities(distances[:, 1:].astype(float) ** 2, 9)
    np.testing.assert_allclose(np.exp(-(p * np.log(p)).sum(axis=1)), 9, rtol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (np.diff(p, axis=1) <= 0).all()
    # Equal distances leave nothing to choose.
    np.testing.assert_allclose(probabilities(np.full((2, 5), 4.0), 3), 0.2)


@pytest.mark.parametrize("method", NONLINEAR)
def test_placing_is_where_the_attraction_vanishes(method: str) -> None:
    latents, _ = _clusters()
    rng = np.random.default_rng(0)
    between = (
        latents[:40] + latents[1:41]
    ) / 2  # from two clusters each, as neighbouring latents are of different ones
    coordinates = rng.normal(size=(len(latents), 2)).astype(np.float32)
    placed = Projection(method, coordinates, {"latents": latents, "coordinates": coordinates}, {"d": 8, "k": 15}).place(
        between
    )
    perplexity = {"umap": 5, "tsne": 10}[method]
    indices, distances = nearest(between, latents, 3 * perplexity)
    p = probabilities(distances.astype(float) ** 2, perplexity)
    apart = placed[:, None] - coordinates[indices]
    pulls = p / (1 + (apart**2).sum(axis=2))
    gradient = np.linalg.norm(np.einsum("mk,mkd->md", pulls, apart), axis=1)
    mean = np.einsum("mk,mkd->md", p, coordinates[indices])
    apart = mean[:, None] - coordinates[indices]
    at_mean = np.einsum("mk,mkd->md", p / (1 + (apart**2).sum(axis=2)), apart)
    assert np.median(gradient) < 1e-4
    assert np.median(np.linalg.norm(at_mean, axis=1)) > 1e-3  # the control: the mean is another place


@pytest.mark.parametrize("method", NONLINEAR)
def test_clusters_are_kept_and_new_items_placed_in_theirs(method: str) -> None:
    latents, labels = _clusters()
    projection = project(method, latents, seed=0)
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


@pytest.mark.parametrize("method", METHODS)
def test_a_fitted_item_stays_where_it_is(method: str) -> None:
    latents, _ = _clusters(300)
    projection = project(method, latents, **QUICK[method])
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
    expected = project("tsne", latents, iterations=20).coordinates
    indices, distances = nearest(latents, latents, 95)
    for first in (0, 1):
        given = project("tsne", latents, iterations=20, neighbours=(indices[:, first:], distances[:, first:]))
        np.testing.assert_array_equal(given.coordinates, expected)


@pytest.mark.parametrize("method", NONLINEAR)
def test_a_start_keeps_the_map_recognisable(method: str) -> None:
    latents, _ = _clusters()
    few = {"umap": {"epochs": 150}, "tsne": {}}[method]
    # New items of a kind never seen turn the principal components, from which a map fitted afresh begins.
    latents[800:] += 20 * np.eye(8, dtype=np.float32)[7]
    first = project(method, latents[:800], seed=0, **few)
    grown = project(method, latents, seed=1, start=first.place(latents), **few)
    afresh = project(method, latents, seed=1, **few)

    def jump(coordinates: Array) -> float:
        return float(np.median(np.linalg.norm(coordinates[:800] - first.coordinates, axis=1)))

    assert 3 * jump(grown.coordinates) < jump(afresh.coordinates)
    assert jump(grown.coordinates) < 0.15 * np.ptp(first.coordinates)


def test_alignment_undoes_what_says_nothing_and_leaves_what_moved() -> None:
    rng = np.random.default_rng(0)
    earlier = rng.normal(size=(500, 2)).astype(np.float32) * [5, 2]
    changed = earlier.copy()
    changed[:100] += [30, -20]  # a fifth of the points has a cause to move
    turn = np.array([[0.6, -0.8], [-0.8, -0.6]])  # with a mirror
    later = (1.7 * changed @ turn + [100, 50]).astype(np.float32)
    found = aligned(later, earlier.astype(np.float32))
    np.testing.assert_allclose(found[100:], changed[100:], atol=0.02)
    np.testing.assert_allclose(found[:100], changed[:100], atol=0.1)
    # The control: least squares of all points alike is pulled along by those that moved.
    here, there = later - later.mean(axis=0), earlier - earlier.mean(axis=0)
    left, values, right = np.linalg.svd(here.T @ there)
    plain = values.sum() / (here**2).sum() * here @ left @ right + earlier.mean(axis=0)
    assert np.median(np.linalg.norm(plain[100:] - changed[100:], axis=1)) > 1
    # Nothing to be laid on: the map keeps its size.
    assert np.ptp(aligned(later, np.zeros_like(later)), axis=0).max() > 30
    noise = rng.normal(size=later.shape).astype(np.float32)
    kept = aligned(later, noise)
    assert np.linalg.norm(kept[0] - kept[1]) == pytest.approx(np.linalg.norm(later[0] - later[1]), rel=1e-4)


def test_principal_axes_keep_their_direction() -> None:
    latents = np.random.default_rng(0).normal(size=(400, 5)) @ np.diag([4, 3, 1, 1, 1])
    first = project("pca", latents).coordinates
    mirrored = project("pca", latents, start=first * [-1, 1])
    np.testing.assert_allclose(mirrored.coordinates, first * [-1, 1], atol=1e-5)
    assert not np.allclose(project("pca", latents).coordinates, mirrored.coordinates)
    np.testing.assert_allclose(mirrored.place(latents[:5]), mirrored.coordinates[:5], atol=1e-5)


def test_three_dimensions_of_many_latents_are_refused_before_any_work() -> None:
    with pytest.raises(NotSupported, match=r"20001 latents in 3 dimensions .* use dim=2"):
        project("tsne", np.zeros((20_001, 2)), dim=3)


def test_a_map_says_how_far_it_is() -> None:
    told: list[float] = []
    project("tsne", _clusters(200)[0], iterations=100, perplexity=10, progress=told.append)
    assert told == sorted(told)
    assert len(told) >= 10
    assert told[-1] == 1.0


def test_without_some_latents_they_neither_place_nor_are_placed_at_themselves() -> None:
    latents, labels = _clusters(300)
    projection = project("tsne", latents, **QUICK["tsne"])
    rest = projection.without(np.arange(0, 300, 10))
    assert len(rest.coordinates) == 270
    np.testing.assert_array_equal(rest.place(latents[1:9]), projection.place(latents[1:9]))
    placed = rest.place(latents[::10])
    assert not np.isclose(placed, projection.coordinates[::10]).all(axis=1).any()
    around, _ = nearest(placed, rest.coordinates, 5)
    assert (np.delete(labels, np.arange(0, 300, 10))[around] == labels[::10, None]).mean() > 0.95


def test_equal_latents_and_two_dimensions_do_not_break_it() -> None:
    assert np.isfinite(project("umap", np.ones((50, 4)), epochs=20).coordinates).all()
    assert np.isfinite(project("umap", np.random.default_rng(0).normal(size=(40, 1)), epochs=20).coordinates).all()
    assert np.isfinite(project("umap", np.random.default_rng(0).normal(size=(4, 2)), epochs=20).coordinates).all()
    assert np.isfinite(project("pca", np.ones((50, 4))).coordinates).all()
    assert np.isfinite(project("tsne", np.ones((50, 4)), iterations=20).coordinates).all()
    assert np.isfinite(project("tsne", np.random.default_rng(0).normal(size=(40, 1)), iterations=20).coordinates).all()
    assert np.isfinite(project("tsne", np.random.default_rng(0).normal(size=(4, 2)), iterations=20).coordinates).all()


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


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"perplexity": 0.5}, ConfigInvalid, "perplexity=0.5"),
        ({"perplexiti": 5}, ConfigInvalid, "did you mean 'perplexity'"),
        ({"iterations": 0}, ConfigInvalid, "iterations=0"),
        ({"threads": 0}, ConfigInvalid, "threads=0"),
        ({"neighbours": (np.zeros((30, 9), int), np.zeros((30, 9)))}, ShapeMismatch, "besides the latent itself"),
        ({"start": np.full((30, 2), np.nan)}, ShapeMismatch, "pass finite coordinates"),
    ],
)
def test_mistaken_options_of_tsne_are_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        project("tsne", _clusters(30)[0], **options)


@pytest.mark.parametrize("method", METHODS)
def test_placing_latents_of_another_width_is_refused(method: str) -> None:
    projection = project(method, _clusters(60)[0], **QUICK[method])
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
    finest = quality(latents, project("tsne", latents).coordinates, labels)
    assert finest["trustworthiness"] > max(0.985, mapped["trustworthiness"])
    assert finest["neighbour_preservation"] > max(0.38, 1.2 * mapped["neighbour_preservation"])
    assert mapped["trustworthiness"] > 0.97 > linear["trustworthiness"]
    assert mapped["map_knn_accuracy"] > 0.70 > linear["map_knn_accuracy"]
    assert mapped["neighbour_preservation"] > 3 * linear["neighbour_preservation"]


def test_placing_needs_no_compiler() -> None:
    """A query must not wait for numba: what is stored is enough."""
    code = (
        "import sys, numpy as np; from latentstore.maps import Projection;"
        "x = np.random.default_rng(0).normal(size=(99, 5)).astype('f4'); c = x[:, :2].copy();"
        "from latentstore.maps import Inverse; Inverse(c, x).at(c[:3]);"
        "[Projection(m, c, {'latents': x, 'coordinates': c}, {'d': 5, 'k': 15}).place(np.zeros((1, 5)))"
        " for m in ('umap', 'tsne')];"
        "sys.exit(any(m in sys.modules for m in ('numba', 'torch', 'sklearn', 'faiss', 'openTSNE', 'umap')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
