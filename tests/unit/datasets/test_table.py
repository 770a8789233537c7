"""Tables of images and of vectors, as other tools write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
from conftest import picture, png

from latentstore.datasets import open_dataset
from latentstore.datasets.table import ImageTable
from latentstore.errors import ConfigInvalid, InputError, LatentStoreError, NotFinite, ShapeMismatch

N = 25
PIXELS = np.stack([picture(seed) for seed in range(N)])
VECTORS = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
REST = {"id": [f"item {i}" for i in range(N)], "age": list(range(N))}


def _parquet(table: pa.Table, folder: Path) -> Path:
    pyarrow.parquet.write_table(table, folder / "t.parquet", row_group_size=7)
    return folder / "t.parquet"


def _shards(table: pa.Table, folder: Path) -> Path:
    (folder / "shards").mkdir()
    pyarrow.parquet.write_table(table.slice(0, 11), folder / "shards" / "part-0.parquet", row_group_size=4)
    pyarrow.parquet.write_table(table.slice(11), folder / "shards" / "part-1.parquet")
    return folder / "shards"


def _ipc(table: pa.Table, folder: Path) -> Path:
    with pa.ipc.new_file(folder / "t.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return folder / "t.arrow"


def _stream(table: pa.Table, folder: Path) -> Path:
    with pa.ipc.new_stream(folder / "t.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return folder / "t.arrow"


def _feather(table: pa.Table, folder: Path) -> Path:
    pyarrow.feather.write_feather(table, folder / "t.feather", compression="lz4", chunksize=7)
    return folder / "t.feather"


WRITERS = [_parquet, _shards, _ipc, _stream, _feather]
Writer = Callable[[pa.Table, Path], Path]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 5), pa.large_list(pa.float64())], ids=str
)
def test_vectors(tmp_path: Path, write: Writer, kind: pa.DataType) -> None:
    path = write(pa.table({**REST, "embedding": pa.array(VECTORS.tolist(), kind)}), tmp_path)
    dataset = open_dataset("table", path=str(path))
    assert list(dataset.ids) == REST["id"]
    assert dataset.item_shape == (5,)
    assert dataset.metadata.to_pydict() == {"age": REST["age"]}
    order = np.random.default_rng(1).permutation(N)
    np.testing.assert_array_equal(dataset.read(order), VECTORS[order])
    assert dataset.read([]).shape == (0, 5)
    hashes = dataset.content_hashes()
    assert len(set(hashes)) == N
    again = open_dataset(**dataset.source)
    assert again.content_hashes() == hashes
    assert open_dataset(**dataset.source | {"limit": 9}).content_hashes() == hashes[:9]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("form", ["bytes", "large", "struct", "path"])
def test_images(tmp_path: Path, write: Writer, form: str) -> None:
    encoded = [png(pixels) for pixels in PIXELS]
    for i, content in enumerate(encoded):
        if form == "path" or (form == "struct" and i % 2):
            base = tmp_path / "shards" if write is _shards else tmp_path
            (base if write is not _shards else tmp_path).mkdir(exist_ok=True)
            (tmp_path / f"{i}.png").write_bytes(content)
    column = {
        "bytes": lambda: pa.array(encoded, pa.binary()),
        "large": lambda: pa.array(encoded, pa.large_binary()),
        "struct": lambda: pa.array(
            [{"bytes": None if i % 2 else e, "path": f"{i}.png"} for i, e in enumerate(encoded)],
            pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        ),
        "path": lambda: pa.array([f"{i}.png" for i in range(N)]),
    }[form]()
    path = write(pa.table({**REST, "image": column}), tmp_path)
    if write is _shards:  # paths are relative to the folder of the shards
        for file in tmp_path.glob("*.png"):
            file.rename(path / file.name)
    dataset = open_dataset("table", path=str(path))
    assert dataset.item_shape == (6, 8, 3)
    assert dataset.metadata.to_pydict() == {"age": REST["age"]}
    order = np.random.default_rng(1).permutation(N)
    np.testing.assert_array_equal(dataset.read(order), PIXELS[order])
    assert len(set(dataset.content_hashes())) == N
    small = open_dataset(**dataset.source | {"size": 4, "channels": 1, "limit": 9})
    assert small.read([8]).shape == (1, 4, 4, 1)
    assert not {*small.content_hashes()} & {*dataset.content_hashes()}
    assert open_dataset(**small.source).content_hashes() == small.content_hashes()


def test_csv_of_paths_and_whole_number_ids(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for i in range(3):
        (tmp_path / "img" / f"{i}.png").write_bytes(png(PIXELS[i]))
    (tmp_path / "t.csv").write_text("id,file,colour\n7,img/0.png,red\n8,img/1.png,blue\n9,img/2.png,red\n")
    dataset = open_dataset("table", path=str(tmp_path / "t.csv"))
    assert list(dataset.ids) == ["7", "8", "9"]
    np.testing.assert_array_equal(dataset.read([2, 0]), PIXELS[[2, 0]])
    assert dataset.metadata.to_pydict() == {"colour": ["red", "blue", "red"]}
    numbered = open_dataset("table", path=str(tmp_path / "t.csv"), id="")
    assert list(numbered.ids) == ["0", "1", "2"]
    assert numbered.metadata.column_names == ["id", "colour"]


def test_only_the_row_groups_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _parquet(pa.table({**REST, "vector": pa.array(VECTORS.tolist())}), tmp_path)
    dataset = open_dataset("table", path=str(path))
    dataset.chunks._kept.clear()
    groups: list[int] = []
    read = pyarrow.parquet.ParquetFile.read_row_group

    def spy(self: pyarrow.parquet.ParquetFile, group: int, **options: object) -> pa.Table:
        groups.append(group)
        return read(self, group, **options)

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "read_row_group", spy)
    dataset.read([8, 0, 9, 1])
    assert groups == [0, 1]


def test_a_broken_image_is_named_or_skipped(tmp_path: Path) -> None:
    encoded = [png(pixels) for pixels in PIXELS]
    encoded[3] = b"rubbish"
    encoded[9] = None
    encoded[20] = encoded[20][:-40]
    path = _parquet(pa.table({**REST, "image": pa.array(encoded, pa.binary())}), tmp_path)
    with pytest.raises(InputError, match=r"row 3 \(id 'item 3'\) cannot be read"):
        open_dataset("table", path=str(path))
    dataset = open_dataset("table", path=str(path), on_error="skip")
    assert isinstance(dataset, ImageTable)
    assert [name for name, _ in dataset.skipped] == ["item 3", "item 9", "item 20"]
    assert dataset.metadata["age"].to_pylist() == [i for i in range(N) if i not in (3, 9, 20)]
    np.testing.assert_array_equal(dataset.read([3, 21]), PIXELS[[4, 24]])


@pytest.mark.parametrize("inner", ["/etc/hostname", "../secret.png", "a/../../secret.png"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, inner: str) -> None:
    (tmp_path / "secret.png").write_bytes(png(PIXELS[0]))
    (tmp_path / "t").mkdir()
    path = _parquet(pa.table({"id": ["a"], "image": [inner]}), tmp_path / "t")
    with pytest.raises(InputError, match="leaves the table's folder"):
        open_dataset("table", path=str(path))


def _vectors(**changes: object) -> pa.Table:
    return pa.table({**REST, "vector": pa.array(VECTORS.tolist()), **changes})


RAGGED = [*VECTORS.tolist()[:-1], [1.0, 2.0]]
HOLE = [*VECTORS.tolist()[:-1], None]
INNER = [*VECTORS.tolist()[:-1], [1.0, None, 0.0, 0.0, 0.0]]
NAN = [*VECTORS.tolist()[:-1], [float("nan")] * 5]
IMAGES = pa.array([png(pixels) for pixels in PIXELS], pa.binary())


@pytest.mark.parametrize(
    ("table", "options", "error", "message"),
    [
        (_vectors(vector=RAGGED), {}, ShapeMismatch, "row 24 has a vector of length 2, row 0 one of 5"),
        (_vectors(vector=HOLE), {}, InputError, "row 24 has no vector"),
        (_vectors(vector=INNER), {}, NotFinite, "row 24 has NaN, infinity or null"),
        (_vectors(vector=NAN), {}, NotFinite, "row 24 has NaN"),
        (_vectors(vector=pa.array([[]] * N, pa.list_(pa.float32()))), {}, ShapeMismatch, "length 0"),
        (_vectors(id=["a"] * 2 + REST["id"][2:]), {}, InputError, "'a' twice, at rows 0 and 1"),
        (_vectors(id=[None, *REST["id"][1:]]), {}, InputError, "row 0 has no id"),
        (_vectors(id=[0.5] * N), {}, ConfigInvalid, "ids are text or whole numbers"),
        (_vectors(), {"id": "idd"}, ConfigInvalid, "no column 'idd' for the ids; did you mean 'id'"),
        (_vectors(), {"vector": "vektor"}, ConfigInvalid, "did you mean 'vector'"),
        (_vectors(), {"vector": "age"}, ConfigInvalid, "'age' of .* is int64, not lists of numbers"),
        (_vectors(), {"image": "age"}, ConfigInvalid, "not bytes"),
        (_vectors(), {"size": 3}, ConfigInvalid, "size and channels are for images"),
        (_vectors(image=IMAGES), {}, ConfigInvalid, r"several \(image, vector\)"),
        (_vectors(image=IMAGES), {"image": "image", "vector": "vector"}, ConfigInvalid, "an item is one of them"),
        (pa.table(REST), {}, ConfigInvalid, "has none of its columns that could be the item"),
        (_vectors().slice(0, 0), {}, InputError, "has no items"),
        (_vectors(), {"limit": 0}, ConfigInvalid, "limit=0"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, table: pa.Table, options: dict[str, object], error: type[LatentStoreError], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_dataset("table", path=str(_parquet(table, tmp_path)), **options)


def test_images_of_two_sizes(tmp_path: Path) -> None:
    encoded = [png(picture(0)), png(picture(1, 4, 4))]
    path = _parquet(pa.table({"id": ["a", "b"], "image": encoded}), tmp_path)
    with pytest.raises(ShapeMismatch, match=r"row 0 \(id 'a'\) is 6 × 8 and .* row 1 \(id 'b'\) is 4 × 4"):
        open_dataset("table", path=str(path))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="there is no such table"):
        open_dataset("table", path=str(tmp_path / "absent.parquet"))
    for name in ("t.parquet", "t.arrow", "t.csv"):
        (tmp_path / name).write_bytes(b"\xff\xfenot a table")
        with pytest.raises(LatentStoreError, match=name):
            open_dataset("table", path=str(tmp_path / name))
    (tmp_path / "t.xlsx").write_bytes(b"")
    with pytest.raises(ConfigInvalid, match="is not a table"):
        open_dataset("table", path=str(tmp_path / "t.xlsx"))
    whole = _parquet(_vectors(), tmp_path).read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"t\.parquet cannot be read"):
        open_dataset("table", path=str(tmp_path / "t.parquet"))
