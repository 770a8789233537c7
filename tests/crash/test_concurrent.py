"""Several writers and a reader: nothing acknowledged is lost, no id taken twice, no half version seen."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from latentstore.errors import AlreadyExists, CommitConflict
from latentstore.storage import SpaceFiles

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["latentstore.storage", "pandas"])


def write(folder: Path, name: int, commits: int, line: Connection) -> None:
    """Adds own pairs, deletes some of them, races for shared ids and a shared tag; says what was acknowledged."""
    space = SpaceFiles(folder)
    kept, won, swaps = [], [], 0
    line.recv()
    for i in range(commits):
        pair = [f"{name}/{i}/a", f"{name}/{i}/b"]
        space.add(pair, np.full((2, 2), i, np.float32), {"pair": [pair[0]] * 2})
        kept.append(i)
        if i % 3 == 2:
            gone = kept.pop(0)
            space.delete([f"{name}/{gone}/a", f"{name}/{gone}/b"])
        try:
            space.add(
                [f"shared/{i}/a", f"shared/{i}/b"], np.full((2, 2), name, np.float32), {"pair": [f"shared/{i}/a"] * 2}
            )
            won.append(i)
        except AlreadyExists:
            pass
        try:
            at = space.tags()["turn"]
            space.tag("turn", at + 1, expected=at)
            swaps += 1
        except CommitConflict:
            pass
    line.send((kept, won, swaps))


def read(folder: Path, line: Connection) -> None:
    """Pairs come and go together, in every version that is seen."""
    space = SpaceFiles(folder, "r")
    reads, newest = 0, 0
    while not line.poll():
        snapshot = space.snapshot()
        assert snapshot.version >= newest
        newest = snapshot.version
        rows = snapshot.live_rows()
        if len(rows):
            pairs = snapshot.columns(rows, ["pair"])["pair"].to_pylist()
            ids = set(snapshot.ids(rows).tolist())
            assert len(ids) == len(rows)
            assert ids == {half for pair in pairs for half in (pair, pair[:-1] + "b")}
        reads += 1
    line.send(reads)


def test_writers_and_a_reader(tmp_path: Path, long: bool) -> None:
    writers, commits = 3, 60 if long else 12
    folder = tmp_path / "s"
    space = SpaceFiles.create(folder, space="s", dim=2, metric="l2")
    space.tag("turn", 1)
    lines = [FORK.Pipe() for _ in range(writers)]
    processes = [FORK.Process(target=write, args=(folder, n, commits, lines[n][1])) for n in range(writers)]
    mine, readers = FORK.Pipe()
    reader = FORK.Process(target=read, args=(folder, readers))
    for process in (*processes, reader):
        process.start()
    for here, _ in lines:
        here.send("go")
    results = [here.recv() for here, _ in lines]
    for process in processes:
        process.join()
    mine.send("stop")
    assert mine.recv() > 0
    reader.join()
    assert [process.exitcode for process in (*processes, reader)] == [0] * (writers + 1)
    snapshot = SpaceFiles(folder).snapshot()
    expected = {f"{n}/{i}/{half}" for n, (kept, _, _) in enumerate(results) for i in kept for half in "ab"}
    expected |= {f"shared/{i}/{half}" for i in range(commits) for half in "ab"}
    assert set(snapshot.ids(snapshot.live_rows()).tolist()) == expected
    winners = {i: n for n, (_, won, _) in enumerate(results) for i in won}
    assert sum(len(won) for _, won, _ in results) == commits, "a shared id was acknowledged twice, or never"
    for i, n in winners.items():
        assert snapshot.vectors(snapshot.find([f"shared/{i}/a"])).tolist() == [[n, n]]
    assert space.tags()["turn"] == 1 + sum(swaps for _, _, swaps in results)
    commits_made = writers * commits + sum(commits // 3 for _ in range(writers)) + commits
    assert snapshot.version == 1 + commits_made, "one version for each acknowledged commit"
    assert len(snapshot.segments) <= 30
    assert space.verify() == []
