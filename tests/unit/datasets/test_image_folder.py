"""Folders of real image files."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import picture, png
from PIL import Image

from latentstore.datasets import open_dataset
from latentstore.datasets.image_folder import ImageFolder
from latentstore.errors import ConfigInvalid, InputError, ShapeMismatch
from latentstore.types import Array

IDS = ["cat/a.png", "cat/b.png", "dog/a.png", "dog/puppies/a.png", "loose.png"]


def _open(folder: Path, **options: object) -> ImageFolder:
    dataset = open_dataset("image_folder", folder=str(folder), **options)
    assert isinstance(dataset, ImageFolder)
    return dataset


def test_paths_are_ids_and_sub_folders_labels(photos: Path) -> None:
    (photos / ".hidden").mkdir()
    (photos / ".hidden" / "x.png").write_bytes(b"never read")
    (photos / "cat" / "notes.txt").write_text("not an image")
    dataset = _open(photos)
    assert list(dataset.ids) == IDS
    assert dataset.metadata.to_pydict() == {"label": ["cat", "cat", "dog", "dog", None]}
    assert dataset.item_shape == (6, 8, 3)
    np.testing.assert_array_equal(dataset.read([4, 0]), np.stack([picture(4), picture(0)]))


def test_split_folders_are_splits(photos: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        shutil.copytree(photos / "cat", tmp_path / "whole" / split / "cat")
    assert _open(tmp_path / "whole").metadata.to_pydict() == {
        "label": ["cat"] * 4,
        "split": ["test", "test", "train", "train"],
    }


def test_hashes_follow_the_file_and_the_form_and_nothing_is_decoded(photos: Path) -> None:
    first = dict(zip(IDS, _open(photos).content_hashes(), strict=True))
    (photos / "cat" / "a.png").write_bytes(png(picture(77)))
    (photos / "dog" / "a.png").touch()
    second = dict(zip(IDS, _open(photos).content_hashes(), strict=True))
    assert [name for name in IDS if first[name] != second[name]] == ["cat/a.png"]
    assert not {*first.values()} & {*_open(photos, size=4).content_hashes()}
    assert not {*first.values()} & {*_open(photos, channels=1).content_hashes()}
    # Pixels cut off: the header is whole, so opening and hashing succeed, and only reading decodes.
    whole = (photos / "loose.png").read_bytes()
    (photos / "loose.png").write_bytes(whole[: len(whole) // 2])
    dataset = _open(photos)
    assert len(dataset.content_hashes()) == 5
    with pytest.raises(InputError, match=r"loose\.png cannot be read"):
        dataset.read([4])


def test_source_opens_the_same_items(photos: Path) -> None:
    first = _open(photos, size=[4, 5], channels=1, limit=3)
    again = open_dataset(**first.source)
    assert list(again.ids) == IDS[:3]
    assert again.content_hashes() == first.content_hashes()
    np.testing.assert_array_equal(again.read([0, 2]), first.read([0, 2]))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("key", ["id", "file"])
def test_a_table_beside_the_images_is_their_metadata(photos: Path, kind: str, key: str) -> None:
    table = pa.table({"age": [5, 4, 3, 2, 1], key: IDS[::-1], "label": list("edcba")})
    if kind == "csv":
        pyarrow.csv.write_csv(table, photos / "metadata.csv")
    else:
        pyarrow.parquet.write_table(table, photos / "metadata.parquet")
    assert _open(photos).metadata.to_pydict() == {"label": list("abcde"), "age": [1, 2, 3, 4, 5]}
    assert _open(photos, limit=2).metadata.num_rows == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,age\ncat/a.png,1\n", r"no row for 'cat/b.png', 'dog/a.png', 'dog/puppies/a.png' and 1 more"),
        ("id\n" + "\n".join([*IDS, "bird.png"]), r"without an image below .*: 'bird.png'"),
        ("id\n" + "\n".join([*IDS, IDS[0]]), r"has 'cat/a.png' twice, at rows 0 and 5"),
        ("name\nx\n", "needs `id` or `file`"),
        ("id,a\nx\n", "cannot be read"),
    ],
)
def test_a_table_that_does_not_match_is_refused(photos: Path, content: str, message: str) -> None:
    (photos / "metadata.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        _open(photos)


def test_images_of_two_sizes_are_named_unless_a_size_is_given(photos: Path) -> None:
    (photos / "dog" / "b.png").write_bytes(png(picture(9, 10, 10)))
    with pytest.raises(
        ShapeMismatch, match=r"cat/a.png is 6 × 8 and .*dog/b.png is 10 × 10 pixels; add the option size"
    ):
        _open(photos)
    assert _open(photos, size=5).read([0, 3]).shape == (2, 5, 5, 3)


def test_resizing_covers_and_crops_without_distortion(tmp_path: Path) -> None:
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 255  # the square in the middle is white
    (tmp_path / "wide.png").write_bytes(png(wide))
    assert (_open(tmp_path, size=10).read([0]) == 255).all()


def test_on_error_skip_lists_what_it_left_out(photos: Path) -> None:
    (photos / "cat" / "broken.jpg").write_bytes(b"no image")
    whole = (photos / "cat" / "b.png").read_bytes()
    (photos / "cat" / "b.png").write_bytes(whole[:-40])
    with pytest.raises(InputError, match=r"cat/broken.jpg cannot be read \(no image format is recognised\)"):
        _open(photos)
    dataset = _open(photos, on_error="skip")
    assert list(dataset.ids) == [name for name in IDS if name != "cat/b.png"]
    assert [name for name, _ in dataset.skipped] == ["cat/b.png", "cat/broken.jpg"]
    assert dataset.read(range(4)).shape == (4, 6, 8, 3)
    assert open_dataset(**dataset.source).content_hashes() == dataset.content_hashes()


def _save(path: Path, image: Image.Image, **options: object) -> None:
    image.save(path, **options)


def test_every_kind_of_pixel_becomes_what_it_shows(tmp_path: Path) -> None:
    rgb = picture(1)
    grey = picture(2, channels=1)
    alpha = np.dstack([rgb, np.zeros((6, 8), np.uint8)])
    alpha[:, 4:, 3] = 255
    over_white = np.where(alpha[..., 3:] == 0, 255, rgb)
    palette = Image.fromarray(rgb).quantize(256)
    deep = grey.astype(np.uint16) * 257
    cmyk = Image.fromarray(rgb).convert("CMYK")
    expected: dict[str, Array] = {}
    for name, image, shown in (
        ("alpha.png", Image.fromarray(alpha), over_white),
        ("palette.png", palette, np.asarray(palette.convert("RGB"))),
        ("cmyk.tif", cmyk, np.asarray(cmyk.convert("RGB"))),
        ("deep.png", Image.fromarray(deep), np.repeat(grey[..., None], 3, axis=2)),
        ("grey.png", Image.fromarray(grey), np.repeat(grey[..., None], 3, axis=2)),
        ("bits.png", Image.fromarray(grey).convert("1"), np.asarray(Image.fromarray(grey).convert("1").convert("RGB"))),
    ):
        _save(tmp_path / name, image)
        expected[name] = shown
    clear = Image.fromarray(np.array([[0, 1] * 4] * 6, np.uint8), "P")
    clear.putpalette([10, 20, 30, 200, 210, 220])
    _save(tmp_path / "clear.png", clear, transparency=0)
    expected["clear.png"] = np.where(np.arange(8)[None, :, None] % 2 == 0, 255, [200, 210, 220]).repeat(6, axis=0)
    dataset = _open(tmp_path)
    for name, item in zip(dataset.ids, dataset.read(range(len(dataset))), strict=True):
        np.testing.assert_array_equal(item, expected[name], err_msg=name)


def test_all_grey_images_have_one_channel(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", Image.fromarray(picture(2, channels=1)))
    _save(tmp_path / "b.png", Image.fromarray(picture(2, channels=1).astype(np.uint16) * 257))
    dataset = _open(tmp_path)
    assert dataset.item_shape == (6, 8, 1)
    np.testing.assert_array_equal(*dataset.read([0, 1]))
    assert _open(tmp_path, channels=3).item_shape == (6, 8, 3)


@pytest.mark.parametrize("kind", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = picture(3)
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(undo[orientation](upright))  # as a camera held that way would store it
    exif = Image.Exif()
    exif[0x0112] = orientation
    _save(tmp_path / f"a.{kind}", Image.fromarray(stored), exif=exif, **({"lossless": True} if kind == "webp" else {}))
    dataset = _open(tmp_path)
    assert dataset.item_shape == (6, 8, 3)
    np.testing.assert_array_equal(dataset.read([0])[0], upright)


def test_an_image_of_too_many_pixels_is_not_decoded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # the photos have 48
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with (
            pytest.warns(Image.DecompressionBombWarning),
            pytest.raises(InputError, match="too large to decode safely"),
        ):
            _open(photos)
    with pytest.raises(InputError, match="too large"):
        _open(photos)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 0}, ConfigInvalid, "size=0"),
        ({"size": [3, 4, 5]}, ConfigInvalid, r"size=\[3, 4, 5\]"),
        ({"size": True}, ConfigInvalid, "size=True"),
        ({"channels": 2}, ConfigInvalid, "channels=2"),
        ({"on_error": "ignore"}, ConfigInvalid, "on_error='ignore'"),
        ({"limit": -1}, ConfigInvalid, "limit=-1"),
        ({"sizes": 3}, ConfigInvalid, "did you mean 'size'"),
    ],
)
def test_mistaken_options_are_named(
    photos: Path, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _open(photos, **options)


def test_no_folder_and_no_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="is not a folder"):
        _open(tmp_path / "absent")
    with pytest.raises(InputError, match="has no items"):
        _open(tmp_path)
    with pytest.raises(ConfigInvalid, match="needs the option 'folder'"):
        open_dataset("image_folder")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="apart from 1 images that cannot be read, has no items"):
        _open(tmp_path, on_error="skip")
