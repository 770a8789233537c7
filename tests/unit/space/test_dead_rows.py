"""Deleted rows that an index still holds: never returned, and nothing is lost beside them."""

from __future__ import annotations

import numpy as np
import pytest

import latentstore as ls
from latentstore.space.opened import OpenIndex
from latentstore.types import METRICS

N, D, GROUPS = 12_000, 32, 60


@pytest.fixture(scope="module")
def groups():
    return np.random.default_rng(1).integers(0, GROUPS, N + 500)


@pytest.fixture(scope="module")
def vectors(groups):
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 3, size=(GROUPS, D))
    return (centres[groups] + generator.normal(size=(N + 500, D))).astype(np.float32)


def recall(space, queries):
    found, truth = space.search(queries, 10), space.search(queries, 10, recall=1.0)
    assert not found.shortfall.any()
    return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.ids, truth.ids, strict=True)])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("kind", "parts"), [("ivf", 1), ("ivf", 2), ("hnsw", 1)])
def test_a_few_everywhere_and_all_of_one_kind(tmp_path, monkeypatch, vectors, groups, metric, kind, parts):
    """Scattered, they are left out of what the index proposes; where they are all there is near a query, it is asked
    again among the others."""
    first = N if parts == 1 else N - 900
    space = ls.open(tmp_path / "a.store").create_space("s", dim=D, metric=metric)
    space.add([f"i{i}" for i in range(first)], vectors[:first], {"kind": groups[:first]})
    space.build_index(kind, target_recall=0.95)
    if parts == 2:
        space.add([f"i{i}" for i in range(first, N)], vectors[first:N], {"kind": groups[first:N]})
        space.extend_index()
    assert (len(space.searcher.index.whole.layers) or 1) == parts
    point, queries = space.searcher.index.built.operating(None), vectors[N:]
    asked = []
    among = OpenIndex._among
    monkeypatch.setattr(
        OpenIndex,
        "_among",
        lambda self, mask, queries, k, point: (
            asked.append((mask, len(queries))) or among(self, mask, queries, k, point)
        ),
    )
    scattered = np.arange(7, N, 500)
    space.delete([f"i{i}" for i in scattered])
    before = recall(space, queries)
    assert before >= 0.93
    if point.factor > 1:
        assert asked[0] == (None, len(queries))
        assert sum(count for _, count in asked[1:]) < len(queries) / 10
    space.delete(where="kind = 3")
    asked.clear()
    near = vectors[N:][groups[N:] == 3]
    assert recall(space, near) >= 0.9
    assert recall(space, queries) >= before - 0.03
    if point.factor > 1 and kind == "ivf":
        assert asked[0] == (None, len(near))
        assert asked[1] == (space.searcher.index.alive, len(near))
    gone = {f"i{i}" for i in scattered} | {f"i{i}" for i in np.flatnonzero(groups[:N] == 3)}
    for asked_for in (queries, near):
        assert not gone & set(space.search(asked_for, 10).ids.ravel())
    together = space.search(near[:3], 10).ids.tolist()
    assert [space.search(query, 10).ids.tolist() for query in near[:3]] == together


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_where_many_are_dead_only_the_live_are_found(tmp_path, vectors, groups, kind):
    space = ls.open(tmp_path / "a.store").create_space("s", dim=D)
    space.add([f"i{i}" for i in range(N)], vectors[:N], {"kind": groups[:N]})
    space.build_index(kind, target_recall=0.95)
    space.delete(where="kind < 40")
    assert recall(space, vectors[N:]) >= 0.9
    found = space.search(vectors[N:], 10, columns=["kind"])
    assert set(found.columns["kind"].to_pylist()) <= set(range(40, GROUPS))


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_rows_beside_the_index_hide_none_in_it(tmp_path, kind):
    """All near rows that the index holds are dead, and as many as are asked for lie beside it, far away."""
    space = ls.open(tmp_path / "a.store").create_space("s", dim=8)
    held = np.random.default_rng(0).normal(size=(4000, 8)).astype(np.float32)
    space.add([f"i{i}" for i in range(4000)], held)
    space.build_index(kind, target_recall=0.95)
    nearest = space.search(np.zeros(8), 300, recall=1.0).ids
    space.delete(list(nearest))
    space.add([f"far{i}" for i in range(40)], np.full((40, 8), 50) + np.arange(40)[:, None])
    for query in (np.zeros(8), np.zeros((3, 8))):
        found, truth = (space.search(query, 10, recall=recall).ids.tolist() for recall in (None, 1.0))
        if kind == "hnsw":  # compares all
            assert found == truth
        assert not any(str(one).startswith("far") for one in np.ravel(found))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6])
def test_an_hnsw_is_still_used_where_dead_rows_are_scattered(tmp_path, vectors, share):
    space = ls.open(tmp_path / "a.store").create_space("s", dim=D)
    space.add([f"i{i}" for i in range(N)], vectors[:N])
    space.build_index("hnsw", target_recall=0.95)
    dead = np.random.default_rng(3).permutation(N)[: int(share * N)]
    space.delete([f"i{i}" for i in dead])
    queries = vectors[N:]
    for k in (1, 10):
        index = space.searcher.index
        rows, _, _ = index.propose(queries, k, index.built.operating(None), None)
        assert index.lost(rows).mean() < 0.03
    assert recall(space, queries) >= 0.95


@pytest.mark.parametrize("stricter", [0, -1])
def test_a_query_asked_again_may_have_another_number_of_candidates(tmp_path, monkeypatch, vectors, groups, stricter):
    """Among the live it takes a stricter operating point, which has its own."""
    space = ls.open(tmp_path / "a.store").create_space("s", dim=D)
    space.add([f"i{i}" for i in range(N)], vectors[:N], {"kind": groups[:N]})
    space.build_index("ivf", target_recall=0.95)
    space.delete(where="kind = 3")
    whole = space.searcher.index.whole
    by_factor = sorted(whole.curve, key=lambda point: (point.factor, point.recall))
    point, other = whole.operating(None), by_factor[stricter]
    assert point.factor != other.factor
    monkeypatch.setattr(type(whole), "stricter", lambda self, _: other)
    near, gone = vectors[N:][groups[N:] == 3], {f"i{i}" for i in np.flatnonzero(groups[:N] == 3)}
    for queries in (near[:1], vectors[N:]):
        found = space.search(queries, 10).ids
        assert not gone & set(found.ravel())
        assert all(len(set(row)) == 10 for row in found)
    if stricter:
        assert recall(space, near) >= 0.9
