"""What is measured of generated items, against sets whose measures are known."""

from __future__ import annotations

import numpy as np
import pytest

import latentstore as ls
from latentstore.datasets import open_dataset
from latentstore.encoders import train
from latentstore.errors import InputError
from latentstore.evaluate import Judge, barycenter_metrics, generation_metrics, transport_metrics
from latentstore.evaluate.generation import Ruler, nearest_distances
from latentstore.geometry import auc

RNG = np.random.default_rng(0)
REAL = RNG.standard_normal((400, 4))


def test_of_the_same_set_nothing_is_lost():
    same = Ruler(REAL).measure(REAL)
    assert same.frechet == pytest.approx(0, abs=1e-9)
    assert same.coverage == 1
    assert same.density == pytest.approx(6 / 5)  # in each ball of 5 neighbours: those, and its centre


def test_frechet_of_a_shift_is_its_square_and_far_sets_cover_nothing():
    moved = Ruler(REAL).measure(REAL + np.array([3, 0, 0, 4]))
    assert moved.frechet == pytest.approx(25)
    far = Ruler(REAL).measure(REAL + 100)
    assert (far.density, far.coverage) == (0, 0)


def test_a_collapsed_set_is_dense_and_covers_little():
    centre = 0.01 * RNG.standard_normal((400, 4))
    measured = Ruler(REAL).measure(centre)
    assert measured.density > 1
    assert measured.coverage < 0.2


def test_density_and_coverage_count_what_lies_in_balls():
    real = np.array([[0.0], [1], [2], [3], [4], [5], [100]])  # the radius of 0 is 5, of 2 is 3, of 100 is 99
    measured = Ruler(real).measure(np.array([[-4.0], [100.0]]))
    inside = {0: [True, False], 1: [False, False], 2: [False, False], 6: [False, True]}
    assert measured.density == sum(map(sum, inside.values())) / (5 * 2)
    assert measured.coverage == 2 / 7


def test_copies_are_nearer_than_test_items_and_new_ones_are_not():
    known, test, new = (RNG.standard_normal((n, 4)).astype(np.float32) for n in (600, 200, 200))
    apart = nearest_distances(known, test, "l2")
    assert auc(nearest_distances(known, new, "l2"), apart) == pytest.approx(0.5, abs=0.08)
    copies = nearest_distances(known, known[:200] + np.float32(1e-4), "l2")
    assert auc(copies, apart) < 0.01
    assert np.median(copies) < 0.01 * np.median(apart)


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    dataset = open_dataset("fashion_mnist", limit=1200)
    items = dataset.read(np.arange(len(dataset)))
    encoder, _ = train("pca", items, dim=12)
    store = ls.open(tmp_path_factory.mktemp("gen") / "a.store")
    space = store.create_space("clothes", dim=12, encoder=store.add_encoder(encoder, {}), source=dataset.source)
    space.add(dataset.ids.tolist(), encoder.encode(items), dataset.metadata)
    labels = np.array(dataset.metadata["label"].to_pylist(), object)
    quick = {"epochs": 4, "channels": (8, 16), "batch_size": 32, "precision": "float32", "width": 16}
    return space, items, Judge.train(items, {"label": labels}, flips=False, learning_rate=1e-2, **quick)


def test_every_way_is_measured_beside_floor_and_reconstructions(clothes):
    space, items, judge = clothes
    latents = space.snapshot.vectors(space.snapshot.live_rows())
    halves = latents[:600], latents[600:], items[:600], items[600:]
    found = generation_metrics(space, *halves, judge, samples=400)
    assert [one.name for one in found.ways] == ["gmm", "gmm, truncated"]  # no flow was fitted, PCA has no prior
    metrics = found.metrics()
    assert metrics["gen_floor_frechet"] < metrics["gen_reconstructions_frechet"]
    assert metrics["gen_floor_coverage"] > 0.8
    assert 0.8 < metrics["gen_gmm_realistic"] <= 1
    assert metrics["gen_gmm_truncated_realistic"] >= metrics["gen_gmm_realistic"]
    assert metrics["gen_gmm_frechet_ratio"] == pytest.approx(
        metrics["gen_gmm_frechet"] / metrics["gen_reconstructions_frechet"]
    )
    assert metrics["gen_gmm_nearest_auc"] > 0.4
    again = generation_metrics(space, *halves, judge, samples=400).metrics()
    assert again == metrics


def test_without_a_judge_latents_are_measured_only(clothes):
    space, _, judge = clothes
    latents = space.snapshot.vectors(space.snapshot.live_rows())
    metrics = generation_metrics(space, latents[:600], latents[600:]).metrics()
    assert set(metrics) == {
        f"gen_gmm{t}_{what}" for t in ("", "_truncated") for what in ("realistic", "nearest_ratio", "nearest_auc")
    }
    with pytest.raises(InputError, match="pass train and test"):
        generation_metrics(space, latents[:600], latents[600:], judge=judge)
    with pytest.raises(InputError, match="10 items on a side"):
        generation_metrics(space, latents[:10], latents[600:])


def test_transport_is_measured_beside_the_mean_difference(clothes):
    space, _, judge = clothes
    found = transport_metrics(space, judge, pairs=6, items=20)
    assert found.success > 0.3
    assert found.cost >= 1 - 1e-6  # no map that takes one mean to the other moves less in the mean
    assert found.mean_cost > 0.4
    assert set(found.metrics()) >= {"transport_success", "transport_cost", "transport_mean_success"}
    assert found == transport_metrics(space, judge, pairs=6, items=20)
    with pytest.raises(InputError, match="0 pairs of classes"):
        transport_metrics(space, judge, ids=[])


def test_barycenters_are_timed(clothes):
    found = barycenter_metrics(clothes[1][:50], pairs=3)
    assert 0 < found.seconds < 5
    assert found.mass_error < 1e-4
    assert found.converged == 1
    with pytest.raises(InputError, match="at least two"):
        barycenter_metrics(clothes[1][:1])
