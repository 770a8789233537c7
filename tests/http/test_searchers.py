"""Processes that search beside the event loop: the same answers, whatever becomes of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

import latentstore as ls
from latentstore.server import searchers
from latentstore.server.batching import KEPT, KeptAnswers
from tests.http.conftest import serving
from tests.http.test_swap import until

SPACES = {"small": 6, "plain": 3, "similar": 2}


def children():
    """Ids of the processes of this one that search."""
    listed = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "search_process"], capture_output=True, text=True)
    return [
        int(pid)
        for pid in listed.stdout.split()
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    ]


def ready(client):
    return "latentstore_searchers 1.0" in client.get("/metrics").text


@pytest.fixture
def others():
    """Those of other services of this process."""
    return set(children())


@pytest.fixture
def beside(store, serve, monkeypatch):
    """A client of a service with one process that searches, once it does."""
    monkeypatch.setattr(searchers, "PAUSE", 0.2)
    client = serve(searchers=1)
    until(lambda: ready(client))
    return client


def ask(client, space, query, k=5):
    return client.post(f"/v1/spaces/{space}/search", json={"query": query, "k": k})


def test_answers_are_those_of_the_store(beside, store):
    """Of all metrics, alone and many at a time, also where fewer than k items are."""
    held = ls.open(store, mode="r")
    generator = np.random.default_rng(0)
    asked = [
        (name, generator.standard_normal(dim).round(3).tolist(), k)
        for name, dim in SPACES.items()
        for k in (1, 7)
        for _ in range(40)
    ]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda one: ask(beside, *one), asked))
    for (name, query, k), answer in zip(asked, answers, strict=True):
        found, expected = answer.json(), held.space(name, at="production" if name == "small" else None).search(query, k)
        assert found["ids"] == expected.ids.tolist()
        measured = found["similarities" if name == "similar" else "distances"]
        np.testing.assert_allclose(measured, expected.distances, rtol=1e-5, atol=1e-6)
        assert found["shortfall" if "shortfall" in found else "k"] == (expected.shortfall or k)
        assert found["version"] == expected.version


def test_each_is_told_what_is_wrong_with_its_own_query(beside):
    queries = [[0.5, 0.25, 1], [1, 2], [1e39, 0, 0], [0, 0, 0], [1, "2", 3]]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda query: ask(beside, "plain", query), queries * 20))
    for number, said in ((1, "have shape (2,)"), (2, "beyond float32"), (3, "zero"), (4, "")):
        assert {answer.status_code for answer in answers[number::5]} == {422}, answers[number].text
        assert all(said in answer.text for answer in answers[number::5]), answers[number].text
    assert {answer.text for answer in answers[::5]} == {answers[0].text}
    assert answers[0].status_code == 200


def test_one_that_is_killed_is_replaced_and_nobody_waits_for_it(others, beside):
    """Under load, with kill -9, three times."""
    stop, failed, counted = threading.Event(), [], [0]

    def work(seed):
        generator = np.random.default_rng(seed)
        with httpx.Client(base_url=beside.base_url, timeout=20, trust_env=False) as mine:
            while not stop.is_set():
                answer = ask(mine, "small", generator.standard_normal(6).tolist())
                counted[0] += 1
                if answer.status_code != 200:
                    failed.append(answer.text)

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(8)]
    for thread in threads:
        thread.start()
    seen = set()
    for _ in range(3):
        (pid,) = {*children()} - others
        seen.add(pid)
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: {*children()} - others not in (set(), {pid}) and ready(beside))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed, failed[:3]
    assert counted[0] > 100
    assert len(seen) == 3


def test_one_that_hangs_is_ended(others, beside, monkeypatch):
    monkeypatch.setattr(searchers, "STUCK", 0.5)
    (pid,) = {*children()} - others
    os.kill(pid, signal.SIGSTOP)
    assert ask(beside, "small", [1.0] * 6).status_code == 200
    until(lambda: pid not in children() and ready(beside))


def test_none_is_left_behind(others, store):
    with serving(store, searchers=2) as client:
        until(lambda: "latentstore_searchers 2.0" in client.get("/metrics").text)
        mine = {*children()} - others
        assert len(mine) == 2
    assert not {*children()} - others


def test_the_same_search_is_answered_from_memory_until_the_version_changes(beside, store):
    space = ls.open(store).space("plain")
    first = ask(beside, "plain", [1, 0, 0], 2)
    assert first.json()["ids"][0] == "a"
    assert [ask(beside, "plain", [1, 0, 0], 2).content for _ in range(3)] == [first.content] * 3
    space.delete(["a"])
    until(lambda: beside.get("/readyz").json()["spaces"]["plain"] == space.version)
    assert ask(beside, "plain", [1, 0, 0], 2).json()["ids"][0] != "a"


def test_a_space_made_anew_is_another(beside, store):
    """Of the same name and version: nothing of the old one is answered."""
    assert ask(beside, "plain", [1, 0, 0], 1).json()["ids"] == ["a"]
    version = ls.open(store).space("plain").version
    shutil.rmtree(store / "spaces" / "plain")
    until(lambda: ask(beside, "plain", [1, 0, 0], 1).status_code == 404)
    space = ls.open(store).create_space("plain", dim=3, metric="cosine")
    space.add(["z"], np.eye(3)[:1])
    assert space.version == version
    until(lambda: ask(beside, "plain", [1, 0, 0], 1).status_code == 200 and ready(beside))
    for query in ([1, 0, 0], [1, 0, 0.5]):
        assert ask(beside, "plain", query, 1).json()["ids"] == ["z"]


def test_one_that_hangs_while_it_opens_is_ended(others, beside, store, monkeypatch):
    monkeypatch.setattr(searchers, "OPENING", 0.5)
    (pid,) = {*children()} - others
    os.kill(pid, signal.SIGSTOP)
    space = ls.open(store).space("plain")
    space.delete(["a"])
    until(lambda: pid not in children() and ready(beside))
    assert ask(beside, "plain", [1, 0, 0], 1).json()["version"] == space.version


def test_memory_of_answers_is_bounded(store):
    space = ls.open(store, mode="r").space("plain")
    kept = KeptAnswers()
    names = [kept.name(space, array("d", [i]), 3) for i in range(KEPT + 10)]
    for name in names:
        kept.put(name, b"hits")
    assert [kept.get(names[i]) for i in (0, 9, 10, -1)] == [None, None, b"hits", b"hits"]
    assert kept.name(space, array("d", [0] * 5000), 3) is None
    kept.put(long := kept.name(space, array("d", [0.5]), 3), b"x" * 10_000)
    assert kept.get(long) is None
