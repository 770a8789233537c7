"""A fixed rotation of the items that lets a network learn faster."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from latentstore.encoders.items import as_rows
from latentstore.encoders.principal import principal_components
from latentstore.encoders.sources import Source

WHITEN_ITEMS = 10_000


class Whiten(nn.Module):
    """Items (m, w) to their principal components (m, k), the large ones evened out: x ↦ (x − mean) V (λ + ε)^-½.

    A fixed linear map, taken from the items before training. AdamW scales each weight by itself, which helps most where
    the axes of the problem are the axes of the weights; behind this map they nearly are. On Fashion-MNIST an epoch
    more than half again is saved, and the first layer is a third of the size.

    Args:
        width: Numbers of an item, w.
        rank: Components kept, k.
        even_out: ε as a fraction of the largest variance: smaller ones are left small.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, width: int, rank: int, even_out: float) -> None:
        super().__init__()
        self.even_out = even_out
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("basis", torch.zeros(width, rank))

    def fit(self, source: Source, seed: int, rows: Callable[[Tensor], Tensor] = as_rows) -> None:
        """Set mean and basis from a sample of the items, each made a row."""
        positions = np.random.default_rng([seed, 0]).permutation(len(source))[:WHITEN_ITEMS]
        found = principal_components(
            source,
            self.basis.shape[1],
            seed=seed,
            positions=np.sort(positions),
            exact_width=2048,
            iterations=3,
            rows=rows,
        )
        scale = 1 / np.sqrt(np.maximum(found.variances + self.even_out * found.variances[0], 1e-12))
        scale /= np.sqrt(max(1e-12, float((scale**2 * found.variances).mean())))
        for name, value in (("mean", found.mean), ("basis", found.directions.T * scale)):
            getattr(self, name).copy_(torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        """(m, w) → (m, k)."""
        return (x - self.mean) @ self.basis
