"""Principal components of items that are read in chunks.

Sources: I. T. Jolliffe, Principal Component Analysis, 2nd ed., 2002; for wide items the randomised subspace iteration
of Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 53(2), 2011, algorithm 4.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import eigh
from torch import Tensor

from latentstore.encoders.items import as_rows
from latentstore.encoders.sources import Source

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64

    from latentstore.types import Array

CHUNK_ITEMS = 4096
CHUNK_NUMBERS = 1 << 24


class Components(NamedTuple):
    """Mean (w,), and orthonormal directions (rank, w) with their variances (rank,), falling."""

    mean: Float64[Array, " w"]
    variances: Float64[Array, " rank"]
    directions: Float64[Array, "rank w"]


def principal_components(
    source: Source,
    rank: int,
    *,
    seed: int,
    positions: Int64[Array, " n"] | None = None,
    exact_width: int = 4096,
    iterations: int = 6,
    rows: Callable[[Tensor], Tensor] = as_rows,
) -> Components:
    """Find the directions of largest variance.

    Args:
        source: The items.
        rank: How many directions; at most the items' width.
        seed: Of the randomised iteration.
        positions: Which items; None means all.
        exact_width: Up to this width the covariance matrix is decomposed; above, the iteration finds the subspace.
        iterations: Passes over the items of the iteration.
        rows: What is looked at of a batch, (m, w); all numbers of an item by default.
    """
    positions = np.arange(len(source)) if positions is None else positions
    count = len(positions)
    mean = sum(x.sum(axis=0) for x in _chunks(source, positions, rows)) / count
    width = len(mean)
    if width <= exact_width:
        covariance = sum((x - mean).T @ (x - mean) for x in _chunks(source, positions, rows)) / count
        variances, vectors = eigh(covariance, subset_by_index=[width - rank, width - 1])
    else:
        basis = np.random.default_rng(seed).standard_normal((width, min(rank + 16, width)))
        for _ in range(iterations):
            turned = sum((x - mean).T @ ((x - mean) @ basis) for x in _chunks(source, positions, rows))
            basis = np.linalg.qr(turned)[0]
        small = [(x - mean) @ basis for x in _chunks(source, positions, rows)]
        variances, turn = np.linalg.eigh(sum(y.T @ y for y in small) / count)
        vectors = basis @ turn
    order = np.argsort(variances)[::-1][:rank]
    directions = vectors[:, order].T
    # A direction's sign is arbitrary: its largest entry is made positive, so that equal items give equal bits.
    largest = directions[np.arange(rank), np.abs(directions).argmax(axis=1)]
    return Components(mean, np.maximum(variances[order], 0), directions * np.where(largest < 0, -1, 1)[:, None])


def _chunks(
    source: Source, positions: Int64[Array, " n"], rows: Callable[[Tensor], Tensor]
) -> Iterator[Float64[Array, "m w"]]:
    chunk = max(1, min(CHUNK_ITEMS, CHUNK_NUMBERS // int(np.prod(source.item_shape))))
    for start in range(0, len(positions), chunk):
        yield rows(source.batch(positions[start : start + chunk])).double().cpu().numpy()
