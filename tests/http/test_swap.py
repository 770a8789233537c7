"""A new snapshot is swapped in under load: no request fails, and each is answered from one snapshot."""

from __future__ import annotations

import threading
import time

import httpx
import numpy as np
import pytest

import latentstore as ls
from latentstore.sql import Limits


@pytest.fixture
def two(tmp_path):
    """A store whose versions can be told apart by what they answer: in version k every id ends in .k."""
    store = ls.open(tmp_path / "a.store")
    space = store.create_space("turns", dim=4)
    publish(space, 0)
    return tmp_path / "a.store"


def publish(space, turn):
    """Replace all rows, and move the tag when the index is built: what a nightly re-embed does."""
    vectors = np.random.default_rng(0).standard_normal((3000, 4), np.float32)
    if len(space):
        space.delete(where="true")
    space.add([f"{i}.{turn}" for i in range(3000)], vectors, {"turn": np.full(3000, turn)})
    space.build_index("ivf", target_recall=0.9)
    space.tag("production")


@pytest.mark.parametrize("searchers", [0, 1])
def test_no_request_is_dropped_or_mixed(two, serve_it, searchers):
    client = serve_it(two, searchers=searchers)
    stop, wrong, counted, versions = threading.Event(), [], [0], set()

    def ask(seed):
        generator = np.random.default_rng(seed)
        with httpx.Client(base_url=client.base_url, timeout=60, trust_env=False) as mine:
            while not stop.is_set():
                query = generator.standard_normal(4).tolist()
                body = {"query": query, "k": 8} if seed % 2 else {"query": [query] * 3, "k": 8, "columns": ["turn"]}
                try:
                    answer = mine.post("/v1/spaces/turns/search", json=body)
                except httpx.HTTPError as error:
                    wrong.append(repr(error))
                    continue
                if answer.status_code != 200:
                    wrong.append(answer.text)
                    continue
                found = answer.json()
                ids = found["ids"] if seed % 2 else [one for line in found["ids"] for one in line]
                turns = {one.split(".")[1] for one in ids}
                if seed % 2 == 0:
                    turns |= {str(one) for line in found["columns"]["turn"] for one in line}
                if len(turns) != 1 or len(ids) != (8 if seed % 2 else 24):
                    wrong.append((found["version"], sorted(turns), len(ids)))
                versions.add((found["version"], *turns))
                counted[0] += 1

    threads = [threading.Thread(target=ask, args=[seed]) for seed in range(6)]
    for thread in threads:
        thread.start()
    space = ls.open(two).space("turns")
    for turn in range(1, 5):
        publish(space, turn)
        space.compact()
        until(lambda: client.get("/readyz").json()["spaces"]["turns"] == space.files.tags()["production"])
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert counted[0] > 50
    assert len({turn for _, turn in versions}) >= 3, "the swaps were seen"
    assert len({version for version, _ in versions}) == len(versions), "one version, one content"


def test_a_version_that_is_pinned_stays(two, serve_it):
    space = ls.open(two).space("turns")
    pinned = space.files.tags()["production"]
    client = serve_it(two, at=pinned, sql=Limits(seconds=20, memory=256 << 20))
    publish(space, 1)
    time.sleep(1.5)
    assert client.get("/readyz").json()["spaces"]["turns"] == pinned
    found = client.post("/v1/spaces/turns/search", json={"query": [0, 0, 0, 0], "k": 1}).json()
    assert found["ids"][0].endswith(".0")
    counted = client.post("/v1/sql", json={"query": "SELECT DISTINCT turn FROM turns"})
    assert counted.json()["columns"] == [[0]], "SQL reads what is served"
    assert counted.headers["x-latentstore-versions"] == f"turns={pinned}"


def test_without_the_tag_the_newest_is_served_and_writes_are_seen(two, serve_it):
    client = serve_it(two, at="reviewed")
    row = {"ids": ["mine"], "vectors": [[9, 9, 9, 9]]}
    version = client.post("/v1/spaces/turns/items", json=row).json()["version"]
    until(lambda: client.get("/readyz").json()["spaces"]["turns"] >= version)
    asked = {"query": [9, 9, 9, 9], "k": 1}
    assert client.post("/v1/spaces/turns/search", json=asked).json()["ids"] == ["mine"]
    gone = client.request("DELETE", "/v1/spaces/turns/items", json={"ids": ["mine"]}).json()["version"]
    until(lambda: client.get("/readyz").json()["spaces"]["turns"] >= gone)
    assert client.post("/v1/spaces/turns/search", json=asked).json()["ids"] != ["mine"]


def until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
