"""Damage of every kind is named; what is derived is rebuilt to the same answers, what is not is left and named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.errors import StorageError
from latentstore.storage.manifest import seal
from latentstore.store import LatentStore, repair_store

Damage = Callable[[Path], object]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


DAMAGES: list[Damage] = [Path.unlink, truncate, flip]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repair") / "a.store"
    space = ls.open(path).create_space("s", dim=8, metric="l2")
    rng = np.random.default_rng(0)
    table = pa.table({"label": ["a", "b"] * 500, "x": pa.array([None, *range(999)], pa.int32())})
    space.add([f"i{n}" for n in range(1000)], rng.standard_normal((1000, 8)), table)
    space.delete([f"i{n}" for n in range(100, 150)])
    space.build_index("ivf")
    space.fit_centroids()
    space.fit_attribute("up", positive="label = 'a'", negative="label = 'b'")
    space.fit_map("pca")
    return path


@pytest.fixture
def store(made: Path, tmp_path: Path) -> LatentStore:
    shutil.copytree(made, tmp_path / "a.store")
    return ls.open(tmp_path / "a.store")


def answers(store: LatentStore) -> list[object]:
    space = store.space("s")
    query = np.ones((3, 8), np.float32)
    found = space.search(query, 5, recall=1.0)
    return [
        space.to_arrow().to_pylist(),
        found.ids.tolist(),
        space.centroids.drop_columns(["version"]).to_pylist(),
        space.attributes.drop_columns(["version"]).to_pylist(),
        space.map("pca").to_pylist(),
        space.status().index,
    ]


def one(store: LatentStore, pattern: str) -> Path:
    return sorted(store.path.glob(f"spaces/s/{pattern}"))[0]


DERIVED = [
    "segments/*.f32",
    "segments/*.ids",
    "segments/*.sums",
    "index/*.faiss",
    "index/*.npy",
    "maps/*.parquet",
    "maps/*.npz",
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("pattern", [*DERIVED, "concepts/*.parquet"])
def test_what_is_derived_is_rebuilt(store: LatentStore, pattern: str, damage: Damage) -> None:
    wanted = answers(store)
    path = one(store, pattern)
    manifests = {one.name: one.read_bytes() for one in store.path.glob("spaces/s/manifests/*.json")}
    damage(path)
    assert [problem.path for problem in store.verify()] == [path]
    assert "run repair" in store.verify()[0].remedy
    fresh = ls.open(store.path)
    report = fresh.repair()
    assert {mended.path for mended in report.mended} == {path}
    assert answers(ls.open(store.path)) == wanted
    for name, content in manifests.items():  # what was committed is as it was
        assert (store.path / "spaces/s/manifests" / name).read_bytes() == content
    # Files that come out the same are put back; others only old versions miss.
    assert [problem.path for problem in report.left] == ([] if "segments" in pattern else [path])
    if "segments" in pattern:
        assert fresh.verify() == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("pattern", ["segments/*.parquet", "deletes/*.npy", "manifests/*2.json"])
def test_what_is_not_is_named_and_left(store: LatentStore, pattern: str, damage: Damage) -> None:
    path = one(store, pattern)
    damage(path)
    before = {one: one.read_bytes() for one in store.path.glob("spaces/s/*/*.*")}
    report = ls.open(store.path).repair()
    assert [mended.path.name for mended in report.mended] in ([], ["floor"])
    assert path in [problem.path for problem in report.left] or report.mended
    assert all(problem.remedy for problem in report.left)
    assert {one: one.read_bytes() for one in store.path.glob("spaces/s/*/*.*")} == before
    if "deletes" in pattern:
        assert "go back to version 2, which does not need it" in report.left[0].remedy
        assert ls.open(store.path).files.space("s").restore(2).live == 1000  # and that works


def test_the_marks_of_the_log(store: LatentStore) -> None:
    manifests = store.path / "spaces/s/manifests"
    newest = store.space("s").version
    for name, content in (("floor", b"x"), ("floor", b"99"), ("newest", b"?"), ("newest", b"12345")):
        (manifests / name).write_bytes(content)
        assert [problem.path.name for problem in store.verify()] == [name]
        assert [mended.path.name for mended in ls.open(store.path).repair().mended] == [name]
        assert store.verify() == []
    (manifests / "000000000004.json").unlink()
    (manifests / "newest").unlink()
    assert [problem.path.name for problem in store.verify()] == ["000000000004.json"]
    assert ls.open(store.path).space("s").version == 3  # the trap: the next write would have gone into the gap
    ls.open(store.path).repair()
    assert ls.open(store.path).space("s").version == newest


@pytest.mark.parametrize("kind", ["f32", "sums"])
def test_a_writer_s_mistake_gets_a_new_version(store: LatentStore, kind: str) -> None:
    """The checksum of a derived file in the manifest is right, it differs from the Parquet file all the same."""
    wanted = answers(store)
    path = one(store, f"segments/*.{kind}")
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    flip(path)
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    for manifest in store.path.glob("spaces/s/manifests/*.json"):
        value = json.loads(manifest.read_text().replace(old, new))
        del value["seal"]
        manifest.write_bytes(seal(value))
    assert [problem.what[:7] for problem in store.verify()] == ["differs"]
    version = store.space("s").version
    report = ls.open(store.path).repair()
    assert f"version {version + 1} has" in report.mended[0].what
    assert answers(ls.open(store.path)) == wanted


def test_store_json_and_encoders(store: LatentStore) -> None:
    wanted = answers(store)
    (store.path / "store.json").write_bytes(b"{")
    with pytest.raises(StorageError):
        ls.open(store.path)
    assert [mended.path.name for mended in repair_store(store.path).mended] == ["store.json"]
    (store.path / "store.json").unlink()
    repair_store(store.path)
    assert answers(ls.open(store.path)) == wanted
    folder = store.path / "encoders" / "abc"
    folder.mkdir()
    (folder / "spec.json").write_text("{")
    problems = store.verify()
    assert {problem.path for problem in problems} == {folder}
    assert all("from a backup" in problem.remedy for problem in problems)


def test_unfinished_jobs(store: LatentStore) -> None:
    files = store.files.space("s")
    staged = files.stage(["n"], np.ones((1, 8)), key="job")
    assert store.verify() == []
    flip(staged.paths()[0])
    assert "job 'job' again" in store.verify()[0].remedy
    ls.open(store.path).repair()
    assert store.verify() == []
    assert files.staged("job") == []
