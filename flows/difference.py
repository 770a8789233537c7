"""What separates a space from its dataset: items to embed, rows to keep, carry over or delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64

    from latentstore.storage import Snapshot

HASH = "content_hash"  # the metadata column that says which content a row was embedded from
VARIANCE = "variance"  # the metadata column of a vae's posterior variance


@dataclass(frozen=True, eq=False)
class Difference:
    """What one `embed` has to do. Positions are of the dataset, ascending.

    Attributes:
        encode: Positions of items without a latent of this encoder and content.
        carry: Positions of items whose latent stays while their metadata changed.
        carry_rows: The rows that hold those latents.
        vanished: Ids of rows whose item is gone.
        replace_all: No row stays as it is: another encoder, or other columns.
    """

    encode: Int64[Array, " m"]
    carry: Int64[Array, " k"]
    carry_rows: Int64[Array, " k"]
    vanished: tuple[str, ...]
    replace_all: bool

    @cached_property
    def empty(self) -> bool:
        """Whether the space is what the dataset says already."""
        return not (len(self.encode) or len(self.carry) or self.vanished or self.replace_all)


def compare(
    snapshot: Snapshot, ids: Array, metadata: Callable[[], pa.Table], latents: tuple[str | None, int], *, extra: bool
) -> Difference:
    """Compare the rows of a space with the items of a dataset.

    Args:
        snapshot: The space as it is.
        ids: Item ids, dtype object, (n,).
        metadata: Gives their metadata and `content_hash`, n rows; not asked where every item has to be encoded.
        latents: Fingerprint of the encoder that should have made them, None for ready vectors; and their width.
        extra: Whether rows have a `variance` column beside the metadata.

    Returns:
        The least work that makes them equal.
    """
    everything, nothing = np.arange(len(ids)), np.empty(0, np.int64)
    others = (snapshot.encoder, snapshot.dim) != latents
    if others or HASH not in snapshot.column_types:
        return Difference(everything, nothing, nothing, (), replace_all=others or len(snapshot) > 0)
    columns, rows = metadata(), snapshot.find(list(ids))
    known = np.flatnonzero(rows >= 0)
    hashes = snapshot.columns(rows[known], [HASH])[HASH]
    same = known[_equal(hashes, columns[HASH].take(pa.array(known)))]
    encode = np.setdiff1d(everything, same)
    expected = {*columns.column_names, *([VARIANCE] if extra else [])}
    if expected != set(snapshot.column_types):
        return Difference(encode, same, rows[same], (), replace_all=True)
    old = snapshot.columns(rows[same], columns.column_names)
    new = columns.take(pa.array(same))
    unchanged = np.ones(len(same), bool)
    for name in columns.column_names:
        unchanged &= _equal(old[name], new[name])
    carry = same[~unchanged]
    gone = np.setdiff1d(snapshot.live_rows(), rows[known])
    return Difference(encode, carry, rows[carry], tuple(snapshot.ids(gone)), replace_all=False)


def _equal(old: pa.ChunkedArray, new: pa.ChunkedArray) -> Bool[Array, " n"]:
    """Where two columns hold the same; null equals null, NaN equals NaN."""
    try:
        new = new.cast(old.type)
        both = pc.equal(old, new).fill_null(False)
        if pa.types.is_floating(old.type):
            both = pc.or_(both, pc.and_(pc.is_nan(old), pc.is_nan(new)).fill_null(False))
        both = pc.or_(both, pc.and_(pc.is_null(old), pc.is_null(new)))
        return np.asarray(both.to_numpy(), bool)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # a type that changed, or a list
        return np.array([a == b for a, b in zip(old.to_pylist(), new.to_pylist(), strict=True)], bool)
