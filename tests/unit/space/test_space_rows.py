"""Update, columns and iteration of a space, as search, filters and SQL see them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import latentstore as ls
from latentstore.errors import ConfigInvalid, FilterRefused, Forbidden, InputError, SpaceMismatch, UnknownItem

N, D = 3_000, 8


@pytest.fixture
def store(tmp_path):
    return ls.open(tmp_path / "s.store")


@pytest.fixture
def space(store):
    space = store.create_space("s", dim=D)
    vectors = np.random.default_rng(0).standard_normal((N, D))
    space.add([f"i{i}" for i in range(N)], vectors, pa.table({"n": np.arange(N), "label": ["a", "b", "c"] * (N // 3)}))
    return space


def test_an_updated_row_is_found_by_what_it_says_now(space, store) -> None:
    space.build_index("ivf")
    query = space.get("i7")["vector"].to_numpy()[0]
    space.update("i7", {"label": "new", "n": -1})
    assert space.status().unindexed == 0, "the index still covers every row"
    assert space.search(query, 1).ids.tolist() == ["i7"]
    assert space.search(query, 5, where="label = 'new'").ids.tolist() == ["i7"]
    assert "i7" not in space.search(query, 50, where="label = 'b'").ids.tolist(), "what it said before is gone"
    assert space.search(query, 1, columns=["label", "n"]).columns.to_pylist() == [{"label": "new", "n": -1}]
    assert store.sql("SELECT id, n, vector FROM s WHERE label = 'new'").to_pylist() == [
        {"id": "i7", "n": -1, "vector": query.tolist()}
    ]
    assert store.sql("SELECT count(*) AS c FROM s WHERE n = 7").to_pylist() == [{"c": 0}]
    assert store.sql("SELECT count(*) AS c FROM s").to_pylist() == [{"c": N}]
    space.delete(["i7"])
    assert store.sql("SELECT count(*) AS c FROM s WHERE label = 'new'").to_pylist() == [{"c": 0}]


def test_a_predicate_is_asked_of_the_newest_version(space, store) -> None:
    late = store.space("s")
    space.update(where="n < 10", values={"label": "few"})
    space.add(["more"], np.ones((1, D)), pa.table({"n": [3], "label": ["few"]}))
    late.update(where="label = 'few'", values={"n": 5_000})
    assert late.to_arrow(["n"]).filter(pa.compute.field("n") == 5_000)["id"].to_pylist() == [
        *(f"i{i}" for i in range(10)),
        "more",
    ]
    space.delete(where="n = 5000")
    assert len(space) == N - 10
    assert space.update(where="n = 5000", values={"n": 1}) == space.version, "nothing matches, nothing is committed"


def test_defaults_and_names_are_what_filters_and_sql_see(space, store) -> None:
    text = 'it\'s "é" \\ ; --'
    space.add_column("note", "string", text)
    space.add_column("tags", pa.list_(pa.string()), ["x", "y'"])
    space.rename_column("label", "kind")
    space.update(["i0", "i1"], {"note": ["plain", None], "kind": "z"})
    quoted = text.replace("'", "''")
    assert len(space.matching(f"note = '{quoted}'")) == N - 2
    assert len(space.matching("note is null")) == 1
    assert len(space.matching("list_contains(tags, 'y''') and kind = 'z'")) == 2
    with pytest.raises(FilterRefused, match="unknown column 'label'"):
        space.matching("label = 'a'")
    counted = store.sql(
        "SELECT note, kind, count(*) AS c FROM s GROUP BY ALL ORDER BY c DESC, kind LIMIT 3"
    ).to_pylist()
    assert counted == [{"note": text, "kind": kind, "c": N // 3 - (kind != "c")} for kind in "cab"]
    space.drop_column("kind")
    assert space.columns == ("n", "note", "tags")
    space.add_column("kind", "int64")
    assert len(space.matching("kind is null")) == N, "the old column of that name does not come back"
    space.compact()
    assert len(space.matching("kind is null and note is null")) == 1


def test_status_says_what_an_update_made_stale(space) -> None:
    space.fit_centroids("label")
    assert not any(one.stale for one in space.status().artefacts)
    space.update("i7", {"label": "a"})
    status = space.status()
    assert [one.stale for one in status.artefacts] == [True]
    assert any("centroids/label" in line and "metadata changed" in line for line in status.advice)


def test_iteration_is_bounded_ordered_and_about_one_version(space) -> None:
    space.delete([f"i{i}" for i in range(0, N, 2)])
    space.update("i1", {"n": 9_999})
    batches = space.iterate(["n", "id"], batch_rows=400)
    first = next(batches)
    space.delete(where="n >= 0")  # the iteration goes on over its own version
    batches = [first, *batches]
    assert [one.num_rows for one in batches] == [400, 400, 400, 300]
    assert batches[0].schema.names == ["n", "id"]
    assert [i for one in batches for i in one["id"].to_pylist()] == [f"i{i}" for i in range(1, N, 2)]
    assert batches[0]["n"].to_pylist()[:2] == [9_999, 3]
    assert list(space.iterate()) == []


def test_iteration_of_what_matches(space) -> None:
    space.add([f"j{i}" for i in range(100)], np.ones((100, D)), pa.table({"n": np.arange(100)}))
    batches = list(space.iterate(where="n % 10 = 0", batch_rows=64))
    assert max(one.num_rows for one in batches) <= 64
    table = pa.Table.from_batches(batches)
    assert table.column_names == ["id", "n", "label", "vector"]
    assert table["id"].to_pylist() == [f"i{i}" for i in range(0, N, 10)] + [f"j{i}" for i in range(0, 100, 10)]
    assert np.array_equal(table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, D)[-1], np.ones(D))
    with pytest.raises(InputError, match="batch_rows is 0"):
        space.iterate(batch_rows=0)
    with pytest.raises(ConfigInvalid, match="no column 'm'"):
        space.iterate(["m"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.update(["i1"]), InputError, "needs values"),
        (lambda s: s.update(values={"n": 1}), InputError, "either ids"),
        (lambda s: s.update("i1", {"n": 1}, where="n = 1"), InputError, "either ids"),
        (lambda s: s.update("nope", {"n": 1}), UnknownItem, "nope"),
        (lambda s: s.update(where="m = 1", values={"n": 1}), FilterRefused, "unknown column 'm'"),
        (lambda s: s.update(where="n = 1", values={"n": [1, 2]}), InputError, "2 values for 1 rows"),
    ],
)
def test_refused(space, call, error, message) -> None:
    before = space.version
    with pytest.raises(error, match=message):
        call(space)
    assert space.files.newest_version() == before


def test_a_version_is_not_written(space, store) -> None:
    space.tag("old")
    old = store.space("s", at="old")
    for write in (
        lambda: old.update("i1", {"n": 1}),
        lambda: old.add_column("m", "int64"),
        lambda: old.rename_column("n", "m"),
        lambda: old.drop_column("n"),
        lambda: old.add(pa.table({})),
    ):
        with pytest.raises(Forbidden, match="without at="):
            write()


@pytest.mark.parametrize("way", ["vectors", "source", "import"])
def test_rows_made_for_an_encoder_that_was_replaced_meanwhile_are_refused(tmp_path, way):
    store = ls.open(tmp_path / "a.store")
    nightly = store.create_space("s", dim=2)
    nightly.add(["a"], [[1.0, 2.0]])
    files = nightly.files
    files.append([files.stage(["a"], [[1.0, 2.0]], encoder="old")], replace_all=True, encoder="old")
    ours = ls.open(tmp_path / "a.store").space("s")
    assert ours.fingerprint == "old"
    files.append([files.stage(["a"], [[5.0, 6.0]], encoder="new")], replace_all=True, encoder="new")
    before = files.newest_version()
    table = pa.table({"id": ["b"], "vector": [[3.0, 4.0]]})
    with pytest.raises(SpaceMismatch, match="of new now, these rows were made for old; refresh"):
        if way == "vectors":
            ours.upsert(["b"], [[3.0, 4.0]])
        elif way == "source":
            ours.add(table)
        else:
            pq.write_table(table, tmp_path / "x.parquet")
            ours.import_rows(tmp_path / "x.parquet")
    assert files.newest_version() == before
    assert not [one for one in files.verify() if one]
    ours.refresh().add(["b"], [[3.0, 4.0]])
    assert len(ours) == 2
