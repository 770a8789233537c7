"""How rows become segments: in parts, side by side, and encoded so that nothing is larger than it need be."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentstore.errors import InputError, NotFinite, ShapeMismatch
from latentstore.storage import SpaceFiles, staged_rows
from latentstore.storage.parquet_writer import ROW_GROUP

DIM = 3


@pytest.fixture
def space(tmp_path: Path) -> SpaceFiles:
    return SpaceFiles.create(tmp_path / "space", space="space", dim=DIM, metric="l2")


def vectors(n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, DIM)).astype(np.float32)


def test_rows_staged_in_parts_are_those_staged_at_once(space: SpaceFiles) -> None:
    n = 2 * ROW_GROUP + 50
    cuts = [0, 1, 30, ROW_GROUP, 2 * ROW_GROUP + 40, n]  # a group full, full twice in a part, left over
    ids, given = [f"i{i}" for i in range(n)], vectors(n)
    metadata = pa.table({"x": range(n), "empty": pa.nulls(n)})
    parts = [(given[a:b], metadata[a:b]) for a, b in pairwise(cuts)]
    space.append([space.stage_parts(ids, iter(parts))])
    snapshot = space.snapshot()
    rows = snapshot.find(ids)
    assert rows.tolist() == list(range(n))
    np.testing.assert_array_equal(snapshot.vectors(rows), given)
    assert snapshot.columns(rows, ["x"])["x"].to_pylist() == list(range(n))
    assert space.verify() == []

    before = set((space.folder / "segments").iterdir())
    for bad, kind, message in (
        ([*parts, (vectors(1), {"x": [1], "empty": [None]})], ShapeMismatch, f"for {n} ids"),
        (parts[:-1], ShapeMismatch, f"vectors have {n - 10} rows for {n} ids"),
        ([parts[0], (given[1:], metadata[1:].select(["x"]))], InputError, "columns"),
        ([parts[0], (np.full((n - 1, DIM), np.nan), metadata[1:])], NotFinite, "row 1 contains NaN"),
    ):
        with pytest.raises(kind, match=message):
            space.stage_parts(ids, iter(bad))
    assert set((space.folder / "segments").iterdir()) == before, "nothing of it stays"


def test_many_rows_are_written_as_a_segment_for_each_core(space: SpaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged_rows, "SIDE_BY_SIDE", 4 * DIM * 20)
    monkeypatch.setattr(staged_rows.os, "cpu_count", lambda: 3)
    ids, given = [f"i{i}" for i in range(70)], vectors(70)
    space.add(ids[:39], given[:39], {"x": range(39)})
    space.add(ids[39:], given[39:], {"x": range(39, 70)})
    space.upsert(ids, given, {"x": range(70)})
    snapshot = space.snapshot()
    assert [one.record.count for one in snapshot.segments][-3:] == [23, 23, 24]
    rows = snapshot.find(ids)
    assert (np.diff(rows) == 1).all() and len(snapshot) == 70
    np.testing.assert_array_equal(snapshot.vectors(rows), given)
    assert snapshot.columns(rows)["x"].to_pylist() == list(range(70))
    assert space.verify() == []

    before = set((space.folder / "segments").iterdir())
    given[50, 1] = np.inf
    with pytest.raises(NotFinite, match="row 50 contains NaN"):
        space.upsert(ids, given)
    assert set((space.folder / "segments").iterdir()) == before


@pytest.mark.parametrize("dim", [1, 8, 39, 40, 784, 65_536])
@pytest.mark.parametrize("compressed", [False, True])
def test_other_readers_find_the_vectors_in_the_parquet_file(tmp_path: Path, dim: int, compressed: bool) -> None:
    rng, n = np.random.default_rng(dim), 5 if dim > 1_000 else ROW_GROUP + 3_000
    given = rng.standard_normal((n, dim)).astype(np.float32)
    if compressed:
        given = np.round(given)
    store = SpaceFiles.create(tmp_path / "space", space="space", dim=dim, metric="l2")
    store.add([f"i{i}" for i in range(n)], given, {"word": ["left"] * n, "tags": [["a", None, "b"]] * n})
    (path,) = (store.folder / "segments").glob("*.parquet")

    table = pq.read_table(path)
    assert table.schema.field("vector").type == pa.list_(pa.field("element", pa.float32(), nullable=False), dim)
    np.testing.assert_array_equal(table["vector"].combine_chunks().values.to_numpy().reshape(n, dim), given)
    assert table["tags"].to_pylist() == [["a", None, "b"]] * n and table["row"].to_pylist() == list(range(n))

    found = duckdb.sql(f"SELECT vector, id FROM '{path}' ORDER BY row").fetchnumpy()
    np.testing.assert_array_equal(np.stack(found["vector"]), given)
    assert found["id"].tolist() == [f"i{i}" for i in range(n)]
    frame = polars.read_parquet(path)
    np.testing.assert_array_equal(frame["vector"].explode().to_numpy().reshape(n, dim), given)

    metadata = pq.read_metadata(path)
    column = metadata.row_group(0).column(2)
    assert column.path_in_schema == "vector.list.element"
    assert column.compression == ("LZ4" if compressed else "UNCOMPRESSED")
    ends = [0]
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        assert group.total_byte_size == sum(group.column(i).total_uncompressed_size for i in range(group.num_columns))
        for one in sorted(map(group.column, range(group.num_columns)), key=lambda one: one.data_page_offset):
            start = min(filter(None, (one.dictionary_page_offset, one.data_page_offset)))
            assert start >= ends[-1], "no chunk lies in another"
            ends.append(start + one.total_compressed_size)


def test_only_what_repeats_gets_a_dictionary(space: SpaceFiles) -> None:
    n = 2_000
    measured = np.random.default_rng(1).random((n, 8)).tolist()
    columns = {"word": ["left", "right"] * (n // 2), "tags": [["a", "b"]] * n, "x": range(n), "variance": measured}
    nested = pa.array([[["a"], ["b"]]] * n, pa.list_(pa.list_(pa.string())))
    space.add([f"i{i}" for i in range(n)], vectors(n), pa.table(columns).append_column("nested", nested))
    (path,) = (space.folder / "segments").glob("*.parquet")
    group = pq.read_metadata(path).row_group(0)
    coded = {(one := group.column(i)).path_in_schema: one.has_dictionary_page for i in range(group.num_columns)}
    assert {name for name, dictionary in coded.items() if dictionary} == {
        "word",
        "tags.list.element",
        "nested.list.element.list.element",
    }
    assert space.snapshot().columns(np.arange(n))["variance"].to_pylist() == measured


def test_lists_that_are_all_empty_are_stored_and_merged(space: SpaceFiles) -> None:
    for number in range(10):  # the eighth merges
        space.add([f"i{number}"], vectors(1), {"tags": [[]], "nested": [[[]]]})
    assert len(space.snapshot().segments) < 10
    assert space.snapshot().columns(np.arange(10)).to_pydict() == {"tags": [[]] * 10, "nested": [[[]]] * 10}
