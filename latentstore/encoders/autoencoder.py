"""A deterministic autoencoder whose latents are kept small and smooth.

Source: the regularisation follows P. Ghosh et al., "From variational to deterministic autoencoders", ICLR 2020: a
penalty on |z|² bounds the latents, noise on z (their constant-variance case) makes the decoder smooth around them.
"""

# ruff: noqa: ARG002, ARG003 (arguments of the base class)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    """

    noise: float = number(0.3, 0, 10)
    penalty: float = number(1e-4, 0, 10)


@register
class Autoencoder(Model):
    """x → z → x̂, trained on the mean square error of a pixel."""

    kind = "autoencoder"
    Options = AutoencoderOptions

    def __init__(self, item_shape: tuple[int, ...], dim: int, options: AutoencoderOptions) -> None:
        super().__init__(item_shape, dim, options)
        self.down = Down(item_shape, dim, options)
        self.up = Up(item_shape, dim, options)

    @classmethod
    def recipe(cls, item_shape: tuple[int, ...], dim: int) -> dict[str, Any]:
        """See the base class."""
        training = {"epochs": 14, "learning_rate": 4e-3, "weight_decay": 0.05}
        return default_architecture(item_shape) | training

    def prepare(self, source: Source, seed: int) -> None:
        """See the base class."""
        self.down.prepare(source, seed)

    def encode(self, x: Tensor) -> Tensor:
        """(m, c, h, w) → (m, d)."""
        z: Tensor = self.down(x)
        return z

    def decode(self, z: Tensor) -> Tensor:
        """(m, d) → (m, c, h, w)."""
        return torch.sigmoid(self.up(z))

    def loss(self, x: Tensor, done: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Mean square error with noise on the latents, plus the penalty on their size."""
        z = self.encode(x)
        noisy = z + self.options.noise * torch.randn(z.shape, generator=generator, device=z.device)
        mse = functional.mse_loss(self.decode(noisy if self.training else z), x)
        return {"loss": mse + self.options.penalty * z.square().mean(), "mse": mse.detach()}
