"""What does not fit, is damaged or was killed leaves nothing behind, and the message names the place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import latentstore as ls
from latentstore.errors import (
    AlreadyExists,
    ChecksumMismatch,
    InputError,
    NotFinite,
    ShapeMismatch,
    SpaceMismatch,
    UnknownEncoder,
)
from latentstore.storage import bulk
from latentstore.store import LatentStore

BAD: dict[str, tuple[dict[str, object], type[Exception], str]] = {
    "NaN in the last batch": ({"vector": [[1.0, 2.0], [3.0, float("nan")]]}, NotFinite, "NaN"),
    "a null vector": (
        {"vector": [[1.0, 2.0], None]},
        ShapeMismatch,
        r"x.parquet row 1: no vector; this space needs width 2",
    ),
    "another width": (
        {"vector": [[1.0, 2.0], [3.0]]},
        ShapeMismatch,
        r"row 1: a vector of width 1; this space needs width 2",
    ),
    "an id twice": ({"id": ["a", "a"]}, InputError, r"row 1: id 'a' was in .*x.parquet row 0 already"),
    "a null id": ({"id": ["a", None]}, InputError, "row 1: the id is None"),
    "ids of numbers": ({"id": [1, 2]}, InputError, "ids are text: cast them"),
    "vectors of text": ({"vector": ["x", "y"]}, InputError, "vectors are lists"),
    "no vectors": ({"vector": None}, InputError, "no column 'vector'"),
    "a reserved column": ({"row": [1, 2]}, InputError, "'row' is reserved"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_leaves_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SEGMENT_ROWS", 1)  # the good row is written before the bad one is met
    change, error, message = BAD[name]
    columns = {"id": ["a", "b"], "vector": [[1.0, 2.0], [3.0, 4.0]]} | change
    table = pa.table({name: values for name, values in columns.items() if values is not None})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1)
    store = ls.open(tmp_path / "a.store")
    space = store.create_space("s", dim=2)
    with pytest.raises(error, match=message):
        space.import_rows(tmp_path / "x.parquet")
    assert space.refresh().version == 1
    assert not list(store.path.glob("spaces/s/segments/*"))
    good = pa.table({"id": ["a", "b"], "vector": pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2))})
    pq.write_table(good, tmp_path / "x.parquet")
    assert len(store.import_space("t", tmp_path / "x.parquet")) == 2  # the control


def test_a_file_of_iterated_batches_names_its_encoder(tmp_path: Path) -> None:
    from latentstore.evaluate import fit_pca

    images = np.random.default_rng(0).integers(0, 255, (40, 4, 4, 1), np.uint8)
    encoder = fit_pca(images, 2)
    store = ls.open(tmp_path / "a.store")
    store.add_encoder(encoder, {})
    space = store.create_space("s", dim=2, encoder=encoder.fingerprint)
    space.add([f"i{n}" for n in range(40)], encoder.encode(images))
    batches = list(space.iterate())
    pq.write_table(pa.Table.from_batches(batches), tmp_path / "x.parquet")
    assert store.import_space("t", tmp_path / "x.parquet").fingerprint == encoder.fingerprint
    assert store.import_space("u", tmp_path / "x.parquet", keep_encoder=False).fingerprint is None
    plain = store.create_space("plain", dim=2)
    with pytest.raises(SpaceMismatch, match=encoder.fingerprint):
        plain.import_rows(tmp_path / "x.parquet")
    assert len(plain.refresh()) == 0


def test_a_column_of_another_type_is_named(store: LatentStore, tmp_path: Path) -> None:
    kind = pa.list_(pa.float32(), 5)
    pq.write_table(
        pa.table({"id": ["a"], "vector": pa.array([[1, 2, 3, 4, 5]], kind), "text": [[1]]}), tmp_path / "x.parquet"
    )
    with pytest.raises(InputError, match=r"x\.parquet: metadata column 'text'"):
        store.space("s").import_rows(tmp_path / "x.parquet")


def test_nothing_of_a_failed_new_space_is_seen(store: LatentStore, tmp_path: Path) -> None:
    kind = pa.list_(pa.float32(), 2)
    table = pa.table({"id": ["a", "b"], "vector": pa.array([[1, 2], [float("inf"), 4]], kind)})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(NotFinite):
        store.import_space("t", tmp_path / "x.parquet")
    assert [one.name for one in (store.path / "spaces").iterdir()] == ["s"]
    with pytest.raises(AlreadyExists, match="space 's' exists"):
        store.import_space("s", tmp_path / "x.parquet")


def test_a_killed_import_is_swept_by_repair(store: LatentStore) -> None:
    import signal
    import subprocess
    import sys

    code = (
        "import os, sys, signal\nimport numpy as np\nimport latentstore as ls\n"
        "with ls.open(sys.argv[1]).files.new_space('t', dim=2, metric='l2') as files:\n"
        "    files.add(['a'], np.ones((1, 2)))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.spaces == ["s"]
    assert store.verify() == []
    with store.files.new_space("alive", dim=2, metric="l2"):
        (mended,) = store.repair().mended
    assert ".import-" in mended.path.name
    assert sorted(one.name for one in (store.path / "spaces").iterdir()) == ["alive", "s"]


def test_encoders_are_not_mixed(store: LatentStore, tmp_path: Path) -> None:
    with store.files.new_space("e", dim=2, metric="l2", encoder="abc") as files:
        files.add(["a"], np.ones((1, 2)))
    store.space("e").export(tmp_path / "e.parquet")
    with pytest.raises(SpaceMismatch, match="latents of encoder abc"):
        store.create_space("plain", dim=2).import_rows(tmp_path / "e.parquet")
    with pytest.raises(UnknownEncoder, match="keep_encoder=False"):
        store.import_space("f", tmp_path / "e.parquet")
    assert store.import_space("f", tmp_path / "e.parquet", keep_encoder=False).fingerprint is None


def test_damaged_files_are_refused(store: LatentStore, tmp_path: Path) -> None:
    space = store.space("s")
    space.export(tmp_path / "f", "faiss")
    index = tmp_path / "f" / "index.faiss"
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)
    with pytest.raises(ChecksumMismatch, match=r"index\.faiss is not the file"):
        store.import_space("t", tmp_path / "f")
    (tmp_path / "f" / "space.json").unlink()
    with pytest.raises(InputError, match="FAISS trusts what it reads"):
        store.import_space("t", tmp_path / "f")
    space.export(tmp_path / "n", "numpy")
    ids = json.loads((tmp_path / "n" / "ids.json").read_text())
    (tmp_path / "n" / "ids.json").write_text(json.dumps(ids[:-1]))
    with pytest.raises(ShapeMismatch, match="no list of 1750 texts"):
        store.import_space("t", tmp_path / "n")
    np.save(tmp_path / "n" / "vectors.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match="no array that can be read"):
        store.import_space("t", tmp_path / "n")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    for path, message in (("x.parquet", "no Parquet file"), ("missing", "does not exist"), (".", "no format known")):
        with pytest.raises(InputError, match=message):
            store.import_space("t", tmp_path / path)
    assert store.spaces == ["s"]
