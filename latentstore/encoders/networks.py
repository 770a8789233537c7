"""The two shapes of network that autoencoder and vae are made of, for images of any size.

"mlp": fully connected, behind a fixed rotation of the items to their principal components.
"conv": stride-2 convolutions down, one hidden layer, PixelShuffle up (W. Shi et al., "Real-time single image and video
super-resolution using an efficient sub-pixel convolutional neural network", CVPR 2016).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentstore.encoders.gradients import Gradients
from latentstore.encoders.items import as_rows
from latentstore.encoders.options import choice, integers, number
from latentstore.encoders.sources import Source
from latentstore.encoders.whiten import Whiten

SMALL = 3_072  # numbers of an item (32 × 32 × 3) up to which "mlp" learns more in the same time


@dataclass(frozen=True)
class NetworkOptions:
    """Size and shape of encoder and decoder network, mirrored.

    Attributes:
        architecture: "mlp" or "conv".
        hidden: Widths of the fully connected layers, from the items' side to the latents' side.
        components: How many principal components the "mlp" sees of an item (at most its width).
        even_out: From which share of the largest variance on the "mlp" sees components alike; see `Whiten`.
        channels: Of the convolutions of "conv", each halves height and width.
    """

    architecture: str = choice("mlp", "conv")
    hidden: tuple[int, ...] = integers((1024, 512), 1, 16384, 8)
    components: int = number(256, 1, 4096)
    even_out: float = number(0.025, 0, 100)
    channels: tuple[int, ...] = integers((32, 64), 1, 2048, 8)


class Down(nn.Module):
    """Images (m, c, h, w) in [0, 1] to `width` numbers each.

    Args:
        item_shape: (h, w, c).
        width: Numbers that come out.
        options: Size and shape.
        beside: What else of an image is looked at: it maps images to (m, beside.width); None for the pixels alone.
    """

    def __init__(
        self, item_shape: tuple[int, ...], width: int, options: NetworkOptions, beside: Gradients | None = None
    ) -> None:
        super().__init__()
        height, across, channels = item_shape
        self.beside = beside
        more = 0 if beside is None else beside.width
        self.conv = nn.Sequential()
        if options.architecture == "mlp":
            seen = height * across * channels + more
            rank = min(options.components, seen)
            self.whiten = Whiten(seen, rank, options.even_out)
            self.dense = dense(rank, options.hidden, width)
        else:
            self.size, small = _grid(item_shape, len(options.channels))
            for out in options.channels:
                self.conv += nn.Sequential(
                    nn.Conv2d(channels, out, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(out), nn.GELU()
                )
                channels = out
            self.dense = dense(small[0] * small[1] * channels + more, options.hidden, width)

    def prepare(self, source: Source, seed: int) -> None:
        """Take the rotation from the items."""
        if not len(self.conv):
            self.whiten.fit(source, seed, self._rows)

    def forward(self, x: Tensor) -> Tensor:
        """(m, c, h, w) → (m, width)."""
        if not len(self.conv):
            return self._dense(self.whiten(self._rows(x)))
        padded = functional.pad(x * 2 - 1, (0, self.size[1] - x.shape[3], 0, self.size[0] - x.shape[2]), value=-1.0)
        return self._dense(self._with_beside(self.conv(padded).flatten(1), x))

    def _rows(self, x: Tensor) -> Tensor:
        return self._with_beside(as_rows(x), x)

    def _with_beside(self, rows: Tensor, x: Tensor) -> Tensor:
        return rows if self.beside is None else torch.cat([rows, self.beside(x).to(rows.dtype)], 1)

    def _dense(self, x: Tensor) -> Tensor:
        y: Tensor = self.dense(x)
        return y


class Up(nn.Module):
    """Latents (m, d) to logits of pixels (m, c, h, w); the mirror of `Down`."""

    def __init__(self, item_shape: tuple[int, ...], dim: int, options: NetworkOptions) -> None:
        super().__init__()
        self.item_shape, self.conv = item_shape, nn.Sequential()
        height, across, channels = item_shape
        if options.architecture == "conv":
            _, (height, across) = _grid(item_shape, len(options.channels))
            channels = options.channels[-1]
            steps = (*options.channels[-2::-1], item_shape[2])
            before = channels
            for number, out in enumerate(steps):
                last = number == len(steps) - 1
                self.conv += nn.Sequential(
                    nn.Conv2d(before, out * 4, 3, padding=1, bias=last),
                    nn.PixelShuffle(2),
                    *([] if last else [nn.BatchNorm2d(out), nn.GELU()]),
                )
                before = out
        self.shape = (channels, height, across)
        self.dense = dense(dim, options.hidden[::-1], math.prod(self.shape))
        if len(self.conv):
            self.dense += nn.Sequential(nn.BatchNorm1d(math.prod(self.shape)), nn.GELU())

    def forward(self, z: Tensor) -> Tensor:
        """(m, d) → (m, c, h, w)."""
        x: Tensor = self.conv(self.dense(z).unflatten(1, self.shape))
        height, across, _ = self.item_shape
        return x[..., :height, :across]


def default_architecture(item_shape: tuple[int, ...]) -> dict[str, Any]:
    """Options that suit items of this shape: "mlp" for small ones, else "conv" down to a side of 8 or less."""
    if math.prod(item_shape) <= SMALL:
        return {}
    halvings = max(2, math.ceil(math.log2(min(item_shape[:2]) / 8)))
    channels = tuple(min(32 << number, 128) for number in range(halvings))
    return {"architecture": "conv", "channels": channels, "hidden": (256,)}


def dense(width: int, hidden: tuple[int, ...], out: int) -> nn.Sequential:
    """Linear layers with batch normalisation between them, and a plain one at the end."""
    layers: list[nn.Module] = []
    for following in hidden:
        layers += [nn.Linear(width, following, bias=False), nn.BatchNorm1d(following), nn.GELU()]
        width = following
    return nn.Sequential(*layers, nn.Linear(width, out))


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Give every layer its first weights: uniform within 1/√fan-in, as torch does, but from a passed generator."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_parameters()


def _grid(item_shape: tuple[int, ...], halvings: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The size padded so that it can be halved so often, and the size after that."""
    small = (-(-item_shape[0] // 2**halvings), -(-item_shape[1] // 2**halvings))
    return (small[0] << halvings, small[1] << halvings), small
