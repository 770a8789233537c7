"""The approximate index keeps the recall it claims, under masks, through a file; and says when it cannot."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from latentstore.errors import ChecksumMismatch, ConfigInvalid
from latentstore.index import ApproximateIndex, choose_kind, exact_search, plan_search, rank
from latentstore.types import METRICS


@pytest.fixture(scope="module", params=[32, 64])  # scalar codes below 64 dimensions, product codes from there on
def vectors(request):
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 3, size=(40, request.param))
    return (centres[generator.integers(0, 40, 6_500)] + generator.normal(size=(6_500, request.param))).astype("f4")


def recall(index, vectors, queries, metric, point, allowed=None):
    truth, _ = exact_search(vectors, queries, 10, metric, allowed=allowed)
    candidates = index.propose(queries, 10, point, allowed=allowed)
    found, _ = rank(lambda p: vectors[p], queries, candidates, 10, metric)
    return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found, strict=True)])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_claimed_recall_holds_on_other_queries(vectors, metric, kind):
    base, queries = vectors[:6_200], vectors[6_200:]
    index = ApproximateIndex.build(base, metric, kind, target_recall=0.95, seed=0)
    point = index.operating(None)
    assert point is not None
    assert recall(index, base, queries, metric, point) >= 0.93
    cheapest = index.curve[0]
    assert [p.recall for p in index.curve] == sorted(p.recall for p in index.curve)
    assert cheapest.microseconds <= point.microseconds


def test_no_point_reaches_the_impossible(vectors):
    index = ApproximateIndex.build(vectors[:5000], "l2", "ivf", seed=0)
    capped = dataclasses.replace(index, curve=tuple(p for p in index.curve if p.recall < 0.9))
    assert capped.operating(0.99) is None


def test_a_mask_is_obeyed(vectors):
    index = ApproximateIndex.build(vectors, "l2", "ivf", seed=0)
    allowed = np.random.default_rng(1).random(len(vectors)) < 0.3
    proposed = index.propose(vectors[:20], 10, index.curve[-1], allowed=allowed)
    assert allowed[proposed[proposed >= 0]].all()
    unmasked = index.propose(vectors[:20], 10, index.curve[-1])
    assert not allowed[unmasked[unmasked >= 0]].all()


def test_round_trip_through_bytes(vectors):
    index = ApproximateIndex.build(vectors, "l2", "ivf", seed=0)
    back = ApproximateIndex.from_bytes(index.to_bytes().tobytes(), index.properties())
    assert back.curve == index.curve
    point = index.curve[-1]
    assert np.array_equal(back.propose(vectors[:5], 10, point), index.propose(vectors[:5], 10, point))


def test_junk_is_refused():
    with pytest.raises(ChecksumMismatch, match="build the index again"):
        ApproximateIndex.from_bytes(b"not an index", {"curve": []})


def test_kind_by_size():
    assert choose_kind("auto", 1_000, 32) == "flat"
    assert choose_kind("auto", 70_000, 32) == "ivf"
    with pytest.raises(ConfigInvalid, match=r"'ivff'.*'ivf'"):
        choose_kind("ivff", 10, 3)


def test_plans():
    assert plan_search(live=100_000, matching=100_000, indexed=100_000, recall=None).strategy == "index"
    assert plan_search(live=100_000, matching=4_000, indexed=100_000, recall=None).strategy == "exact"
    assert plan_search(live=100_000, matching=100_000, indexed=100_000, recall=1.0).strategy == "exact"
    assert plan_search(live=100_000, matching=100_000, indexed=0, recall=None).strategy == "exact"
