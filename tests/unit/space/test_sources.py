"""Rows from tables, streams, data frames and Parquet files: all or none, checked at the door, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import latentstore as ls
from latentstore.errors import AlreadyExists, InputError, NotFinite, ShapeMismatch, SpaceMismatch
from latentstore.space.vector_space import VectorSpace
from latentstore.storage import SpaceFiles, bulk, sources

D = 4


def table(n: int, first: int = 0, kind: pa.DataType | None = None, **columns: Any) -> pa.Table:
    vectors = np.random.default_rng(first).standard_normal((n, D)).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), D)
    return pa.table(
        {
            "id": pa.array([f"i{i}" for i in range(first, first + n)], pa.string()),
            "x": np.arange(first, first + n),
            "vector": lists if kind is None else lists.cast(kind),
        }
        | columns
    )


@pytest.fixture
def space(tmp_path):
    return ls.open(tmp_path / "s.store").create_space("s", dim=D)


class Stream:
    """What polars, DuckDB and others offer, and nothing else."""

    def __init__(self, given: pa.Table) -> None:
        self._given = given

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._given.__arrow_c_stream__(requested_schema)


SOURCES = {
    "table": lambda given: given,
    "batch": lambda given: given.combine_chunks().to_batches()[0],
    "reader": lambda given: given.to_reader(max_chunksize=7),
    "stream": Stream,
    "sliced": lambda given: pa.concat_tables([given.slice(0, 3), given.slice(3)]),
}


@pytest.mark.parametrize("kind", [None, pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float64(), D)])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_rows(space, source, kind) -> None:
    given = table(20, kind=kind)
    assert space.add(SOURCES[source](given)) == 2
    assert space.to_arrow().equals(table(20))
    more = table(20, 10)
    space.upsert(SOURCES[source](more))
    assert len(space) == 30
    assert space.get([f"i{i}" for i in range(10, 30)]).equals(more), "replaced and added"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(space, library) -> None:
    pytest.importorskip(library, reason=f"{library} is no dependency")
    given = table(20, seen=pa.array([None, True] * 10))
    if library == "pandas":
        frame = given.to_pandas().set_index(pd_index(20))
    else:
        import polars

        frame = polars.from_arrow(given)
    space.add(frame)
    assert space.to_arrow(["x", "seen"]).to_pylist() == given.select(["id", "x", "seen", "vector"]).to_pylist()


def pd_index(n: int) -> Any:
    import pandas

    return pandas.Index(range(100, 100 + n), name="whatever")  # must not become a column


def test_parquet_files_by_path_folder_and_glob(space, tmp_path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    pq.write_table(table(10), folder / "a.parquet")
    pq.write_table(table(10, 10, late=pa.array(["t"] * 10)), folder / "b.parquet")
    pq.write_table(table(0, 20), folder / "c.parquet")
    version = space.add(folder)
    assert version == 2, "one commit"
    assert space.get("i3", ["x", "late"]).to_pylist()[0]["late"] is None
    assert space.get("i13", ["x", "late"]).to_pylist()[0] | {"vector": 0} == {
        "id": "i13",
        "x": 13,
        "late": "t",
        "vector": 0,
    }
    space.upsert(str(folder / "*.parquet"))
    space.upsert(folder / "b.parquet")
    assert len(space) == 20
    renamed = table(3, 50).rename_columns(["key", "x", "embedding"])
    space.add(renamed, id_column="key", vector_column="embedding")
    assert space.get("i51")["x"].to_pylist() == [51]


def test_a_long_source_becomes_several_segments(space, monkeypatch) -> None:
    monkeypatch.setattr(sources, "BATCH_ROWS", 8)
    monkeypatch.setattr(bulk, "SEGMENT_ROWS", 16)
    space.add(table(50))
    assert [one.record.count for one in space.snapshot.segments] == [16, 16, 16, 2]
    assert space.to_arrow().equals(table(50))
    with pytest.raises(InputError, match=r"the table row 45: id 'i105' was in the table row 5 already"):
        space.upsert(pa.concat_tables([table(45, 100), table(1, 105)]))


def with_vector(row: int, vector: list[float | None] | None) -> pa.Table:
    rows = table(6).to_pylist()
    rows[row]["vector"] = vector
    return pa.Table.from_pylist(rows, pa.schema({"id": pa.string(), "x": pa.int64(), "vector": pa.list_(pa.float64())}))


def with_id(row: int, name: str | None) -> pa.Table:
    rows = table(6, kind=pa.list_(pa.float32())).to_pylist()
    rows[row]["id"] = name
    return pa.Table.from_pylist(rows)


REFUSED: list[tuple[type[Exception], str, Any]] = [
    (ShapeMismatch, "b.parquet row 4: a vector of width 3; this space needs width 4", with_vector(4, [1, 2, 3])),
    (ShapeMismatch, "b.parquet row 2: no vector", with_vector(2, None)),
    (InputError, "b.parquet row 3: the vector holds a null", with_vector(3, [1, None, 2, 3])),
    (NotFinite, "b.parquet: vectors row 5 contains NaN", with_vector(5, [1, float("inf"), 2, 3])),
    (NotFinite, "row 5 contains NaN, infinity or numbers beyond float32", with_vector(5, [1, 1e300, 2, 3])),
    (InputError, "b.parquet row 1: the id is None", with_id(1, None)),
    (InputError, "b.parquet row 1: the id is ''", with_id(1, "")),
    (InputError, "b.parquet row 4: id 'i2' was in .*b.parquet row 2 already", with_id(4, "i2")),
    (InputError, "b.parquet row 5: id 'i99' was in .*a.parquet row 0 already", with_id(5, "i99")),
    (AlreadyExists, "b.parquet row 3: 'there' already exists in space 's'; upsert", with_id(3, "there")),
    (InputError, "b.parquet: ids in column 'id' have type int64", table(2, id=[1, 2])),
    (InputError, "b.parquet: column 'vector' has type string", table(2, vector=["a", "b"])),
    (InputError, "b.parquet: column 'vector' has type list<.*string>", table(2, vector=[["1"], ["2"]])),
    (InputError, "b.parquet has no single column 'vector' .*'id', 'x'", table(2).drop_columns("vector")),
    (InputError, "b.parquet: .*'x' has type string, the space stores int64", table(2, x=["a", "b"])),
    (InputError, "b.parquet rows 0 to 1: .*'x' has type double, .* not every value fits", table(2, x=[0.5, 1.0])),
    (SpaceMismatch, "come from encoder other, space 's' holds latents of no encoder",
     table(2).replace_schema_metadata({"latentstore.encoder": "other"})),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "bad"), REFUSED)
def test_refused_by_file_and_row_and_nothing_stays(space, tmp_path, error, message, bad) -> None:
    space.add(["there"], np.ones((1, D)), pa.table({"x": [1]}))
    before = sorted(space.files.folder.rglob("*"))
    folder = tmp_path / "parts"
    folder.mkdir()
    pq.write_table(table(1, 99), folder / "a.parquet")
    pq.write_table(bad, folder / "b.parquet")
    with pytest.raises(error, match=message):
        space.add(folder)
    assert sorted(space.files.folder.rglob("*")) == before
    assert space.files.newest_version() == 2
    pq.write_table(table(2), folder / "b.parquet")
    assert len(space.refresh()) == 1
    space.add(folder)  # the control
    assert len(space) == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("nowhere/*.parquet",), "no Parquet file matches 'nowhere/"),
        ((7,), "rows cannot be read from a int"),
        ((["a"],), "1 ids came without vectors"),
        ((table(1), None, table(1)), "metadata came without vectors"),
        (({"id": ["a"]},), "rows cannot be read from a dict"),
    ],
)
def test_what_is_no_source(space, given, message) -> None:
    with pytest.raises(InputError, match=message):
        space.add(*given)


def test_a_file_that_is_no_parquet_or_is_cut(space, tmp_path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"x\.parquet cannot be read as Parquet"):
        space.add(path)
    pq.write_table(table(5_000), path, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[200:20_000] = b"\xff" * 19_800
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.parquet"):
        space.add(path)
    assert space.files.newest_version() == 1


def test_a_zero_vector_names_its_row_under_cosine(tmp_path) -> None:
    space = ls.open(tmp_path / "c.store").create_space("c", dim=D, metric="cosine")
    with pytest.raises(NotFinite, match="the table: vectors row 4 is the zero vector"):
        space.add(with_vector(4, [0, 0, 0, 0]))


def test_spaces_are_not_mixed_through_a_copy(tmp_path) -> None:
    def made(name: str, encoder: str | None) -> VectorSpace:
        return VectorSpace(SpaceFiles.create(tmp_path / name, space=name, dim=D, metric="l2", encoder=encoder))

    one, same, other = made("one", "aaa"), made("same", "aaa"), made("other", "bbb")
    one.add(table(5))
    batches = list(one.iterate())
    same.add(pa.Table.from_batches(batches))
    assert same.to_arrow().equals(one.to_arrow())
    with pytest.raises(SpaceMismatch, match="come from encoder aaa, space 'other' holds latents of bbb"):
        other.add(pa.Table.from_batches(batches))


BOUNDED = """
import resource, sys
from latentstore.space.vector_space import VectorSpace
from latentstore.storage import SpaceFiles
space = VectorSpace(SpaceFiles(sys.argv[1]))
import pyarrow.parquet, latentstore.storage.bulk
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
space.add(sys.argv[2])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) / 1024)
"""


def test_a_file_larger_than_the_memory_it_takes(tmp_path) -> None:
    n, d, part = 480_000, 128, 40_000
    path = tmp_path / "big.parquet"
    schema = pa.schema({"id": pa.string(), "vector": pa.list_(pa.float32(), d), "x": pa.int64()})
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, n, part):
            flat = np.random.default_rng(start).standard_normal(part * d, np.float32)
            lists = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=schema.field("vector").type)
            ids = [f"item/{i}" for i in range(start, start + part)]
            writer.write_table(pa.table([ids, lists, np.arange(start, start + part)], schema=schema))
    SpaceFiles.create(tmp_path / "s", space="s", dim=d, metric="l2")
    command = [sys.executable, "-c", BOUNDED, str(tmp_path / "s"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True)
    size = path.stat().st_size / 2**20
    assert size > 230
    assert float(done.stdout) < 0.75 * size, "MB of memory for a file of MB"
    space = SpaceFiles(tmp_path / "s", "r").snapshot()
    assert len(space) == n
    assert space.columns(space.find(["item/479999"]), ["x"])["x"].to_pylist() == [479_999]
