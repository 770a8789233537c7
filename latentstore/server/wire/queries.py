"""Search, and points of the algebra."""

from __future__ import annotations

from typing import Any

import msgspec

from latentstore.server.wire.base import Asked, Point, Points

K = 10  # neighbours, where nothing else is asked for


class SearchAsked(Asked, kw_only=True, frozen=True):
    """Find the nearest items; see `EmbeddingSpace.search`."""

    query: Points | None = None
    k: int = K
    where: str | None = None
    columns: list[str] | None = None
    recall: float | None = None
    radius: float | None = None
    offset: int = 0
    group_by: str | None = None
    group_size: int = 1
    diversity: float = 0.0
    positive: list[Point] = msgspec.field(default_factory=list)
    negative: list[Point] = msgspec.field(default_factory=list)
    explain: bool = False

    @property
    def plain(self) -> bool:
        """Whether it asks for nothing but the k nearest."""
        return (
            self.at is None
            and self.where is None
            and self.columns is None
            and self.recall is None
            and self.radius is None
            and not (self.offset or self.diversity or self.positive or self.negative or self.explain)
            and self.group_by is None
            and self.group_size == 1
        )


class Found(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True):
    """Hits: lists for one query, lists of lists for several. Under ip there are similarities instead of distances."""

    space: str
    version: int
    metric: str
    k: int
    ids: list[Any]
    distances: list[Any] | None = None
    similarities: list[Any] | None = None
    shortfall: int | list[int] = 0
    columns: dict[str, list[Any]] | None = None
    explanation: dict[str, Any] | None = None


class EditAsked(Asked, kw_only=True, frozen=True):
    """Compute a point by the algebra, and look around it."""

    query: Point
    k: int = K
    pictures: bool = True


class Edited(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True):
    """A point: where it is, how real, what is near; under ip by similarities instead of distances."""

    space: str
    version: int
    expression: str | None
    latent: list[float]
    realism: float | None
    ids: list[str]
    distances: list[float] | None = None
    similarities: list[float] | None = None
    picture: str | None


class DecodeAsked(Asked, kw_only=True, frozen=True):
    """Draw latents: given as such, as a query, or as points of a map."""

    latents: list[float | list[float]] | None = None
    query: Points | None = None
    points: list[list[float]] | None = None
    map: str = "umap"


class Decoded(msgspec.Struct, kw_only=True, frozen=True):
    """Pictures, PNG in base64, and how real each latent is."""

    space: str
    version: int
    pictures: list[str]
    latents: list[list[float]]
    realism: list[float] | None


class PlaceAsked(Asked, kw_only=True, frozen=True):
    """Where latents lie on a map."""

    query: Points
    map: str = "umap"


class Placed(msgspec.Struct, kw_only=True, frozen=True):
    """Coordinates on a map."""

    space: str
    version: int
    map: str
    points: list[list[float]]


class Encoded(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True):
    """The latent of an uploaded image, its nearest items as in `Edited`, and its place on a map."""

    space: str
    version: int
    latent: list[float]
    realism: float | None
    ids: list[str]
    distances: list[float] | None = None
    similarities: list[float] | None = None
    picture: str | None
    point: list[float] | None
