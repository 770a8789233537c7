"""Who says what edited and generated latents show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped

    from latentstore.evaluate.judge import Judge
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

VOTERS = 10  # real neighbours that say what a latent shows where there is no judge


class Verdicts:
    """Says what latents show: an independent judge of what is decoded, or a vote of real neighbours.

    Args:
        space: Whose latents.
        judge: Trained on items, never on latents; None for the vote, which is the space's own opinion.
        columns: The columns that are voted on without a judge.
    """

    def __init__(self, space: EmbeddingSpace, judge: Judge | None, columns: Sequence[str]) -> None:
        self._space, self._judge = space, judge
        self.columns = tuple(columns) if judge is None else tuple(judge.names)
        space.check_columns(self.columns if judge is None else [])

    @property
    def judged(self) -> bool:
        """Whether it is the judge who speaks."""
        return self._judge is not None

    def of(self, latents: Float32[Array, "n d"]) -> dict[str, Shaped[Array, " n"]]:
        """By column, the value of each as text, shape (n,)."""
        if self._judge is not None:
            items = self._space.decode(latents)
            return {column: self._judge.predict(items, column).astype(str) for column in self.columns}
        rows = self._space.search(latents, VOTERS).rows
        known, where = np.unique(rows, return_inverse=True)
        table = self._space.snapshot.columns(known, list(self.columns))
        found = {}
        for column in self.columns:
            values = np.array([str(one) for one in table[column].to_pylist()], dtype=str)[where].reshape(rows.shape)
            found[column] = np.array([_majority(row) for row in values], dtype=str)
        return found


def _majority(values: Shaped[Array, " k"]) -> str:
    """The most frequent; of a tie the one that comes first, so is nearest."""
    names, first, counts = np.unique(values, return_index=True, return_counts=True)
    return str(names[np.lexsort((first, -counts))[0]])
