"""A backup is the store: every version, tag and encoder; taken while others write; killed, it is an older backup."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from latentstore.errors import AlreadyExists, ChecksumMismatch, ConfigInvalid, StorageError
from latentstore.storage import SpaceFiles, StoreFiles, copying
from latentstore.storage.log import Log


@pytest.fixture
def store(tmp_path: Path) -> StoreFiles:
    store = StoreFiles(tmp_path / "a.store")
    space = store.create_space("one", dim=3, metric="l2")
    for start in range(0, 50, 10):
        ids = [f"i{n}" for n in range(start, start + 10)]
        space.add(ids, np.full((10, 3), start), {"x": [None, *range(9)], "t": ["é\0\n"] * 10})
    space.delete(["i3"])
    space.tag("production", 4)
    store.create_space("empty", dim=2, metric="cosine")
    encoder = store.new_encoder_folder("abc")
    encoder.mkdir()
    for name in ("spec.json", "weights.safetensors", "card.json"):
        (encoder / name).write_text("{}")
    return store


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but locks, guesses and the floor, which may differ."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "newest", "floor")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_the_backup_is_the_store(store: StoreFiles, tmp_path: Path) -> None:
    report = store.backup(tmp_path / "b")
    assert contents(tmp_path / "b") == contents(store.folder)
    assert report.spaces == {"empty": 1, "one": 7}
    copy = StoreFiles(tmp_path / "b")
    assert copy.verify() == []
    assert copy.space("one").snapshot().find(["i3", "i4"]).tolist() == [-1, 4]
    copy.space("one").add(["more"], np.zeros((1, 3)))  # it is a store like any other


def test_what_is_there_is_not_copied_again(store: StoreFiles, tmp_path: Path) -> None:
    store.backup(tmp_path / "b")
    again = store.backup(tmp_path / "b")
    assert (again.copied, again.bytes, again.versions) == (0, 0, 0)
    store.space("one").add(["new"], np.zeros((1, 3)))
    store.space("one").tag("production")
    store.space("one").tag("gone")
    store.space("one").delete_tag("gone")
    third = store.backup(tmp_path / "b")
    assert (third.versions, third.copied) == (1, 4)
    assert contents(tmp_path / "b") == contents(store.folder)


def test_damage_in_the_backup_is_healed_when_checked(store: StoreFiles, tmp_path: Path) -> None:
    store.backup(tmp_path / "b")
    path = next((tmp_path / "b").rglob("*.parquet"))
    good = path.read_bytes()
    path.write_bytes(b"\0" * len(good))
    assert store.backup(tmp_path / "b").copied == 0  # the size is right: that is the control
    assert store.backup(tmp_path / "b", check=True).copied == 1
    assert path.read_bytes() == good


def test_a_damaged_source_is_refused_and_the_older_versions_stay(store: StoreFiles, tmp_path: Path) -> None:
    store.backup(tmp_path / "b")
    before = contents(tmp_path / "b")
    manifest = store.space("one").add(["new"], np.zeros((1, 3)))
    path = store.space("one").layout.file(manifest.segments[-1].files["parquet"].name)
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(ChecksumMismatch, match=f"{path.name} .*run repair"):
        store.backup(tmp_path / "b")
    assert StoreFiles(tmp_path / "b").verify() == []
    assert {name for name in contents(tmp_path / "b") if "manifests" in name} <= before.keys()
    path.unlink()
    with pytest.raises(ChecksumMismatch, match=f"{path.name} is missing"):
        store.backup(tmp_path / "b")


def test_versions_dropped_by_vacuum_stay_in_the_backup_and_leave_no_trap(store: StoreFiles, tmp_path: Path) -> None:
    space = store.space("one")
    store.backup(tmp_path / "b")
    for n in range(5):
        space.add([f"later{n}"], np.zeros((1, 3)))
    space.vacuum(timedelta(0), grace=timedelta(0))
    store.backup(tmp_path / "b")
    copy = StoreFiles(tmp_path / "b").space("one")
    assert copy.newest_version() == space.newest_version() == 12
    assert [manifest.version for manifest in copy.versions()] == [*range(1, 8), 12]
    assert copy.verify() == []
    assert copy.add(["x"], np.zeros((1, 3))).version == 13


def test_another_store_is_not_overwritten(store: StoreFiles, tmp_path: Path) -> None:
    store.backup(tmp_path / "b")
    StoreFiles(tmp_path / "b").space("one").add(["mine"], np.zeros((1, 3)))
    with pytest.raises(AlreadyExists, match=r"version 8 is in the backup, the store ends at 7: .* is no backup"):
        store.backup(tmp_path / "b")
    store.space("one").add(["other"], np.zeros((1, 3)))
    with pytest.raises(AlreadyExists, match="version 8 is another one"):
        store.backup(tmp_path / "b")
    for inside in (store.folder, store.folder / "spaces" / "b"):
        with pytest.raises(ConfigInvalid):
            store.backup(inside)
    assert store.verify() == []


def test_while_others_write_merge_and_vacuum(store: StoreFiles, tmp_path: Path) -> None:
    stop, errors = threading.Event(), []

    def write() -> None:
        space, n = SpaceFiles(store.layout.space("one")), 0
        try:
            while not stop.is_set():
                n += 1
                space.upsert([f"w{n % 50}", f"v{n % 7}"], np.full((2, 3), n))
                if n % 5 == 0:
                    space.tag("production")
                    space.vacuum(timedelta(0), grace=timedelta(seconds=5))
        except Exception as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(6):
            folder = tmp_path / f"b{number % 2}"  # new ones and earlier ones
            store.backup(folder)
            copy = StoreFiles(folder, "r")
            assert copy.verify() == []
            space = copy.space("one")
            table = next(iter([space.snapshot()]))
            newest = {i: v[0] for i, v in zip(*_rows(table), strict=True) if i[0] in "wv"}
            n = max(newest.values(), default=0)
            # A writer's versions are cut whole: each item holds the last value written to it up to some n.
            for one, value in newest.items():
                period = 50 if one[0] == "w" else 7
                assert value == n - (n - int(one[1:])) % period
    finally:
        stop.set()
        writer.join()
    assert errors == []


def test_gaps_that_vacuum_left_between_two_backups_are_no_damage(store: StoreFiles, tmp_path: Path) -> None:
    """Also where the newest version is found without crossing them."""
    store.backup(tmp_path / "b")
    space = SpaceFiles(store.layout.space("one"))
    for n in range(4):
        space.upsert(["new"], np.full((1, 3), n))
    space.vacuum(timedelta(0), grace=timedelta(0))
    space.upsert(["new"], np.full((1, 3), 9.0))
    copied = SpaceFiles(StoreFiles(tmp_path / "b", "r").layout.space("one"))
    Log(copied.layout).remember(space.newest_version())  # as a backup that was killed may have left it
    store.backup(tmp_path / "b")
    copy = StoreFiles(tmp_path / "b", "r")
    assert copy.verify() == []
    assert copy.space("one").newest_version() == space.newest_version()


def _rows(snapshot):  # type: ignore[no-untyped-def]
    live = snapshot.live_rows()
    return snapshot.ids(live).tolist(), snapshot.vectors(live).tolist()


@pytest.mark.parametrize("after", range(0, 60, 4))
def test_killed_at_any_write_it_is_a_sound_store_and_goes_on(store: StoreFiles, tmp_path: Path, after: int) -> None:
    code = (
        "import os, sys, signal\n"
        "from latentstore.storage import StoreFiles, files\n"
        "left = int(sys.argv[3])\n"
        "def die(*_):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "for home, name in ((files, 'sync_folder'), (os, 'fsync'), (os, 'rename'), (os, 'link')):\n"
        "    def wrapped(*a, _real=getattr(home, name)):\n"
        "        die()\n"
        "        return _real(*a)\n"
        "    setattr(home, name, wrapped)\n"
        "StoreFiles(sys.argv[1], 'r').backup(sys.argv[2])\n"
    )
    target = tmp_path / "b"
    done = subprocess.run([sys.executable, "-c", code, str(store.folder), str(target), str(after)], check=False)
    assert done.returncode in (-9, 0)
    if (target / "store.json").exists():
        assert StoreFiles(target, "r").verify() == []
    store.backup(target)
    assert contents(target).items() >= contents(store.folder).items()
    assert StoreFiles(target, "r").verify() == []


def test_a_full_disk_is_one_error(store: StoreFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, content: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(copying.Sink, "write", full)
        with pytest.raises(StorageError, match="free space and try again"):
            store.backup(tmp_path / "b")
    assert not list((tmp_path / "b").rglob(".tmp-*"))
    store.backup(tmp_path / "b")
    assert contents(tmp_path / "b") == contents(store.folder)
