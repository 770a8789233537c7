"""Pictures by their pixels: each cell shows its item, marks and captions stay in their place."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from latentstore.errors import InputError, ShapeMismatch
from latentstore.evaluate import charts, pictures
from latentstore.evaluate.sheet import Sheet, as_bytes, draw
from latentstore.evaluate.theme import DARK, LIGHT, PALETTE, THEMES, Theme


def flat_cells(levels: np.ndarray, side: int = 8) -> np.ndarray:
    """Cells of one grey each."""
    return np.broadcast_to(levels[..., None, None, None], (*levels.shape, side, side, 1)).astype(np.uint8)


def runs(line: np.ndarray, paper: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Colours along a line of pixels between stretches of paper."""
    found, inside = [], False
    for pixel in map(tuple, line.tolist()):
        if pixel != paper and not inside:
            found.append(pixel)
        inside = pixel != paper
    return found


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_cells_stand_in_reading_order(theme: Theme) -> None:
    levels = np.array([[10, 60, 110], [160, 210, 250]])
    image = np.asarray(draw(Sheet(flat_cells(levels)), theme))
    paper = tuple(int(theme.paper[i : i + 2], 16) for i in (1, 3, 5))
    for row, y in enumerate((image.shape[0] // 4, 3 * image.shape[0] // 4)):
        assert runs(image[y], paper) == [(level,) * 3 for level in levels[row]]


def test_floats_are_painted_like_bytes() -> None:
    cells = np.random.default_rng(0).integers(0, 256, (2, 2, 5, 5, 3)).astype(np.uint8)
    assert np.array_equal(np.asarray(draw(Sheet(cells))), np.asarray(draw(Sheet(cells / 255))))
    assert as_bytes(np.array([-0.2, 0.0, 0.5, 1.0, 1.7])).tolist() == [0, 0, 128, 255, 255]


def test_a_mark_changes_its_own_cell_only() -> None:
    cells = flat_cells(np.full((1, 3), 100))
    plain = np.asarray(draw(Sheet(cells)))
    marked = np.asarray(draw(Sheet(cells, marks=np.array([[False, True, False]]))))
    changed = np.flatnonzero((plain != marked).any(axis=(0, 2)))
    assert plain.shape[1] / 3 < changed.min() < changed.max() < 2 * plain.shape[1] / 3
    grey = lambda image: np.asarray(Image.fromarray(image).convert("L")).astype(int)  # noqa: E731
    assert (np.abs(grey(plain) - grey(marked)) > 15).sum() > 200  # the mark is there without colour, too


def test_long_words_stay_in_their_column() -> None:
    cells = flat_cells(np.full((1, 2), 0))
    captions = np.array([["a caption much too long for one cell of this sheet", "b"]], dtype=object)
    image = np.asarray(draw(Sheet(cells, captions=captions)))
    below = image[-30:]  # captions, under the cells
    gap = below[:, image.shape[1] // 2 - 3 : image.shape[1] // 2 + 3]
    assert (gap == 255).all()
    assert (below < 200).any()  # control: something is written


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        (Sheet(np.zeros((2, 3, 8, 8))), r"cells have shape \(2, 3, 8, 8\)"),
        (Sheet(np.zeros((2, 3, 8, 8, 2))), "1 or 3"),
        (Sheet(np.zeros((1, 2, 8, 8, 1)), column_titles=["a"]), "1 column_titles for 2"),
        (Sheet(np.zeros((1, 2, 8, 8, 1)), captions=np.array([["a"]])), r"captions have shape \(1, 1\)"),
    ],
)
def test_sheets_that_do_not_fit(sheet: Sheet, words: str) -> None:
    with pytest.raises(ShapeMismatch, match=words):
        draw(sheet)


def test_latent_plane_has_z2_upwards() -> None:
    side = 6
    z = pictures.latent_grid_points(side)
    assert z == pytest.approx(-z[::-1])  # medians of equally probable parts of a symmetric density
    points = np.stack(np.meshgrid(z, z[::-1]), axis=-1).reshape(-1, 2)
    right = (points[:, 0] - z[0]) / (z[-1] - z[0])
    up = (points[:, 1] - z[0]) / (z[-1] - z[0])
    colour = np.stack([right, up, np.zeros(side**2)], axis=-1)[:, None, None, :]
    image = np.asarray(pictures.latent_grid(np.broadcast_to(colour, (side**2, 8, 8, 3)))(LIGHT)).astype(int)
    inside = (image[:, :, 2] == 0) & (image.max(axis=2) >= 0)
    ys, xs = np.nonzero(inside)
    corner = lambda y, x: image[y, x, :2].tolist()  # noqa: E731
    assert corner(ys.min() + 2, xs.max() - 2) == [255, 255]
    assert corner(ys.max() - 2, xs.min() + 2) == [0, 0]
    assert corner(ys.min() + 2, xs.min() + 2) == [0, 255]


def test_reconstructions_state_their_errors() -> None:
    items = np.full((2, 8, 8, 1), 51, np.uint8)  # 0.2
    picture = pictures.reconstructions(items, np.full((2, 8, 8, 1), 0.3), np.full((2, 8, 8, 1), 0.6), ["a", "b"], dim=4)
    sheet = picture.args[0]  # type: ignore[attr-defined]
    assert sheet.captions.tolist() == [["", ""], ["0.0100", "0.0100"], ["0.1600", "0.1600"]]
    with pytest.raises(ShapeMismatch, match="equally many of one size"):
        pictures.reconstructions(items, np.zeros((2, 9, 8, 1)), np.zeros((2, 8, 8, 1)), ["a", "b"], dim=4)


def test_map_shows_every_label_in_its_colour() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array([f"class {i}" for i in range(10)], dtype=object), 60)
    centres = 20 * np.stack([np.arange(10) % 4, np.arange(10) // 4], axis=1)
    coordinates = np.repeat(centres, 60, axis=0) + rng.normal(size=(600, 2))
    coordinates = np.concatenate([coordinates, rng.normal(size=(20_000, 2)) * 20])  # a crowd, in blended colours
    labels = np.concatenate([labels, rng.permutation(np.resize(labels, 20_000))])
    image = charts.map_chart(coordinates, labels)(LIGHT).convert("RGB")
    colours = {colour for _, colour in image.getcolors(1 << 24)}
    for colour in PALETTE:
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        assert min(np.abs(np.array(c) - wanted).max() for c in colours) <= 4, colour
    assert (
        charts.map_chart(coordinates, labels)(DARK).tobytes() == charts.map_chart(coordinates, labels)(DARK).tobytes()
    )
    with pytest.raises(ShapeMismatch, match="9 labels for 20600 points"):
        charts.map_chart(coordinates, labels[:9])


def test_charts_refuse_what_they_cannot_draw() -> None:
    with pytest.raises(InputError, match=r"lengths \[1, 2\]"):
        charts.loss_curve({"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(InputError, match="none empty"):
        charts.loss_curve({"a": []})
    with pytest.raises(InputError, match="differ"):
        charts.class_errors({"a": 1.0}, {"b": 1.0})


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_text_is_readable_on_its_paper(theme: Theme) -> None:
    """WCAG 2.1 contrast: at least 4.5:1 for text, 3:1 for marks in charts."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(colour: str) -> float:
        light, dark = sorted((luminance(colour), luminance(theme.paper)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    assert all(contrast(colour) >= 4.5 for colour in (theme.ink, theme.muted, theme.wrong, theme.ours))
    assert contrast(theme.baseline) >= 3
    assert contrast(theme.rule) < 2  # control: hairlines are not text
