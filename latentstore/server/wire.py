"""What is sent and answered: the same words and fields as in Python. Unknown fields are refused by name."""

from __future__ import annotations

from typing import Any

import msgspec

Point = str | list[float]  # an expression of the algebra, or a vector
Points = str | list[float | str | list[float]]  # also a list of them


class Asked(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A request's body.

    Attributes:
        at: Version or tag to answer from, instead of the one that is served.
    """

    at: int | str | None = None


class SearchAsked(Asked, kw_only=True, frozen=True):
    """Find the nearest items; see `EmbeddingSpace.search`."""

    query: Points | None = None
    k: int = 10
    where: str | None = None
    columns: list[str] | None = None
    recall: float | None = None
    radius: float | None = None
    offset: int = 0
    group_by: str | None = None
    group_size: int = 1
    diversity: float = 0.0
    positive: list[Point] = []
    negative: list[Point] = []
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


class InterpolateAsked(Asked, kw_only=True, frozen=True):
    """Walk from one latent to another; see `EmbeddingSpace.interpolate`. `through` lies between them, in order."""

    from_: Point = msgspec.field(name="from")
    to: Point
    through: list[Point] = []
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


class EditAsked(Asked, kw_only=True, frozen=True):
    """Compute a point by the algebra, and look around it."""

    query: Point
    k: int = 10
    pictures: bool = True


class Edited(msgspec.Struct, kw_only=True, frozen=True):
    """A point: where it is, how real, what is near."""

    space: str
    version: int
    expression: str | None
    latent: list[float]
    realism: float | None
    ids: list[str]
    distances: list[float]
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


class SampleAsked(Asked, kw_only=True, frozen=True):
    """Draw new latents from where the data lies; see `EmbeddingSpace.sample`."""

    n: int = 16
    method: str | None = None
    label: str | None = None
    column: str = "label"
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


class Encoded(msgspec.Struct, kw_only=True, frozen=True):
    """The latent of an uploaded image, its nearest items and its place on a map."""

    space: str
    version: int
    latent: list[float]
    realism: float | None
    ids: list[str]
    distances: list[float]
    picture: str | None
    point: list[float] | None


class GetAsked(Asked, kw_only=True, frozen=True):
    """Rows of ids; all metadata columns unless some are named."""

    ids: list[str]
    columns: list[str] | None = None


class RowsAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Rows to write: ids, their vectors, and metadata by column."""

    ids: list[str]
    vectors: list[list[float]]
    metadata: dict[str, list[Any]] | None = None
    encoder: str | None = None


class DeleteAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Which rows to delete: ids, or a predicate."""

    ids: list[str] | None = None
    where: str | None = None


class AttributeAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Fit and publish an attribute vector; see `EmbeddingSpace.fit_attribute`."""

    name: str
    positive: str
    negative: str
    method: str = "mean_difference"
    seed: int = 0


class Written(msgspec.Struct, kw_only=True, frozen=True):
    """The version that a write made; it is durable. It is served once the served tag names it."""

    space: str
    version: int


class SqlAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One SELECT over the spaces; see `LatentStore.sql`."""

    query: str
    parameters: dict[str, str | float | bool | list[float] | None] = {}


class Table(msgspec.Struct, kw_only=True, frozen=True):
    """A table, column by column in the order of their names."""

    names: list[str]
    columns: list[list[Any]]


class SpaceAbout(msgspec.Struct, kw_only=True, frozen=True):
    """A space as it is served."""

    name: str
    version: int
    follows: int | str | None
    rows: int
    dim: int
    metric: str
    encoder: str | None
    kind: str | None
    item_shape: list[int] | None
    columns: dict[str, str]
    tags: dict[str, int]
    index: str
    unindexed: int
    maps: dict[str, dict[str, Any]]
    attributes: list[str]
    labels: list[str]
    artefacts: list[dict[str, Any]]
    advice: list[str]


class Item(msgspec.Struct, kw_only=True, frozen=True):
    """One item: its metadata and latent."""

    space: str
    version: int
    id: str
    metadata: dict[str, Any]
    latent: list[float]


class Diffed(msgspec.Struct, kw_only=True, frozen=True):
    """What two versions differ in: how many items, and the ids of the first thousand of each kind."""

    space: str
    old: int
    new: int
    added: int
    deleted: int
    changed: int
    columns_added: list[str]
    columns_dropped: list[str]
    ids: dict[str, list[str]]


class PicturesAsked(Asked, kw_only=True, frozen=True):
    """Pictures of items."""

    ids: list[str]


class Pictures(msgspec.Struct, kw_only=True, frozen=True):
    """PNG in base64, one of each id."""

    space: str
    version: int
    pictures: list[str]


class Health(msgspec.Struct, kw_only=True, frozen=True):
    """Whether the service lives, or is ready."""

    status: str
    spaces: dict[str, int] = {}
