"""Damaged, missing and foreign files are refused by name, with a remedy; full and read-only disks change nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from latentstore.errors import (
    ChecksumMismatch,
    ConfigInvalid,
    FormatTooNew,
    ManifestInvalid,
    StorageError,
    UnknownSpace,
)
from latentstore.storage import SpaceFiles, StoreFiles

Damage = Callable[[Path], object]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.fixture
def space(tmp_path: Path) -> SpaceFiles:
    space = SpaceFiles.create(tmp_path / "space", space="space", dim=4, metric="l2")
    rng = np.random.default_rng(0)
    space.add([f"a{i}" for i in range(100)], rng.standard_normal((100, 4)), {"x": np.arange(100)})
    space.delete(["a7", "a50"])
    return SpaceFiles(space.folder)


def file_of(space: SpaceFiles, kind: str) -> Path:
    segment = space.snapshot().segments[0].record
    record = segment.deletes if kind == "deletes" else segment.files[kind]
    assert record is not None
    return space.layout.file(record.name)


@pytest.mark.parametrize("kind", ["parquet", "f32", "ids", "deletes"])
@pytest.mark.parametrize("damage", [Path.unlink, truncate, lambda path: path.write_bytes(b"")])
def test_a_missing_or_truncated_file_is_refused_at_open(space: SpaceFiles, kind: str, damage: Damage) -> None:
    path = file_of(space, kind)
    damage(path)
    with pytest.raises(ChecksumMismatch, match=f"{path.name} .*verify"):
        SpaceFiles(space.folder, "r").snapshot()
    assert path in [problem.path for problem in space.verify()]


@pytest.mark.parametrize("kind", ["parquet", "f32", "ids", "deletes"])
def test_a_flipped_bit_is_named_by_verify(space: SpaceFiles, kind: str) -> None:
    assert space.verify() == []
    path = file_of(space, kind)
    flip(path)
    problems = space.verify(deep=False)
    assert [(problem.path, "sha256" in problem.what) for problem in problems] == [(path, True)]
    assert problems[0].remedy


def test_garbage_of_the_right_size_is_no_answer(space: SpaceFiles) -> None:
    for kind in ("parquet", "ids", "deletes"):
        path = file_of(space, kind)
        good = path.read_bytes()
        path.write_bytes(b"\0" * len(good))
        fresh = SpaceFiles(space.folder, "r").snapshot()
        with pytest.raises(ChecksumMismatch, match=path.name):
            fresh.find(["a1"])
            fresh.columns(np.array([1]), ["x"])
        path.write_bytes(good)


def test_verify_compares_derived_files_with_the_truth(space: SpaceFiles) -> None:
    """A writer's mistake: the checksums are right, the content is not."""
    import hashlib

    path = file_of(space, "f32")
    flip(path)
    manifest = space.layout.manifest(3)
    for version in (2, 3):
        manifest = space.layout.manifest(version)
        value = json.loads(manifest.read_bytes())
        value["segments"][0]["files"]["f32"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(value))
    fresh = SpaceFiles(space.folder)
    assert fresh.verify(deep=False) == []
    assert [(problem.path, problem.what[:7]) for problem in fresh.verify()] == [(path, "differs")]


def test_files_no_version_names_are_no_problem(space: SpaceFiles) -> None:
    (space.folder / "segments" / "stray.parquet").write_bytes(b"x")
    assert space.verify() == []


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", ManifestInvalid, "not JSON"),
        (b"{", ManifestInvalid, "not JSON"),
        (b"\xff\xfe", ManifestInvalid, "not JSON"),
        (b"[1]", ManifestInvalid, "holds a list"),
        (b'{"format": 1}', ManifestInvalid, "not a whole manifest .*version"),
        (b'{"format": 0}', ManifestInvalid, "format 0"),
        (b'{"format": 3}', FormatTooNew, "format 3, this release reads up to 2; install"),
    ],
)
def test_a_damaged_manifest_is_named(space: SpaceFiles, content: bytes, error: type[Exception], message: str) -> None:
    path = space.layout.manifest(3)
    path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        SpaceFiles(space.folder).snapshot()
    assert str(path) in str(caught.value)
    assert space.snapshot(2).version == 2, "older versions can still be read"
    assert [problem.path for problem in space.verify()] == [path]


@pytest.mark.parametrize("field", ["version", "dim", "metric", "segments", "next_row", "columns", "rows_version"])
@pytest.mark.parametrize("value", [None, -1, "x", [7]])
def test_an_impossible_field_is_refused(space: SpaceFiles, field: str, value: object) -> None:
    path = space.layout.manifest(3)
    changed = json.loads(path.read_bytes())
    changed[field] = value
    path.write_text(json.dumps(changed))
    with pytest.raises(ManifestInvalid, match=path.name):
        SpaceFiles(space.folder).snapshot()


def test_a_store_is_recognised(tmp_path: Path) -> None:
    store = StoreFiles(tmp_path / "new" / "s.store")
    assert store.spaces() == store.encoders() == []
    assert not store.folder.exists()
    store.create_space("one", dim=2, metric="l2")
    assert json.loads((store.folder / "store.json").read_bytes()) == {"format": 2}
    assert StoreFiles(store.folder, "r").spaces() == ["one"]
    assert store.verify() == []
    with pytest.raises(UnknownSpace, match="did you mean 'one'"):
        store.space("onne")
    with pytest.raises(ConfigInvalid, match="fingerprint"):
        store.encoder_folder("../x")
    assert not store.new_encoder_folder("abc").exists()
    for name in ("abc", ".unfinished"):
        (store.layout.encoders / name).mkdir()
        (store.layout.encoders / name / "spec.json").write_text("{}")
    (store.layout.encoders / "empty").mkdir()
    assert store.encoders() == ["abc"]
    with pytest.raises(UnknownSpace, match="no store at"):
        StoreFiles(tmp_path / "nowhere", "r")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for folder in (tmp_path / "other", tmp_path / "other" / "file"):
        with pytest.raises(ConfigInvalid, match="is not a store"):
            StoreFiles(folder)
    (store.folder / "store.json").write_text('{"format": 99}')
    with pytest.raises(FormatTooNew, match="99"):
        StoreFiles(store.folder)
    (store.folder / "store.json").write_text("{")
    with pytest.raises(ManifestInvalid, match=r"store\.json"):
        StoreFiles(store.folder)


OPERATIONS: dict[str, Callable[[SpaceFiles], object]] = {
    "add": lambda space: space.add([f"big{i}" for i in range(2000)], np.ones((2000, 4))),
    "upsert": lambda space: space.upsert([f"a{i}" for i in range(100)], np.ones((100, 4))),
    "stage": lambda space: space.stage([f"big{i}" for i in range(2000)], np.ones((2000, 4)), key="job"),
    "compact": lambda space: space.compact(),
    "artefact": lambda space: space.write("index", ".bin", b"x" * 100_000),
    "delete": lambda space: space.delete([f"a{i}" for i in range(100, 200)]),
    "tag": lambda space: space.tag("production"),
    "update": lambda space: space.update([f"a{i}" for i in range(100, 1900)], {"x": np.arange(1800)}),
    "column": lambda space: space.add_column(f"column{space.newest_version()}", "int64", 7),
    "source": lambda space: space.add_source(
        pa.table({"id": [f"big{i}" for i in range(2000)], "vector": [[1.0] * 4] * 2000})
    ),
}


def files_of(space: SpaceFiles) -> dict[str, bytes]:
    skipped = ("newest", "lock")
    found = [path for path in space.folder.rglob("*") if path.is_file() and path.name not in skipped]
    return {str(path): path.read_bytes() for path in found}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("limit", [0, 700, 20_000])
def test_a_full_disk_changes_nothing(space: SpaceFiles, operation: str, limit: int) -> None:
    """A limit on file sizes stands for the full disk: writes fail in the middle with EFBIG."""
    space.add([f"a{i}" for i in range(100, 2000)], np.ones((1900, 4)))
    before = files_of(space)
    version = space.newest_version()
    old_signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(
            StorageError, match=r"cannot write .*raise the limit.*(nothing was committed|the tag stands)"
        ):
            for _ in range(100 if limit > 700 else 1):  # small operations fit below the larger limits
                OPERATIONS[operation](space)
                if operation in ("delete", "tag", "compact", "upsert", "update", "column") and limit > 0:
                    pytest.skip("fits below this limit")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old_signal)
    assert files_of(space) == before
    assert space.newest_version() == version
    assert space.verify() == []
    OPERATIONS[operation](space)  # the control: it passes with space


def test_a_really_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        space = SpaceFiles.create(folder / "s", space="s", dim=16, metric="l2")
        space.add(["a"], np.ones((1, 16)))
        before = files_of(space)
        for n in (5_000, 9_000):
            with pytest.raises(StorageError, match="No space left on device; free space"):
                space.add([f"x{i}" for i in range(n)], np.random.default_rng(0).standard_normal((n, 16)))
            assert files_of(space) == before
        space.add(["b"], np.ones((1, 16)))
        assert space.verify() == []
        assert len(space.snapshot()) == 2
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


READ_ONLY = """
import mmap, os, sys  # mmap: as those below
import numpy as np
import numpy.ma, pyarrow.compute  # loaded late, when this user may not read the environment's folder any more
from latentstore.errors import StorageError
from latentstore.storage import SpaceFiles
os.setgid(65534)
os.setuid(65534)
space = SpaceFiles(sys.argv[1])
assert len(space.snapshot()) == 98
changes = (lambda: space.add(["new"], np.ones((1, 4))), lambda: space.delete(["a1"]), lambda: space.tag("t"))
for change in (*changes, space.vacuum):
    try:
        change()
    except StorageError as error:
        assert "allow this user to write there, or open with mode='r'" in str(error), error
    else:
        raise SystemExit("it was written")
"""


def test_a_read_only_folder(space: SpaceFiles, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root to become another user, whom permissions bind")
    for path in [space.folder, *space.folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    code = subprocess.run([sys.executable, "-c", READ_ONLY, space.folder], capture_output=True, text=True)
    assert code.returncode == 0, code.stderr
    assert space.newest_version() == 3
