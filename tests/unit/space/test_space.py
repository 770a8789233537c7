"""A space as its users see it: rows, search against an exact oracle, versions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import (
    AlreadyExists,
    ConfigInvalid,
    FilterRefused,
    Forbidden,
    InputError,
    NotFinite,
    NotSupported,
    ShapeMismatch,
    SpaceMismatch,
    UnknownItem,
    UnknownSpace,
    UnknownVersion,
)
from latentstore.types import METRICS

N, D = 11_000, 48


@pytest.fixture(scope="module")
def vectors():
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 2, size=(30, D))
    return (centres[generator.integers(0, 30, N)] + generator.normal(size=(N, D))).astype(np.float32)


@pytest.fixture(scope="module")
def metadata():
    generator = np.random.default_rng(1)
    labels = np.array(["boot", "bag", None], object)[generator.integers(0, 3, N)]
    return pa.table({"label": pa.array(labels, pa.string()), "price": generator.integers(0, 1000, N)})


def ids(n=N):
    return [f"item/{i}" for i in range(n)]


@pytest.fixture
def store(tmp_path):
    return ls.open(tmp_path / "test.store")


@pytest.fixture(params=METRICS)
def space(request, store, vectors, metadata):
    return filled(store, request.param, vectors, metadata)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory, vectors, metadata):
    return filled(ls.open(tmp_path_factory.mktemp("unchanged") / "test.store"), "l2", vectors, metadata)


def filled(store, metric, vectors, metadata):
    space = store.create_space("things", dim=D, metric=metric)
    space.add(ids(), vectors, metadata)
    return space


def measure(vectors, query, metric):
    x, q = vectors.astype(np.float64), np.asarray(query, np.float64)
    if metric == "l2":
        return np.sqrt(((x - q) ** 2).sum(1))
    if metric == "ip":
        return -(x @ q)
    return 1 - x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)


def nearest(vectors, query, metric, k, keep=None):
    distances = measure(vectors, query, metric)
    if keep is not None:
        distances[~keep] = np.inf
    return np.argsort(distances, kind="stable")[:k]


def test_exact_answers_before_and_good_ones_after_indexing(space, vectors):
    query = vectors[7] + 0.1
    truth = [f"item/{i}" for i in nearest(vectors, query, space.metric, 10)]
    assert space.search(query).ids.tolist() == truth
    before = space.version
    space.build_index("ivf")
    assert space.version == before + 1
    assert space.status().index == "ivf"
    assert space.status().unindexed == 0
    queries = vectors[:200] + 0.05
    found = space.search(queries, 10)
    assert found.ids.shape == (200, 10)
    recall = np.mean(
        [
            len({f"item/{i}" for i in nearest(vectors, q, space.metric, 10)} & set(row)) / 10
            for q, row in zip(queries, found.ids, strict=True)
        ]
    )
    assert recall >= 0.95
    assert space.search(query, recall=1.0).ids.tolist() == truth


def test_an_answer_is_about_the_snapshot_whatever_the_index_covers(space, vectors, metadata):
    """Added rows are found, deleted ones are not, replaced ones are where they are now."""
    space.build_index("ivf")
    target = vectors[3]
    space.add(["new"], [target + 0.01], metadata.slice(0, 1))
    assert "new" in space.search(target, 3).ids.tolist() or space.metric == "ip"
    assert space.status().unindexed == 1
    space.delete(["item/3"])
    assert "item/3" not in space.search(target, 50).ids.tolist()
    space.upsert(["item/4"], [target - 0.02], metadata.slice(4, 1))
    current = np.concatenate([vectors, [target + 0.01]]).astype(np.float32)
    current[4] = target - 0.02
    names = np.array([*ids(), "new"])
    keep = names != "item/3"
    exact = names[nearest(current, target, space.metric, 20, keep)].tolist()
    assert space.search(target, 20, recall=1.0).ids.tolist() == exact
    assert space.get("item/4")["vector"].to_pylist()[0] == pytest.approx((target - 0.02).tolist())
    assert len(space) == N


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_filters_give_all_k_rows_and_only_matching_ones(space, vectors, metadata, share):
    space.build_index("ivf")
    keep = metadata["price"].to_numpy() < share * 1000
    query = vectors[11]
    found = space.search(query, 20, where=f"price < {int(share * 1000)}", columns=["price"])
    truth = [f"item/{i}" for i in nearest(vectors, query, space.metric, 20, keep)]
    assert len(found) == 20
    assert (found.columns["price"].to_numpy() < share * 1000).all()
    assert len(set(truth) & set(found.ids)) >= 19
    assert (np.diff(found.distances) * (-1 if space.metric == "ip" else 1) >= 0).all()


def test_a_shortfall_is_visible_and_nulls_do_not_match(space, metadata):
    found = space.search(np.ones(D), 10, where="price = 17 and label = 'boot'")
    expected = sum(
        p == 17 and label == "boot"
        for p, label in zip(metadata["price"].to_pylist(), metadata["label"].to_pylist(), strict=True)
    )
    assert len(found) == min(expected, 10)
    assert found.shortfall == 10 - len(found)
    batch = space.search(np.ones((2, D)), 5, where="price < -1")
    assert batch.shortfall.tolist() == [5, 5]
    assert (batch.rows == -1).all()
    assert batch.to_arrow().num_rows == 0


def test_texts_latents_and_arrays_ask_the_same(space):
    by_text = space.search("'item/5'", 4)
    by_latent = space.latent("'item/5'").search(4)
    by_vector = space.search(space.get("item/5")["vector"].to_numpy()[0], 4)
    batch = space.search(["'item/5'", "'item/6'"], 4)
    assert by_text.ids.tolist() == by_latent.ids.tolist() == by_vector.ids.tolist() == batch.ids[0].tolist()
    if space.metric != "ip":
        assert by_text.ids[0] == "item/5"
        assert by_text.distances[0] == pytest.approx(0, abs=1e-6)


def test_versions_can_be_read_again_and_are_not_written(space, vectors):
    space.tag("before")
    space.delete(where="price >= 0")
    assert len(space) == 0
    assert len(space.search(vectors[0], 3)) == 0
    store = ls.open(space.files.folder.parent.parent)
    old = store.space("things", at="before")
    assert len(old) == N
    with pytest.raises(Forbidden, match="without at="):
        old.delete(["item/1"])
    with pytest.raises(UnknownVersion, match="befor"):
        store.space("things", at="befor")


def test_a_reader_stays_on_its_snapshot_until_it_refreshes(space, store):
    reader = store.space("things")
    space.delete(["item/0"])
    assert len(reader) == N
    assert "item/0" in reader.get("item/0")["id"].to_pylist()
    assert len(reader.refresh()) == N - 1


def test_rows_come_back_as_given(space, vectors, metadata):
    table = space.get(["item/9", "item/2"])
    assert table.column_names == ["id", "label", "price", "vector"]
    assert np.array_equal(np.stack(table["vector"].to_numpy(zero_copy_only=False)), vectors[[9, 2]])
    assert table["price"].to_pylist() == [metadata["price"][9].as_py(), metadata["price"][2].as_py()]
    assert space.to_arrow(["price"]).num_rows == N


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.search(np.ones(D - 1)), ShapeMismatch, rf"\({D - 1},\).*\({D},\)"),
        (lambda s: s.search([[np.nan] * D]), NotFinite, "row 0 contains NaN"),
        (lambda s: s.search(np.ones(D), 0), InputError, "k is 0"),
        (lambda s: s.search(np.ones(D), True), InputError, "k is True"),
        (lambda s: s.search(np.ones(D), where="prise < 3"), FilterRefused, "price"),
        (lambda s: s.search(np.ones(D), columns=["prise"]), ConfigInvalid, "did you mean 'price'"),
        (lambda s: s.search("'item/x'"), UnknownItem, "'item/x'.*its ids look like 'item/0'"),
        (lambda s: s.search(np.ones(D), recall=2), InputError, "recall is 2"),
        (lambda s: s.get(["item/1", "nope"]), UnknownItem, "nope"),
        (lambda s: s.add(["item/1"], np.ones((1, D))), AlreadyExists, "item/1"),
        (lambda s: s.add(["a", "a"], np.ones((2, D))), InputError, "'a'"),
        (lambda s: s.add(["a"], np.ones((1, D)), encoder="abc"), SpaceMismatch, "abc"),
        (lambda s: s.delete(["nope"]), UnknownItem, "nope"),
        (lambda s: s.delete(), InputError, "either"),
        (lambda s: s.build_index("ivff"), ConfigInvalid, "ivf"),
        (lambda s: s.decode(np.ones((1, D))), NotSupported, "ready vectors"),
        (lambda s: s.fit_centroids("nope"), ConfigInvalid, "nope"),
    ],
)
def test_bad_input_says_what_and_changes_nothing(unchanged, call, error, message):
    before = unchanged.version
    with pytest.raises(error, match=message):
        call(unchanged)
    assert unchanged.files.newest_version() == before


def test_zero_vectors_have_no_cosine(store):
    space = store.create_space("angles", dim=3, metric="cosine")
    with pytest.raises(NotFinite, match="zero vector"):
        space.add(["a"], [[0, 0, 0]])
    assert len(space) == 0


def test_stores_that_are_not(tmp_path):
    with pytest.raises(UnknownSpace):
        ls.open(tmp_path / "nothing", mode="r")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ls.errors.LatentStoreError):
        ls.open(tmp_path / "file")
    empty = ls.open(tmp_path / "new.store")
    assert empty.spaces == []
    assert not (tmp_path / "new.store").exists()
    with pytest.raises(UnknownSpace, match="fashion"):
        empty.space("fashion")
