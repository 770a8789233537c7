"""What a search can be asked for, beside the k nearest; against the same choice made by NumPy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import ConfigInvalid, InputError, NotFinite, UnknownItem
from latentstore.space import row_sets
from latentstore.types import METRICS

N, D = 12_000, 48


@pytest.fixture(scope="module")
def vectors():
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 2, size=(30, D))
    return (centres[generator.integers(0, 30, N)] + generator.normal(size=(N, D))).astype(np.float32)


@pytest.fixture(scope="module")
def metadata():
    generator = np.random.default_rng(1)
    labels = np.array(["boot", "bag", "shirt", None], object)[generator.integers(0, 4, N)]
    return pa.table({"label": pa.array(labels, pa.string()), "price": generator.integers(0, 1000, N)})


@pytest.fixture(scope="module", params=METRICS)
def space(request, tmp_path_factory, vectors, metadata):
    store = ls.open(tmp_path_factory.mktemp(request.param) / "a.store")
    made = store.create_space("things", dim=D, metric=request.param)
    made.add([f"i{i}" for i in range(N)], vectors, metadata)
    made.build_index("ivf")
    return made


@pytest.fixture(scope="module")
def few(tmp_path_factory, vectors):
    """Three segments, dead rows, no index."""
    made = ls.open(tmp_path_factory.mktemp("few") / "a.store").create_space("few", dim=D)
    for start in range(0, 300, 100):
        rows = range(start, start + 100)
        made.add([f"i{i}" for i in rows], vectors[start : start + 100], pa.table({"part": [start] * 100}))
    made.delete([f"i{i}" for i in range(0, 300, 7)])
    return made


def test_the_explanation_says_what_was_done(space):
    asked = {"k": 5, "explain": True}
    plain = space.search("'i3'", **asked).explanation
    assert plain.strategy == "index"
    assert plain.index.startswith("IVF")
    assert 0 < plain.compared < N
    assert plain.ranked < N
    assert {"index", "rank"} <= set(plain.seconds)
    narrow = space.search("'i3'", where="price < 20", **asked).explanation
    assert narrow.strategy == "gather"
    assert narrow.matching == narrow.compared == len(space.matching("price < 20"))
    exact = space.search("'i3'", recall=1.0, **asked).explanation
    assert (exact.strategy, exact.compared) == ("exact", N)
    assert "recall 1.0 asked for" in str(exact)
    assert space.search("'i3'").explanation is None


def test_a_radius_cuts_off(space):
    far = space.search("'i3'", 50, recall=1.0)
    limit = float(far.distances[19])
    near = space.search("'i3'", 50, recall=1.0, radius=limit)
    assert near.ids.tolist() == far.ids[:20].tolist()
    assert near.shortfall == 30
    batch = space.search(["'i3'", "'i4'"], 50, recall=1.0, radius=limit)
    assert batch.ids[0, :20].tolist() == near.ids.tolist()
    assert batch.ids[0, 20:].tolist() == [None] * 30


def test_pages_follow_each_other(space):
    whole = space.search("'i3'", 30, recall=1.0)
    pages = [space.search("'i3'", 10, offset=start, recall=1.0) for start in (0, 10, 20)]
    assert np.concatenate([page.ids for page in pages]).tolist() == whole.ids.tolist()
    assert np.concatenate([page.distances for page in pages]).tolist() == whole.distances.tolist()


@pytest.mark.parametrize("size", [1, 3])
def test_groups_are_the_best_of_each_value(space, metadata, size):
    found = space.search("'i3'", 4, group_by="label", group_size=size, columns=["label"], recall=1.0)
    labels, best = metadata["label"].to_pylist(), dict[str | None, list[str]]()
    for one in space.search("'i3'", N, recall=1.0).ids:
        members = best.setdefault(labels[int(one[1:])], [])
        if len(members) < size:
            members.append(one)
    assert found.ids.tolist() == [one for members in best.values() for one in members]
    assert found.columns["label"].to_pylist() == [label for label in best for _ in range(size)]
    second = space.search("'i3'", 1, offset=1, group_by="label", group_size=size, recall=1.0)
    assert second.ids.tolist() == list(best.values())[1]


def test_rare_groups_are_looked_for_farther_out(few):
    """The nearest 4 · k hold two values only."""
    found = few.search("'i1'", 3, group_by="part", columns=["part"])
    assert set(found.columns["part"].to_pylist()) == {0, 100, 200}


def test_diversity_trades_nearness_for_difference(space, vectors):
    from latentstore.geometry import pairwise_distances, pairwise_similarities

    def spread(found):
        chosen = vectors[[int(one[1:]) for one in found.ids]]
        if space.metric == "ip":
            return -pairwise_similarities(chosen, chosen, "ip").mean()
        return pairwise_distances(chosen, chosen, space.metric).mean()

    plain, mixed, most = (space.search("'i3'", 10, diversity=d, recall=1.0) for d in (0.0, 0.5, 1.0))
    assert space.search("'i3'", 10, recall=1.0).ids.tolist() == plain.ids.tolist()
    assert mixed.ids[0] == plain.ids[0]
    assert spread(plain) < min(spread(mixed), spread(most))
    pool = set(space.search("'i3'", 50, recall=1.0).ids)
    assert set(most.ids) <= pool


def test_examples_are_a_query(space, vectors):
    liked, disliked = [f"i{i}" for i in (3, 5)], [f"i{i}" for i in (11,)]
    found = space.search(positive=liked, negative=disliked, k=20, recall=1.0)
    assert not set(found.ids) & {*liked, *disliked}
    used = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if space.metric == "cosine" else vectors
    query = 2 * used[[3, 5]].mean(axis=0) - used[11]
    expected = [one for one in space.search(query, 23, recall=1.0).ids if one not in {*liked, *disliked}]
    assert found.ids.tolist() == expected[:20]
    assert space.search(positive=[vectors[3]], k=1, recall=1.0).ids.shape == (1,)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"k": 0}, InputError, "k is 0"),
        ({"offset": -1}, InputError, "offset is -1"),
        ({"k": 60_000, "offset": 50_000}, InputError, "beyond 100000 hits"),
        ({"radius": float("nan")}, InputError, "radius is nan"),
        ({"diversity": 1.5}, InputError, "diversity is 1.5"),
        ({"group_size": 2}, InputError, "name a column with group_by"),
        ({"group_by": "labl"}, ConfigInvalid, "did you mean 'label'"),
        ({"group_by": "label", "diversity": 0.5}, InputError, "use one of them"),
        ({"positive": ["i3"]}, InputError, "either a query, or positive"),
        ({"query": None}, InputError, "search for what"),
        ({"query": None, "negative": ["i3"]}, InputError, "at least one positive"),
        ({"query": None, "positive": "i3"}, InputError, "put a single id in brackets"),
        ({"query": None, "positive": ["nobody"]}, UnknownItem, "nobody"),
    ],
)
def test_refusals(space, options, error, words):
    with pytest.raises(error, match=words):
        space.search(**({"query": "'i3'"} | options))


def test_examples_that_cancel_out_have_no_direction(tmp_path):
    space = ls.open(tmp_path / "a.store").create_space("c", dim=2, metric="cosine")
    space.add(["a", "b", "c"], [[1, 0], [0, 1], [2, 2]])
    with pytest.raises(NotFinite, match="cancel out"):
        space.search(positive=[[1, 0], [-1, 0]], k=1)


def test_segments_and_dead_rows_do_not_show(few, vectors):
    alive = np.array([i for i in range(300) if i % 7])
    for query in vectors[:5]:
        order = alive[np.argsort(((vectors[alive] - query) ** 2).sum(1), kind="stable")]
        assert few.search(query, 20).ids.tolist() == [f"i{i}" for i in order[:20]]
    batch = few.search(vectors[:40], 20)  # ranked by other code than single queries
    singles = np.stack([few.search(query, 20).ids for query in vectors[:40]])
    assert batch.ids.tolist() == singles.tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_a_filter_answers_the_same_however_often_it_is_asked(tmp_path, monkeypatch, vectors, metric):
    monkeypatch.setattr(row_sets, "ONCE_FLOATS", 100 * D)
    space = ls.open(tmp_path / "a.store").create_space("s", dim=D, metric=metric)
    for start in range(0, 3000, 700):  # several segments
        there = np.arange(start, min(start + 700, 3000))
        space.add([f"i{i}" for i in there], vectors[there], {"n": there})
    space.delete(where="n % 50 = 7")
    for where, matching in (("n % 3 = 0", 980), ("n > 2990", 9)):
        chosen = space.searcher._sets.matching(where)
        assert len(chosen) == matching
        first = space.search(vectors[100], 15, where=where)
        assert (chosen.gathered is None) == (matching > 100)
        second, third = (space.search(vectors[100], 15, where=where) for _ in range(2))
        assert chosen.gathered is not None
        batch = space.search(vectors[[100, 200]], 15, where=where)
        for answer in (second.ids, third.ids, batch.ids[0][: len(first.ids)]):
            assert answer.tolist() == first.ids.tolist()
