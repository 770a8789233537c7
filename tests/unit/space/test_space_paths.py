"""Paths of a space: through several anchors, by every method, with a report; grids."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import ConfigInvalid, DidNotConverge, InputError, NotSupported, UnknownItem
from latentstore.geometry import slerp
from latentstore.space.paths import walk_pairs
from latentstore.space.walks import METHODS, converged
from tests.clothes import clothes_space


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    space = clothes_space(ls.open(tmp_path_factory.mktemp("paths") / "a.store"), "clothes", items=1200, dim=6)
    space.fit_centroids()
    return space


@pytest.fixture
def moons(tmp_path):
    """Two half circles that reach into each other, without a decoder."""
    generator = np.random.default_rng(0)
    angle = generator.uniform(0, np.pi, 800)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.4 - np.sin(angle)], axis=1)
    vectors = np.concatenate([upper, lower]) + 0.03 * generator.normal(size=(1600, 2))
    space = ls.open(tmp_path / "m.store").create_space("moons", dim=2)
    space.add([f"m{i}" for i in range(1600)], vectors, pa.table({"label": ["upper"] * 800 + ["lower"] * 800}))
    return space


@pytest.mark.parametrize("method", METHODS)
def test_a_path_passes_all_its_anchors_in_order(clothes, method):
    given = [
        "'train/3'",
        clothes.latent("centroid('Bag')"),
        clothes.latent("'train/9'").vector,
        "'train/3' + 'train/5'",
    ]
    path = clothes.interpolate(*given, steps=23, method=method)
    assert path.latents.shape == (23, 6)
    assert path.latents.dtype == np.float32
    assert path.anchors[0] == 0
    assert path.anchors[-1] == 22
    assert np.array_equal(path.latents[list(path.anchors)], np.stack([clothes.latent(one).vector for one in given]))
    alone = clothes.interpolate(*given[:2], steps=path.anchors[1] + 1, method=method)
    assert np.allclose(path.latents[: path.anchors[1] + 1], alone.latents, atol=1e-2)


def test_the_longer_way_gets_more_steps(clothes):
    path = clothes.interpolate([0] * 6, [1, 0, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0], [4] + [0] * 5, steps=6)
    assert path.anchors == (0, 1, 4, 5)
    assert np.allclose(path.latents[:, 0], [0, 1, 2, 3, 4, 4])


@pytest.mark.parametrize("method", METHODS)
def test_pairs_in_a_batch_are_paths(clothes, method):
    a, b = (clothes.snapshot.vectors(np.arange(i, i + 3)) for i in (0, 500))
    batch = walk_pairs(clothes, a, b, steps=5, method=method)
    for i in range(3):
        assert np.allclose(batch[i], clothes.interpolate(a[i], b[i], steps=5, method=method).latents, atol=1e-2)


def test_the_report_of_a_straight_line_is_known(clothes):
    path = clothes.interpolate("'train/3'", "'train/7'", steps=9)
    report = path.report
    assert report.evenness == pytest.approx(1, rel=1e-5)
    assert (report.decoded_length, report.decoded_energy) == (1, 1)
    assert (report.nearest[0], report.nearest[-1]) == ("train/3", "train/7")
    assert report.labels[0] == clothes.get(["train/3"])["label"][0].as_py()
    assert np.allclose(report.realism, clothes.realism(path.latents))


def test_the_report_measures_decoded_steps(clothes):
    path = clothes.interpolate("'train/3'", "'train/7'", steps=9, method="slerp")
    line = clothes.interpolate("'train/3'", "'train/7'", steps=9)
    moved, straight = (np.linalg.norm(np.diff(p.decode().reshape(9, -1), axis=0), axis=1) for p in (path, line))
    assert path.report.decoded_length == pytest.approx(moved.sum() / straight.sum(), rel=1e-4)
    assert path.report.decoded_energy == pytest.approx((moved**2).sum() / (straight**2).sum(), rel=1e-4)
    assert path.report.decoded_energy > 1.01
    steps = np.linalg.norm(np.diff(path.latents, axis=0), axis=1)
    assert path.report.evenness == pytest.approx(steps.max() / steps.mean(), rel=1e-4)


def test_a_geodesic_costs_no_more_than_the_line_and_one_solver_serves_all(clothes):
    energies = [
        clothes.interpolate(f"'train/{i}'", f"'train/{i + 40}'", steps=13, method="geodesic").report.decoded_energy
        for i in range(8)
    ]
    assert max(energies) < 1.001
    assert min(energies) < 0.995  # where the decoder clips
    assert clothes.geodesic_solver is clothes.geodesic_solver


def test_geodesics_that_did_not_converge_are_refused(clothes):
    rows = clothes.snapshot.live_rows()
    ends = clothes.snapshot.vectors(rows[:20]), clothes.snapshot.vectors(rows[40:60])
    assert converged(clothes.geodesic_solver.solve(*ends)).converged.all()
    with pytest.raises(DidNotConverge, match=r"of 20 geodesics did not converge; .* \(iterations 1, residual") as error:
        converged(clothes.geodesic_solver.solve(*ends, tolerance=1e-9, iterations=1))
    assert error.value.residual > 1e-9


def test_a_graph_path_stays_on_the_moons_and_walks_evenly(moons):
    ends = [[-1.0, 0.0], [1.0, 0.0]]
    path = moons.interpolate(*ends, steps=25, method="graph")
    assert min(path.report.realism[1:-1]) >= 0.05
    assert path.report.evenness < 1.5
    assert set(path.report.labels) == {"upper"}
    line = moons.interpolate(*ends, steps=25)
    assert min(line.report.realism) == 0, "control: the line leaves them"
    assert path.report.length > 1.3 * line.report.length
    lengths = [moons.interpolate(*ends, steps=25, method="graph", smoothing=s).report.length for s in (0, 0.05, 0.2, 3)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] == pytest.approx(line.report.length, rel=1e-3)


def test_the_graph_is_kept_until_the_snapshot_changes(moons):
    before = moons.neighbour_graph
    assert moons.neighbour_graph is before
    moons.add(["new"], [[0.0, -3.0]], pa.table({"label": ["odd"]}))
    assert moons.neighbour_graph is not before


def test_without_a_decoder_the_report_leaves_out_what_is_decoded(moons):
    report = moons.interpolate("'m0'", "'m900'", method="graph").report
    assert report.decoded_length is report.decoded_energy is None
    with pytest.raises(NotSupported, match="no geodesic in space 'moons'"):
        moons.interpolate("'m0'", "'m1'", method="geodesic")


def test_a_cosine_space_has_its_graph_by_angle(tmp_path):
    generator = np.random.default_rng(1)
    angle = generator.uniform(0, 1.5 * np.pi, 600)
    rays = np.stack([np.cos(angle), np.sin(angle)], axis=1) * generator.uniform(1, 2, (600, 1))
    space = ls.open(tmp_path / "c.store").create_space("rays", dim=2, metric="cosine")
    space.add([str(i) for i in range(600)], rays)
    path = space.interpolate([1.5, 0.05], [0.05, -1.5], steps=15, method="graph")  # the gap is between them
    assert path.latents[:, 0].min() < -0.8, "round the ray, not across the gap"
    assert min(path.report.realism[1:-1]) >= 0.05
    assert path.report.labels is None


def test_few_items_are_enough_for_a_path(tmp_path):
    space = ls.open(tmp_path / "f.store").create_space("few", dim=2)
    with pytest.raises(NotSupported, match="has 0; add some"):
        space.interpolate([0, 0], [1, 1], method="graph")
    space.add(["a", "b", "c"], [[0, 0], [1, 0], [1, 1]])
    path = space.interpolate("'a'", "'c'", steps=3, method="graph")
    assert path.report.realism is None
    assert path.report.nearest == ("a", path.report.nearest[1], "c")


def test_four_corners_make_a_bilinear_grid(clothes):
    ids = [f"'train/{i}'" for i in range(4)]
    a, b, c, d = (clothes.latent(one).vector.astype(float) for one in ids)
    grid = clothes.interpolate_grid(*ids, rows=5, columns=4)
    assert grid.latents.shape == (5, 4, 6)
    assert grid.inside.all()
    u, v = np.linspace(0, 1, 5)[:, None, None], np.linspace(0, 1, 4)[None, :, None]
    truth = (1 - u) * ((1 - v) * a + v * b) + u * ((1 - v) * c + v * d)
    assert np.allclose(grid.latents, truth, atol=1e-5)
    assert grid.decode().shape == (5, 4, 28, 28, 1)
    assert np.allclose(clothes.interpolate_grid(*ids, rows=5, columns=4, method="geodesic").latents, truth, atol=0.5)


def test_three_corners_make_a_barycentric_triangle(clothes):
    ids = [f"'train/{i}'" for i in range(3)]
    a, b, c = (clothes.latent(one).vector.astype(float) for one in ids)
    grid = clothes.interpolate_grid(*ids, rows=4)
    assert np.array_equal(grid.inside, np.tri(4, dtype=bool))
    assert np.isnan(grid.latents[~grid.inside]).all()
    assert np.allclose(grid.latents[2, 1], a / 3 + b / 3 + c / 3, atol=1e-5)
    assert np.allclose(grid.latents[3, 1], b * 2 / 3 + c / 3, atol=1e-5)
    realism = grid.realism()
    assert np.isnan(realism[0, 1])
    assert realism[2, 1] == pytest.approx(clothes.realism((a + b + c)[None] / 3)[0], abs=1e-3)
    assert grid.surroundings.nearest[0] == "train/0"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("corners", [3, 4])
def test_the_corners_of_a_grid_are_exact_and_its_sides_are_paths(clothes, method, corners):
    ids = [f"'train/{i}'" for i in range(corners)]
    grid = clothes.interpolate_grid(*ids, rows=6, method=method)
    vectors = [clothes.latent(one).vector for one in ids]
    places = [(0, 0), (5, 0), (5, 5)] if corners == 3 else [(0, 0), (0, 5), (5, 0), (5, 5)]
    assert all(np.array_equal(grid.latents[place], vector) for place, vector in zip(places, vectors, strict=True))
    assert np.isfinite(grid.latents[grid.inside]).all()
    left = clothes.interpolate(ids[0], ids[1 if corners == 3 else 2], steps=6, method=method)
    assert np.allclose(grid.latents[:, 0], left.latents, atol=1e-2)
    last = clothes.interpolate(ids[-2], ids[-1], steps=6, method=method)
    assert np.allclose(grid.latents[-1], last.latents, atol=1e-2)


def test_a_spherical_grid_turns_and_a_gaussian_one_keeps_the_size(tmp_path):
    space = ls.open(tmp_path / "o.store").create_space("axes", dim=4)
    corners = np.eye(4, dtype=np.float32)
    gaussian = space.interpolate_grid(*corners, rows=5, method="gaussian").latents
    assert np.allclose(np.linalg.norm(gaussian, axis=-1), 1, atol=1e-6)
    assert np.linalg.norm(space.interpolate_grid(*corners, rows=5).latents[2, 2]) == pytest.approx(0.5), "control"
    turned = space.interpolate_grid(*corners, rows=5, method="slerp").latents
    left, right = (slerp(corners[i], corners[i + 2], 0.25)[0] for i in (0, 1))
    assert np.allclose(turned[1], slerp(left, right, np.linspace(0, 1, 5)), atol=1e-6)


def test_mistakes_are_refused(clothes, moons):
    with pytest.raises(ConfigInvalid, match="did you mean 'geodesic'"):
        clothes.interpolate("'train/1'", "'train/2'", method="geodesik")
    with pytest.raises(ConfigInvalid, match=r"smoothing 0\.1 is for method 'graph'"):
        clothes.interpolate("'train/1'", "'train/2'", smoothing=0.1)
    with pytest.raises(InputError, match="smoothing is -1"):
        clothes.interpolate("'train/1'", "'train/2'", method="graph", smoothing=-1)
    with pytest.raises(InputError, match="1 anchors"):
        clothes.interpolate("'train/1'")
    with pytest.raises(InputError, match="steps is 2; choose 3 to"):
        clothes.interpolate("'train/1'", "'train/2'", "'train/3'", steps=2)
    with pytest.raises(UnknownItem):
        clothes.interpolate("'train/1'", "'nobody'")
    with pytest.raises(InputError, match="2 anchors; a grid"):
        clothes.interpolate_grid("'train/1'", "'train/2'")
    with pytest.raises(InputError, match="leave out columns"):
        clothes.interpolate_grid("'train/1'", "'train/2'", "'train/3'", rows=4, columns=5)
    with pytest.raises(InputError, match="1 rows"):
        clothes.interpolate_grid(*["'train/1'"] * 4, rows=1)
    with pytest.raises(NotSupported, match="cannot decode"):
        moons.interpolate("'m0'", "'m1'").save("x.png")
