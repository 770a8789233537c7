"""Principal components: the linear autoencoder that every report shows beside the learned ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentstore.encoders.base import Model, register
from latentstore.encoders.items import as_rows
from latentstore.encoders.options import number
from latentstore.encoders.principal import principal_components
from latentstore.encoders.sources import Source
from latentstore.errors import ConfigInvalid


@dataclass(frozen=True)
class PCAOptions:
    """Options of the fit.

    Attributes:
        exact_width: Up to this item width the covariance matrix is decomposed exactly; above, the subspace is found by
            randomised iteration.
        iterations: Passes over the items of the randomised iteration.
    """

    exact_width: int = number(4096, 1, 16384)
    iterations: int = number(6, 1, 100)


@register
class PCA(Model):
    """z = W (x − mean), rows of W orthonormal, in order of falling variance; x ≈ mean + Wᵀ z."""

    kind = "pca"
    Options = PCAOptions
    takes_vectors = True
    precision = "float64"
    mean: Tensor
    components: Tensor
    variances: Tensor

    def __init__(self, item_shape: tuple[int, ...], dim: int, options: PCAOptions) -> None:
        super().__init__(item_shape, dim, options)
        width = math.prod(item_shape)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("components", torch.zeros(dim, width))
        self.register_buffer("variances", torch.zeros(dim))

    def encode(self, x: Tensor) -> Tensor:
        """Project, (m, d)."""
        return (as_rows(x) - self.mean) @ self.components.T

    def decode(self, z: Tensor) -> Tensor:
        """Back-project; images are clipped to [0, 1]."""
        x = self.mean + z @ self.components
        if len(self.item_shape) == 1:
            return x
        height, width, channels = self.item_shape
        return x.reshape(-1, height, width, channels).permute(0, 3, 1, 2).clamp(0, 1)

    def fit(self, source: Source, seed: int) -> None:
        """Set mean, components and variances from all items of the source.

        Raises:
            ConfigInvalid: More dimensions asked for than n items of this width can span.
        """
        width, most = len(self.mean), min(len(source), len(self.mean))
        if self.dim > most:
            raise ConfigInvalid(
                f"dim is {self.dim}, but {len(source)} items of {width} numbers span at most {most}; pass a smaller dim"
            )
        found = principal_components(
            source, self.dim, seed=seed, exact_width=self.options.exact_width, iterations=self.options.iterations
        )
        names = ("mean", "variances", "components")
        for name, value in zip(names, found, strict=True):
            setattr(self, name, torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)))
