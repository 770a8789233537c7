"""A contact sheet: a grid of item pictures with titles, captions and marks. Every grid of the report is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import ShapeMismatch
from latentstore.evaluate.theme import LIGHT, Theme, font

if TYPE_CHECKING:
    from jaxtyping import Shaped, UInt8
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from latentstore.types import Array

DENSITY = 2  # picture pixels per page pixel, so that text stays sharp on a phone
_TEXT, _SMALL, _LEAST = 11 * DENSITY, 10 * DENSITY, 7 * DENSITY
_GAP, _WIDE, _MARGIN = 6 * DENSITY, 16 * DENSITY, 10 * DENSITY


@dataclass(frozen=True, eq=False)
class Sheet:
    """What stands on a contact sheet.

    Attributes:
        cells: Pictures, shape (rows, columns, h, w, c), c is 1 or 3; uint8, or floats from 0 to 1.
        row_titles: At the left of each row; "\\n" breaks a line.
        column_titles: Above each column.
        captions: Below each cell, shape (rows, columns), "" for none; "\\n" breaks a line.
        marks: Cells that are off, shape (rows, columns) bool: a thick frame and a cross in the corner.
        breaks: Columns before which the gap is wide.
        row_breaks: Rows before which the gap is wide.
        side: Longest side of a cell, in page pixels.
        seamless: No gaps at all: neighbouring cells belong to one continuous picture.
    """

    cells: Shaped[Array, "rows columns h w c"]
    row_titles: Sequence[str] = ()
    column_titles: Sequence[str] = ()
    captions: Shaped[Array, "rows columns"] | None = None
    marks: Shaped[Array, "rows columns"] | None = None
    breaks: Sequence[int] = ()
    row_breaks: Sequence[int] = ()
    side: int = 56
    seamless: bool = False


def as_bytes(items: Shaped[Array, "... h w c"]) -> UInt8[Array, "... h w c"]:
    """Pictures as uint8: floats are taken as 0 (black) to 1 and clipped; bytes pass unchanged."""
    if items.dtype == np.uint8:
        return items
    return np.asarray(np.rint(np.clip(items, 0, 1) * 255).astype(np.uint8))


def draw(sheet: Sheet, theme: Theme = LIGHT) -> Image:
    """Lay the sheet out and paint it.

    Returns:
        An RGB picture, `DENSITY` pixels per page pixel.

    Raises:
        ShapeMismatch: `cells` is not (rows, columns, h, w, 1 or 3), or titles, captions or marks do not fit it.
    """
    from PIL import Image, ImageDraw

    _check(sheet)
    rows, columns, height, width, _ = sheet.cells.shape
    scale = sheet.side * DENSITY / max(height, width)
    scale = (
        max(1, round(scale)) if scale >= 1 else scale
    )  # whole pixels are enlarged whole; big pictures shrink smoothly
    cell_w, cell_h = round(width * scale), round(height * scale)
    lefts, right = _offsets(columns, cell_w, sheet.breaks, sheet.seamless)
    foot = _lines(sheet.captions) * (_SMALL + 4) + (DENSITY * 2 if sheet.captions is not None else 0)
    tops, bottom = _offsets(rows, cell_h + foot, sheet.row_breaks, sheet.seamless)
    left = _MARGIN + max((_extent(t, _TEXT) for t in sheet.row_titles), default=-_GAP) + _GAP
    pitch = cell_w if sheet.seamless else cell_w + _GAP - DENSITY
    head = _MARGIN + (_lines(np.array(sheet.column_titles)) * (_TEXT + 4) + _GAP if len(sheet.column_titles) else 0)

    picture = Image.new("RGB", (left + right + _MARGIN, head + bottom + _MARGIN), theme.paper)
    pen = ImageDraw.Draw(picture)
    for c, title in enumerate(sheet.column_titles):
        _write(pen, title, left + lefts[c] + cell_w / 2, head - _GAP, pitch, theme.ink, _TEXT, "md")
    for r, title in enumerate(sheet.row_titles):
        _write(pen, title, left - _GAP, head + tops[r] + cell_h / 2, left - _MARGIN, theme.ink, _TEXT, "rm")
    resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    pixels = as_bytes(sheet.cells)
    for r in range(rows):
        for c in range(columns):
            x, y = left + lefts[c], head + tops[r]
            cell = pixels[r, c, :, :, 0] if pixels.shape[-1] == 1 else pixels[r, c]
            picture.paste(Image.fromarray(cell).resize((cell_w, cell_h), resample), (x, y))
            marked = sheet.marks is not None and bool(sheet.marks[r, c])
            if marked:
                _cross(pen, (x, y, x + cell_w - 1, y + cell_h - 1), theme)
            if sheet.captions is not None:
                ink = theme.wrong if marked else theme.muted
                text = str(sheet.captions[r, c])
                _write(pen, text, x + cell_w / 2, y + cell_h + DENSITY * 2, pitch, ink, _SMALL, "ma")
    return picture


def _cross(pen: ImageDraw, box: tuple[int, int, int, int], theme: Theme) -> None:
    """A double frame and a cross in the upper right corner: readable in grey and on any picture."""
    size, thick = 8 * DENSITY, 2 * DENSITY
    pen.rectangle(box, outline=theme.wrong, width=thick)
    inner = (box[0] + thick, box[1] + thick, box[2] - thick, box[3] - thick)
    pen.rectangle(inner, outline=theme.paper, width=DENSITY // 2)
    x, y = box[2] - size, box[1] + size
    pen.rectangle((x - size / 2 - 2, box[1], box[2], y + size / 2 + 2), fill=theme.wrong)
    for sign in (-1, 1):
        reach = 3 * DENSITY
        pen.line((x - reach, y - sign * reach, x + reach, y + sign * reach), fill=theme.paper, width=2 * DENSITY)


def _offsets(count: int, size: int, breaks: Sequence[int], seamless: bool) -> tuple[list[int], int]:
    """Where each cell starts, and where the last one ends."""
    gaps = [0 if i == 0 or seamless else _WIDE if i in breaks else _GAP for i in range(count)]
    starts = np.cumsum(gaps) + size * np.arange(count)
    return [int(s) for s in starts], int(starts[-1]) + size


def _lines(texts: Shaped[Array, " ..."] | None) -> int:
    return 0 if texts is None else max((str(t).count("\n") + 1 for t in texts.ravel()), default=0)


def _extent(text: str, size: int) -> int:
    return max(int(font(size).getlength(line)) + 1 for line in text.split("\n"))


def _write(pen: ImageDraw, text: str, x: float, y: float, width: float, ink: str, size: int, anchor: str) -> None:
    """Write lines around (x, y), each shrunk to `width`, and cut with an ellipsis where that is not enough."""
    lines = text.split("\n")
    step = size + 4
    first = y - {"a": 0, "m": (len(lines) - 1) * step / 2, "d": (len(lines) - 1) * step}[anchor[1]]
    for number, line in enumerate(lines):
        fitted, shown = size, line
        while fitted > _LEAST and font(fitted).getlength(shown) > width:
            fitted -= 1
        while len(shown) > 2 and font(fitted).getlength(shown) > width:
            shown = shown[:-2].rstrip() + "…"
        pen.text((x, first + number * step), shown, fill=ink, font=font(fitted), anchor=anchor)


def _check(sheet: Sheet) -> None:
    shape = sheet.cells.shape
    if len(shape) != 5 or shape[-1] not in (1, 3) or 0 in shape:
        raise ShapeMismatch(f"cells have shape {shape}; a sheet needs (rows, columns, h, w, 1 or 3), none of them 0")
    for name, given, wanted in (
        ("row_titles", len(sheet.row_titles), shape[0]),
        ("column_titles", len(sheet.column_titles), shape[1]),
    ):
        if given not in (0, wanted):
            raise ShapeMismatch(f"{given} {name} for {wanted}; give one each or none")
    for name, grid in (("captions", sheet.captions), ("marks", sheet.marks)):
        if grid is not None and grid.shape != shape[:2]:
            raise ShapeMismatch(f"{name} have shape {grid.shape}; the cells are {shape[:2]}")
