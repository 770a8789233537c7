"""Merging keeps rows and bounds segments and bytes written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latentstore.storage import SegmentRecord, SpaceFiles
from latentstore.storage.tiers import FACTOR, plan, tier


def records(sizes: list[int]) -> list[SegmentRecord]:
    return [SegmentRecord(str(i), 0, size, size, {}) for i, size in enumerate(sizes)]


def play(arrivals: list[int]) -> tuple[int, int]:
    """Most segments at any time, and rows written in all, as commits merge what was there before each arrival."""
    sizes: list[int] = []
    most = written = 0
    for size in arrivals:
        runs = dict(plan(records(sizes)))
        merged, place = [], 0
        while place < len(sizes):
            stop = runs.get(place, place + 1)
            merged.append(sum(sizes[place:stop]))
            written += merged[-1] if place in runs else 0
            place = stop
        sizes = [*merged, size]
        written += size
        most = max(most, len(sizes))
    return most, written


def bound(n: int) -> int:
    return (FACTOR - 1) * (tier(n) + 1) + 1


@pytest.mark.parametrize(
    "arrivals",
    [
        [1] * 5_000,
        [100] * 2_000,
        [1, 1000] * 2_000,
        [1000, 1] * 2_000,
        [8**i for i in range(7)] * 3,
        [8**i for i in range(6, -1, -1)] * 3,
        np.random.default_rng(0).zipf(1.3, 3_000).clip(1, 10_000).tolist(),
        np.random.default_rng(1).integers(1, 5_000, 3_000).tolist(),
    ],
)
def test_segments_are_logarithmic_and_writes_quasilinear(arrivals: list[int]) -> None:
    most, written = play(arrivals)
    n = sum(arrivals)
    assert most <= bound(n)
    assert written <= n * (tier(n) + 2)


def test_tier_is_the_floor_of_the_logarithm() -> None:
    assert [tier(n) for n in (0, 1, 7, 8, 63, 64, 8**9 - 1, 8**9)] == [0, 0, 0, 1, 1, 2, 8, 9]


def test_many_single_rows_in_a_real_store(tmp_path: Path) -> None:
    space = SpaceFiles.create(tmp_path / "s", space="s", dim=2, metric="l2")
    most = 0
    for i in range(150):
        manifest = space.add([str(i)], np.full((1, 2), i), {"n": [i]})
        most = max(most, len(manifest.segments))
    assert most <= bound(150)
    snapshot = space.snapshot()
    assert snapshot.live_rows().tolist() == list(range(150))
    rows = snapshot.find([str(i) for i in range(150)])
    assert rows.tolist() == list(range(150))
    assert np.array_equal(snapshot.vectors(rows)[:, 0], np.arange(150))
    assert snapshot.columns(rows)["n"].to_pylist() == list(range(150))


def test_dead_rows_are_dropped_in_time(tmp_path: Path) -> None:
    space = SpaceFiles.create(tmp_path / "s", space="s", dim=2, metric="l2")
    space.add([str(i) for i in range(100)], np.ones((100, 2)))
    space.delete([str(i) for i in range(0, 80, 2)])
    assert space.snapshot().segments[0].record.dead == 40
    space.add(["x"], np.ones((1, 2)))
    first = space.snapshot().segments[0].record
    assert (first.count, first.dead, first.span) == (60, 0, 100)
    snapshot = space.snapshot()
    assert snapshot.find(["0", "1", "99", "x"]).tolist() == [-1, 1, 99, 100], "row numbers stay"
    assert snapshot.locate(np.array([0, 1]))[0].tolist() == [-1, 0]


def test_a_merge_survives_a_lost_race(tmp_path: Path) -> None:
    """While we merge, another deletes one of the merged rows: it must stay dead, and be ours no more."""
    space = SpaceFiles.create(tmp_path / "s", space="s", dim=2, metric="l2")
    for i in range(4):
        space.add([str(i)], np.full((1, 2), i))
    other = SpaceFiles(space.folder)
    raced = []
    publish = space._log.publish

    def late(*args: object, **options: object) -> bool:
        if not raced:
            raced.append(other.delete(["2"]).version)
        return publish(*args, **options)  # type: ignore[arg-type]

    space._log.publish = late  # type: ignore[method-assign]
    manifest = space.compact()
    assert manifest.version == raced[0] + 1
    assert [(one.count, one.dead) for one in manifest.segments] in ([(4, 1)], [(3, 0)])
    assert space.snapshot().find(["0", "1", "2", "3"]).tolist() == [0, 1, -1, 3]
    assert space.verify() == []


def test_a_merge_is_dropped_when_rows_came_back(tmp_path: Path) -> None:
    space = SpaceFiles.create(tmp_path / "s", space="s", dim=2, metric="l2")
    space.add(["a", "b", "c"], np.ones((3, 2)))
    space.delete(["a"])
    other = SpaceFiles(space.folder)
    raced = []
    publish = space._log.publish

    def late(*args: object, **options: object) -> bool:
        if not raced:
            raced.append(other.restore(2).version)
        return publish(*args, **options)  # type: ignore[arg-type]

    space._log.publish = late  # type: ignore[method-assign]
    space.compact()
    assert space.snapshot().find(["a", "b", "c"]).tolist() == [0, 1, 2]


def test_a_decayed_segment_is_planned_alone() -> None:
    one = records([100])[0]
    assert plan([replace(one, dead=29)]) == []
    assert plan([replace(one, dead=30)]) == [(0, 1)]
