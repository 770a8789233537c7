"""Principal components: the linear autoencoder that every report shows beside the learned ones.

Source: I. T. Jolliffe, Principal Component Analysis, 2nd ed., 2002; for wide items the randomised subspace iteration of
Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 53(2), 2011, algorithm 4.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from latentstore.encoders.base import Model, register
from latentstore.encoders.options import number
from latentstore.encoders.sources import Source
from latentstore.errors import ConfigInvalid

if TYPE_CHECKING:
    from jaxtyping import Float64

    from latentstore.types import Array

CHUNK = 4096  # items per pass of a chunk


@dataclass(frozen=True)
class PCAOptions:
    """Options of the fit.

    Attributes:
        exact_width: Up to this item width the covariance matrix is decomposed exactly; above, or for more items than
            fit, the subspace is found by randomised iteration.
        iterations: Passes of the randomised iteration.
    """

    exact_width: int = number(4096, 1, 16384)
    iterations: int = number(6, 1, 100)


@register
class PCA(Model):
    """z = W (x − mean), rows of W orthonormal, in order of falling variance; x ≈ mean + Wᵀ z."""

    kind = "pca"
    Options = PCAOptions
    takes_vectors = True
    mean: Tensor
    components: Tensor
    variances: Tensor

    def __init__(self, item_shape: tuple[int, ...], dim: int, options: PCAOptions) -> None:
        super().__init__(item_shape, dim, options)
        width = int(np.prod(item_shape))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("components", torch.zeros(dim, width))
        self.register_buffer("variances", torch.zeros(dim))

    def encode(self, x: Tensor) -> Tensor:
        """Project, (m, d)."""
        return (_flat(x) - self.mean) @ self.components.T

    def decode(self, z: Tensor) -> Tensor:
        """Back-project; images are clipped to [0, 1]."""
        x = self.mean + z @ self.components
        if len(self.item_shape) == 1:
            return x
        height, width, channels = self.item_shape
        return x.reshape(-1, height, width, channels).permute(0, 3, 1, 2).clamp(0, 1)

    def fit(self, source: Source, seed: int) -> None:
        """Set mean, components and variances from all items of the source.

        Args:
            source: The items, read in chunks, two passes (randomised: `iterations` + 2).
            seed: Of the random start of the randomised iteration.

        Raises:
            ConfigInvalid: More dimensions asked for than n items of this width can span.
        """
        width, most = len(self.mean), min(len(source), len(self.mean))
        if self.dim > most:
            raise ConfigInvalid(
                f"dim is {self.dim}, but {len(source)} items of {width} numbers span at most {most}; pass a smaller dim"
            )
        mean = sum(x.sum(axis=0) for x in _chunks(source)) / len(source)
        if width <= self.options.exact_width:
            covariance = sum((x - mean).T @ (x - mean) for x in _chunks(source)) / len(source)
            variances, vectors = np.linalg.eigh(covariance)
            order = np.argsort(variances)[::-1][: self.dim]
            variances, components = variances[order], vectors[:, order].T
        else:
            variances, components = self._randomised(source, mean, seed)
        # A component's sign is arbitrary: its largest entry is made positive, so that equal data give equal bits.
        largest = np.abs(components).argmax(axis=1)
        components = components * np.sign(components[np.arange(self.dim), largest])[:, None]
        for name, value in (("mean", mean), ("components", components), ("variances", np.maximum(variances, 0))):
            setattr(self, name, torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)))

    def _randomised(
        self, source: Source, mean: Float64[Array, " w"], seed: int
    ) -> tuple[Float64[Array, " d"], Float64[Array, "d w"]]:
        width = len(mean)
        rank = min(self.dim + 16, width, len(source))
        basis = np.random.default_rng(seed).standard_normal((width, rank))
        for _ in range(self.options.iterations):
            basis = np.linalg.qr(sum((x - mean).T @ ((x - mean) @ basis) for x in _chunks(source)))[0]
        small = sum(_gram((x - mean) @ basis) for x in _chunks(source)) / len(source)
        variances, turn = np.linalg.eigh(small)
        order = np.argsort(variances)[::-1][: self.dim]
        return variances[order], (basis @ turn[:, order]).T


def _gram(x: Float64[Array, "m r"]) -> Float64[Array, "r r"]:
    return x.T @ x


def _flat(x: Tensor) -> Tensor:
    """Items as rows, in the (h, w, c) order of the outside."""
    return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x


def _chunks(source: Source) -> Iterator[Float64[Array, "m w"]]:
    chunk = max(1, min(CHUNK, (1 << 24) // int(np.prod(source.item_shape))))
    for start in range(0, len(source), chunk):
        positions = np.arange(start, min(start + chunk, len(source)))
        yield _flat(source.batch(positions)).double().numpy()
