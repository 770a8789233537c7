"""Round trips compare every row, vector, type and null; what is damaged or does not fit leaves nothing behind."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import latentstore as ls
from latentstore.errors import (
    AlreadyExists,
    ChecksumMismatch,
    ConfigInvalid,
    InputError,
    NotFinite,
    ShapeMismatch,
    SpaceMismatch,
    UnknownEncoder,
)
from latentstore.exchange import READABLE
from latentstore.storage import bulk
from latentstore.store import LatentStore

WHEN = dt.datetime(2024, 2, 29, 12, 30, 1)
COLUMNS: dict[str, tuple[pa.DataType, object]] = {
    "flag": (pa.bool_(), True),
    "text": (pa.string(), "é\t\n'\"😀"),
    "raw": (pa.binary(), b"\0\xff"),
    "day": (pa.date32(), WHEN.date()),
    "i8": (pa.int8(), -128),
    "u8": (pa.uint8(), 255),
    "u16": (pa.uint16(), 65535),
    "u32": (pa.uint32(), 2**32 - 1),
    "u64": (pa.uint64(), 2**64 - 1),
    "i64": (pa.int64(), -(2**63)),
    "f32": (pa.float32(), 0.5),
    "f64": (pa.float64(), 0.1),
    "s": (pa.timestamp("s"), WHEN),
    "us": (pa.timestamp("us", tz="Europe/Berlin"), WHEN.replace(tzinfo=dt.UTC)),
    "ns": (pa.timestamp("ns"), WHEN),
    "t32": (pa.time32("ms"), WHEN.time()),
    "t64": (pa.time64("us"), WHEN.time()),
    "span": (pa.duration("us"), dt.timedelta(days=1, microseconds=3)),
    "money": (pa.decimal128(10, 2), Decimal("-12.30")),
    "words": (pa.list_(pa.string()), ["a", None, ""]),
    "deep": (pa.list_(pa.list_(pa.int32())), [[1, None], [], None]),
    "nothing": (pa.null(), None),
}


@pytest.fixture
def store(tmp_path: Path) -> LatentStore:
    store = ls.open(tmp_path / "a.store")
    space = store.create_space("s", dim=5, metric="l2", source={"name": "table", "path": "gone"})
    rng = np.random.default_rng(0)
    for part in range(3):
        values = {
            name: pa.array([None if n % 3 == 0 else value for n in range(700)], kind)
            for name, (kind, value) in COLUMNS.items()
        }
        ids = [f"é'{part}\0/{n}" for n in range(700)]
        space.add(ids, rng.standard_normal((700, 5)), pa.table(values))
    space.delete([f"é'1\0/{n}" for n in range(0, 700, 2)])
    return store


@pytest.fixture(params=READABLE)
def form(request: pytest.FixtureRequest) -> str:
    if request.param == "delta":
        pytest.importorskip("deltalake", reason="the extra `delta` is not installed")
    return str(request.param)


def sorted_rows(space: ls.EmbeddingSpace) -> pa.Table:
    table = space.to_arrow()
    names = ["id", *sorted(set(table.column_names) - {"id"})]
    return table.sort_by("id").select(names).combine_chunks()


def test_there_and_back(store: LatentStore, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SEGMENT_ROWS", 400)  # several segments, of several batches
    for home in ("parquet", "delta"):
        monkeypatch.setattr(f"latentstore.exchange.{home}.batch_rows", lambda _: 300)
    space = store.space("s")
    told = space.export(tmp_path / "out", form)
    assert (told.rows, told.format) == (1750, form)
    back = store.import_space("back", tmp_path / "out", form)
    assert (back.metric, back.dim, back.version) == ("l2", 5, 2)
    assert back.snapshot.manifest.source == space.snapshot.manifest.source
    assert dict(back.snapshot.manifest.columns) == dict(space.snapshot.manifest.columns)
    assert sorted_rows(back).equals(sorted_rows(space))
    assert len(back.snapshot.segments) > 1
    assert store.verify() == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.store", "out"]


@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_other_metrics(store: LatentStore, form: str, metric: str, tmp_path: Path) -> None:
    space = store.create_space("m", dim=3, metric=metric)
    vectors = np.random.default_rng(1).standard_normal((50, 3)).astype(np.float32)
    space.add([str(n) for n in range(50)], vectors)
    space.export(tmp_path / "out", form)
    back = store.import_space("back", tmp_path / "out")
    assert back.metric == metric
    wanted = vectors
    if form == "faiss" and metric == "cosine":
        wanted = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    found = back.snapshot.vectors(back.rows_of([str(n) for n in range(50)]))
    np.testing.assert_allclose(found, wanted, rtol=0 if wanted is vectors else 1e-6)


def test_some_rows_and_columns_and_an_empty_space(store: LatentStore, form: str, tmp_path: Path) -> None:
    space = store.space("s")
    space.export(tmp_path / "some", form, where="u8 is null", columns=["text", "i64"])
    back = store.import_space("back", tmp_path / "some")
    assert back.columns == ("text", "i64")
    assert set(back.to_arrow()["id"].to_pylist()) == set(space.snapshot.ids(space.matching("u8 is null")))
    space.export(tmp_path / "none", form, where="u8 = 1 and u8 = 2")
    assert len(store.import_space("none", tmp_path / "none")) == 0


def test_into_a_space_that_is_there(store: LatentStore, form: str, tmp_path: Path) -> None:
    space = store.space("s")
    space.export(tmp_path / "out", form)
    before = sorted_rows(space)
    with pytest.raises(AlreadyExists, match="already exist"):
        space.import_rows(tmp_path / "out")
    assert sorted_rows(space.refresh()).equals(before)
    version = space.version
    assert space.import_rows(tmp_path / "out", replace=True) == version + 1
    assert sorted_rows(space).equals(before)
    assert len(list(store.path.glob("spaces/s/segments/*.parquet"))) == len(
        {s.uuid for m in space.versions() for s in m.segments}
    )


def test_a_parquet_file_of_others_in_bounded_memory(store: LatentStore, tmp_path: Path) -> None:
    import subprocess
    import sys

    rows, dim = 200_000, 128  # 102 MB of vectors
    schema = pa.schema({"key": pa.string(), "embedding": pa.list_(pa.float64()), "year": pa.int16()})
    with pq.ParquetWriter(tmp_path / "big.parquet", schema) as writer:
        for start in range(0, rows, 20_000):
            values = np.full(20_000 * dim, start / 7.0)
            lists = pa.ListArray.from_arrays(np.arange(0, 20_000 * dim + 1, dim, dtype=np.int32), values)
            keys = [f"k{n}" for n in range(start, start + 20_000)]
            writer.write_table(pa.table([keys, lists, pa.array([7] * 20_000, pa.int16())], schema=schema))
    code = (
        "import sys, resource\n"
        "import latentstore as ls\n"
        "space = ls.open(sys.argv[1]).create_space('big', dim=128)\n"
        "space.add(['warm'], [[0.0] * 128])\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "space.import_rows(sys.argv[2], id_column='key', vector_column='embedding')\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024, len(space))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.path), str(tmp_path / "big.parquet")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    grown, held = done.stdout.split()
    assert int(held) == rows + 1
    assert float(grown) < 150  # MB; all vectors as float64 would be 205
    space = store.space("big")
    np.testing.assert_array_equal(space.get("k150000")["vector"].to_pylist()[0], np.full(128, np.float32(140_000 / 7)))


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


def test_places_and_names(store: LatentStore, tmp_path: Path) -> None:
    space = store.space("s")
    space.export(tmp_path / "a.parquet")
    with pytest.raises(AlreadyExists, match=r"a\.parquet exists"):
        space.export(tmp_path / "a.parquet")
    space.export(tmp_path / "a.parquet", overwrite=True)
    space.export(tmp_path / "n", "numpy")
    space.export(tmp_path / "n", "numpy", overwrite=True)
    with pytest.raises(ConfigInvalid, match=r"format .csv. .* is unknown"):
        space.export(tmp_path / "a.csv", "csv")
    with pytest.raises(ConfigInvalid, match="no column 'nope'"):
        space.export(tmp_path / "b.parquet", columns=["nope"])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.parquet", "a.store", "n"]


def test_other_programs_read_them(store: LatentStore, tmp_path: Path) -> None:
    import faiss

    space = store.space("s")
    space.export(tmp_path / "f", "faiss")
    space.export(tmp_path / "n", "numpy")
    ids = json.loads((tmp_path / "n" / "ids.json").read_text())
    vectors = np.load(tmp_path / "n" / "vectors.npy")
    assert np.array_equal(vectors, space.snapshot.vectors(space.rows_of(ids)))
    _, found = faiss.read_index(str(tmp_path / "f" / "index.faiss")).search(vectors[:9], 1)
    assert found.ravel().tolist() == list(range(9))
