"""Exact search against a float64 oracle, for every metric, with and without a mask."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from latentstore.index import InArray, exact_search, rank, scan_block, scan_once
from latentstore.types import METRICS


def oracle(vectors, queries, k, metric, allowed=None):
    x, q = vectors.astype(np.float64), queries.astype(np.float64)
    if metric == "l2":
        measured = np.sqrt(((q[:, None] - x[None]) ** 2).sum(-1))
    elif metric == "ip":
        measured = -(q @ x.T)
    else:
        measured = 1 - (q @ x.T) / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(x, axis=1)
    if allowed is not None:
        measured[:, ~allowed] = np.inf
    order = np.argsort(measured, axis=1, kind="stable")[:, :k]
    distances = np.take_along_axis(measured, order, 1)
    return order, -distances if metric == "ip" else distances


@pytest.fixture(scope="module")
def vectors():
    # Off-centre on purpose: |x|² + |q|² − 2xq loses digits there, and a search that trusted it would swap neighbours.
    return np.random.default_rng(0).normal(5, 1, size=(3000, 17)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("m", [1, 200])
def test_equals_the_oracle(vectors, metric, m):
    queries = np.random.default_rng(1).normal(5, 1, size=(m, 17)).astype(np.float32)
    positions, distances = exact_search(vectors, queries, 10, metric)
    expected, expected_distances = oracle(vectors, queries, 10, metric)
    assert np.array_equal(positions, expected)
    assert np.allclose(distances, expected_distances, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_mask_hides_and_nothing_is_padded_with_junk(vectors, metric):
    queries = vectors[:3]
    allowed = np.zeros(len(vectors), bool)
    allowed[[5, 700, 2999]] = True
    positions, distances = exact_search(vectors, queries, 5, metric, allowed=allowed)
    expected, _ = oracle(vectors, queries, 3, metric, allowed)
    assert np.array_equal(positions[:, :3], expected)
    assert (positions[:, 3:] == -1).all()
    assert np.isnan(distances[:, 3:]).all()


def test_an_item_is_its_own_nearest_at_distance_zero(vectors):
    for metric in ("l2", "cosine"):
        positions, distances = exact_search(vectors, vectors[:50], 1, metric)
        assert np.array_equal(positions[:, 0], np.arange(50))
        assert (distances[:, 0] <= 1e-6).all()


def test_more_than_one_block_gives_what_one_block_gives(monkeypatch, vectors):
    whole = exact_search(vectors, vectors[:20], 10, "l2")
    monkeypatch.setattr("latentstore.index.exact.CHUNK", 100)
    parts = exact_search(vectors, vectors[:20], 10, "l2")
    assert np.array_equal(whole[0], parts[0])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("few", [3, 20, 2000])
def test_a_set_that_is_looked_at_once_gives_what_all_do(monkeypatch, vectors, metric, few):
    monkeypatch.setattr("latentstore.index.exact.CACHED_FLOATS", 17 * 600)
    chosen = np.sort(np.random.default_rng(2).choice(len(vectors), few, replace=False))
    allowed = np.zeros(len(vectors), bool)
    allowed[chosen] = True
    for query in np.random.default_rng(3).normal(5, 1, size=(20, 1, 17)).astype(np.float32):
        candidates = scan_once(InArray(vectors), query, chosen, 10, metric)
        found = rank(InArray(vectors), query, candidates, 10, metric)
        for ours, theirs in zip(found, exact_search(vectors, query, 10, metric, allowed=allowed), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_equal_distances_go_to_the_smaller_position():
    vectors = np.ones((60, 3), np.float32)
    vectors[:4] = 2
    positions, _ = exact_search(vectors, vectors[10:11], 4, "l2")
    assert positions.tolist() == [[4, 5, 6, 7]]
    candidates = scan_once(InArray(vectors), vectors[10:11], np.arange(60), 4, "l2")
    assert rank(InArray(vectors), vectors[10:11], candidates, 4, "l2")[0].tolist() == [[4, 5, 6, 7]]


@pytest.mark.parametrize("m", [1, 2, 15, 16, 61])
@pytest.mark.parametrize("d", [32, 784])
def test_vectors_far_from_zero_are_told_apart(m, d):
    """Of |x|² + |q|² − 2xq nothing is left there, in float32."""
    generator = np.random.default_rng(0)
    for offset in (0, 1_000, 10_000):
        stored, queries = ((offset + generator.normal(size=(n, d))).astype(np.float32) for n in (20_000, m))
        precise = stored.astype(np.float64)
        truth = np.stack([((precise - query) ** 2).sum(axis=1).argsort()[:10] for query in queries])
        found, _ = exact_search(stored, queries, 10, "l2")
        assert np.mean([len(set(a) & set(b)) for a, b in zip(found, truth, strict=True)]) > 9.9
        beside = scan_block(stored, queries[:1], np.arange(20_000), 10, "l2")
        assert len(set(truth[0]) & set(beside[0])) == 10


def test_many_copies_of_one_vector_hide_no_other():
    """More of them than are kept to spare."""
    generator = np.random.default_rng(0)
    stored = np.repeat(generator.normal(size=(50, 64)), 40, axis=0).astype(np.float32)
    stored[::2] += generator.normal(scale=1e-3, size=(1000, 64)).astype(np.float32)
    for queries in (stored[:1], stored[:40]):
        found, distances = exact_search(stored, queries, 30, "l2")
        truth = np.sqrt(((queries[:, None].astype(np.float64) - stored) ** 2).sum(axis=2))
        np.testing.assert_allclose(distances, np.sort(truth, axis=1)[:, :30], rtol=1e-4, atol=1e-6)
        assert all(len(set(row)) == 30 for row in found)


@pytest.mark.parametrize("m", [1, 5, 16])
def test_what_was_searched_before_changes_nothing(m):
    """FAISS chooses its way by a number that is the same for all searches of a process."""
    generator = np.random.default_rng(0)
    stored, queries = ((10_000 + generator.normal(size=(n, 128))).astype(np.float32) for n in (1_000, m))
    numbers = np.arange(1_000)
    truth = [((stored.astype(np.float64) - query) ** 2).sum(axis=1).argsort()[:10] for query in queries]
    for threshold in (1, 32, 128_000, 1 << 30):
        exact_search(stored[:, :2].copy(), queries[:, :2].copy(), 3, "l2")
        faiss.cvar.distance_compute_blas_threshold = threshold
        beside = scan_block(stored, queries[:1], numbers, 10, "l2")
        assert not {*truth[0]} - {*beside[0]}
        found, _ = exact_search(stored, queries, 10, "l2")
        assert [{*row} for row in found] == [{*row} for row in truth]


@pytest.mark.parametrize("m", [1, 2, 16, 40])
@pytest.mark.parametrize("n", [5, 300])
def test_squares_whose_sum_is_beyond_float32(m, n):
    """Each is finite, and so are the distances."""
    stored = np.full((n, 4), np.sqrt(0.17 * np.finfo(np.float32).max), np.float32)
    stored[:, 0] *= 1 - np.arange(n, dtype=np.float32) / 1000
    found, distances = exact_search(stored, stored[:1].repeat(m, axis=0), 3, "l2")
    assert found.tolist() == [[0, 1, 2]] * m
    assert np.isfinite(distances).all()
    assert {*scan_block(stored, stored[:1], np.arange(n), 3, "l2")[0]} >= {0, 1, 2}
