"""The newest version is found whatever the hint says; tags; vacuum; staging; artefacts."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from latentstore.errors import (
    ChecksumMismatch,
    CommitConflict,
    ConfigInvalid,
    InputError,
    ManifestInvalid,
    NotFound,
    UnknownVersion,
)
from latentstore.storage import ArtefactRecord, SpaceFiles
from latentstore.storage.log import Log
from latentstore.storage.writing import Scratch

NOW = timedelta(0)


@pytest.fixture
def space(tmp_path: Path) -> SpaceFiles:
    return SpaceFiles.create(tmp_path / "space", space="space", dim=2, metric="l2")


def one(n: int = 1) -> np.ndarray:
    return np.ones((n, 2), np.float32)


def grow(space: SpaceFiles, versions: int) -> None:
    for _ in range(versions):
        space.add([f"v{space.newest_version()}"], one())


def test_a_store_of_format_1_is_read_and_written(space: SpaceFiles) -> None:
    """Format 2 added the keys removed here."""
    space.add(["a", "b"], one(2), {"x": [1, 2]})
    path = space.layout.manifest(2)
    told = json.loads(path.read_bytes())
    assert told.pop("format") == 2
    for key in ("defaults", "metadata_version", "seal"):
        del told[key]
    for segment in told["segments"]:
        for key in ("patch", "patched", "names", "defaults"):
            del segment[key]
    path.write_text(json.dumps({**told, "format": 1}))
    old = SpaceFiles(space.folder)
    assert old.snapshot().columns(np.arange(2), ["x"])["x"].to_pylist() == [1, 2]
    assert old.verify() == []
    old.update(["a"], {"x": 7})
    old.add_column("y", "int64", 5)
    snapshot = old.snapshot()
    assert snapshot.columns(snapshot.find(["a", "b"])).to_pydict() == {"x": [7, 2], "y": [5, 5]}
    assert json.loads(space.layout.manifest(3).read_bytes())["format"] == 2


@pytest.mark.parametrize("hint", [None, b"", b"junk", b"0", b"1", b"3", b"9", b"10", b"11", b"99999999999", b"9" * 400])
@pytest.mark.parametrize("vacuumed", [False, True])
def test_no_hint_is_ever_wrong(space: SpaceFiles, hint: bytes | None, vacuumed: bool) -> None:
    grow(space, 9)
    if vacuumed:
        space.tag("old", 3)
        space.tag("older", 1)
        space.vacuum(NOW, grace=NOW)
        grow(space, 2)
    newest = 12 if vacuumed else 10
    if hint is None:
        space.layout.hint.unlink()
    else:
        space.layout.hint.write_bytes(hint)
    assert space.newest_version() == newest
    grow(space, 1)
    assert space.newest_version() == newest + 1
    space.layout.floor.write_bytes(b"damaged")
    space.layout.hint.write_bytes(hint or b"")
    assert space.newest_version() == newest + 1


def test_the_newest_is_found_without_listing(space: SpaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(space, 40)
    space.layout.hint.write_bytes(b"2")
    looks: list[Path] = []
    exists = Path.exists

    def counted(path: Path) -> bool:
        looks.append(path)
        return exists(path)

    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} was listed")

    monkeypatch.setattr(Path, "exists", counted)
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert space.newest_version() == 41
    assert len(looks) <= 2 * int(np.log2(41)) + 4


def test_a_stalled_writer_does_not_land_in_a_gap(space: SpaceFiles) -> None:
    """It read version 5; by now 6 to 9 have come and gone, so creating 6 would succeed and be lost."""
    grow(space, 4)
    stale = space.snapshot()
    grow(space, 5)
    space.vacuum(NOW, grace=NOW)
    assert not space.layout.manifest(6).exists()
    log = Log(space.layout)
    assert not log.publish(replace(stale.manifest, version=6), Scratch(space.layout))
    assert not space.layout.manifest(6).exists()
    assert space.newest_version() == 10


def test_the_change_is_run_again_after_a_lost_race(space: SpaceFiles) -> None:
    other = SpaceFiles(space.folder)
    seen = []

    def change(base):  # type: ignore[no-untyped-def]
        seen.append(base.version)
        if len(seen) == 1:
            other.add(["rival"], one())
        return replace(base.manifest, source={"n": len(seen)})

    manifest = space.commit(change, operation="race")
    assert seen == [1, 2]
    assert (manifest.version, manifest.source, manifest.live) == (3, {"n": 2}, 1)


def test_tags_are_compared_and_swapped(space: SpaceFiles) -> None:
    grow(space, 2)
    assert space.tag("production", 2, expected=None) == 2
    with pytest.raises(CommitConflict, match="names version 2, not 1"):
        space.tag("production", 3, expected=1)
    with pytest.raises(CommitConflict, match="not None"):
        space.tag("production", 3, expected=None)
    assert space.tag("production", expected=2) == 3
    assert space.tags() == {"production": 3}
    assert [space.resolve(at) for at in (None, 2, "2", "production")] == [3, 2, 2, 3]
    with pytest.raises(UnknownVersion, match="did you mean 'production'"):
        space.resolve("prodction")
    with pytest.raises(UnknownVersion, match="no version 9"):
        space.resolve("9")
    with pytest.raises(UnknownVersion, match="no version 9"):
        space.tag("x", 9)
    with pytest.raises(ConfigInvalid, match="tag"):
        space.tag("../../evil")
    with pytest.raises(ConfigInvalid, match="begin with a letter"):
        space.tag("42")
    space.layout.tag("production").write_text('{"version": "x"}')
    with pytest.raises(ManifestInvalid, match="production"):
        space.tags()
    assert [problem.path.name for problem in space.verify()] == ["production.json"]
    space.layout.tag("production").unlink()
    with pytest.raises(UnknownVersion, match="no tag 'production'"):
        space.delete_tag("production")


def test_of_many_that_swap_a_tag_one_wins_each_time(space: SpaceFiles) -> None:
    grow(space, 1)
    space.tag("turn", 1)
    won: list[int] = []
    start = threading.Barrier(6)

    def swap(name: int) -> None:
        mine = SpaceFiles(space.folder)
        start.wait()
        try:
            mine.tag("turn", 2, expected=1)
            won.append(name)
        except CommitConflict:
            pass

    threads = [threading.Thread(target=swap, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_vacuum_keeps_what_is_needed_and_frees_the_rest(space: SpaceFiles) -> None:
    grow(space, 20)
    space.tag("keep", 5)
    staged = space.stage(["later"], one(), key="job")
    loose = space.stage(["loose"], one())
    held = space.snapshot()
    vectors = held.vectors(held.live_rows())
    plan = space.vacuum(NOW, grace=NOW, dry_run=True)
    assert len(space.versions()) == 21
    report = space.vacuum(NOW, grace=NOW)
    assert (report.versions, report.files, report.bytes) == (plan.versions, plan.files, plan.bytes)
    assert [manifest.version for manifest in space.versions()] == [5, 21]
    assert space.snapshot(space.resolve("keep")).manifest.live == 4
    assert all(path.exists() for path in staged.paths())
    assert not any(path.exists() for path in loose.paths())
    assert np.array_equal(held.vectors(held.live_rows()), vectors)
    assert space.verify() == []
    with pytest.raises(UnknownVersion, match=r"no version 7.*vacuumed"):
        space.snapshot(7)
    assert space.append(space.staged("job")).live == 21
    with pytest.raises(ConfigInvalid, match="negative"):
        space.vacuum(timedelta(days=-1))


def test_vacuum_spares_the_young(space: SpaceFiles) -> None:
    grow(space, 3)
    loose = space.stage(["loose"], one())
    assert space.vacuum().versions == ()
    report = space.vacuum(NOW)
    assert (report.versions, report.files) == ((1, 2, 3), ())
    assert all(path.exists() for path in loose.paths())
    day_ago = loose.paths()[0].stat().st_mtime - 90_000
    for path in loose.paths():
        os.utime(path, (day_ago, day_ago))
    assert len(space.vacuum(NOW).files) == len(loose.paths())


def test_a_snapshot_is_read_after_it_was_vacuumed(space: SpaceFiles) -> None:
    space.add(["a"], one(), {"n": [1]})
    lazy = SpaceFiles(space.folder, "r").snapshot()  # opened, and not read yet
    space.upsert(["a"], 2 * one(), {"n": [2]})
    space.vacuum(NOW, grace=NOW)
    assert not lazy.segments[0].path.exists()
    assert lazy.find(["a"]).tolist() == [0]
    assert lazy.vectors(np.array([0])).tolist() == one().tolist()
    assert lazy.columns(np.array([0]))["n"].to_pylist() == [1]
    with pytest.raises(UnknownVersion, match="version 2 was vacuumed"):  # DuckDB opens files by their names
        _ = lazy.segments[0].checked_path


def test_staged_segments_survive_and_damaged_ones_are_dropped(space: SpaceFiles) -> None:
    for shard in range(3):
        space.stage([f"s{shard}"], one(), {"n": [shard]}, key="job", properties={"shard": shard})
    again = SpaceFiles(space.folder)
    assert again.staging_keys() == ["job"]
    assert [staged.properties["shard"] for staged in again.staged("job")] == [0, 1, 2]
    victim = again.staged("job")[1].paths()[1]
    content = bytearray(victim.read_bytes())
    content[3] ^= 1
    victim.write_bytes(content)
    whole = again.staged("job")
    assert [staged.ids() for staged in whole] == [["s0"], ["s2"]]
    assert not victim.exists()
    manifest = again.append(whole)
    assert (manifest.version, manifest.live) == (2, 2)
    assert again.staging_keys() == []
    again.stage(["s9"], one(), key="job")
    again.clear_staging("job")
    assert again.staged("job") == []
    assert again.vacuum(NOW, grace=NOW).files == (), "clearing removed the files"


def test_a_job_killed_after_its_commit_does_not_append_twice(space: SpaceFiles) -> None:
    staged = space.stage(["a"], one(), key="job")
    entry = next(space.layout.staged("job").iterdir())
    kept = entry.read_bytes()
    space.append([staged])
    entry.parent.mkdir()
    entry.write_bytes(kept)
    assert space.staged("job") == []
    space.upsert(["a"], one())
    space.compact()
    assert len(space.vacuum(NOW, grace=NOW).files) >= 3, "the entry does not keep the files for ever"
    assert space.staging_keys() == []


def record(space: SpaceFiles, name: str, version: int) -> ArtefactRecord:
    return ArtefactRecord(name, "test", version, {"content": space.write("concepts", ".bin", name.encode())})


def test_artefacts_are_rebased_when_that_is_safe(space: SpaceFiles) -> None:
    space.add(["a"], one())
    base = space.newest_version()
    index, concept = record(space, "index", base), record(space, "c", base)
    space.put_artefacts(base, concepts=[concept], maps=[record(space, "m", base)])
    space.put_artefacts(base, concepts=[record(space, "d", base), record(space, "c", base)])
    assert [one.name for one in space.snapshot().manifest.concepts] == ["d", "c"]
    space.add(["b"], one())
    assert space.put_artefacts(base, index=[index]).live == 2, "an index may be older than the rows"
    with pytest.raises(CommitConflict, match="changed in version 5, after version 2"):
        space.put_artefacts(base, concepts=[concept])
    space.put_artefacts(base, concepts=[concept], allow_stale=True)
    space.compact()
    space.put_artefacts(5, concepts=[record(space, "e", 5)])
    snapshot = space.snapshot()
    assert snapshot.read(snapshot.artefact("concepts", "e").files["content"]) == b"e"  # type: ignore[union-attr]
    with pytest.raises(NotFound, match="no concepts 'x'"):
        snapshot.artefact("concepts", "x")
    assert space.put_artefacts(1, remove=[("maps", "m")]).maps == ()
    with pytest.raises(InputError, match="two index artefacts"):
        space.put_artefacts(base, index=[index, index])
    space.restore(2)
    with pytest.raises(CommitConflict, match="replaced or restored"):
        space.put_artefacts(base, index=[index])
    path = space.layout.file(concept.files["content"].name)
    path.write_bytes(b"x")
    with pytest.raises(ChecksumMismatch, match=path.name):
        snapshot.read(concept.files["content"])


def test_restore_takes_the_index_along(space: SpaceFiles) -> None:
    space.add(["a"], one())
    space.put_artefacts(2, index=[record(space, "index", 2)])
    space.add(["b"], one())
    manifest = space.restore(3)
    assert manifest.index[0].version == manifest.revived_version == manifest.version
