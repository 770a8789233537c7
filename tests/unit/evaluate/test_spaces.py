"""Recall by hand, and of a space that searches exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import latentstore as ls
from latentstore.errors import InputError
from latentstore.evaluate import dimension_metrics, index_metrics, recall


def test_recall_counts_the_true_ones_found() -> None:
    truth = np.array([[1, 2, 3], [4, 5, -1]])
    assert recall(truth[:, ::-1], truth) == 1
    assert recall(np.array([[1, 9, 3], [5, 7, 8]]), truth) == pytest.approx(3 / 5)
    assert recall(np.full((2, 3), -1), truth) == 0


def test_an_exact_space_finds_all(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    space = ls.open(tmp_path / "a.store").create_space("plain", dim=6)
    space.add([str(i) for i in range(200)], vectors)
    found = index_metrics(space, queries=50)
    assert found["index_recall"] == 1
    assert all(found[name] > 0 for name in ("index_ms", "exact_ms", "index_batch_per_s", "exact_batch_per_s"))


def test_items_that_lie_on_each_other_do_not_spoil_recall(tmp_path: Path) -> None:
    """Twins are at distance 0 as the query itself is: its own row may then not be among the first."""
    vectors = np.repeat(np.random.default_rng(0).normal(size=(10, 3)), 20, axis=0).astype(np.float32)
    space = ls.open(tmp_path / "a.store").create_space("twins", dim=3)
    space.add([str(i) for i in range(200)], vectors)
    assert index_metrics(space, queries=200)["index_recall"] == 1


def test_too_few_items_are_refused(tmp_path: Path) -> None:
    space = ls.open(tmp_path / "a.store").create_space("plain", dim=2)
    space.add(["a"], [[0, 1]])
    with pytest.raises(InputError, match="has 1 items; recall@10 needs at least 11"):
        index_metrics(space)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_the_dimension_of_a_space_is_that_of_its_data(tmp_path: Path, metric: ls.types.Metric) -> None:
    rng = np.random.default_rng(0)
    flat = rng.uniform(size=(3000, 3)) @ rng.normal(size=(3, 16))
    if metric == "cosine":
        flat = np.hstack([flat, np.full((3000, 1), 20.0)])  # directions then vary as the three numbers do
    space = ls.open(tmp_path / "a.store").create_space("flat", dim=flat.shape[1], metric=metric)
    space.add([str(i) for i in range(3000)], flat)
    found = dimension_metrics(space, queries=3000, k=10)
    for name in ("dimension_two_nn", "dimension_mle"):
        assert found[name] == pytest.approx(3, abs=0.35)
        assert 0 < found[f"{name}_error"] < 0.2
    thick = ls.open(tmp_path / "b.store").create_space("thick", dim=16)  # the control
    thick.add([str(i) for i in range(3000)], rng.normal(size=(3000, 16)))
    assert dimension_metrics(thick)["dimension_mle"] > 8


def test_no_dimension_is_claimed_where_there_is_none(tmp_path: Path) -> None:
    store = ls.open(tmp_path / "a.store")
    inner = store.create_space("inner", dim=2, metric="ip")
    inner.add([str(i) for i in range(50)], np.random.default_rng(0).normal(size=(50, 2)))
    twins = store.create_space("twins", dim=2)
    twins.add([str(i) for i in range(50)], np.ones((50, 2)))
    assert dimension_metrics(inner) == dimension_metrics(twins) == {}
