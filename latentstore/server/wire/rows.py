"""Rows read and written, attributes fitted, SQL."""

from __future__ import annotations

from typing import Any

import msgspec

from latentstore.server.wire.base import Asked


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
    parameters: dict[str, str | int | float | bool | list[int | float] | None] = {}
    at: dict[str, int | str] = {}  # versions or tags of spaces that are not read as they are served
