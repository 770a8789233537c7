"""One dataset on different days."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from latentstore.datasets import InMemory
from latentstore.types import Array


def changed(
    dataset: InMemory, keep: Array, *, items: Array | None = None, metadata: pa.Table | None = None
) -> InMemory:
    """The same source on another day: some items, maybe with other contents or metadata."""
    return InMemory(
        name=dataset.name,
        source=dataset.source,
        ids=dataset.ids[keep],
        metadata=(dataset.metadata if metadata is None else metadata).take(pa.array(keep)),
        items=(dataset.items if items is None else items)[keep],
    )


def every(dataset: InMemory) -> Array:
    return np.arange(len(dataset))
