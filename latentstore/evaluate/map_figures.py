"""Figures of a map beside its dots: what is drawn anywhere on it, and a map of three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import InputError
from latentstore.evaluate.charts import cube_chart
from latentstore.evaluate.report import Figure
from latentstore.evaluate.sheet import DENSITY, as_bytes

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8
    from PIL.Image import Image

    from latentstore.evaluate.pictures import Picture
    from latentstore.evaluate.portrait import Portrait
    from latentstore.evaluate.theme import Theme
    from latentstore.types import Array

COLUMNS = 26  # cells from the map's left to its right
_CELL = 28  # pixels of the page
_NEAR = 0.8  # of a cell's side: a cell with no item so near its middle is left empty
_EDGES = (0.2, 99.8)  # percentiles of the coordinates at the picture's edges: a stray item must not shrink all others


def atlas(portrait: Portrait, name: str, quality: str = "") -> Figure:
    """A flat map from place to item: each cell's middle taken back to a latent and decoded."""
    space = portrait.space
    table = space.map(name)
    coordinates = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
    points, near, shape = cells(coordinates)
    pixels = as_bytes(space.decode(space.from_map(points[near], name)))
    return Figure(
        f"{space.name.replace('_', '-')}-atlas-{name}",
        f"Map to image: {name}",
        f"Each cell is a place on the map, taken back to a latent by regression on the items around it, and decoded: "
        f"none of these pictures is in the data. {quality}Places without an item near are left empty. Look how one "
        "kind turns into the next, and where it cannot.",
        f"{shape[0]} rows and {shape[1]} columns of decoded places of the map {name}, {int(near.sum())} of them drawn.",
        _mosaic(pixels, near.reshape(shape)),
    )


def cells(
    coordinates: Float[Array, "n 2"], columns: int = COLUMNS
) -> tuple[Float[Array, "m 2"], Bool[Array, " m"], tuple[int, int]]:
    """Middles of square cells over a flat map, row by row from the top left; which have an item near; rows, columns."""
    from scipy.spatial import cKDTree

    low, high = np.percentile(coordinates, _EDGES, axis=0)
    side = float(high[0] - low[0]) / columns
    if not side > 0:
        raise InputError(f"the map's items lie on one vertical line at x = {low[0]:g}; there is no area to draw")
    rows = int(np.clip(np.ceil((high[1] - low[1]) / side), 1, 4 * columns))
    middle = (low[1] + high[1]) / 2
    x = low[0] + side * (np.arange(columns) + 0.5)
    y = middle + side * (rows / 2 - 0.5 - np.arange(rows))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    near = cKDTree(coordinates).query(points)[0] <= _NEAR * side
    return points, np.asarray(near), (rows, columns)


def cube(portrait: Portrait, name: str, quality: str = "") -> Figure:
    """Every item on a map of three dimensions, coloured by label."""
    table = portrait.space.map(name)
    labels = portrait.labels_of(table["id"].to_pylist())
    coordinates = np.stack([table[axis].to_numpy() for axis in ("x", "y", "z")], axis=1)
    return Figure(
        f"{portrait.space.name.replace('_', '-')}-map-{name}",
        f"Map: {name}",
        f"Each dot is one of {len(labels):,} items, seen from four sides. {quality}Look whether what lies on each "
        "other from one side is apart from another.",
        f"Four views of {len(labels):,} items in three dimensions, coloured by {portrait.column}.",
        cube_chart(coordinates, labels),
    )


def _mosaic(pixels: UInt8[Array, "m h w c"], near: Bool[Array, "rows columns"]) -> Picture:
    def picture(theme: Theme) -> Image:
        from PIL import Image

        rows, columns = near.shape
        side = _CELL * DENSITY
        sheet = Image.new("RGB", (columns * side, rows * side), theme.paper)
        for one, (row, column) in zip(pixels, np.argwhere(near), strict=True):
            cell = Image.fromarray(one[:, :, 0] if one.shape[-1] == 1 else one)
            sheet.paste(cell.resize((side, side), Image.Resampling.LANCZOS), (column * side, row * side))
        return sheet

    return picture
