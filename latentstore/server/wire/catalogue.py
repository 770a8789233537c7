"""What there is: spaces, items, versions."""

from __future__ import annotations

from typing import Any

import msgspec

from latentstore.server.wire.base import Asked


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
