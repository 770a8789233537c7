"""Several writers and a reader: nothing acknowledged is lost, no id taken twice, no half version seen."""

from __future__ import annotations

import multiprocessing
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from latentstore.errors import AlreadyExists, CommitConflict, StorageError, UnknownVersion
from latentstore.space.vector_space import VectorSpace
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


def change(folder: Path, name: int, turns: int, grace: float, line: Connection) -> None:
    """Adds, upserts, deletes, compacts and vacuums own rows; says which rows it was told are there, and conflicts."""
    space = SpaceFiles(folder)
    rng = np.random.default_rng(name)
    held: dict[str, float] = {}
    conflicts = 0
    line.recv()
    for turn in range(turns):
        new = {f"{name}/{turn}/{i}": float(turn) for i in range(3)}
        old = dict.fromkeys(list(held)[: int(rng.integers(3))], turn + 0.5)
        gone = list(held)[-2:] if turn % 4 == 3 else []
        try:
            both = {**new, **old}
            space.upsert(list(both), np.array(list(both.values()), np.float32)[:, None].repeat(2, 1))
            held.update(both)
        except CommitConflict:
            conflicts += 1
        try:
            if gone:
                space.delete(gone)
                for one in gone:
                    del held[one]
        except CommitConflict:
            conflicts += 1
        try:
            if turn % 3 == name % 3:
                space.compact()
        except CommitConflict:
            conflicts += 1
        if turn % 2 == name % 2:
            space.vacuum(timedelta(0), grace=timedelta(seconds=grace))
    line.send((held, conflicts))


def follow(folder: Path, line: Connection) -> None:
    """Opens new snapshots while versions and files vanish; says how many it read whole."""
    space = SpaceFiles(folder, "r")
    reads = 0
    while not line.poll():
        try:
            snapshot = space.snapshot()
            rows = snapshot.live_rows()
            ids, vectors = snapshot.ids(rows), snapshot.vectors(rows)
        except UnknownVersion:  # vacuumed while it was opened, as there is no retention
            continue
        assert len(set(ids.tolist())) == len(rows) == len(snapshot)
        assert (snapshot.find(ids.tolist()) == rows).all()
        assert (vectors[:, 0] == vectors[:, 1]).all()
        reads += 1
    line.send(reads)


@pytest.mark.parametrize("grace", [600.0, 0.0])
def test_all_changes_at_once(tmp_path: Path, long: bool, grace: float) -> None:
    """Writers that add, upsert, delete, compact and vacuum beside a reader that stays on one old snapshot.

    With a grace longer than a write nobody is refused. Without one a writer may be told that vacuum took its files;
    what was acknowledged is there in either case.
    """
    writers, turns = 3, 40 if long else 10
    folder = tmp_path / "s"
    space = SpaceFiles.create(folder, space="s", dim=2, metric="l2")
    kept = [f"kept{i}" for i in range(500)]
    space.add(kept, np.arange(500, dtype=np.float32)[:, None].repeat(2, 1), {"name": kept})
    days = VectorSpace(SpaceFiles(folder, "r"))  # opened, and read once: its files are mapped
    query = np.array([250, 250], np.float32)
    before = days.search(query, 5, columns=["name"])
    lines = [FORK.Pipe() for _ in range(writers)]
    processes = [FORK.Process(target=change, args=(folder, n, turns, grace, lines[n][1])) for n in range(writers)]
    mine, theirs = FORK.Pipe()
    reader = FORK.Process(target=follow, args=(folder, theirs))
    for process in (*processes, reader):
        process.start()
    for here, there in lines:
        here.send("go")
        there.close()
    reads = 0
    while any(process.is_alive() for process in processes):
        after = days.search(query, 5, columns=["name"])
        assert (after.ids.tolist(), after.distances.tolist()) == (before.ids.tolist(), before.distances.tolist())
        assert after.columns is not None
        assert after.columns["name"].to_pylist() == after.ids.tolist()
        reads += 1
    results = [here.recv() for here, _ in lines]
    mine.send("stop")
    followed = mine.recv()
    reader.join()
    assert [process.exitcode for process in (*processes, reader)] == [0] * (writers + 1)
    assert reads > 0
    assert followed > 0
    expected = {one: value for held, _ in results for one, value in held.items()}
    expected |= {one: float(i) for i, one in enumerate(kept)}
    snapshot = SpaceFiles(folder).snapshot()
    rows = snapshot.live_rows()
    found = dict(zip(snapshot.ids(rows).tolist(), snapshot.vectors(rows)[:, 0].tolist(), strict=True))
    if grace:
        assert sum(conflicts for _, conflicts in results) == 0
    assert found == expected, "an acknowledged change is lost, or a refused one is there"
    space.vacuum(timedelta(0), grace=timedelta(0))
    assert space.verify() == []
    left = {path.relative_to(folder).as_posix() for path in (folder / "segments").iterdir()}
    assert left <= {file.name for manifest in space.versions() for file in manifest.files()}
    assert len(days.search(query, 5)) == 5, "files that are gone from the folder are still mapped by who reads them"


def test_a_slow_writer_is_told_that_its_files_are_gone(tmp_path: Path) -> None:
    """A vacuum whose grace is shorter than a write takes the files of a commit that is about to name them."""
    space = SpaceFiles.create(tmp_path / "s", space="s", dim=2, metric="l2")
    shard = space.stage(["a"], np.ones((1, 2)))
    SpaceFiles(tmp_path / "s").vacuum(timedelta(0), grace=timedelta(0))
    with pytest.raises((CommitConflict, StorageError), match=r"(removed|cannot write).*;"):
        space.append([shard])
    assert len(space.snapshot()) == 0
    assert space.verify() == []
