"""Generators that are stored, samples that are new, and what optimal transport does in a space."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.datasets import open_dataset
from latentstore.errors import ConfigInvalid, Forbidden, InputError, NotSupported, UnknownLabel
from latentstore.geometry import image_barycenter, spherical_mean
from tests.clothes import clothes_space

QUICK = {"steps": 60, "hidden": 32, "blocks": 1, "batch_size": 128}


@pytest.fixture
def rings(tmp_path):
    """Two labels on two rings, and some items without one: ready vectors."""
    generator = np.random.default_rng(0)
    angle = generator.uniform(0, 2 * np.pi, 1_200)
    vectors = np.stack([np.cos(angle), np.sin(angle), np.zeros(1_200)], 1) + 0.05 * generator.normal(size=(1_200, 3))
    vectors[600:] = 2 * vectors[600:] + [6, 0, 0]
    labels = ["small"] * 600 + ["large"] * 550 + [None] * 50
    space = ls.open(tmp_path / "r.store").create_space("rings", dim=3)
    space.add([f"i{i}" for i in range(1_200)], vectors, pa.table({"label": pa.array(labels, pa.string())}))
    return space


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    return clothes_space(ls.open(tmp_path_factory.mktemp("made") / "a.store"), "clothes", items=1200, dim=12)


def test_a_stored_mixture_draws_what_one_fitted_now_draws(rings):
    before = rings.sample(300, seed=1).latents
    assert rings.fit_mixture() == rings.version == 3
    stored = ls.open(rings.files.folder.parents[1], "r").space("rings")
    np.testing.assert_allclose(stored.sample(300, seed=1).latents, before, atol=1e-4)
    assert stored.mixture().weights.sum() == pytest.approx(1)
    small = stored.sample(500, label="small").latents
    assert np.linalg.norm(small[:, :2], axis=1).mean() == pytest.approx(1, abs=0.05)
    assert np.linalg.norm(small, axis=1).std() < 0.15, "control: one Gaussian would fill the ring"
    assert [a.name for a in stored.status().artefacts] == ["generation/gmm"]


def test_generators_know_stale_labels_and_columns(rings):
    rings.fit_mixture()
    rings.add(["new"], [[0, 0, 9]], pa.table({"label": ["fresh"]}))
    assert rings.status().artefacts[0].stale
    with pytest.raises(UnknownLabel, match="'fresh'"):
        rings.sample(1, label="fresh")
    rings.fit_mixture()
    assert rings.sample(5, label="fresh").latents[:, 2].mean() == pytest.approx(9, abs=2)
    rings.fit_mixture(column=None)
    assert len(rings.sample(10, label="small")) == 10, "fitted now, for the stored one knows no labels"
    with pytest.raises(ConfigInvalid, match="labe"):
        rings.fit_mixture(column="labe")


def test_too_many_labels_are_refused_and_left_alone(tmp_path):
    space = ls.open(tmp_path / "n.store").create_space("names", dim=2)
    vectors = np.random.default_rng(0).normal(size=(1_500, 2))
    space.add([f"i{i}" for i in range(1_500)], vectors, pa.table({"label": [f"l{i}" for i in range(1_500)]}))
    assert space.sample(4).latents.shape == (4, 2)
    with pytest.raises(InputError, match="1500 values"):
        space.fit_mixture()
    assert space.version == 2


def test_a_flow_is_asked_for_stored_and_mended(rings, tmp_path):
    with pytest.raises(NotSupported, match="fit_flow"):
        rings.sample(1, method="flow")
    rings.fit_mixture()
    told = []
    rings.fit_flow(seed=3, progress=told.append, **QUICK)
    assert told == [50 / 60]
    drawn = rings.sample(200, method="flow", label="large", seed=5)
    assert drawn.method == "flow"
    assert drawn.latents[:, 0].mean() == pytest.approx(6, abs=0.5)
    np.testing.assert_array_equal(drawn.latents, rings.sample(200, method="flow", label="large", seed=5).latents)
    with pytest.raises(NotSupported, match="knows labels of 'label', not 'other'"):
        rings.sample(1, method="flow", label="x", column="other")
    store = ls.open(rings.files.folder.parents[1])
    for file in (rings.files.folder / "concepts").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-9] + b"x" * 9)
    assert {"generation/gmm", "generation/flow"} <= {w for one in store.repair().mended for w in one.what.split("'")}
    mended = store.space("rings")
    np.testing.assert_allclose(
        mended.sample(200, method="flow", label="large", seed=5).latents, drawn.latents, atol=1e-3
    )
    with pytest.raises(Forbidden):
        ls.open(rings.files.folder.parents[1], "r").space("rings").fit_flow()


def test_a_copy_among_samples_is_found(rings):
    drawn = rings.sample(40, seed=2)
    assert drawn.report.copies == ()
    planted = drawn.latents.copy()
    planted[7] = rings.latent("'i3'").vector
    report = type(drawn)(rings, planted, "gmm").report
    assert report.copies == (7,)
    assert report.nearest[7] == "i3"
    assert report.novelty[7] == 0
    assert report.distances[7] == 0
    assert np.median(report.novelty) > 0.3
    assert report.labels[7] == "small"
    assert list(drawn.nearest()) == list(drawn.report.nearest)


def test_novelty_of_real_items_is_uniform(rings):
    own = rings.snapshot.vectors(rings.snapshot.live_rows())
    apart = rings.search(own, 2).distances[:, 1]
    direction = np.random.default_rng(0).normal(size=own.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    nudged = own + 0.001 * apart[:, None] * direction
    assert rings.novelty(nudged).max() <= 0.01, "control: next to an item is no news"
    assert rings.novelty(own + np.array([0, 0, 50])).min() == 1


def test_truncation_trades_variety_for_realism(rings):
    whole, half = (rings.sample(800, truncation=t, seed=0) for t in (1.0, 0.4))
    assert half.realism().mean() > whole.realism().mean() + 0.05
    with pytest.raises(InputError, match="truncation is -1"):
        rings.sample(1, truncation=-1)


def test_barycenters_of_three_kinds(clothes):
    weights = {"'train/3'": 2, "'train/9'": 1}
    a, b = (clothes.latent(name).vector for name in weights)
    straight = clothes.barycenter(weights, method="euclidean")
    np.testing.assert_allclose(straight.latent.vector, (2 * a + b) / 3, rtol=1e-5)
    assert straight.solution is None
    assert straight.item.shape == (28, 28, 1)
    round_ = clothes.barycenter(weights, method="spherical")
    np.testing.assert_allclose(round_.latent.vector, spherical_mean(np.stack([a, b]), np.array([2, 1])), rtol=1e-4)
    moved = clothes.barycenter(weights)
    items = open_dataset("fashion_mnist", limit=1200)
    pair = items.read([list(items.ids).index(name) for name in ("train/3", "train/9")])
    np.testing.assert_allclose(moved.item, image_barycenter(pair, np.array([2, 1])).image, atol=1e-6)
    np.testing.assert_allclose(moved.latent.vector, clothes.encode(moved.item[None])[0], rtol=1e-6)
    assert moved.pictures == "items"
    assert moved.solution.mass_error < 1e-4
    assert clothes.barycenter({"'train/3' + 0.1 * 'train/9'": 1, "'train/9'": 1}).pictures == "decoded"
    assert 0 <= moved.realism() <= 1


def test_what_has_no_mean_is_refused(clothes, rings):
    with pytest.raises(ConfigInvalid, match="did you mean 'wasserstein'"):
        clothes.barycenter({"'train/3'": 1}, method="waserstein")
    with pytest.raises(InputError, match="none below 0"):
        clothes.barycenter({"'train/3'": -1})
    with pytest.raises(InputError, match="weights are"):
        clothes.barycenter({})
    with pytest.raises(NotSupported, match="no pictures"):
        rings.barycenter({"'i0'": 1, "'i1'": 1})


def test_the_path_by_transport_is_made_of_barycenters(clothes):
    path = clothes.interpolate("'train/3'", "'train/9'", "'train/20'", steps=7, method="transport")
    items = open_dataset("fashion_mnist", limit=1200)
    ends = items.read([list(items.ids).index(name) for name in ("train/3", "train/9", "train/20")]) / 255
    np.testing.assert_allclose(path.decode()[list(path.anchors)], ends, atol=1e-6)
    first = path.anchors[1]
    middle = image_barycenter(ends[:2], np.array([1 - 1 / first, 1 / first])).image
    np.testing.assert_allclose(path.decode()[1], middle, atol=1e-6)
    np.testing.assert_allclose(path.latents[1], clothes.encode(middle[None])[0], rtol=1e-5)
    np.testing.assert_array_equal(path.latents[0], clothes.latent("'train/3'").vector)
    assert path.pictures == "items"
    assert len(path.report.nearest) == 7
    assert clothes.interpolate("'train/3'", "'train/9'", steps=3).items is None
    with pytest.raises(ConfigInvalid, match="has no corners"):
        clothes.interpolate("'train/3'", "'train/9'", method="transport", smoothing=0.1)
    with pytest.raises(ConfigInvalid, match="did you mean 'transport'"):
        clothes.interpolate("'train/3'", "'train/9'", method="transportt")


def test_class_transport_takes_a_class_to_the_other(rings):
    rows = {label: rings.matching(f"label = '{label}'") for label in ("small", "large")}
    small, large = (rings.snapshot.vectors(rows[label]) for label in ("small", "large"))
    moved = rings.transport(small, from_label="small", to_label="large")
    np.testing.assert_allclose(moved.latents.mean(0), large.mean(0), atol=1e-3)
    np.testing.assert_allclose(np.cov(moved.latents.T), np.cov(large.T), atol=0.05)
    assert np.abs(np.cov(small.T) - np.cov(large.T)).max() > 1, "control: the mean alone would not do"
    assert moved.cost.shape == (600,)
    assert np.square(moved.cost).mean() == pytest.approx(moved.map.cost, rel=0.02)
    assert moved.mean_difference == pytest.approx(np.linalg.norm(large.mean(0) - small.mean(0)), rel=1e-5)
    half = rings.transport("'i3'", from_label="small", to_label="large", amount=0.5)
    np.testing.assert_allclose(half.latents[0], (small[3] + moved.latents[3]) / 2, atol=1e-4)
    with pytest.raises(UnknownLabel, match="did you mean 'large'"):
        rings.transport("'i3'", from_label="small", to_label="larg")


def test_displacement_moves_one_set_onto_the_other(rings):
    found = rings.displace("label = 'small'", "label = 'large'", n=200, seed=1)
    assert len(found) == 200
    assert len(np.unique(found.rows[:, 1])) == 200
    assert found.cost < found.unmatched_cost
    frames = found.frames(3)
    assert frames.shape == (3, 200, 3)
    np.testing.assert_array_equal(frames[0], found.starts)
    np.testing.assert_array_equal(frames[2], found.ends)
    np.testing.assert_allclose(frames[1], found.at(0.5))
    radius = np.linalg.norm((frames[1] - [3, 0, 0])[:, :2], axis=1)  # half way between rings of radius 1 and 2
    assert radius.mean() == pytest.approx(1.5, abs=0.1)
    assert found.ids[0, 0].startswith("i")
    with pytest.raises(InputError, match=r"0 .label = .none"):
        rings.displace("label = 'small'", "label = 'none'")


def test_the_mean_of_two_sets_lies_between_them(rings):
    found = rings.set_barycenter({"label = 'small'": 1, "label = 'large'": 1}, n=120, seed=1)
    assert found.latents.shape == (120, 3)
    np.testing.assert_allclose(found.weights, 0.5)
    apart = np.linalg.norm((found.latents - [3, 0, 0])[:, :2], axis=1)
    assert apart.mean() == pytest.approx(1.5, abs=0.1)  # a ring of the mean radius, half way
    assert apart.std() < 0.2
    whole = rings.set_barycenter({"label = 'small'": 1, "label = 'large'": 0}, n=120, seed=1)
    assert np.linalg.norm(whole.latents[:, :2], axis=1).mean() == pytest.approx(1, abs=0.05)
    assert whole.cost == pytest.approx(0, abs=1e-9)
    with pytest.raises(InputError, match="no item matches"):
        rings.set_barycenter({"label = 'none'": 1})
    with pytest.raises(InputError, match="n is 0"):
        rings.set_barycenter({"label = 'small'": 1}, n=0)
