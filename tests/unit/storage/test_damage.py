"""Damaged files of every kind: `verify` names each, and a read refuses or answers as if nothing had happened.

The oracle is what the sound store answers. A read that does not need the damaged bytes may answer; one that does must
raise a `StorageError`: there is no third way, neither another answer nor a crash nor a hang.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentstore.errors import ChecksumMismatch, StorageError
from latentstore.storage import SpaceFiles, StoreFiles
from latentstore.storage.sums import BLOCK
from latentstore.store import open_store

DIM, ROWS = 8, 900
# Files by what they are: a pattern under the store's folder, and whether `read_all` reads every byte of them.
KINDS = {
    "store.json": "store.json",
    "newest manifest": "spaces/s/manifests/*.json",
    "parquet": "spaces/s/segments/*.parquet",
    "f32": "spaces/s/segments/*.f32",
    "ids": "spaces/s/segments/*.ids",
    "sums": "spaces/s/segments/*.sums",
    "deletes": "spaces/s/deletes/*.npy",
    "faiss": f"spaces/s/index/{32 * '?'}.faiss",
    "trained index": "spaces/s/index/*.trained.faiss",
    "rows of the index": "spaces/s/index/*.rows.npy",
    "concepts": "spaces/s/concepts/*.parquet",
    "map": "spaces/s/maps/*.parquet",
    "state of a map": "spaces/s/maps/*.npz",
    "tag": "spaces/s/tags/*.json",
}
UNREAD = ("state of a map", "trained index")  # only what places more items on the map, or adds rows to the index, reads
HINTS = ("newest", "floor")  # guesses that are never trusted: damage costs looks, and nothing else


def build(folder: Path, seed: int) -> None:
    """A store with every kind of file."""
    rng = np.random.default_rng(seed)
    ids = [f"{seed}/{i}" for i in range(ROWS)]
    space = open_store(folder).create_space("s", dim=DIM)
    label = [("left", "right")[i % 2] for i in range(ROWS)]
    space.add(ids, rng.standard_normal((ROWS, DIM)), {"label": label, "size": np.arange(ROWS)})
    space.tag("first")
    space.delete(ids[5 * seed : 5 * seed + 4])
    space.build_index("ivf", target_recall=0.9)
    space.fit_centroids("label")
    space.fit_map("pca")


def read_all(folder: Path) -> dict[str, Any]:
    """What a store answers, by every way that leads into it."""
    store = open_store(folder, mode="r")
    space = store.space("s")
    query = np.linspace(-1, 1, DIM)
    hits = space.search(query, 7, columns=["size"])
    return {
        "tags": space.files.tags(),
        "tagged": len(store.space("s", at="first")),
        "hits": (hits.ids.tolist(), hits.distances.tolist(), hits.columns.to_pylist()),
        "exact": space.search(query, 7, recall=1.0).ids.tolist(),
        "filtered": space.search(query, 7, where="label = 'left' and size > 100").ids.tolist(),
        "table": space.to_arrow().to_pylist(),
        "sql": store.sql(
            "SELECT label, count(*) AS n, sum(size) AS total FROM s GROUP BY label ORDER BY 1"
        ).to_pylist(),
        "centroids": space.centroids.to_pylist(),
        "map": space.map("pca").to_pylist(),
    }


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two sound stores of the same shape and other contents."""
    one, other = tmp_path_factory.mktemp("one") / "a.store", tmp_path_factory.mktemp("other") / "b.store"
    build(one, 1)
    build(other, 2)
    return one, other


@pytest.fixture(scope="module")
def truth(stores: tuple[Path, Path]) -> dict[str, Any]:
    """What the sound store answers."""
    return read_all(stores[0])


def file_of(store: Path, kind: str) -> Path:
    """The file of a kind; of several the one that was written last."""
    return max(store.glob(KINDS[kind]), key=lambda path: (path.stat().st_mtime_ns, path.name))


def copied(store: Path, folder: Path) -> Path:
    return Path(shutil.copytree(store, folder / "copy.store"))


def is_refused_or_right(store: Path, truth: dict[str, Any]) -> bool:
    """Whether a read of everything is refused; False when it answers, and rightly."""
    try:
        found = read_all(store)
    except StorageError as error:
        assert str(store) in str(error)
        assert ";" in str(error), "no remedy"
        return True
    assert found == truth, f"an invented answer: {[key for key in truth if found[key] != truth[key]]}"
    return False


def names(store: Path, path: Path) -> bool:
    """Whether `verify` names a file, or cannot even open the store because of it."""
    try:
        return path in [problem.path for problem in StoreFiles(store, "r").verify()]
    except StorageError as error:
        return str(path) in str(error)


def flip(path: Path, place: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "one byte short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "one byte more": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "zeros": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_refused(
    stores: tuple[Path, Path], truth: dict[str, Any], tmp_path: Path, kind: str, damage: str
) -> None:
    store = copied(stores[0], tmp_path)
    path = file_of(store, kind)
    DAMAGES[damage](path)
    if (kind, damage) in (("store.json", "one byte more"), ("tag", "one byte more"), ("tag", "missing")):
        return  # white space behind JSON is none of our business; a tag that is not there is not there
    if (kind, damage) == ("newest manifest", "missing"):
        return  # the version never was: nothing else on disk says so
    if (kind, damage) == ("store.json", "missing"):
        with pytest.raises(ValueError, match="is not a store"):
            read_all(store)
        return
    assert names(store, path)
    refused = is_refused_or_right(store, truth)
    assert refused or kind in UNREAD


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("store.json", "tag")])
def test_a_file_of_another_store_is_refused(
    stores: tuple[Path, Path], truth: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    store = copied(stores[0], tmp_path)
    path = file_of(store, kind)
    shutil.copy(file_of(stores[1], kind), path)
    if kind == "newest manifest":  # a sound one, of files that are not here
        assert StoreFiles(store, "r").verify()
    else:
        assert names(store, path)
    assert is_refused_or_right(store, truth) or kind in UNREAD


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits_are_named_and_refused(
    stores: tuple[Path, Path], truth: dict[str, Any], tmp_path: Path, kind: str, long: bool
) -> None:
    """At the head, in the middle, at the tail, and at places that a seed chooses."""
    store = copied(stores[0], tmp_path)
    path = file_of(store, kind)
    good = path.read_bytes()
    rng = np.random.default_rng([*kind.encode()])
    last = len(good) - 1
    places = {0, 3, last // 2, last - 4, last, *rng.integers(0, last, 200 if long else 2).tolist()}
    for place in sorted(places & set(range(len(good)))):
        flip(path, place, int(rng.integers(8)))
        assert names(store, path) or is_json_space(kind), f"verify does not see byte {place}"
        is_refused_or_right(store, truth)
        path.write_bytes(good)
    assert not is_refused_or_right(store, truth), "the control: the sound store answers"


def is_json_space(kind: str) -> bool:
    return kind == "store.json"  # a flip may make {"format": 1} another way of writing the same


@given(
    kind=st.sampled_from([kind for kind in KINDS if kind != "store.json"]),
    where=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_flipped_bit(
    stores: tuple[Path, Path], truth: dict[str, Any], tmp_path: Path, kind: str, where: float, bit: int
) -> None:
    store = tmp_path / "copy.store"
    if not store.exists():
        copied(stores[0], tmp_path)
    path = file_of(store, kind)
    good = path.read_bytes()
    flip(path, int(where * len(good)), bit)
    try:
        assert names(store, path)
        is_refused_or_right(store, truth)
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("content", [b"", b"0", b"3", b"999999", b"x", b"-1", b"\xff" * 40, None])
def test_a_damaged_hint_costs_nothing(
    stores: tuple[Path, Path], truth: dict[str, Any], tmp_path: Path, hint: str, content: bytes | None
) -> None:
    store = copied(stores[0], tmp_path)
    path = store / "spaces" / "s" / "manifests" / hint
    path.unlink() if content is None else path.write_bytes(content)
    assert read_all(store) == truth


def big(folder: Path) -> tuple[SpaceFiles, np.ndarray]:
    """A space whose vectors fill several blocks."""
    space = SpaceFiles.create(folder, space="s", dim=64, metric="l2")
    vectors = np.random.default_rng(0).standard_normal((2000, 64)).astype(np.float32)
    space.add([f"i{n}" for n in range(2000)], vectors)
    return SpaceFiles(space.folder), vectors


def test_what_is_checked_when(tmp_path: Path) -> None:
    """A mapped vector file is checked block by block, where it is read: not when the store is opened."""
    space, vectors = big(tmp_path / "s")
    path = space.layout.file(space.snapshot().segments[0].record.files["f32"].name)
    assert path.stat().st_size > 4 * BLOCK
    flip(path, 2 * BLOCK + 7, 6)
    rows_of_a_block = BLOCK // (64 * 4)
    bad = np.arange(2 * rows_of_a_block, 3 * rows_of_a_block)
    snapshot = SpaceFiles(space.folder, "r").snapshot()  # opens: sizes only
    sound = np.setdiff1d(np.arange(2000), bad)
    assert np.array_equal(snapshot.vectors(sound), vectors[sound]), "rows of sound blocks are answered"
    for row in (bad[0], bad[-1]):
        with pytest.raises(ChecksumMismatch, match=rf"{path.name} .*bytes from {2 * BLOCK} on"):
            snapshot.vectors(np.array([row]))
    with pytest.raises(ChecksumMismatch, match=path.name):
        _ = snapshot.segments[0].vectors  # a scan
    assert [problem.path for problem in space.verify(deep=False)] == [path]


def test_compaction_does_not_make_damage_the_truth(tmp_path: Path) -> None:
    """Merging copies vectors from the mapped file: a flipped bit there must not get a new, valid checksum."""
    space, _ = big(tmp_path / "s")
    space.delete(["i7"])
    path = space.layout.file(space.snapshot().segments[0].record.files["f32"].name)
    flip(path, 3 * BLOCK, 0)
    before = space.newest_version()
    with pytest.raises(ChecksumMismatch, match=path.name):
        SpaceFiles(space.folder).compact()
    assert space.newest_version() == before


def test_a_segment_without_sums_is_read_as_before(tmp_path: Path) -> None:
    """Segments written by an earlier release have no sums: they are read, and `verify` still finds the damage."""
    from dataclasses import replace

    space, vectors = big(tmp_path / "s")
    manifest = space.snapshot().manifest
    files = {kind: file for kind, file in manifest.segments[0].files.items() if kind != "sums"}
    old = replace(manifest, segments=(replace(manifest.segments[0], files=files),))
    space.layout.manifest(manifest.version).write_bytes(old.to_bytes())
    reopened = SpaceFiles(space.folder)
    assert np.array_equal(reopened.snapshot().vectors(np.arange(2000)), vectors)
    path = space.layout.file(files["f32"].name)
    flip(path, 9, 1)
    assert [problem.path for problem in reopened.verify(deep=False)] == [path]


def test_gathered_rows_and_patches_are_checked(tmp_path: Path) -> None:
    """A search's gather checks the blocks it touches, those only, and a patch is checked before it answers."""
    dim = 64  # 256 rows per block
    space = StoreFiles(tmp_path / "a.store").create_space("s", dim=dim, metric="l2")
    for part in range(2):
        space.add([f"{part}/{i}" for i in range(600)], np.ones((600, dim)), {"x": np.arange(600)})
    raw = sorted(space.folder.glob("segments/*.f32"))
    for path in raw:
        content = bytearray(path.read_bytes())
        content[BLOCK + 5] ^= 1
        path.write_bytes(content)
    gather = SpaceFiles(space.folder, "r").snapshot().gather
    sound, bad = np.array([0, 255, 512, 600, 1199]), np.array([300, 856])
    assert (gather(sound) == 1).all()
    assert [vectors.shape for vectors, _ in gather.pieces(sound[None])] == [(600, dim)] * 2
    for rows in (bad, bad[:1], bad[1:]):
        with pytest.raises(ChecksumMismatch):
            gather(rows)
        with pytest.raises(ChecksumMismatch):
            list(gather.pieces(rows[None]))
    space.update(["0/1"], {"x": [-1]})
    (patch,) = space.folder.glob("segments/*.patch")
    content = bytearray(patch.read_bytes())
    content[len(content) // 2] ^= 1
    patch.write_bytes(content)
    with pytest.raises(ChecksumMismatch, match="patch"):
        SpaceFiles(space.folder, "r").snapshot().columns(np.array([1]))
