"""What real items are around latents: how real they look, which item is nearest, and what its label is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import NotSupported

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Shaped

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

LABEL = "label"


@dataclass(frozen=True, eq=False)
class Surroundings:
    """One entry per latent.

    Attributes:
        realism: Share of real items at least as far out, in [0, 1], shape (n,); None in a space of too few items.
        nearest: Ids of the nearest real items, dtype object, shape (n,).
        distances: To them, in the space's metric, shape (n,).
        labels: Their labels, dtype object, shape (n,); None in a space without the column `label`.
    """

    realism: Float64[Array, " n"] | None
    nearest: Shaped[Array, " n"]
    distances: Float32[Array, " n"]
    labels: Shaped[Array, " n"] | None


def surroundings(space: EmbeddingSpace, latents: Float32[Array, "n d"]) -> Surroundings:
    """Look around latents (n, d)."""
    found = space.search(latents, 1)
    realism = labels = None
    with contextlib.suppress(NotSupported):  # too few items to have neighbours: said by None
        realism = space.realism(latents)
    if LABEL in space.columns:
        rows, which = np.unique(found.rows[:, 0], return_inverse=True)
        values = space.snapshot.columns(rows, [LABEL])[LABEL].to_pylist()
        labels = np.array([None if one is None else str(one) for one in values], dtype=object)[which]
    return Surroundings(realism, found.ids[:, 0], found.distances[:, 0], labels)
