"""Who says what latents show: a judge of what is decoded, or without one most of their real neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped

    from latentstore.evaluate.judge import Judge
    from latentstore.space import EmbeddingSpace
    from latentstore.types import Array

VOTERS = 10
SHOWN = 256  # latents that are decoded at a time


class Vote:
    """Stands in for `Judge`: the space's own opinion, so no independent one, but free.

    Args:
        space: Whose items vote.
        columns: On which columns.

    Attributes:
        names: By column, the values it has.
    """

    def __init__(self, space: EmbeddingSpace, columns: Sequence[str]) -> None:
        space.check_columns(columns)
        self._space = space
        table = space.snapshot.columns(space.snapshot.live_rows(), list(columns))
        self.names: dict[str, list[Any]] = {
            column: [one for one in table[column].unique().to_pylist() if one is not None] for column in columns
        }

    def predictions_at(self, latents: Float32[Array, "n d"]) -> dict[str, Shaped[Array, " n"]]:
        """By column, the value that most of the ten nearest items have, shape (n,), dtype object."""
        rows = self._space.search(latents, min(VOTERS, len(self._space))).rows
        known, where = np.unique(rows, return_inverse=True)
        table, found = self._space.snapshot.columns(known, list(self.names)), {}
        for column in self.names:
            values = np.array([*table[column].to_pylist(), None], dtype=object)[:-1]
            found[column] = np.empty(len(rows), dtype=object)
            found[column][:] = [_majority(list(row)) for row in values[where].reshape(rows.shape)]
        return found


def _majority(values: list[Any]) -> Any:
    """The most frequent; of a tie the one that comes first, so is nearest."""
    return max(values, key=values.count)


def said(space: EmbeddingSpace, judge: Judge | Vote, latents: Float32[Array, "n d"]) -> dict[str, Shaped[Array, " n"]]:
    """What the judge says of decoded latents, or the vote of latents, by column."""
    if isinstance(judge, Vote):
        return judge.predictions_at(latents)
    parts = [judge.predictions(space.decode(part)) for part in _parts(latents)]
    return {column: np.concatenate([part[column] for part in parts]) for column in judge.names}


def _parts(latents: Float32[Array, "n d"]) -> Iterator[Float32[Array, "m d"]]:
    for start in range(0, len(latents), SHOWN):
        yield latents[start : start + SHOWN]
