"""What bodies share, and answers that are of no one kind."""

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


class Table(msgspec.Struct, kw_only=True, frozen=True):
    """A table, column by column in the order of their names."""

    names: list[str]
    columns: list[list[Any]]


class Health(msgspec.Struct, kw_only=True, frozen=True):
    """Whether the service lives, or is ready."""

    status: str
    spaces: dict[str, int] = {}
