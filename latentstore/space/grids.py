"""Grids between three or four latents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore import geometry
from latentstore.errors import InputError
from latentstore.space import walks
from latentstore.space.surroundings import Surroundings, surroundings

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Float64

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

MOST_CELLS = 10_000


@dataclass(frozen=True, eq=False)
class Grid:
    """Mixes of three or four latents.

    Attributes:
        space: Where they live.
        latents: Shape (rows, columns, d), float32; NaN in the empty half of a triangle.
        method: As of a `Path`.
        inside: Cells that hold a latent, shape (rows, columns): all of them between four anchors.
    """

    space: EmbeddingSpace
    latents: Float32[Array, "rows columns d"]
    method: str
    inside: Bool[Array, "rows columns"]

    def decode(self) -> Float32[Array, "rows columns ..."]:
        """The items that the decoder draws: float32 in [0, 1], shape (rows, columns, h, w, c); NaN where empty."""
        return self._spread(self.space.decode(self.latents[self.inside]))

    def save(self, file: str | FilePath) -> None:
        """Draw the grid as a picture (.png, .jpg, .webp), the first anchor at the upper left.

        Raises:
            ConfigInvalid: Another ending.
            NotSupported: The space decodes no pictures.
        """
        from latentstore.exchange.film import save_picture

        save_picture(self.decode(), FilePath(file))

    def realism(self) -> Float64[Array, "rows columns"]:
        """How near each cell is to real data, in [0, 1]; NaN where empty."""
        return self._spread(self.space.realism(self.latents[self.inside]))

    @cached_property
    def surroundings(self) -> Surroundings:
        """Realism, nearest real item and its label of the cells `inside`, row by row."""
        return surroundings(self.space, self.latents[self.inside])

    def _spread(self, values: Array) -> Array:
        cells = np.full((*self.inside.shape, *values.shape[1:]), np.nan, values.dtype)
        cells[self.inside] = values
        return cells


def interpolate_grid(
    space: EmbeddingSpace,
    *anchors: Any,
    rows: int = 7,
    columns: int | None = None,
    method: str = "lerp",
    smoothing: float = 0.0,
) -> Grid:
    """Lay out all mixes of three or four latents.

    Four: the anchors stand at the corners, upper left, upper right, lower left, lower right; lerp is bilinear. Three:
    the first stands at the top, the others at the ends of the last row, and row i has i + 1 cells; lerp is barycentric.
    The sides are paths by the method, and each row is one between the sides; so a grid of geodesics or through
    neighbours depends on which anchors share a side. gaussian weighs the anchors at once: Σ wᵢ aᵢ / √Σ wᵢ².

    Args:
        space: The space.
        anchors: Three or four: expressions, latents or vectors (d,).
        rows: At least 2.
        columns: At least 2; as many as rows when None, and always so of a triangle.
        method: As of `interpolate`.
        smoothing: As of `interpolate`.

    Raises:
        InputError: Not three or four anchors; fewer than 2 rows or columns, or more than 10,000 cells; a triangle with
            columns of its own.
        ConfigInvalid, NotSupported, DidNotConverge: As `interpolate`.
    """
    walks.check(method, smoothing)
    if len(anchors) not in (3, 4):
        raise InputError(f"{len(anchors)} anchors; a grid lies between 3 or 4")
    across = rows if columns is None else columns
    if len(anchors) == 3 and across != rows:
        raise InputError(f"{rows} rows and {across} columns; a grid of 3 anchors is a triangle, leave out columns")
    if min(rows, across) < 2 or rows * across > MOST_CELLS:
        raise InputError(f"{rows} rows and {across} columns; choose 2 or more of each, and at most {MOST_CELLS} cells")
    corners = np.stack([space.latent(one).vector for one in anchors])
    triangle = len(anchors) == 3
    counts = np.arange(1, rows + 1) if triangle else np.full(rows, across)
    inside = np.arange(across) < counts[:, None]
    latents = np.full((rows, across, space.dim), np.nan, np.float32)
    if method == "gaussian":
        latents[inside] = geometry.mix_gaussian(corners, _weights(counts, triangle))
    else:
        upper, lower = ([0, 0], [1, 2]) if triangle else ([0, 1], [2, 3])
        sides = walks.curves(space, corners[upper], corners[lower], method, smoothing=smoothing)
        left, right = (np.asarray(sides.frames(side, rows), np.float32) for side in (0, 1))
        middle = (
            walks.curves(space, left, right, method, smoothing=smoothing)
            if not triangle
            else walks.curves(space, left[1:], right[1:], method, smoothing=smoothing)
        )
        for row, count in enumerate(counts):
            latents[row, :count] = left[row] if count == 1 else middle.frames(row - triangle, int(count))
    _place_anchors(latents, corners, triangle)
    return Grid(space, latents, method, inside)


def _weights(counts: Array, triangle: bool) -> Float64[Array, "cells m"]:
    """How much of each anchor is in each cell, row by row; a cell's weights add up to 1."""
    weights = []
    for row, count in enumerate(counts):
        down = row / (len(counts) - 1)
        right = np.linspace(0, 1, count) if count > 1 else np.zeros(1)
        parts = (
            [np.full(count, 1 - down), down * (1 - right), down * right]
            if triangle
            else [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
        )
        weights.append(np.stack(parts, axis=1))
    return np.concatenate(weights)


def _place_anchors(latents: Float32[Array, "rows columns d"], corners: Array, triangle: bool) -> None:
    """The corners exactly, whatever rounding the way to them had."""
    places = [(0, 0), (-1, 0), (-1, -1)] if triangle else [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    for place, corner in zip(places, corners, strict=True):
        latents[place] = corner
