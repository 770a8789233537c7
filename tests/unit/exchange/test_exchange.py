"""Round trips compare every row, vector, type and null."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import latentstore as ls
from latentstore.errors import AlreadyExists, ConfigInvalid
from latentstore.storage import bulk
from latentstore.store import LatentStore


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
