"""Centroids, attribute vectors, the algebra, paths and samples on planted data whose answers are known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import (
    ConfigInvalid,
    ExpressionRefused,
    InputError,
    NotSupported,
    SpaceMismatch,
    UnknownAttribute,
    UnknownLabel,
)
from latentstore.types import METRICS

D = 8


@pytest.fixture
def space(tmp_path):
    """Two classes apart by 6 along axis 0, each with a 'high' half shifted by 4 along axis 1."""
    generator = np.random.default_rng(0)
    n = 2000
    label = generator.integers(0, 2, n)
    high = generator.integers(0, 2, n)
    vectors = generator.normal(size=(n, D))
    vectors[:, 0] += 6 * label
    vectors[:, 1] += 4 * high
    table = pa.table({"label": np.array(["flat", "boot"])[label], "high": high.astype(bool)})
    space = ls.open(tmp_path / "s.store").create_space("shoes", dim=D)
    space.add([f"i{i}" for i in range(n)], vectors, table)
    return space


def test_centroids_are_means(space):
    space.fit_centroids("label")
    table = space.to_arrow()
    vectors = np.stack(table["vector"].to_numpy(zero_copy_only=False))
    boots = vectors[np.array(table["label"].to_pylist()) == "boot"]
    assert np.allclose(space.latent("centroid('boot')").vector, boots.mean(0), atol=1e-5)
    row = space.centroids.to_pylist()[0]
    assert (row["label"], row["count"]) == ("boot", len(boots))
    assert row["version"] == space.version - 1


@pytest.mark.parametrize("method", ["mean_difference", "logistic"])
def test_an_attribute_points_along_its_axis_and_moves_what_it_should(space, method):
    space.fit_attribute("tall", positive="high", negative="not high", method=method)
    row = space.attributes.to_pylist()[0]
    direction = np.array(row["vector"])
    assert direction[1] / np.linalg.norm(direction) > 0.98
    assert direction[1] == pytest.approx(4, abs=0.3)
    assert row["auc"] > 0.99
    moved = space.latent("'i0' + 2 * tall").vector - space.latent("'i0'").vector
    assert np.allclose(moved, 2 * direction, atol=1e-4)


def test_a_meaningless_attribute_says_so_in_its_auc(space):
    space.fit_attribute("noise", positive="id like '%0'", negative="id like '%1'")
    assert abs(space.attributes.to_pylist()[0]["auc"] - 0.5) < 0.15


def test_chains_commute_and_cancel_exactly(space):
    space.fit_attribute("tall", positive="high", negative="not high")
    space.fit_attribute("boot", positive="label = 'boot'", negative="label = 'flat'")
    one = space.latent("'i0' + 1.5*tall - boot").vector
    assert np.allclose(one, space.latent("-boot + 'i0' + 1.5*tall").vector, atol=1e-5)
    point, tall = space.latent("'i0'"), space.latent("tall")
    assert np.array_equal((point + 1.5 * tall - 1.5 * tall).vector, point.vector)
    assert str(point + 1.5 * tall) == "'i0' + 1.5 * tall"


def test_points_of_other_spaces_do_not_mix(space, tmp_path):
    other = ls.open(tmp_path / "s.store").create_space("hats", dim=D)
    other.add(["a"], np.ones((1, D)))
    with pytest.raises(SpaceMismatch, match="hats"):
        space.latent("'i0'") + other.latent("'a'")
    with pytest.raises(SpaceMismatch):
        space.search(other.latent("'a'"))


def test_realism_falls_with_distance_from_the_data(space):
    near, middle, far = (space.latent(v).realism() for v in (space.latent("'i0'").vector, [3.0] * D, [50.0] * D))
    assert near > 0.02
    assert far == 0
    assert near > middle >= far
    everyone = space.realism(np.stack(space.to_arrow([])["vector"].to_numpy(zero_copy_only=False)))
    assert np.mean(everyone) == pytest.approx(0.5, abs=0.05)  # ranks of real items among real items are uniform


def test_paths_go_from_one_end_to_the_other_evenly(space):
    path = space.interpolate("'i0'", "'i1'", steps=7)
    a, b = space.latent("'i0'").vector, space.latent("'i1'").vector
    assert np.array_equal(path.latents[0], a)
    assert np.array_equal(path.latents[-1], b)
    assert path.report.length == pytest.approx(np.linalg.norm(a - b), rel=1e-5)
    assert path.report.max_step == pytest.approx(path.report.mean_step, rel=1e-4)
    assert path.report.nearest[0] == "i0"
    assert len(path.report.realism) == 7
    arc = space.interpolate("'i0'", "'i1'", method="slerp", steps=7).latents
    assert not np.allclose(arc[3], path.latents[3], atol=1e-2)
    with pytest.raises(InputError, match="steps is 1"):
        space.interpolate("'i0'", "'i1'", steps=1)
    with pytest.raises(ConfigInvalid, match="slerp"):
        space.interpolate("'i0'", "'i1'", method="slrp")


def test_samples_lie_where_their_label_lies(space):
    boots = space.sample(400, label="boot", seed=3)
    assert np.array_equal(boots.latents, space.sample(400, label="boot", seed=3).latents)
    assert not np.array_equal(boots.latents, space.sample(400, label="boot", seed=4).latents)
    assert boots.latents[:, 0].mean() == pytest.approx(6, abs=0.3)
    assert space.sample(400, label="flat").latents[:, 0].mean() == pytest.approx(0, abs=0.3)
    assert boots.realism().mean() > 0.3
    with pytest.raises(UnknownLabel, match="did you mean 'boot'"):
        space.sample(3, label="boots")
    with pytest.raises(NotSupported, match="gmm"):
        space.sample(3, method="prior")


def test_staleness_is_counted(space):
    space.fit_centroids("label")
    assert not space.status().artefacts[0].stale
    space.add(["new"], np.zeros((1, D)), pa.table({"label": ["flat"], "high": [True]}))
    space.delete(["i0", "i1"])
    stale = space.status().artefacts[0]
    assert (stale.added, stale.deleted) == (1, 2)
    assert any("centroids/label" in line for line in space.status().advice)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.latent("'i0' + tal"), UnknownAttribute, "fit one"),
        (lambda s: s.latent("centroid('boot')"), UnknownLabel, "fit_centroids"),
        (lambda s: s.latent("'i0' + 3"), ExpressionRefused, "number"),
        (lambda s: s.latent("__import__('os')"), ExpressionRefused, "__import__"),
        (lambda s: s.fit_attribute("a", positive="high", negative="high"), InputError, "match both"),
        (lambda s: s.fit_attribute("a", positive="high", negative="label = 'x'"), InputError, "label = 'x'"),
        (lambda s: s.fit_attribute("a", positive="high", negative="not high", method="mean"), ConfigInvalid, "mean"),
        (lambda s: s.fit_attribute("", positive="high", negative="not high"), ConfigInvalid, "empty"),
    ],
)
def test_bad_input_says_what(space, call, error, message):
    before = space.version
    with pytest.raises(error, match=message):
        call(space)
    assert space.files.newest_version() == before


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("method", ["pca", "umap"])
def test_maps_part_what_the_space_parts_and_drop_what_was_deleted(tmp_path, metric, method):
    generator = np.random.default_rng(0)
    centres = 10 * np.eye(3, 6)
    vectors = np.concatenate([c + generator.normal(size=(60, 6)) for c in centres])
    space = ls.open(tmp_path / "m.store").create_space("m", dim=6, metric=metric)
    space.add([f"{i // 60}/{i}" for i in range(180)], vectors)
    space.fit_map(method)
    space.delete(["0/0", "2/179"])
    table = space.map(method)
    assert table.column_names == ["id", "x", "y"]
    assert len(table) == 178
    points = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
    group = np.array([i[0] for i in table["id"].to_pylist()])
    means = {g: points[group == g].mean(0) for g in "012"}
    nearest = [min(means, key=lambda g, p=p: np.linalg.norm(p - means[g])) for p in points]
    assert np.mean(np.array(nearest) == group) > 0.95
    with pytest.raises(ls.errors.NotFound, match=r"did you mean 'umap'|known: 'pca'"):
        space.map("umpa")
