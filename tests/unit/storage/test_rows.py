"""Rows in, rows out: add, upsert, delete, columns; and what is refused at the door."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from latentstore.errors import (
    AlreadyExists,
    CommitConflict,
    ConfigInvalid,
    Forbidden,
    InputError,
    NotFinite,
    ShapeMismatch,
    SpaceMismatch,
    UnknownItem,
    UnknownSpace,
    UnknownVersion,
)
from latentstore.storage import SpaceFiles, arrow, hashing

DIM = 3


@pytest.fixture
def space(tmp_path: Path) -> SpaceFiles:
    return SpaceFiles.create(tmp_path / "space", space="space", dim=DIM, metric="l2")


def vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def test_what_was_added_is_read_in_any_order(space: SpaceFiles) -> None:
    written = vectors(5)
    space.add(list("abc"), written[:3], {"x": [1, 2, 3]})
    space.add(list("de"), written[3:], {"x": [4, 5]})
    snapshot = space.snapshot()
    rows = snapshot.find(["e", "nobody", "a", "d"])
    assert rows.tolist() == [4, -1, 0, 3]
    there = rows[rows >= 0]
    assert np.array_equal(snapshot.vectors(there), written[[4, 0, 3]])
    assert snapshot.vectors(there).flags.c_contiguous
    assert snapshot.ids(there).tolist() == ["e", "a", "d"]
    assert snapshot.columns(there, ["x", "id", "row"]).to_pydict() == {
        "x": [5, 1, 4],
        "id": ["e", "a", "d"],
        "row": [4, 0, 3],
    }
    assert [batch["id"].to_pylist() for batch in snapshot.scan(["id"])] == [list("abc"), list("de")]
    assert snapshot.columns(np.empty(0, np.int64)).to_pydict() == {"x": []}


def test_upsert_moves_the_id_to_a_new_row_and_old_snapshots_stay(space: SpaceFiles) -> None:
    space.add(["a", "b"], vectors(2))
    before = space.snapshot()
    space.upsert(["b", "c"], vectors(2, seed=1))
    after = space.snapshot()
    assert after.find(["a", "b", "c"]).tolist() == [0, 2, 3]
    assert after.live_rows().tolist() == [0, 2, 3]
    assert np.array_equal(after.vectors(np.array([2])), vectors(2, seed=1)[:1])
    assert before.find(["b"]).tolist() == [1]
    assert np.array_equal(space.snapshot(before.version).vectors(np.array([1])), vectors(2)[1:])
    with pytest.raises(UnknownItem, match="row 1 is not in version 3"):
        after.vectors(np.array([0, 1]))
    numbers, positions = after.locate(np.array([0, 1, 3, 99, -5]))
    assert (numbers >= 0).tolist() == [True, False, True, False, False]
    assert positions[numbers < 0].tolist() == [-1, -1, -1]


def test_row_numbers_are_never_given_twice(space: SpaceFiles) -> None:
    for turn in range(4):
        space.add(["a", "b"], vectors(2))
        assert space.snapshot().live_rows().tolist() == [2 * turn, 2 * turn + 1]
        space.delete(["a", "b"])
    assert len(space.snapshot()) == 0
    assert space.snapshot().segments == ()
    assert list(space.snapshot().scan()) == []


def test_delete_by_row_and_what_is_not_there(space: SpaceFiles) -> None:
    space.add(["a", "b", "c"], vectors(3))
    space.delete(rows=np.array([1]))
    assert space.snapshot().find(["a", "b", "c"]).tolist() == [0, -1, 2]
    version = space.newest_version()
    with pytest.raises(UnknownItem, match="'b'"):
        space.delete(["a", "b"])
    with pytest.raises(UnknownItem, match="row 1"):
        space.delete(rows=np.array([1]))
    assert space.newest_version() == version, "a refused delete commits nothing"
    assert space.delete([]).version == version


REFUSED: list[tuple[type[Exception], str, Any, Any, Any]] = [
    (InputError, "'a' occurs twice", ["a", "a"], vectors(2), None),
    (InputError, "position 1 is empty", ["a", ""], vectors(2), None),
    (InputError, "id 7 at position 1", ["a", 7], vectors(2), None),
    (InputError, "single text", "ab", vectors(2), None),
    (InputError, "surrogate", ["a", "\ud800"], vectors(2), None),
    (ShapeMismatch, r"\(2, 3\) for 1 ids", ["a"], vectors(2), None),
    (ShapeMismatch, r"shape \(1, 4\)", ["a"], np.ones((1, 4)), None),
    (ShapeMismatch, r"shape \(3,\)", ["a"], np.ones(3), None),
    (NotFinite, "row 0", ["a"], np.array([[1, np.nan, 2]]), None),
    (ShapeMismatch, "metadata has 2 rows for 1 ids", ["a"], vectors(1), {"x": [1, 2]}),
    (InputError, "'vector' is reserved", ["a"], vectors(1), {"vector": [1]}),
    (InputError, "twice", ["a"], vectors(1), {"x": [1], "X": [2]}),
    (InputError, "differs from column 'known' only in case", ["a"], vectors(1), {"Known": [1]}),
    (InputError, "'known' has type string, the space stores int64", ["a"], vectors(1), {"known": ["text"]}),
    (InputError, "'known' has type double, the space stores int64", ["a"], vectors(1), {"known": [1.5]}),
    (InputError, "struct", ["a"], vectors(1), {"s": [{"x": 1}]}),
    (AlreadyExists, "'first'.*upsert", ["first", "a"], vectors(2), None),
]


@pytest.mark.parametrize(("error", "message", "ids", "given", "metadata"), REFUSED)
def test_refused_and_the_store_stays_as_it_was(
    space: SpaceFiles, error: type[Exception], message: str, ids: Any, given: Any, metadata: Any
) -> None:
    space.add(["first"], vectors(1), {"known": [1]})
    before = sorted(path for path in space.folder.rglob("*"))
    with pytest.raises(error, match=message):
        space.add(ids, given, metadata)
    assert sorted(path for path in space.folder.rglob("*")) == before
    space.add(["a"], vectors(1), {"known": [2]})  # the control: a good call passes


def test_a_zero_vector_is_refused_under_cosine_only(tmp_path: Path, space: SpaceFiles) -> None:
    space.add(["zero"], np.zeros((1, DIM)))
    cosine = SpaceFiles.create(tmp_path / "c", space="c", dim=DIM, metric="cosine")
    with pytest.raises(NotFinite, match="zero vector"):
        cosine.add(["zero"], np.zeros((1, DIM)))


def test_metadata_types_are_kept(space: SpaceFiles) -> None:
    moment = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    table = pa.table(
        {
            "int": pa.array([1, None], pa.int8()),
            "float": pa.array([0.5, None], pa.float32()),
            "text": pa.array(["é", None]),
            "bool": pa.array([True, None]),
            "time": pa.array([moment, None], pa.timestamp("us", tz="UTC")),
            "day": pa.array([moment.date(), None]),
            "list": pa.array([["x", "y"], None]),
            "numbers": pa.array([[1.0, 2.0], []], pa.list_(pa.float64())),
            "binary": pa.array([b"\x00\xff", None]),
            "category": pa.array(["c", "d"]).dictionary_encode(),
            "decimal": pa.array([None, None], pa.decimal128(5, 2)),
            "nothing": pa.nulls(2),
        }
    )
    space.add(["a", "b"], vectors(2), table)
    for _ in range(2):
        snapshot = space.snapshot()
        read = snapshot.columns(snapshot.find(["a", "b"]))
        assert read.to_pydict() == table.to_pydict()
        kinds = {name: table.schema.field(name).type for name in table.column_names} | {"category": pa.string()}
        assert {name: str(kind) for name, kind in snapshot.column_types.items()} == {
            n: str(k) for n, k in kinds.items()
        }
        assert [field.type for field in read.schema] == list(snapshot.column_types.values())
        space.add([f"more{snapshot.version}"], vectors(1))
        space.compact()


def test_columns_come_and_widen(space: SpaceFiles) -> None:
    space.add(["a"], vectors(1))
    space.add(["b"], vectors(1), {"x": pa.array([1], pa.int64()), "later": pa.nulls(1)})
    space.add(["c"], vectors(1), {"x": pa.array([2], pa.int32()), "later": ["text"], "new": [True]})
    space.add(["d"], vectors(1), {"new": [False]})
    snapshot = space.snapshot()
    expected = {"x": [None, 1, 2, None], "later": [None, None, "text", None], "new": [None, None, True, False]}
    assert snapshot.columns(snapshot.live_rows()).to_pydict() == expected
    space.compact()
    assert space.snapshot().columns(snapshot.live_rows()).to_pydict() == expected
    with pytest.raises(InputError, match="unknown column 'nwe'; did you mean 'new'"):
        snapshot.columns(snapshot.live_rows(), ["nwe"])


def test_equal_hashes_are_told_apart() -> None:
    """Hashes that collide (here all of them) cost time, never a wrong row."""
    ids = [f"id{i}" for i in range(50)]
    stored = pa.array(ids, pa.large_string())
    same = np.zeros(50, np.uint64)
    order = np.random.default_rng(0).permutation(50).astype(np.int64)
    wanted = pa.array(["id7", "nobody", "id49", "id0"], pa.large_string())
    alive = np.ones(50, bool)
    alive[0] = False
    found = hashing.match(wanted, np.zeros(4, np.uint64), same, order, stored, alive)
    assert found.tolist() == [7, -1, 49, -1]
    one_by_one = [
        hashing.match_one(one.encode(), 0, same, order, arrow.Texts(stored), alive) for one in wanted.to_pylist()
    ]
    assert one_by_one == [7, -1, 49, -1]
    found = hashing.match(wanted, np.full(4, 9, np.uint64), same, order, stored, None)
    assert found.tolist() == [-1, -1, -1, -1]
    assert hashing.match_one(b"id7", 9, same, order, arrow.Texts(stored), None) == -1


def test_few_ids_are_found_where_many_are(space: SpaceFiles) -> None:
    """Over segments with gaps, replaced and dead rows."""
    ids = [f"é{i}" for i in range(60)]
    space.add(ids[:40], vectors(40))
    space.add(ids[40:], vectors(20))
    space.delete(ids[5:15])
    space.compact()
    space.upsert(ids[20:30], vectors(10))
    space.delete([ids[50]])
    snapshot = space.snapshot()
    assert len(snapshot.segments) > 1
    asked = [*ids, "nobody", ""]
    many = snapshot.find(asked)
    assert (many >= 0).sum() == 60 - 10 - 1
    assert [snapshot.find([one])[0] for one in asked] == many.tolist()
    assert snapshot.ids(many[many >= 0]).tolist() == [i for i in ids if i not in {*ids[5:15], ids[50]}]


def test_append_several_replace_and_delete_in_one_version(space: SpaceFiles) -> None:
    space.add(["a", "b", "c"], vectors(3))
    staged = [space.stage(["b"], vectors(1, 1)), space.stage(["d", "e"], vectors(2, 2)), space.stage([], vectors(0))]
    manifest = space.append(staged, on_existing="replace", delete_ids=["c"], operation="refresh")
    assert (manifest.version, manifest.operation) == (3, "refresh")
    snapshot = space.snapshot()
    assert snapshot.find(["a", "b", "c", "d", "e"]).tolist() == [0, 3, -1, 4, 5]
    assert space.append([]).version == 3, "nothing to do commits nothing"
    with pytest.raises(InputError, match="'x' occurs in two staged segments"):
        space.append([space.stage(["x"], vectors(1)), space.stage(["x", "y"], vectors(2))])
    with pytest.raises(ConfigInvalid, match="on_existing"):
        space.append([], on_existing="overwrite")  # type: ignore[arg-type]


def test_encoder_changes_only_with_all_rows(space: SpaceFiles) -> None:
    space.append([space.stage(["a"], vectors(1), encoder="one")], encoder="one")
    with pytest.raises(SpaceMismatch, match="'two'"):
        space.append([space.stage(["b"], vectors(1), encoder="two")])
    with pytest.raises(SpaceMismatch, match="holds 1 latents"):
        space.append([], encoder="two")
    based_on = space.newest_version()
    wide = space.stage(["a"], np.ones((1, 5)), {"x": ["text"]}, encoder="two", dim=5)
    space.add(["late"], vectors(1), {"x": [1]})
    with pytest.raises(CommitConflict, match="changed in version 3, after version 2"):
        space.append([wide], replace_all=True, encoder="two", based_on=based_on)
    space.append([wide], replace_all=True, encoder="two")
    snapshot = space.snapshot()
    assert (snapshot.dim, snapshot.encoder, len(snapshot)) == (5, "two", 1)
    assert snapshot.columns(snapshot.live_rows()).to_pydict() == {"x": ["text"]}
    assert snapshot.live_rows().tolist() == [2], "row numbers go on"
    assert space.snapshot(3).dim == DIM


def test_restore_brings_back_rows_and_goes_on(space: SpaceFiles) -> None:
    space.add(["a", "b"], vectors(2), {"x": [1, 2]})
    space.delete(["a"])
    space.add(["c"], vectors(1))
    space.tag("good", 2)
    assert space.restore("good").operation == "restore 2"
    snapshot = space.snapshot()
    assert snapshot.find(["a", "b", "c"]).tolist() == [0, 1, -1]
    space.add(["c"], vectors(1))
    assert space.snapshot().find(["c"]).tolist() == [3]
    with pytest.raises(UnknownVersion, match="no version 77"):
        space.restore(77)


def test_read_only_mode_never_writes(space: SpaceFiles, tmp_path: Path) -> None:
    space.add(["a"], vectors(1))
    reader = SpaceFiles(space.folder, "r")
    before = {path: path.stat().st_mtime_ns for path in space.folder.rglob("*")}
    assert len(reader.snapshot()) == 1
    for write in (
        lambda: reader.add(["b"], vectors(1)),
        lambda: reader.stage(["b"], vectors(1)),
        lambda: reader.append([]),
        lambda: reader.delete(["a"]),
        reader.compact,
        lambda: reader.tag("x"),
        lambda: reader.delete_tag("x"),
        lambda: reader.restore(1),
        reader.vacuum,
        lambda: reader.write("index", ".x", b""),
        lambda: reader.clear_staging("k"),
    ):
        with pytest.raises(Forbidden, match="mode='r'"):
            write()
    assert reader.verify() == []
    assert {path: path.stat().st_mtime_ns for path in space.folder.rglob("*")} == before
    with pytest.raises(ConfigInvalid, match="mode"):
        SpaceFiles(space.folder, "w")  # type: ignore[arg-type]


def test_create_refuses_what_cannot_be(tmp_path: Path) -> None:
    for bad in ("Upper", "1a", "a-b", "", "../x"):
        with pytest.raises(ConfigInvalid, match="space name"):
            SpaceFiles.create(tmp_path / "s", space=bad, dim=3, metric="l2")
    for dim in (0, -1, 1.5, True):
        with pytest.raises(ConfigInvalid, match="dim"):
            SpaceFiles.create(tmp_path / "s", space="s", dim=dim, metric="l2")  # type: ignore[arg-type]
    with pytest.raises(ConfigInvalid, match="metric"):
        SpaceFiles.create(tmp_path / "s", space="s", dim=3, metric="manhattan")
    SpaceFiles.create(tmp_path / "s", space="s", dim=3, metric="ip")
    with pytest.raises(AlreadyExists, match="'s' exists"):
        SpaceFiles.create(tmp_path / "s", space="s", dim=3, metric="ip")
    with pytest.raises(UnknownSpace, match="known: 's'"):
        SpaceFiles(tmp_path / "t")
