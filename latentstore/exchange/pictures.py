"""The items behind rows, as pictures, where the space's dataset is still there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentstore.errors import LatentStoreError

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt8

    from latentstore.exchange.outgoing import Pictures
    from latentstore.storage import Snapshot
    from latentstore.types import Array


def of_dataset(snapshot: Snapshot, rows: Int64[Array, " n"]) -> Pictures | None:
    """What gives the pictures of these rows, or None when the dataset is gone, has other items, or no pictures."""
    from latentstore.datasets import open_dataset

    if not snapshot.manifest.source:
        return None
    try:
        dataset = open_dataset(**snapshot.manifest.source)
    except (LatentStoreError, OSError, TypeError):
        return None
    if len(dataset.item_shape) != 3:
        return None
    places = {one: place for place, one in enumerate(dataset.ids.tolist())}
    if not all(one in places for one in snapshot.ids(rows)):
        return None

    def pictures(some: Int64[Array, " m"]) -> UInt8[Array, "m h w c"]:
        return dataset.read([places[one] for one in snapshot.ids(some)])

    return pictures
