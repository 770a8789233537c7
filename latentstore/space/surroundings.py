"""What real items are around latents: how real they look, which item is nearest, and what its label is."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentstore.errors import NotSupported

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Shaped

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.types import Array

LABEL = "label"
REALISTIC = 0.05  # realism below which a latent has left the data: it lies farther out than 95 % of the items


@dataclass(frozen=True, eq=False)
class Surroundings:
    """One entry per latent.

    Attributes:
        realism: Share of real items at least as far out, in [0, 1], shape (n,); None in a space of too few items.
        nearest: Ids of the nearest real items, dtype object, shape (n,).
        distances: To those, by the space's metric, shape (n,).
        labels: Their labels, dtype object, shape (n,); None in a space without the column `label`.
    """

    realism: Float64[Array, " n"] | None
    nearest: Shaped[Array, " n"]
    distances: Float32[Array, " n"]
    labels: Shaped[Array, " n"] | None


def surroundings(space: EmbeddingSpace, latents: Float32[Array, "n d"], *, recall: float | None = None) -> Surroundings:
    """Look around latents (n, d); `recall` as of a search: 1.0 compares with every item.

    Raises:
        NotSupported: The space has no items.
    """
    if not len(space):
        raise NotSupported(f"space {space.name!r} has no items to compare with; add some")
    found = space.search(latents, 1, recall=recall)
    realism = labels = None
    with contextlib.suppress(NotSupported):  # too few items to have neighbours: said by None
        realism = space.realism(latents)
    if LABEL in space.columns:
        rows, which = np.unique(found.rows[:, 0], return_inverse=True)
        values = space.snapshot.columns(rows, [LABEL])[LABEL].to_pylist()
        labels = np.array([None if one is None else str(one) for one in values], dtype=object)[which]
    return Surroundings(realism, found.ids[:, 0], found.distances[:, 0], labels)


@dataclass(frozen=True)
class LatentReport:
    """Where a latent is among real items.

    Attributes:
        realism: Share of real items at least as far out, in [0, 1]; None in a space of too few items.
        nearest: Id of the nearest real item.
        distance: How far that is, by the space's metric (ip: the similarity).
        label: Its label; None in a space without the column `label`.
    """

    realism: float | None
    nearest: str
    distance: float
    label: str | None

    @property
    def left_data(self) -> bool:
        """Whether it lies farther out than 95 % of the real items."""
        return self.realism is not None and self.realism < REALISTIC

    def __str__(self) -> str:
        """A sentence: "realism 0.01: beyond 99 % of the data, …"."""
        near = f"nearest to {self.nearest}" + (f" ({self.label})" if self.label is not None else "")
        if self.realism is None:
            return f"too few items to say how real; {near}"
        beyond = 100 * (1 - self.realism)
        # rounded down, so that only what is beyond every item is called so
        share = "all" if self.realism == 0 else f"{math.floor(beyond + 1e-9)} %"
        verdict = f"beyond {share} of the data" if self.left_data else f"within the data, beyond {share} of it"
        return f"realism {self.realism:.2f}: {verdict}; {near}"


def reports(space: EmbeddingSpace, latents: Float32[Array, "n d"]) -> list[LatentReport]:
    """One report for each of latents (n, d).

    Raises:
        NotSupported: The space has no items.
    """
    around = surroundings(space, latents, recall=1.0)  # few latents, each of which is told about
    return [
        LatentReport(
            None if around.realism is None else float(around.realism[i]),
            str(around.nearest[i]),
            float(around.distances[i]),
            None if around.labels is None else around.labels[i],
        )
        for i in range(len(latents))
    ]
