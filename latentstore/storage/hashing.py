"""Ids: checked at the door, hashed, found by hash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import xxhash

from latentstore.errors import InputError
from latentstore.storage.arrow import booleans_of, numbers
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt64


def check_ids(ids: Any) -> list[str]:
    """Return ids as a list of str; raise `InputError` unless each is a non-empty str and none occurs twice."""
    if isinstance(ids, str):
        raise InputError(f"ids is the single text {ids!r}; pass a list of ids")
    if isinstance(ids, (pa.Array, pa.ChunkedArray)):
        ids = ids.to_pylist()
    listed: list[str] = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    if set(map(type, listed)) - {str}:
        position = next(i for i, one in enumerate(listed) if type(one) is not str)
        if isinstance(listed[position], str):
            return check_ids([str(one) if isinstance(one, str) else one for one in listed])
        raise InputError(f"id {listed[position]!r} at position {position} is no text; ids are non-empty str")
    unique = set(listed)
    if "" in unique:
        raise InputError(f"the id at position {listed.index('')} is empty; ids are non-empty str")
    if len(unique) < len(listed):
        seen: set[str] = set()
        for one in listed:
            if one in seen:
                raise InputError(f"id {one!r} occurs twice in one call; pass each id once")
            seen.add(one)
    return listed


def hash_ids(encoded: Sequence[bytes]) -> UInt64[Array, " n"]:
    """xxh3_64 of each id's UTF-8 bytes."""
    return np.fromiter(map(xxhash.xxh3_64_intdigest, encoded), np.uint64, len(encoded))


def match_one(
    wanted: bytes,
    hashed: int,
    sorted_hashes: UInt64[Array, " n"],
    positions: Int64[Array, " n"],
    text_at: Callable[[int], bytes],
    alive: Array | None,
) -> int:
    """As `match`, of one id at a tenth of the price: position, or −1.

    Args:
        wanted: UTF-8 of the id.
        hashed: Its hash.
        sorted_hashes, positions, alive: As `match`.
        text_at: The UTF-8 of the id at a position.
    """
    slot = int(sorted_hashes.searchsorted(np.uint64(hashed)))
    while slot < len(sorted_hashes) and sorted_hashes.item(slot) == hashed:  # twice only where hashes repeat
        position: int = positions.item(slot)
        if text_at(position) == wanted and (alive is None or alive.item(position)):
            return position
        slot += 1
    return -1


def match(
    wanted: pa.LargeStringArray,
    hashes: UInt64[Array, " m"],
    sorted_hashes: UInt64[Array, " n"],
    positions: Int64[Array, " n"],
    ids: pa.LargeStringArray,
    alive: Array | None,
) -> Int64[Array, " m"]:
    """Find ids in a segment by binary search on hashes; equality is checked, so equal hashes are harmless.

    Args:
        wanted: Ids to find, (m,).
        hashes: Theirs, (m,).
        sorted_hashes: The segment's hashes, ascending, (n,).
        positions: Which row position has that hash, (n,).
        ids: The segment's ids in row order, (n,).
        alive: Which positions count, bool (n,), or None for all.

    Returns:
        Position of each wanted id, (m,), −1 where it is not.
    """
    import pyarrow.compute as pc  # here: a quarter of the time a reader takes to start

    found = np.full(len(hashes), -1, np.int64)
    if not len(sorted_hashes) or not len(hashes):
        return found
    slot = np.searchsorted(sorted_hashes, hashes)
    last = len(sorted_hashes) - 1
    open_ = np.flatnonzero(sorted_hashes[np.minimum(slot, last)] == hashes)
    open_ = open_[slot[open_] <= last]
    while len(open_):  # more than one turn only where hashes repeat
        candidate = positions[slot[open_]]
        equal = pc.equal(ids.take(numbers(candidate)), wanted.take(numbers(open_)))
        hit = booleans_of(equal)
        if alive is not None:
            hit &= alive[candidate]
        found[open_[hit]] = candidate[hit]
        open_ = open_[~hit]
        slot[open_] += 1
        open_ = open_[slot[open_] <= last]
        open_ = open_[sorted_hashes[slot[open_]] == hashes[open_]]
    return found
