"""What every dataset offers, and the simplest one: items that are already in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import xxhash

from latentstore.errors import ConfigInvalid, InputError, ShapeMismatch, suggest
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, Shaped, UInt8

JSON: TypeAlias = Any  # what json.dumps writes: None, bool, int, float, str, list, dict


class Dataset(Protocol):
    """A source of n items, each with a stable id, a content hash and metadata.

    A dataset never changes while it is open, and `open_dataset(**dataset.source)` opens the same items again.
    """

    @property
    def name(self) -> str:
        """The name it is opened by, for example "fashion_mnist"."""

    @property
    def source(self) -> dict[str, JSON]:
        """`name` and the options it was opened with; goes into manifests and cards."""

    @property
    def ids(self) -> Shaped[Array, " n"]:
        """Item ids: unique strings, dtype object. The same item has the same id each time the dataset is opened."""

    @property
    def metadata(self) -> pa.Table:
        """One row per item, in the order of `ids`."""

    @property
    def item_shape(self) -> tuple[int, ...]:
        """(h, w, c) of images, c = 1 or 3; (d,) of ready vectors."""

    def __len__(self) -> int:
        """How many items."""

    def read(self, positions: Sequence[int] | Int64[Array, " m"]) -> UInt8[Array, "m h w c"] | Float32[Array, "m d"]:
        """The items at these positions, in that order: uint8 images or float32 vectors."""

    def content_hashes(self) -> list[str]:
        """Hex digest of each item: what `read` returns is the same where the hash is. Metadata is not part of it."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """A dataset whose items are one array. See `Dataset` for the attributes.

    Attributes:
        items: uint8 (n, h, w, c), or float32 (n, d) for ready vectors.
    """

    name: str
    source: dict[str, JSON]
    ids: Shaped[Array, " n"]
    metadata: pa.Table
    items: UInt8[Array, "n h w c"] | Float32[Array, "n d"]

    def __post_init__(self) -> None:
        refuse_empty(len(self.ids), f"dataset {self.name!r}")
        refuse_duplicates(self.ids, f"dataset {self.name!r}")
        if not len(self.ids) == len(self.items) == self.metadata.num_rows:
            raise ShapeMismatch(
                f"dataset {self.name!r} has {len(self.ids)} ids, {len(self.items)} items and {self.metadata.num_rows} "
                "rows of metadata; give one of each per item"
            )

    @property
    def item_shape(self) -> tuple[int, ...]:
        """(h, w, c), or (d,)."""
        return tuple(self.items.shape[1:])

    def __len__(self) -> int:
        """How many items."""
        return len(self.ids)

    def read(self, positions: Sequence[int] | Int64[Array, " m"]) -> UInt8[Array, "m h w c"] | Float32[Array, "m d"]:
        """The items at these positions, a copy."""
        return self.items[check_positions(positions, len(self))]

    def content_hashes(self) -> list[str]:
        """xxh3_128 of each item's bytes and shape."""
        return hash_arrays(self.items)


def hash_arrays(items: Array) -> list[str]:
    """xxh3_128 in hex of each item's values, dtype and shape."""
    # One call of C per item and no array object: 70,000 small images take .03 s, not .1 s.
    flat = np.ascontiguousarray(items).reshape(-1).data.cast("B")
    size = items[:1].nbytes
    seed = xxhash.xxh3_64_intdigest(f"{items.dtype.str}{items.shape[1:]}".encode())
    return [xxhash.xxh3_128_hexdigest(flat[start : start + size], seed) for start in range(0, len(flat), size)]


def check_positions(positions: Sequence[int] | Array, n: int) -> Int64[Array, " m"]:
    """Check positions at the door: whole numbers, one-dimensional, each from 0 to n − 1.

    Raises:
        InputError: Otherwise, naming the first that is not.
    """
    given = np.asarray(positions)
    if given.size == 0:
        return np.zeros(0, np.int64)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise InputError(f"positions have shape {given.shape} and dtype {given.dtype}; pass a list of whole numbers")
    outside = (given < 0) | (given >= n)
    if outside.any():
        raise InputError(f"position {given[outside][0]} is outside this dataset of {n} items; use 0 to {n - 1}")
    return given.astype(np.int64)


def refuse_empty(n: int, what: str) -> None:
    """Raise `InputError` for a dataset without items."""
    if n == 0:
        raise InputError(f"{what} has no items; give it at least one")


def refuse_duplicates(ids: Iterable[str], what: str) -> None:
    """Raise `InputError` naming the first id that comes a second time, and both rows."""
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        if first.setdefault(name, row) != row:
            raise InputError(f"{what} has the id {name!r} twice, at rows {first[name]} and {row}; make ids unique")


def check_choice(option: str, value: object, choices: Iterable[str]) -> str:
    """Return `value` if it is one of the choices; else raise `ConfigInvalid` that says which are known."""
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        raise ConfigInvalid(f"option {option}={value!r} is not one of {choices}; {suggest(str(value), choices)}")
    return value


def check_limit(limit: object) -> int | None:
    """Return `limit` if it is None or a whole number ≥ 1; else raise `ConfigInvalid`."""
    if limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1):
        return limit
    raise ConfigInvalid(f"option limit={limit!r} must be a whole number of items, at least 1; leave it out for all")


def object_array(values: Iterable[Any]) -> Shaped[Array, " n"]:
    """A one-dimensional array of dtype object, whatever the values are."""
    listed = list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array
