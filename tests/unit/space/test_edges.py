"""Latent operations where they easily go wrong: inner products, empty spaces, odd seeds, unknown values, threads."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_info

import latentstore as ls
from latentstore import geometry
from latentstore.errors import ConfigInvalid, InputError, NotFinite, NotSupported, UnknownItem
from latentstore.evaluate import Vote
from latentstore.geometry.image_transport import pot
from tests.unit.space.faces import filled, fit


@pytest.fixture
def store(tmp_path):
    return ls.open(tmp_path / "a.store")


@pytest.mark.parametrize("number", [10**400, 10**5000, -(10**400), 10**40], ids=["400", "5000", "-400", "40"])
def test_a_number_beyond_every_float_is_named_wherever_a_vector_is(store, number):
    space = filled(store)
    vector = [number, *[1] * (space.dim - 1)]
    for act in (
        space.search,
        space.latent,
        space.realism,
        space.novelty,
        lambda one: space.search([one, one]),
        lambda one: space.search(positive=[one]),
        lambda one: space.interpolate(one, "'0'"),
        lambda one: space.add(["new"], [one]),
        lambda one: space.upsert(["new"], [one]),
    ):
        with pytest.raises(NotFinite, match=r"contain -?(1000|0x).* bits\)|row 0 contains .* beyond float32") as raised:
            act(vector)
        assert len(str(raised.value)) < 200


def test_a_number_beyond_every_float_is_refused_where_one_number_is_asked_for(store):
    space, number = filled(store), 10**400
    for act, said in (
        (lambda: space.search("'0'", radius=number), "radius is 1000"),
        (lambda: space.sample(2, truncation=number), "truncation is 1000"),
        (lambda: space.barycenter({"'0'": number}, method="euclidean"), "weights are"),
        (lambda: space.upsert(["new"], [[1] * space.dim], {"wide": [number]}), "metadata cannot be read"),
    ):
        with pytest.raises(InputError, match=said):
            act()


def test_whole_numbers_that_a_float_can_be_are_taken_however_long(store):
    space = filled(store)
    vector = [10**30, *[1] * (space.dim - 1)]  # NumPy has no dtype of whole numbers for it
    assert space.latent([10**18, *vector[1:]]).vector[0] == np.float32(1e18)
    with pytest.raises(NotFinite, match="beyond float32"):
        space.latent(vector)  # its square is none


def test_under_ip_what_is_real_is_near_and_not_far_out(store):
    space = filled(store, metric="ip")
    items = space.snapshot.vectors(np.arange(200))
    assert space.realism(items).mean() == pytest.approx(0.5, abs=0.05)
    assert space.realism(100 * items).max() == 0
    assert space.novelty(items).max() == 0, "a stored item is a copy of itself"
    assert space.novelty(100 * items).min() == 1
    euclidean = filled(store, "euclidean", metric="l2")
    far = 3 * items[:20]
    np.testing.assert_allclose(space.realism(far), euclidean.realism(far), atol=0.02)
    np.testing.assert_allclose(
        [space.latent(one).settle(1.0).vector for one in far],
        [euclidean.latent(one).settle(1.0).vector for one in far],
        atol=1e-5,
    )


def test_an_item_of_a_space_that_never_had_one_is_unknown(store):
    empty = store.create_space("empty", dim=3)
    for act in (empty.latent, empty.search, lambda one: empty.interpolate(one, one)):
        with pytest.raises(UnknownItem, match="nobody"):
            act("'nobody'")


def test_an_empty_space_says_so(store):
    empty = store.create_space("empty", dim=3)
    empty.add(["a"], np.ones((1, 3)), {"label": ["x"]})
    empty.delete(["a"])
    with pytest.raises(NotSupported, match="no items"):
        _ = empty.interpolate([0.0, 0, 0], [1.0, 0, 0], steps=3).report
    for options in ({}, {"label": "x"}):
        with pytest.raises(InputError, match="no items"):
            empty.sample(3, **options)


def test_a_vote_of_few_items_is_a_vote(store):
    few = store.create_space("few", dim=2)
    few.add(list("abcde"), np.eye(5, 2), {"label": ["x", "x", "x", "y", "y"]})
    assert Vote(few, ["label"]).predictions_at(np.zeros((2, 2), np.float32))["label"].tolist() == ["x", "x"]


@pytest.mark.parametrize("seed", [-1, 1.5, 1 << 70, True, "0"])
def test_a_seed_is_a_whole_number_that_generators_take(store, seed):
    space = filled(store)
    version = space.version
    for act in (
        lambda: space.fit_attribute("x", positive="smile", negative="not smile", seed=seed),
        lambda: space.fit_directions(count=2, seed=seed),
        lambda: space.sample(2, seed=seed),
        lambda: space.subclusters("label = 'b'", seed=seed),
        lambda: space.fit_map("pca", seed=seed),
        lambda: space.displace("smile", "not smile", n=5, seed=seed),
        lambda: space.set_barycenter({"smile": 1.0, "hat": 1.0}, n=5, seed=seed),
        lambda: space.build_index("ivf", seed=seed),
    ):
        with pytest.raises(InputError, match="seed is"):
            act()
    assert space.version == version
    space.subclusters("label = 'b'", 2, seed=(1 << 32) - 1)


@pytest.mark.parametrize("n", [0, 2.5, True, 10**400, "2"])
def test_a_number_of_samples_is_a_whole_one(store, n):
    with pytest.raises(InputError, match="ask for 1 to 1,000,000 samples"):
        filled(store).sample(n)


@pytest.mark.parametrize("name", ["\ud800", 5])
def test_a_map_is_called_by_a_text(store, name):
    space = filled(store)
    version = space.version
    with pytest.raises(ConfigInvalid, match="a map cannot be called"):
        space.fit_map("pca", name=name)
    assert space.version == version


def test_fewer_directions_leave_none_of_the_old(store):
    space = filled(store)
    space.fit_directions(count=4, resamples=0)
    space.fit_directions("principal", count=2, resamples=0, where="smile")
    assert space.attributes["name"].to_pylist() == ["pc1", "pc2"]
    fit(space)
    space.fit_directions(count=1, resamples=0)
    assert sorted(space.attributes["name"].to_pylist()) == ["pc1", "smile"]


def test_nan_is_unknown_everywhere(store):
    rng = np.random.default_rng(0)
    space = store.create_space("unknown", dim=4)
    smile = np.arange(400) % 2 == 0
    size = np.where(np.arange(400) % 4 < 2, np.nan, 1.0)
    table = pa.table({"smile": smile, "size": size, "kind": np.where(np.arange(400) < 300, np.nan, 2.0)})
    space.add([f"i{i}" for i in range(400)], rng.normal(size=(400, 4)) + smile[:, None], table)
    row = fit(space, method="balanced", balance=["size"])
    assert (row["positives"], row["negatives"]) == (200, 200), "NaN is one stratum, not one for each item"
    space.fit_centroids("kind")
    assert space.centroids["label"].to_pylist() == ["2.0"]
    assert "nan" not in [str(one) for one in space.sample(4, column="kind", label="2.0", seed=0).report.nearest]


def test_a_fit_of_few_is_not_refused_for_what_is_held_out(store):
    points = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    rng = np.random.default_rng(0)
    fitted = 0
    for _ in range(200):
        a, b = points[rng.integers(0, 4, 3)], points[rng.integers(0, 4, 3)]
        if np.array_equal(a.mean(axis=0), b.mean(axis=0)):
            continue
        geometry.mean_difference(a, b, resamples=0, permutations=0)
        fitted += 1
    assert fitted > 100


def test_a_move_within_the_label_has_no_gap_to_be_measured_by(store):
    space = filled(store)
    found = space.counterfactual("'i5'", label=space.get("i5")["label"][0].as_py(), confidence=0.9999999)
    assert found.length > 0
    assert np.isnan(found.relative)


def test_threads_do_not_change_what_is_global(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 60, 3))
    before = list(warnings.filters)
    variables = {name: value for name, value in os.environ.items() if "POT" in name}
    threads = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    labels = np.array(["x", "y"])[(a[:, 0] > 0).astype(int)]

    def work(number):
        pot()
        geometry.match(a, b)
        geometry.cloud_barycenter([a[:20], b[:30]], np.array([1.0, 1.0]))
        geometry.fit_mixture(np.concatenate([a, b]).astype("f4"), 3, seed=number)
        geometry.fit_softmax(a.astype("f4"), labels)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(60)))
    assert list(warnings.filters) == before
    assert {name: value for name, value in os.environ.items() if "POT" in name} == variables
    assert [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"] == threads


def test_opposite_directions_have_no_mean(store):
    with pytest.raises(InputError, match="opposite"):
        geometry.spherical_mean(np.array([[1.0, 0], [-1, 0]]), np.array([0.7, 0.3]))


def test_axes_of_very_different_scales_all_count():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 4)) * np.array([1e5, 1e5, 1, 1])
    labels = np.where(x[:, 2] > 0, "high", "low")
    model = geometry.fit_softmax(x.astype("f4"), labels)
    assert (model.predict(x.astype("f4")) == labels).mean() > 0.98
