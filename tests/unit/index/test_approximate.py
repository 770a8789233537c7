"""The approximate index keeps the recall it claims, under masks, through a file; and says when it cannot."""

from __future__ import annotations

import dataclasses
import json

import faiss
import numpy as np
import pytest

from latentstore.errors import ChecksumMismatch, ConfigInvalid
from latentstore.index import (
    ApproximateIndex,
    Held,
    InArray,
    Mask,
    choose_kind,
    exact_search,
    plan_search,
    rank,
)
from latentstore.types import METRICS


@pytest.fixture(scope="module", params=[32, 64])  # scalar codes below 64 dimensions, product codes from there on
def vectors(request):
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 3, size=(40, request.param))
    return (centres[generator.integers(0, 40, 6_500)] + generator.normal(size=(6_500, request.param))).astype("f4")


def recall(index, vectors, queries, metric, point, allowed=None):
    truth, _ = exact_search(vectors, queries, 10, metric, allowed=allowed)
    candidates, _, _ = index.propose(queries, 10, point, mask=None if allowed is None else Mask(allowed))
    found, _ = rank(InArray(vectors), queries, candidates, 10, metric)
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


def test_no_operating_point_is_lost_to_a_busy_machine(vectors):
    """A point measured while others worked looks slow; thrown away, it would never be measured again."""
    index = ApproximateIndex.build(vectors, "l2", "ivf", target_recall=0.95, seed=0)
    again = index.measured_again(Held.of(vectors))
    assert {(p.effort, p.factor) for p in again.curve} == {(p.effort, p.factor) for p in index.curve}
    assert [p.microseconds for p in again.curve] == sorted(p.microseconds for p in again.curve)
    for curve in (index.curve, again.curve):
        for less in curve:
            for more in curve:
                if less.effort <= more.effort and less.factor <= more.factor:
                    assert less.microseconds <= more.microseconds
    wanted = again.operating(0.95).recall
    assert all(p.microseconds >= again.operating(0.95).microseconds for p in again.curve if p.recall >= wanted)


def test_a_mask_is_obeyed(vectors):
    index = ApproximateIndex.build(vectors, "l2", "ivf", seed=0)
    allowed = np.random.default_rng(1).random(len(vectors)) < 0.3
    proposed, _, _ = index.propose(vectors[:20], 10, index.curve[-1], mask=Mask(allowed))
    assert allowed[proposed[proposed >= 0]].all()
    unmasked, _, _ = index.propose(vectors[:20], 10, index.curve[-1])
    assert not allowed[unmasked[unmasked >= 0]].all()


def saved(index, path):
    path.write_bytes(index.to_bytes().tobytes())
    return path


@pytest.mark.parametrize("codes", ["PQ{}x4fs", "SQ8"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [None, 0.9, 0.05, 0.002])  # of the last, not all k are in the nearest lists
def test_layers_propose_what_one_index_of_all_would(vectors, tmp_path, monkeypatch, share, metric, codes):
    monkeypatch.setattr("latentstore.index.tuning.factories", lambda kind, n, dim: [f"IVF64,{codes.format(dim)}"])
    built = ApproximateIndex.build(vectors[:5000], metric, "ivf", target_recall=0.95, seed=0)
    first = ApproximateIndex.open(saved(built, tmp_path / "a"), built.properties())  # scalar codes are mapped
    whole = built.part([vectors[:6200]])
    stacked = built.emptied().stacked([first, built.part([vectors[5000:6200]])])
    assert (len(stacked), stacked.lists, len(stacked.list_sizes)) == (6200, 64, 128)
    np.testing.assert_array_equal(stacked.list_of % 64, whole.list_of)
    queries, point, sign = vectors[6200:], built.operating(None), -1 if metric == "ip" else 1
    allowed = None if share is None else np.random.default_rng(1).random(6200) < share
    for asked in (queries, queries[:1]):
        (found, scores, effort), (expected, others, alone) = (
            one.propose(asked, 10, point, mask=None if allowed is None else Mask(allowed)) for one in (stacked, whole)
        )
        assert effort == alone
        np.testing.assert_allclose(np.sort(scores), np.sort(others), rtol=1e-5)
        for row in range(len(asked)):
            ours, theirs = ({*one[row]} - {-1} for one in (found, expected))
            assert len(ours) == len(theirs)
            worst = (sign * others[row]).max()  # of equal scores any may be left out
            scored = dict(zip(expected[row], sign * others[row], strict=True))
            assert all(scored[one] == pytest.approx(worst) for one in theirs - ours)
    alone, _, _ = first.propose(vectors[:1], 10, point)
    assert alone.min() >= 0
    assert alone.max() < 5000


@pytest.mark.parametrize("mapped", [True, False])
def test_round_trip_through_a_file(vectors, tmp_path, mapped):
    index = ApproximateIndex.build(vectors, "l2", "ivf", seed=0)
    properties = json.loads(json.dumps(index.properties()))
    back = ApproximateIndex.open(saved(index, tmp_path / "a"), properties, mapped=mapped)
    assert back.curve == index.curve
    assert back.reach == index.reach
    point, mask = index.curve[-1], Mask(np.arange(len(vectors)) % 3 == 0)
    for options in ({}, {"mask": mask}):
        ours, theirs = (one.propose(vectors[:5], 10, point, **options)[0] for one in (index, back))
        assert np.array_equal(ours, theirs)


def test_junk_is_refused(vectors, tmp_path):
    index = ApproximateIndex.build(vectors, "l2", "ivf", seed=0)
    (tmp_path / "a").write_bytes(b"not an index")
    with pytest.raises(ChecksumMismatch, match="build the index again"):
        ApproximateIndex.open(tmp_path / "a", index.properties())


@pytest.mark.parametrize("metric", METRICS)
def test_parts_joined_find_what_one_index_finds(vectors, tmp_path, metric):
    """Vectors added later, without training, by the same quantisers."""
    index = ApproximateIndex.build(vectors[:4000], metric, "ivf", target_recall=0.95, seed=0)
    parts = [index.part([vectors[4000:5000]]), index.part([vectors[5000:5600], vectors[5600:6200]])]
    joined = ApproximateIndex.open(saved(index, tmp_path / "a"), index.properties(), mapped=False)
    joined.join(parts)
    assert len(joined) == 6200
    assert len(index) == 4000
    joined = joined.measured(vectors[:6200])  # codes tell fewer apart among more neighbours
    point = joined.operating(None)
    assert recall(joined, vectors[:6200], vectors[6200:], metric, point) >= 0.93
    assert np.array_equal(np.bincount(joined.list_of, minlength=len(joined.list_sizes)), joined.list_sizes)


def packed(lists, number, size):
    """The codes of a list, unpacked from its blocks of 32, (size, bytes)."""
    blocks = faiss.rev_swig_ptr(lists.get_codes(number), -(-size // lists.n_per_block) * lists.block_size)
    blocks = blocks.reshape(-1, lists.block_size)
    return [lists.packer.unpack_1(blocks, place).tolist() for place in range(size)]


def test_a_list_as_long_as_a_block_has_bytes_is_joined(vectors):
    """Where FAISS itself writes beyond the end of a list; see `joining`."""
    index = ApproximateIndex.build(vectors[:4000], "l2", "ivf", seed=0)
    inner = faiss.downcast_InvertedLists(index.faiss_index.invlists)
    number = int(index.list_sizes.argmax())
    short = inner.block_size - int(index.list_sizes[number])
    assert short > 0
    members = vectors[:4000][index.list_of == number]
    given = [members[np.arange(short) % len(members)], np.concatenate([vectors[4000:6000], members[:40]])]
    joined = index.part([vectors[:4000]])
    joined.join([index.part(given[:1])])
    assert joined.list_sizes[number] == inner.block_size
    joined.join([index.part(given[1:])])

    whole = index.part([vectors[:4000], *given])
    assert len(joined) == len(whole) == 4000 + sum(map(len, given))
    np.testing.assert_array_equal(joined.list_of, whole.list_of)
    for one, size in enumerate(whole.list_sizes.tolist()):
        lists = [faiss.downcast_InvertedLists(each.faiss_index.invlists) for each in (joined, whole)]
        ids, others = (faiss.rev_swig_ptr(each.get_ids(one), size) for each in lists)
        np.testing.assert_array_equal(ids, others)
        codes, others = (packed(each, one, size) for each in lists)
        np.testing.assert_array_equal(codes, others, err_msg=str(one))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_recall_holds_under_masks(vectors, metric, share):
    """Masks that know nothing of the vectors, and masks of those farthest from the queries."""
    base, queries = vectors[:6_200], vectors[6_200:6_300]
    index = ApproximateIndex.build(base, metric, "ivf", target_recall=0.95, seed=0)
    point, generator = index.operating(None), np.random.default_rng(2)
    scattered = generator.random(len(base)) < share
    direction = generator.normal(size=base.shape[1])
    sided = base @ direction >= np.quantile(base @ direction, 1 - share)
    for allowed in (scattered, sided):
        assert recall(index, base, queries, metric, point, allowed) >= 0.93


def test_more_neighbours_take_more_lists(vectors):
    base, queries = vectors[:6_200], vectors[6_200:6_250]
    index = ApproximateIndex.build(base, "l2", "ivf", target_recall=0.95, seed=0)
    truth, _ = exact_search(base, queries, 300, "l2")
    candidates, _, _ = index.propose(queries, 300, index.operating(None))
    found, _ = rank(InArray(base), queries, candidates, 300, "l2")
    assert np.mean([len(set(a) & set(b)) / 300 for a, b in zip(truth, found, strict=True)]) >= 0.93


def test_kind_by_size():
    assert choose_kind("auto", 1_000, 32) == "flat"
    assert choose_kind("auto", 70_000, 32) == "ivf"
    with pytest.raises(ConfigInvalid, match=r"'ivff'.*'ivf'"):
        choose_kind("ivff", 10, 3)


def test_plans():
    known = {"live": 1_000_000, "matching": None, "indexed": 1_000_000, "dim": 50, "kind": "ivf", "reachable": True}
    known |= {"recall": None}

    def strategy(**changed):
        return plan_search(**(known | changed)).strategy

    assert strategy() == "index"
    assert strategy(matching=4_000) == "gather"
    assert strategy(matching=400_000) == "index"
    assert strategy(matching=400_000, kind="hnsw") == "gather"
    assert strategy(recall=1.0) == "exact"
    assert strategy(recall=1.0, matching=400_000) == "gather"
    assert strategy(reachable=False) == "exact"
    assert strategy(indexed=0, kind=None) == "exact"
