"""Hostile SQL: refused or killed with our own error, nothing read, written or left behind, and the next query works."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import (
    ConfigInvalid,
    InputError,
    QueryRefused,
    StorageError,
    UnknownItem,
    UnknownSpace,
    UnknownVersion,
)
from latentstore.sql import Engine, Limits, Sandbox, wire
from tests.unit.sql_queries import ATTACKS, BOMBS, LEGITIMATE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox relies on limits of Linux")

LIMITS = Limits(seconds=1.0, memory=200 << 20, result=20 << 20)
X = np.random.default_rng(8).normal(size=(60, 4)).astype(np.float32)
IDS = [f"train/{i}" for i in range(60)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = ls.open(tmp_path_factory.mktemp("sql") / "a.store")
    space = store.create_space("fashion", dim=4)
    columns = {"label": ["Bag", "Coat", None] * 20, "price": np.arange(60) / 2}
    space.add(IDS, X, pa.table(columns))
    space.fit_centroids("label")
    space.fit_attribute("baggy", positive="label = 'Bag'", negative="label = 'Coat'")
    for metric in ("cosine", "ip"):
        store.create_space(f"by_{metric}", dim=4, metric=metric).add(IDS, X)
    return store


@pytest.fixture(scope="module")
def sandbox(store):
    sandbox = Sandbox(store.path, LIMITS)
    yield sandbox
    sandbox.close()


@pytest.fixture(params=["engine", "sandbox"])
def runner(request, store, sandbox):
    if request.param == "sandbox":
        return sandbox
    return Engine(store.files, store.space, LIMITS)


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("query", LEGITIMATE)
def test_legitimate_queries_answer_as_in_this_process(store, sandbox, query):
    ours = Engine(store.files, store.space).run(query)
    theirs = sandbox.run(query)
    assert theirs.schema == ours.schema
    if "LIMIT" not in query and "list(" not in query:  # which rows, or which order, is then open
        assert sorted(map(repr, theirs.to_pylist())) == sorted(map(repr, ours.to_pylist()))


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(store, runner, attack, tmp_path):
    secret_rows = pa.table({"password": ["secret"]})
    assert secret_rows.num_rows == 1  # a Python variable that SQL must not find
    (tmp_path / "other.parquet").write_bytes(b"PAR1")
    before = files(store.path)
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        runner.run(attack.replace("{dir}", str(tmp_path)))
    assert time.monotonic() - start < 20
    assert "\n" not in str(error.value)
    assert "root:" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["other.parquet"]
    assert files(store.path) == before


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_killed_and_the_next_query_works(sandbox, bomb):
    start = time.monotonic()
    with pytest.raises(QueryRefused, match=r"`seconds`|`memory`|`result`|the query fails"):
        sandbox.run(bomb)
    assert time.monotonic() - start < LIMITS.seconds + 10
    assert sandbox.run("SELECT count(*) AS n FROM fashion").to_pylist() == [{"n": 60}]


def test_each_limit_has_its_message(store):
    limits = Limits(seconds=0.5, memory=150 << 20, result=1 << 20)
    sandbox = Sandbox(store.path, limits)
    with pytest.raises(QueryRefused, match=r"longer than 0\.5 s; .* raise the limit `seconds`"):
        sandbox.run("WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t) SELECT count(*) FROM t")
    with pytest.raises(QueryRefused, match=r"more memory than the 150 MB it may use; .* raise the limit `memory`"):
        sandbox.run("SELECT length(repeat('x', 4000000000))")
    with pytest.raises(QueryRefused, match=r"larger than the 1 MB it may have; .* raise the limit `result`"):
        sandbox.run("SELECT range AS a, range AS b FROM range(1000000)")
    assert sandbox.run("SELECT range FROM range(100000)").num_rows == 100_000  # 0.8 MB passes
    sandbox.close()
    for impossible in ({"seconds": 0}, {"memory": 1}, {"result": 1}):
        with pytest.raises(ConfigInvalid, match="cannot have"):
            Limits(**impossible)


def test_a_process_stays_until_it_is_stopped(store):
    sandbox = Sandbox(store.path, LIMITS)
    sandbox.run("SELECT 1")
    (first,) = sandbox.processes
    with pytest.raises(QueryRefused):
        sandbox.run("SELECT nothing FROM fashion")
    with pytest.raises(UnknownItem, match="train/999"):
        sandbox.run("SELECT latent('fashion', '''train/999''')")
    assert sandbox.processes == [first]
    with pytest.raises(QueryRefused):
        sandbox.run(BOMBS[0])
    assert sandbox.processes == []
    assert not alive(first)
    sandbox.run("SELECT 1")
    (second,) = sandbox.processes
    os.kill(second, 9)
    while alive(second):
        time.sleep(0.01)
    assert sandbox.run("SELECT 2 AS a").to_pylist() == [{"a": 2}]
    (third,) = sandbox.processes
    sandbox.close()
    assert not alive(third)


def alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_process_has_no_secrets_and_cannot_write_or_read_elsewhere(store, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-treasure")
    sandbox = Sandbox(store.path, LIMITS)
    sandbox.run("SELECT 1")
    (pid,) = sandbox.processes
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"hidden-treasure" not in environment
    assert b"PYTHONPATH" in environment  # control: it is this process's environment
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert any(line.split()[:5] == ["Max", "file", "size", "0", "0"] for line in limits.splitlines())
    sandbox.close()


def test_it_dies_with_its_parent(store):
    code = f"""
import os, sys
from pathlib import Path
from latentstore.sql import Sandbox
sandbox = Sandbox(Path({str(store.path)!r}))
sandbox.run("SELECT 1")
print(sandbox.processes[0], flush=True)
import threading
threading.Thread(target=lambda: sandbox.run(
    "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 11"), daemon=True).start()
sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        assert alive(pid)  # control
        parent.kill()
        end = time.monotonic() + 10
        while alive(pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not alive(pid)


def test_parameters(store):
    assert store.sql("SELECT $a + 1 AS n, $t AS t", {"a": 1, "t": "it's"}).to_pylist() == [{"n": 2, "t": "it's"}]
    with pytest.raises(QueryRefused, match=r"parameters .*: a; values were given for: b"):
        store.sql("SELECT $a", {"b": 1})
    with pytest.raises(QueryRefused, match="'a' is a object; pass numbers"):
        store.sql("SELECT $a", {"a": object()})


@pytest.mark.parametrize(
    ("query", "given", "said"),
    [
        ("FROM neighbours('fashion', $q, 5)", {"q": [10**400, 1, 1, 1]}, "'q' has the number 100000000000… .* bits"),
        ("FROM neighbours('fashion', $q, 5) JOIN fashion USING (id)", {"q": [10**400, 1, 1, 1]}, "the number 1000"),
        ("FROM neighbours('fashion', $q, 5) JOIN fashion USING (id)", {"q": [1, 10**5000, 1, 1]}, "the number 0x"),
        ("SELECT $q", {"q": -(10**400)}, "'q' has the number -1000"),
        ("FROM neighbours('fashion', $q, 5) JOIN fashion USING (id)", {"q": [1e39, 1.0, 1.0, 1.0]}, "beyond float32"),
        ("SELECT '\ud800'", {}, r"the query has a lone surrogate \('\\ud800'\) at character 9"),
        ("SELECT $q", {"q": "a\ud800"}, r"'q' has a lone surrogate .* at character 2"),
        ("SELECT $q", {"\ud800": 1}, "name of a parameter has a lone surrogate"),
    ],
)
def test_values_that_no_query_can_have(store, runner, query, given, said):
    processes = getattr(runner, "processes", [])
    with pytest.raises(InputError, match=said):
        runner.run(query, given)
    assert getattr(runner, "processes", []) == processes, "none ended"
    assert runner.run("SELECT $q AS a", {"q": 10**30}).to_pylist() == [{"a": 10**30}]


def test_threads_share_a_bounded_number_of_processes(store):
    sandbox = Sandbox(store.path, processes=2)
    answers = []

    def work(i):
        answers.append(sandbox.run("SELECT $i + count(*) AS n FROM fashion", {"i": i}).to_pylist()[0]["n"])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [60 + i for i in range(8)]
    assert 1 <= len(sandbox.processes) <= 2
    sandbox.close()


def test_new_versions_are_seen(tmp_path):
    store = ls.open(tmp_path / "a.store")
    space = store.create_space("mine", dim=2)
    for n in range(1, 4):
        space.add([f"{n}"], np.full((1, 2), n, np.float32))
        for sandbox in (True, False):
            assert store.sql("SELECT count(*) AS n FROM mine", sandbox=sandbox).to_pylist() == [{"n": n}]
            (hit,) = store.sql("FROM neighbours('mine', $q, 1)", {"q": [9, 9]}, sandbox=sandbox).to_pylist()
            assert hit["id"] == f"{n}"
    space.tag("here")
    assert store.sql("SELECT max(len(tags)) AS n FROM mine.versions").to_pylist() == [{"n": 1}]
    space.tag("there")
    assert store.sql("SELECT max(len(tags)) AS n FROM mine.versions").to_pylist() == [{"n": 2}]


@pytest.mark.parametrize("sandbox", [True, False])
def test_versions_and_tags_are_read_again(tmp_path, sandbox):
    store = ls.open(tmp_path / "a.store")
    mine, other = (store.create_space(name, dim=2) for name in ("mine", "other"))
    for n in (1, 2, 3):
        mine.add([f"{n}"], np.full((1, 2), n, np.float32))
    other.add(["x"], np.ones((1, 2), np.float32))
    mine.tag("production", version=mine.version - 1)
    counted = "SELECT (SELECT count(*) FROM mine) AS mine, (SELECT count(*) FROM other) AS other"
    for at, n in ((None, 3), ("production", 2), ({"mine": mine.version - 2}, 1), ({"mine": "production"}, 2)):
        assert store.sql(counted, at=at, sandbox=sandbox).to_pylist() == [{"mine": n, "other": 1}]
        (hit,) = store.sql("FROM neighbours('mine', $q, 1)", {"q": [9, 9]}, at=at, sandbox=sandbox).to_pylist()
        assert hit["id"] == f"{n}"
    for at, said in (("prodction", "did you mean 'production'"), ({"mine": 99}, "no version 99")):
        with pytest.raises(UnknownVersion, match=said):
            store.sql(counted, at=at, sandbox=sandbox)
    with pytest.raises(UnknownSpace, match="did you mean 'mine'"):
        store.sql(counted, at={"mint": 1}, sandbox=sandbox)


def test_what_a_process_sends_is_checked():
    with pytest.raises(StorageError, match="no Arrow table"):
        wire.read_table(bytearray(b"not arrow at all"))
    left, right = socket.socketpair()
    with left, right:
        wire.send(left, {}, b"x" * 100)
        with pytest.raises(ValueError, match="at most"):
            wire.receive(right, time.monotonic() + 5, most=99)
        with pytest.raises(TimeoutError):
            wire.receive(left, time.monotonic() + 0.05)
