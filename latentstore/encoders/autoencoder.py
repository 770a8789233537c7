"""A deterministic autoencoder whose latents are kept small and smooth.

Source: the regularisation follows P. Ghosh et al., "From variational to deterministic autoencoders", ICLR 2020: a
penalty on |z|² bounds the latents, noise on z (their constant-variance case) makes the decoder smooth around them.
"""

# ruff: noqa: ARG002, ARG003 (arguments of the base class)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from latentstore.encoders.base import Model, register
from latentstore.encoders.networks import Down, NetworkOptions, Up, default_architecture
from latentstore.encoders.options import number
from latentstore.encoders.sources import Source


@dataclass(frozen=True)
class AutoencoderOptions(NetworkOptions):
    """Network and regularisation.

    Attributes:
        noise: Standard deviation of the Gaussian noise on latents while training; unit: that of the latents.
        penalty: Weight of the mean square of the latents beside the mean square error of a pixel.
        even_out: As in `NetworkOptions`. Detail seen as loud as outlines saves an epoch, but makes neighbours of what
            is alike in detail only: on Fashion-MNIST .15 gave knn10 .878, .025 .876.
    """

    noise: float = number(0.3, 0, 10)
    penalty: float = number(1e-4, 0, 10)
    even_out: float = number(0.15, 0, 100)


CENTRE_ITEMS = 10_000  # from which the mean latent is taken


@register
class Autoencoder(Model):
    """x → z → x̂, trained on the mean square error of a pixel; the mean latent is then made the origin.

    The angle between two latents means something only from where the data's middle is.
    """

    kind = "autoencoder"
    Options = AutoencoderOptions
    lengthens = True
    centre: Tensor

    def __init__(self, item_shape: tuple[int, ...], dim: int, options: AutoencoderOptions) -> None:
        super().__init__(item_shape, dim, options)
        self.down = Down(item_shape, dim, options)
        self.up = Up(item_shape, dim, options)
        self.register_buffer("centre", torch.zeros(dim))

    @classmethod
    def recipe(cls, item_shape: tuple[int, ...], dim: int) -> dict[str, Any]:
        """See the base class."""
        training = {"epochs": 12, "learning_rate": 4e-3, "weight_decay": 0.05}
        return default_architecture(item_shape) | training

    def prepare(self, source: Source, seed: int) -> None:
        """See the base class."""
        self.down.prepare(source, seed)
        self.centre.zero_()  # a buffer begins as whatever was in memory

    @torch.no_grad()
    def settle(self, source: Source, seed: int) -> None:
        """See the base class."""
        positions = np.sort(np.random.default_rng([seed, 0]).permutation(len(source))[:CENTRE_ITEMS])
        parts = np.array_split(positions, -(-len(positions) // 512))
        total = sum(self.down(x).double().sum(0) for x in source.batches(parts))
        self.centre.copy_(total / len(positions))

    def encode(self, x: Tensor) -> Tensor:
        """(m, c, h, w) → (m, d)."""
        z: Tensor = self.down(x) - self.centre
        return z

    def decode(self, z: Tensor) -> Tensor:
        """(m, d) → (m, c, h, w)."""
        return torch.sigmoid(self.up(z + self.centre))

    def loss(
        self, x: Tensor, done: float, generator: torch.Generator, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Mean square error with noise on the latents, plus the penalty on their size."""
        z = self.encode(x)
        noisy = z + self.options.noise * torch.randn(z.shape, generator=generator, device=z.device)
        mse = functional.mse_loss(self.decode(noisy if self.training else z), x)
        return {"loss": mse + self.options.penalty * z.square().mean(), "mse": mse.detach()}
