"""A store in one file and back, byte for byte; whatever is forged, truncated or damaged makes nothing visible."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentstore.errors import AlreadyExists, ChecksumMismatch, FormatTooNew, InputError, LatentStoreError
from latentstore.storage import StoreFiles

Entries = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def store(tmp_path: Path) -> StoreFiles:
    store = StoreFiles(tmp_path / "a.store")
    space = store.create_space("one", dim=3, metric="l2")
    space.add([f"i{n}" for n in range(50)], np.arange(150.0).reshape(50, 3), {"x": [None, *range(49)]})
    space.delete(["i3"])
    space.tag("production", 2)
    encoder = store.new_encoder_folder("abc")
    encoder.mkdir()
    for name in ("spec.json", "weights.safetensors", "card.json"):
        (encoder / name).write_text("{}")
    return store


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "newest")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def entries(path: Path) -> Entries:
    with tarfile.open(path, "r:") as tar:
        return [(one, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]


def write(path: Path, members: Entries) -> Path:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for entry, content in members:
            tar.addfile(entry, io.BytesIO(content))
    return path


def entry(name: str, content: bytes = b"", **options: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in options.items():
        setattr(info, key, value)
    return info, content


def relisted(members: Entries, change: Callable[[dict], object] = lambda _: None) -> Entries:  # type: ignore[type-arg]
    """Members with a new, right list in front: what someone who wants to do harm would write."""
    value = json.loads(members[0][1])
    value["files"] = [
        {"name": one.name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for one, content in members[1:]
    ]
    change(value)
    content = json.dumps(value).encode()
    return [entry(f"latentstore-{hashlib.sha256(content).hexdigest()}.json", content), *members[1:]]


def test_there_and_back(store: StoreFiles, tmp_path: Path) -> None:
    told = store.archive(tmp_path / "a.tar")
    back = StoreFiles.unarchive(tmp_path / "a.tar", tmp_path / "b.store")
    assert contents(tmp_path / "b.store") == contents(store.folder)
    assert (back.spaces, back.files, back.bytes) == (told.spaces, told.files, told.bytes)
    copy = StoreFiles(tmp_path / "b.store")
    assert copy.verify() == []
    assert copy.space("one").tags() == {"production": 2}
    assert copy.space("one").add(["new"], np.zeros((1, 3))).version == 4
    assert entries(tmp_path / "a.tar")[0][0].name.startswith("latentstore-")


def test_places_that_are_taken(store: StoreFiles, tmp_path: Path) -> None:
    store.archive(tmp_path / "a.tar")
    with pytest.raises(AlreadyExists, match=r"a\.tar exists"):
        store.archive(tmp_path / "a.tar")
    store.archive(tmp_path / "a.tar", overwrite=True)
    with pytest.raises(AlreadyExists, match="not empty"):
        StoreFiles.unarchive(tmp_path / "a.tar", store.folder)
    (tmp_path / "empty").mkdir()
    StoreFiles.unarchive(tmp_path / "a.tar", tmp_path / "empty")


def test_a_damaged_store_is_not_packed(store: StoreFiles, tmp_path: Path) -> None:
    path = next(store.folder.rglob("*.f32"))
    good = path.read_bytes()
    path.write_bytes(b"\1" * len(good))
    with pytest.raises(ChecksumMismatch, match=path.name):
        store.archive(tmp_path / "a.tar")
    path.unlink()
    with pytest.raises(ChecksumMismatch, match=f"{path.name} is missing"):
        store.archive(tmp_path / "a.tar")
    assert [one.name for one in tmp_path.iterdir()] == ["a.store"]


FORGED: dict[str, tuple[Callable[[Entries], Entries], type[LatentStoreError]]] = {
    "climbs": (lambda m: relisted([*m, entry("../evil", b"x")]), InputError),
    "climbs inside": (lambda m: relisted([*m, entry("spaces/one/segments/../../../../evil", b"x")]), InputError),
    "absolute": (lambda m: relisted([*m, entry("/tmp/evil", b"x")]), InputError),
    "link": (lambda m: [*m[:-1], entry(m[-1][0].name, type=tarfile.SYMTYPE, linkname="/etc/passwd")], InputError),
    "hard link": (lambda m: [*m[:-1], entry(m[-1][0].name, type=tarfile.LNKTYPE, linkname=m[1][0].name)], InputError),
    "device": (lambda m: [*m[:-1], entry(m[-1][0].name, type=tarfile.CHRTYPE)], InputError),
    "folder": (lambda m: [m[0], entry("spaces", type=tarfile.DIRTYPE), *m[1:]], InputError),
    "twice": (lambda m: relisted([*m, m[-1]]), InputError),
    "twice but for case": (lambda m: relisted([*m, entry("encoders/ABC/spec.json", b"{}")]), InputError),
    "not listed": (lambda m: [*m, entry("spaces/one/segments/x", b"x")], InputError),
    "left out": (lambda m: m[:-1], ChecksumMismatch),
    "other order": (lambda m: [m[0], *reversed(m[1:])], InputError),
    "no list": (lambda m: m[1:], InputError),
    "list changed": (lambda m: [(m[0][0], m[0][1].replace(b'"one"', b'"two"')), *m[1:]], ChecksumMismatch),
    "content changed": (lambda m: [*m[:-1], (m[-1][0], b"?" * len(m[-1][1]))], ChecksumMismatch),
    "space of another name": (lambda m: relisted(m, lambda v: v["spaces"].update(two=1)), InputError),
    "newest of another": (lambda m: relisted(m, lambda v: v["spaces"].update(one=2)), InputError),
    "a version without a file": (
        lambda m: relisted([one for one in m if not one[0].name.endswith(".parquet")]),
        ChecksumMismatch,
    ),
    "vectors of another": (
        lambda m: relisted([(i, b"\0" * len(c) if i.name.endswith(".f32") else c) for i, c in m]),
        ChecksumMismatch,
    ),
    "no store": (lambda m: relisted([one for one in m if one[0].name != "store.json"]), InputError),
    "bomb": (lambda m: relisted(m, lambda v: v["files"][0].update(size=1 << 60)), InputError),
    "newer": (lambda m: relisted(m, lambda v: v.update(format=2)), FormatTooNew),
    "pickle": (lambda m: relisted([*m, entry("encoders/abc/weights.pkl", b"x")]), InputError),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_archives_make_nothing_visible(store: StoreFiles, tmp_path: Path, name: str) -> None:
    forge, error = FORGED[name]
    store.archive(tmp_path / "a.tar")
    path = write(tmp_path / "forged.tar", forge(entries(tmp_path / "a.tar")))
    with pytest.raises(error, match=r"forged\.tar"):
        StoreFiles.unarchive(path, tmp_path / "b")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.store", "a.tar", "forged.tar"]
    good = write(tmp_path / "good.tar", relisted(entries(tmp_path / "a.tar")))  # the control: relisting is accepted
    StoreFiles.unarchive(good, tmp_path / "b")


def test_any_cut_and_any_flipped_byte(store: StoreFiles, tmp_path: Path) -> None:
    store.archive(tmp_path / "a.tar")
    good = (tmp_path / "a.tar").read_bytes()
    rng = np.random.default_rng(0)
    wanted = contents(store.folder)
    for at in rng.integers(0, len(good) - 10_240, 60).tolist():
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :]):
            (tmp_path / "bad.tar").write_bytes(bad)
            try:
                StoreFiles.unarchive(tmp_path / "bad.tar", tmp_path / f"b{at}")
            except LatentStoreError:
                assert not (tmp_path / f"b{at}").exists()
            else:  # padding of tar, which means nothing
                assert contents(tmp_path / f"b{at}") == wanted
                assert len(bad) == len(good)
    for other in (b"", b"PK\3\4", b"\x1f\x8b" + good, good[512:]):
        (tmp_path / "bad.tar").write_bytes(other)
        with pytest.raises(LatentStoreError, match=r"bad\.tar"):
            StoreFiles.unarchive(tmp_path / "bad.tar", tmp_path / "b")
