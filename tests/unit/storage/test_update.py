"""Metadata changes in place; columns come, change name and go; no vector is written for any of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from latentstore.errors import (
    AlreadyExists,
    ChecksumMismatch,
    CommitConflict,
    Forbidden,
    InputError,
    NotFound,
    ShapeMismatch,
    UnknownItem,
)
from latentstore.storage import ArtefactRecord, SpaceFiles

DIM = 3
N = 40_000  # three row groups


def vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


@pytest.fixture
def space(tmp_path: Path) -> SpaceFiles:
    space = SpaceFiles.create(tmp_path / "space", space="space", dim=DIM, metric="l2")
    space.add(list("abcde"), vectors(5), {"x": [1, 2, 3, 4, 5], "label": ["p", "q", None, "p", "q"]})
    return space


def held(space: SpaceFiles) -> dict[str, dict[str, Any]]:
    snapshot = space.snapshot()
    rows = snapshot.live_rows()
    return dict(zip(snapshot.ids(rows), snapshot.columns(rows).to_pylist(), strict=True))


def big_files(space: SpaceFiles) -> set[str]:
    """The files that hold vectors."""
    return {path.name for path in space.layout.segments.iterdir() if path.suffix in (".parquet", ".f32")}


def test_update_changes_metadata_and_nothing_else(space: SpaceFiles) -> None:
    before, files = space.snapshot(), big_files(space)
    manifest = space.update(["d", "a"], {"x": [40, 10], "label": "new"})
    assert (manifest.version, manifest.operation) == (3, "update")
    after = space.snapshot()
    assert held(space) == {
        "a": {"x": 10, "label": "new"},
        "b": {"x": 2, "label": "q"},
        "c": {"x": 3, "label": None},
        "d": {"x": 40, "label": "new"},
        "e": {"x": 5, "label": "q"},
    }
    assert after.find(list("abcde")).tolist() == [0, 1, 2, 3, 4], "rows keep their numbers"
    assert after.vectors(np.arange(5)).tobytes() == before.vectors(np.arange(5)).tobytes()
    assert big_files(space) == files, "no vector is written"
    assert before.columns(np.array([0]))["x"].to_pylist() == [1], "an old snapshot stays"
    space.update(["a", "b"], {"label": [None, "late"]})
    assert held(space)["a"] == {"x": 10, "label": None}, "a second update keeps the first"
    assert held(space)["b"] == {"x": 2, "label": "late"}
    assert held(space)["d"] == {"x": 40, "label": "new"}
    assert space.verify() == []


def test_what_was_updated_outlives_merges_deletes_and_restores(space: SpaceFiles) -> None:
    space.update(["a", "e"], {"x": 0})
    space.delete(["b", "a"])
    space.add(["f"], vectors(1), {"x": [6]})
    expected = {"c": 3, "d": 4, "e": 0, "f": 6}
    assert {one: row["x"] for one, row in held(space).items()} == expected
    space.compact()
    assert {one: row["x"] for one, row in held(space).items()} == expected
    assert space.snapshot().segments[0].record.patch is None, "merging folds the patch in"
    space.restore(3)
    assert {one: row["x"] for one, row in held(space).items()} == {"a": 0, "b": 2, "c": 3, "d": 4, "e": 0}
    space.upsert(["a"], vectors(1), {"x": [100]})
    assert held(space)["a"] == {"x": 100, "label": None}, "an upserted row is a new one"
    assert space.verify() == []


def test_compact_of_one_segment_folds_its_patch_in(space: SpaceFiles) -> None:
    space.update(["a"], {"x": 9})
    assert space.compact().version == 4
    assert space.snapshot().segments[0].record.patch is None
    assert space.compact().version == 4, "nothing to gain commits nothing"


def test_updates_of_many_rows_across_row_groups_and_gaps(tmp_path: Path) -> None:
    space = SpaceFiles.create(tmp_path / "space", space="space", dim=DIM, metric="l2")
    ids = [f"i{i}" for i in range(N)]
    space.add(ids, vectors(N), {"x": np.arange(N), "text": [f"t{i}" for i in range(N)]})
    space.delete(ids[: N // 2 : 3])
    space.compact()  # now relative rows have gaps
    model = {one: (i, f"t{i}") for i, one in enumerate(ids) if not (i < N // 2 and i % 3 == 0)}
    rng = np.random.default_rng(0)
    for turn in range(4):
        chosen = [str(one) for one in rng.permutation(sorted(model))[:3_000]]
        space.update(chosen, {"x": np.arange(3_000) + turn})
        model.update({one: (i + turn, model[one][1]) for i, one in enumerate(chosen)})
    snapshot = space.snapshot()
    scanned = {
        one: (x, t)
        for b in snapshot.scan(["id", "x", "text"], 1_000)
        for one, x, t in zip(*map(pa.Array.to_pylist, b.columns), strict=True)
    }
    assert scanned == model
    some = rng.permutation(snapshot.live_rows())[:500]
    taken = snapshot.columns(some, ["x", "id"]).to_pylist()
    assert [row["x"] for row in taken] == [model[row["id"]][0] for row in taken], "in the order asked for"


REFUSED: list[tuple[type[Exception], str, Callable[[SpaceFiles], object]]] = [
    (UnknownItem, "'z'", lambda s: s.update(["a", "z"], {"x": 1})),
    (UnknownItem, "row 77", lambda s: s.update(rows=np.array([77]), values={"x": 1})),
    (InputError, "no column 'y' to update; .*add_column", lambda s: s.update(["a"], {"y": 1})),
    (InputError, "'x' has type string, the space stores int64", lambda s: s.update(["a"], {"x": "text"})),
    (InputError, "'x' has type double", lambda s: s.update(["a"], {"x": 0.5})),
    (ShapeMismatch, "'x' has 3 values for 2 rows", lambda s: s.update(["a", "b"], {"x": [1, 2, 3]})),
    (ShapeMismatch, "metadata has 1 rows for 2 ids", lambda s: s.update(["a", "b"], pa.table({"x": [1]}))),
    (InputError, "'vector' is reserved", lambda s: s.update(["a"], {"vector": [[1.0, 2.0, 3.0]]})),
    (InputError, "'a' occurs twice", lambda s: s.update(["a", "a"], {"x": 1})),
    (InputError, "a row occurs twice", lambda s: s.update(rows=np.array([1, 1]), values={"x": 1})),
    (InputError, "either ids or rows", lambda s: s.update(["a"], {"x": 1}, rows=np.array([1]))),
    (AlreadyExists, "'x' exists", lambda s: s.add_column("X", "int64")),
    (InputError, "reserved", lambda s: s.add_column("vector", "int64")),
    (InputError, "cannot have type 'int65'", lambda s: s.add_column("y", "int65")),
    (InputError, "needs a type or a default", lambda s: s.add_column("y")),
    (
        InputError,
        "default 'text' cannot stand in column 'y' of type int64",
        lambda s: s.add_column("y", "int64", "text"),
    ),
    (InputError, "default 300 cannot stand", lambda s: s.add_column("y", "int8", 300)),
    (InputError, "struct", lambda s: s.add_column("y", pa.struct([("a", pa.int64())]))),
    (NotFound, "no column 'lable'; did you mean 'label'", lambda s: s.rename_column("lable", "y")),
    (AlreadyExists, "'label' exists", lambda s: s.rename_column("x", "label")),
    (NotFound, "no column 'y'", lambda s: s.drop_column("y")),
]


@pytest.mark.parametrize(("error", "message", "call"), REFUSED)
def test_refused_and_the_store_stays_as_it_was(
    space: SpaceFiles, error: type[Exception], message: str, call: Callable[[SpaceFiles], object]
) -> None:
    before = sorted(space.folder.rglob("*"))
    with pytest.raises(error, match=message):
        call(space)
    assert sorted(space.folder.rglob("*")) == before
    reader = SpaceFiles(space.folder, "r")
    for write in (lambda: reader.update(["a"], {"x": 1}), lambda: reader.add_column("y", "int64")):
        with pytest.raises(Forbidden):
            write()
    assert space.update([], {"x": 1}).version == 2, "nothing to do commits nothing"


def test_two_writers_of_one_row_both_hold(space: SpaceFiles) -> None:
    """Between reading and committing, another updates another column of the row: both must stand."""
    other = SpaceFiles(space.folder)
    raced = []
    publish = space._log.publish

    def late(*args: Any, **options: Any) -> bool:
        if not raced:
            raced.append(other.update(["a", "b"], {"label": "theirs"}).version)
        return publish(*args, **options)

    space._log.publish = late  # type: ignore[method-assign]
    assert space.update(["a"], {"x": 99}).version == raced[0] + 1
    assert held(space)["a"] == {"x": 99, "label": "theirs"}
    assert held(space)["b"] == {"x": 2, "label": "theirs"}
    patches = [path for path in space.layout.segments.iterdir() if path.suffix == ".patch"]
    assert len(patches) == 2, "the patch of the lost race is removed"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda other: other.update(["1"], {"n": 50}), {"0": 0, "1": 50, "2": 2, "3": 3}),
        (lambda other: other.rename_column("n", "m"), {"0": 0, "1": 1, "2": 2, "3": 3}),
        (lambda other: (other.drop_column("n"), other.add_column("n", "int64", 7)), dict.fromkeys("0123", 7)),
    ],
)
def test_a_merge_that_ran_meanwhile_hides_no_change(
    tmp_path: Path, change: Callable[[SpaceFiles], object], expected: dict[str, int]
) -> None:
    space = SpaceFiles.create(tmp_path / "s", space="s", dim=2, metric="l2")
    for i in range(4):
        space.add([str(i)], np.full((1, 2), i), {"n": [i]})
    other = SpaceFiles(space.folder)
    raced: list[object] = []
    publish = space._log.publish

    def late(*args: Any, **options: Any) -> bool:
        if not raced:
            raced.append(change(other))
        return publish(*args, **options)

    space._log.publish = late  # type: ignore[method-assign]
    space.compact()
    name = space.snapshot().manifest.columns[0][0]
    assert {one: row[name] for one, row in held(space).items()} == expected
    space.compact()
    assert {one: row[name] for one, row in held(space).items()} == expected
    assert space.verify() == []


def test_an_update_spares_the_index_and_outdates_concepts(space: SpaceFiles) -> None:
    based_on = space.newest_version()
    record = ArtefactRecord("r", "test", based_on, {"content": space.write("index", ".bin", b"x")})
    space.update(["a"], {"label": "other"})
    assert space.put_artefacts(based_on, index=[record]).index == (record,)
    with pytest.raises(CommitConflict, match="rows of space 'space' changed in version 3"):
        space.put_artefacts(based_on, concepts=[record])


def test_update_within_an_append_is_one_version(space: SpaceFiles) -> None:
    staged = [space.stage(["b", "f"], vectors(2, 1), {"x": [20, 6]})]
    values = {"label": ["z", None], "x": 30}
    manifest = space.append(staged, on_existing="replace", delete_ids=["e"], update=(["c", "a"], values))
    assert manifest.version == 3
    assert held(space) == {
        "a": {"x": 30, "label": None},
        "c": {"x": 30, "label": "z"},
        "d": {"x": 4, "label": "p"},
        "b": {"x": 20, "label": None},
        "f": {"x": 6, "label": None},
    }
    assert space.snapshot().find(["a", "c"]).tolist() == [0, 2]
    with pytest.raises(UnknownItem, match="'e'"):
        space.append([], update=(["e"], {"x": 1}))
    assert space.append([], update=([], {"x": 1})).version == 3
    assert space.verify() == []


DEFAULTS: list[tuple[Any, Any]] = [
    ("int64", -5),
    ("uint64", 2**64 - 1),
    ("float", 0.1),
    ("double", 1e-300),
    ("bool", False),
    ("string", 'it\'s "é" \\ \n'),
    ("string", ""),
    (pa.binary(), b"\x00\xff"),
    (pa.list_(pa.string()), ["a", "b'"]),
    (pa.list_(pa.int64()), []),
    (pa.timestamp("us"), datetime(2024, 2, 29, 12, 30)),
    (pa.date32(), date(2024, 2, 29)),
    (pa.decimal128(6, 2), Decimal("12.50")),
]


@pytest.mark.parametrize(("kind", "default"), DEFAULTS)
def test_a_column_with_a_default(space: SpaceFiles, kind: Any, default: Any) -> None:
    files = big_files(space)
    space.add_column("new", kind, default)
    assert big_files(space) == files
    reopened = SpaceFiles(space.folder)
    stored = pa.array([default], reopened.snapshot().column_types["new"])[0].as_py()
    reopened.update(["b"], {"new": None})
    reopened.add(["later"], vectors(1))
    reopened.add(["given"], vectors(1), {"new": pa.nulls(1)})
    expected = {"a": stored, "b": None, "c": stored, "d": stored, "e": stored, "later": stored, "given": None}
    assert {one: row["new"] for one, row in held(reopened).items()} == expected
    reopened.compact()
    assert {one: row["new"] for one, row in held(reopened).items()} == expected
    assert "new" not in space.snapshot(2).column_types


def test_names_come_and_go_without_what_was_under_them(space: SpaceFiles) -> None:
    files = big_files(space)
    space.rename_column("x", "y")
    space.update(["a"], {"y": 11})
    assert [row["y"] for row in held(space).values()] == [11, 2, 3, 4, 5]
    space.drop_column("y")
    assert set(held(space)["a"]) == {"label"}
    space.add(["f"], vectors(1), {"y": ["text"]})  # another type: it is another column
    assert [row["y"] for row in held(space).values()] == [None] * 5 + ["text"]
    space.add_column("x", "int64")
    assert [row["x"] for row in held(space).values()] == [None] * 6
    space.rename_column("label", "x2")
    space.rename_column("x2", "label")
    assert [row["label"] for row in held(space).values()] == ["p", "q", None, "p", "q", None]
    assert files <= big_files(space)
    before = held(space)
    space.compact()
    assert held(space) == before
    assert space.verify() == []


def test_a_column_of_nulls_takes_the_type_of_an_update(space: SpaceFiles) -> None:
    space.add(["f"], vectors(1), {"later": pa.nulls(1)})
    space.update(["a"], {"later": "text"})
    assert space.snapshot().column_types["later"] == pa.string()
    assert [row["later"] for row in held(space).values()] == ["text", None, None, None, None, None]


def test_a_damaged_patch_is_named(space: SpaceFiles) -> None:
    space.update(["a"], {"x": 9})
    record = space.snapshot().segments[0].record.patch
    assert record is not None
    path = space.layout.file(record.name)
    good = path.read_bytes()
    path.write_bytes(b"\0" * len(good))
    with pytest.raises(ChecksumMismatch, match=path.name):
        held(SpaceFiles(space.folder))
    assert [problem.path for problem in space.verify()] == [path]
    path.unlink()
    with pytest.raises(ChecksumMismatch, match=f"{path.name} is missing"):
        SpaceFiles(space.folder).snapshot()
