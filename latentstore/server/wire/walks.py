"""Paths, grids, samples and means."""

from __future__ import annotations

from typing import Any

import msgspec

from latentstore.server.wire.base import Asked, Point


class InterpolateAsked(Asked, kw_only=True, frozen=True):
    """Walk from one latent to another; see `EmbeddingSpace.interpolate`. `through` lies between them, in order."""

    from_: Point = msgspec.field(name="from")
    to: Point
    through: list[Point] = msgspec.field(default_factory=list)
    steps: int = 9
    method: str = "lerp"
    smoothing: float = 0.0
    pictures: bool = True


class FilmAsked(InterpolateAsked, kw_only=True, frozen=True):
    """A walk as a film, there and back again. `format` is gif or mp4; `fps` counts frames per second, 1 to 50."""

    format: str = "gif"
    fps: int = 12


class GridAsked(Asked, kw_only=True, frozen=True):
    """All mixes of three or four latents; see `EmbeddingSpace.interpolate_grid`."""

    anchors: list[Point]
    rows: int = 7
    columns: int | None = None
    method: str = "lerp"
    smoothing: float = 0.0
    pictures: bool = True


class Walked(msgspec.Struct, kw_only=True, frozen=True):
    """A path: one entry per frame in each list. `pictures` are PNG in base64; null where nothing can be drawn."""

    space: str
    version: int
    method: str
    latents: list[list[float]]
    anchors: list[int]
    report: dict[str, Any]
    pictures: list[str] | None


class Gridded(msgspec.Struct, kw_only=True, frozen=True):
    """A grid, row by row; cells of a triangle's empty half are null."""

    space: str
    version: int
    method: str
    shape: tuple[int, int]
    latents: list[list[float] | None]
    realism: list[float | None]
    pictures: list[str | None] | None


class SampleAsked(Asked, kw_only=True, frozen=True):
    """Draw new latents from where the data lies; see `EmbeddingSpace.sample`."""

    n: int = 16
    method: str | None = None
    label: str | None = None
    column: str = "label"
    truncation: float = 1.0
    seed: int = 0
    pictures: bool = True


class Sampled(msgspec.Struct, kw_only=True, frozen=True):
    """Drawn latents, how real each is, and the nearest real item."""

    space: str
    version: int
    method: str
    seed: int
    latents: list[list[float]]
    realism: list[float] | None
    nearest: list[str]
    pictures: list[str] | None


class BarycenterAsked(Asked, kw_only=True, frozen=True):
    """The weighted mean of points; see `EmbeddingSpace.barycenter`. `weights` are by expression."""

    weights: dict[str, float]
    method: str = "wasserstein"
    pictures: bool = True


class Mixed(msgspec.Struct, kw_only=True, frozen=True):
    """A weighted mean: its latent, how real it is, and its picture."""

    space: str
    version: int
    method: str
    latent: list[float]
    realism: float | None
    picture: str | None
