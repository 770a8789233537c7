"""The mean latent of the items that share a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import InputError, ShapeMismatch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Int64, Shaped

_BLOCK = 65_536  # rows converted to float64 at a time


@dataclass(frozen=True, eq=False)
class Centroids:
    """Centroids of c labels.

    Attributes:
        labels: The labels, ascending, dtype object, shape (c,).
        vectors: Mean latents, float32, shape (c, d). The Euclidean mean of the vectors as stored, in a cosine space
            too: there its direction is the one with the largest mean cosine when the vectors are of unit length.
        counts: Items per label, int64, shape (c,).
        spreads: Root mean square Euclidean distance of a label's items to their centroid, float64, shape (c,).
    """

    labels: Shaped[Array, " c"]
    vectors: Float32[Array, "c d"]
    counts: Int64[Array, " c"]
    spreads: Float64[Array, " c"]

    def __len__(self) -> int:
        """How many labels."""
        return len(self.labels)


def centroids(latents: Float[Array, "n d"], labels: Sequence[Any] | Shaped[Array, " n"]) -> Centroids:
    """Average the latents of each label.

    Args:
        latents: Shape (n, d).
        labels: One label per latent, of one sortable type. None and NaN mean "no label" and are left out.

    Returns:
        The centroids, labels ascending.

    Raises:
        ShapeMismatch: Another number of labels than latents.
        InputError: No label at all, or labels of types that do not compare.
    """
    if len(labels) != len(latents):
        raise ShapeMismatch(f"{len(labels)} labels for {len(latents)} latents; pass one label per latent")
    codes: dict[Any, int] = {}
    # a value that differs from itself is NaN; −1 marks the unlabelled
    given = labels.tolist() if isinstance(labels, np.ndarray) else labels
    code = np.fromiter(
        (-1 if x is None or x != x else codes.setdefault(x, len(codes)) for x in given), np.int64, len(given)
    )
    if not codes:
        raise InputError(f"all {len(labels)} labels are null; choose a column that has values")
    try:
        names = sorted(codes)
    except TypeError as error:
        raise InputError(f"labels of different types do not sort ({error}); convert them to strings") from error
    order = np.argsort(code, kind="stable")
    counts = np.bincount(code[code >= 0], minlength=len(names))
    ends = np.cumsum(counts) + np.count_nonzero(code < 0)
    members = [order[ends[codes[name]] - counts[codes[name]] : ends[codes[name]]] for name in names]
    means, spreads = zip(*(_mean_spread(latents, rows) for rows in members), strict=True)
    table = np.empty(len(names), dtype=object)
    table[:] = names
    return Centroids(
        labels=table,
        vectors=np.array(means, dtype=np.float32),
        counts=np.array([len(rows) for rows in members], dtype=np.int64),
        spreads=np.array(spreads),
    )


def _mean_spread(latents: Float[Array, "n d"], rows: Int64[Array, " m"]) -> tuple[Float64[Array, " d"], float]:
    """Two passes in float64, a block at a time: the mean, then the root mean square distance to it."""
    blocks = [rows[i : i + _BLOCK] for i in range(0, len(rows), _BLOCK)]
    mean = sum(latents[block].sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
    square = sum(float(np.square(latents[block] - mean).sum()) for block in blocks)
    return mean, float(np.sqrt(square / len(rows)))
