"""Pictures and films of paths and grids: the pixels are those that were decoded, or nothing is written."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

import latentstore as ls
from latentstore.errors import ConfigInvalid, NotSupported
from tests.clothes import clothes_space


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    return clothes_space(ls.open(tmp_path_factory.mktemp("pictures") / "a.store"), "clothes", items=1200, dim=6)


def test_a_strip_shows_the_frames_side_by_side(clothes, tmp_path):
    path = clothes.interpolate("'train/3'", "'train/7'", steps=4)
    path.save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (112, 4 * 112 + 3 * 4)
    frames = np.rint(path.decode()[..., 0] * 255)
    for i in range(4):
        assert np.array_equal(pixels[2::4, i * 116 + 2 : i * 116 + 112 : 4], frames[i])
    assert (pixels[:, 112:116] == 255).all()


def test_a_grid_leaves_empty_cells_white(clothes, tmp_path):
    grid = clothes.interpolate_grid("'train/1'", "'train/2'", "'train/3'", rows=3)
    grid.save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (3 * 116 - 4, 3 * 116 - 4)
    assert (pixels[:112, 116:] == 255).all()
    assert np.array_equal(pixels[118:228:4, 118:228:4], np.rint(grid.decode()[1, 1, :, :, 0] * 255))


def test_a_gif_walks_there_and_back_and_rests_on_the_anchors(clothes, tmp_path):
    path = clothes.interpolate("'train/3'", "'train/7'", "'train/8'", steps=7, method="graph")
    path.save(tmp_path / "x.gif", fps=20)
    frames = np.rint(path.decode()[..., 0] * 255)
    order = [*range(7), *range(5, 0, -1)]
    with Image.open(tmp_path / "x.gif") as film:
        assert film.info["loop"] == 0
        assert film.n_frames == len(order)
        shown = [(np.asarray(f.convert("L")), f.info["duration"]) for f in ImageSequence.Iterator(film)]
    for (pixels, duration), i in zip(shown, order, strict=True):
        assert np.array_equal(pixels[4::8, 4::8], frames[i])
        assert duration == (500 if i in path.anchors else 50)


def test_an_mp4_has_the_frames_of_the_walk(clothes, tmp_path):
    import av

    path = clothes.interpolate("'train/3'", "'train/7'", steps=6)
    path.save(tmp_path / "x.mp4", fps=10)
    frames = path.decode()[..., 0] * 255
    order = [0] * 5 + [1, 2, 3, 4] + [5] * 5 + [4, 3, 2, 1]
    with av.open(str(tmp_path / "x.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 10)
        shown = [frame.to_ndarray(format="gray")[4::8, 4::8] for frame in film.decode(video=0)]
    assert len(shown) == len(order)
    for pixels, i in zip(shown, order, strict=True):
        assert np.abs(pixels.astype(float) - frames[i]).mean() < 6  # H.264 loses a little
    assert np.abs(shown[0].astype(float) - frames[5]).mean() > 20, "control: the ends differ"


def test_an_mp4_without_its_extra_says_what_to_install(clothes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(NotSupported, match=r"extra `video`: pip install 'latentstore\[video\]'; or end it in .gif"):
        clothes.interpolate("'train/3'", "'train/7'").save(tmp_path / "x.mp4")
    assert not (tmp_path / "x.mp4").exists()


def test_other_endings_and_speeds_are_refused(clothes, tmp_path):
    path = clothes.interpolate("'train/3'", "'train/7'")
    with pytest.raises(ConfigInvalid, match=r"x\.avi is no name of a picture or film"):
        path.save("x.avi")
    with pytest.raises(ConfigInvalid, match="0 frames per second"):
        path.save(tmp_path / "x.gif", fps=0)
    with pytest.raises(ConfigInvalid, match=r"x\.gif is no name of a picture"):
        clothes.interpolate_grid(*["'train/1'"] * 3, rows=2).save("x.gif")


def test_what_was_there_stays_when_a_picture_cannot_be_written(clothes, tmp_path):
    path = clothes.interpolate("'train/3'", "'train/7'", steps=150)  # 150 × 116 pixels wide
    strip = tmp_path / "strip.webp"
    clothes.interpolate("'train/3'", "'train/7'", steps=2).save(strip)
    before = strip.read_bytes()
    with pytest.raises(ConfigInvalid, match=r"strip\.webp cannot hold 17396 × 112 pixels .*16383.*end it in \.png"):
        path.save(strip)
    assert strip.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["strip.webp"]
    path.save(tmp_path / "strip.png")
    assert (tmp_path / "strip.png").stat().st_size > 10_000
