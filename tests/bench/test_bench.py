"""The benchmark measures what it says: every adapter keeps the protocol, recall is counted against the exact answer."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.bench import workloads
from tests.bench.__main__ import arguments
from tests.bench.adapters import SYSTEMS, Place, installed, make
from tests.bench.adapters.base import Filter, Rows
from tests.bench.report import render
from tests.bench.workloads import K, Workload

N, DIM = 1_000, 16


@pytest.fixture(scope="module", params=["l2", "cosine"])
def data(request) -> Workload:
    generator = np.random.default_rng(3)
    vectors = generator.standard_normal((N + 300, DIM), np.float32)
    numbers = np.arange(N + 200)
    metadata = pa.table(
        {
            "label": [f"label {one % 7}" for one in numbers],
            "bucket": numbers % 1_000,
            "region": numbers % 100,
            "price": numbers / 4,
        }
    )
    return Workload("synthetic", request.param, 0.9, vectors[:N], vectors[N : N + 200], vectors[N + 200 :], metadata)


def exact(data: Workload, query: np.ndarray, where: Filter | None = None) -> list[int]:
    """The K nearest matching rows, by NumPy alone."""
    numbers = data.matching(where)
    stored = data.vectors[numbers].astype(np.float64)
    if data.metric == "l2":
        apart = ((stored - query) ** 2).sum(1)
    else:
        apart = -(stored @ query) / np.linalg.norm(stored, axis=1)
    return numbers[np.argsort(apart)[:K]].tolist()


@pytest.mark.parametrize("name", SYSTEMS)
def test_adapter_keeps_the_protocol(name, data, tmp_path):
    if not installed(name):
        pytest.skip(f"{name} is not installed; pip install 'latentstore[bench]'")
    place = Place(tmp_path, DIM, data.metric, N)
    system = make(name, place)
    system.create()
    system.add(data.rows())
    assert system.build()
    setting = system.settings(0.9)[-1]
    assert system.version()

    batch = system.numbers(system.search(data.queries, K, setting), len(data.queries), K)
    assert batch.shape == (len(data.queries), K)
    limit = data.truth(data.queries)
    assert data.recall(data.queries, batch, limit) > 0.9
    single = system.numbers(system.search(data.queries[0], K, setting), 1, K)
    assert set(single[0]) == set(batch[0])

    where = Filter("region", 20, 60)
    found = system.numbers(system.search(data.queries[0], K, setting, where), 1, K)
    assert set(found[found >= 0]) <= set(data.matching(where).tolist())
    system.close()

    system = make(name, place)
    system.open()
    again = system.numbers(system.search(data.queries[0], K, setting), 1, K)
    assert set(again[0]) == set(single[0])
    system.add(data.later(0, 50))
    replaced = np.array([1, 5, 9])
    new = Rows(replaced, data.extra[100:103], data.metadata.slice(100, 3))
    system.upsert(new)
    system.delete(np.array([2, 3]))
    for number, vector in [(N + 7, data.extra[7]), *zip(replaced, new.vectors, strict=True)]:
        assert number in system.numbers(system.search(vector, K, setting), 1, K)
    for number in (2, 3):
        assert number not in system.numbers(system.search(data.vectors[number], K, setting), 1, K)
    system.close()


@pytest.mark.parametrize("where", [None, Filter("region", 0, 10)])
def test_recall_is_one_for_the_exact_answer_and_counts_what_is_missing_wrong_or_repeated(data, where):
    queries = data.queries[:20]
    limit = data.truth(queries, where)
    right = np.array([exact(data, query, where) for query in queries])
    assert data.recall(queries, right, limit, where) == 1.0
    for damage in (-1, right[0, 0], N + 5):  # missing, counted twice, not among the rows that were stored
        worse = right.copy()
        worse[0, -1] = damage
        assert data.recall(queries, worse, limit, where) == pytest.approx(1 - 1 / right.size)
    if where:  # near enough, but not allowed
        forbidden = np.array([exact(data, query)[:K] for query in queries])
        allowed = np.isin(forbidden, data.matching(where)).mean()
        assert data.recall(queries, forbidden, limit, where) == pytest.approx(allowed)


def test_workload_survives_being_saved(tmp_path):
    made = workloads.load("synthetic", 5_000, 100)
    workloads.save(made, tmp_path)
    read, limits = workloads.saved("synthetic", tmp_path)
    assert np.array_equal(read.vectors, made.vectors)
    assert read.metadata.equals(made.metadata)
    assert limits.keys() == {"everything", *workloads.FILTERS}
    shares = [len(made.matching(of(0))) / 5_000 for of in workloads.FILTERS.values()]
    assert shares == pytest.approx([0.1, 0.01, 0.001, 0.01], rel=0.01)


def test_the_command_in_the_readme_is_one():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Beside others", 1)[1].split("\n## ", 1)[0]
    commands = re.findall(r"python -m tests\.bench ([^`\n]*)", section)
    assert commands
    for command in commands:
        given = arguments(command.split())
        assert given.out
        assert set(given.systems) == set(SYSTEMS)


def test_report_shows_a_system_that_was_stopped():
    one = {"title": "T", "target": 0.9, "load": [0.1, 0.2], "systems": {"chroma": {"ended": "stopped after 9 s"}}}
    machine = {"processor": "p", "cores": 2, "used": 1, "python": "3"}
    text = render({"command": "--quick", "machine": machine, "missing": ["milvus-lite"], "workloads": {"w": one}})
    assert "**stopped after 9 s**" in text
    assert "Not installed, left out: milvus-lite." in text
